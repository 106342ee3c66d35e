"""Addresses of mail in a text, also as they come out of pictures, and as careful people write them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headgate.policies.scrubber import Span
from headgate.policies.words import Words

__all__ = ["mails"]

LETTERS = "A-Za-z0-9À-ɏͰ-ӿ"
MAIL_HOST = re.compile(rf"@(?:[{LETTERS}][{LETTERS}-]*+\.)+(?=[A-Za-zÀ-ɏͰ-ӿ])[{LETTERS}-]++")


ANY_HOST = re.compile(r"@(?:\w[\w-]*+\.)+(?=[^\W\d])[\w-]++")
"""For hosts in scripts that need no space before the next word; so it may take more than the address."""
SPACED_HOST = re.compile(
    rf"@[ ]?[{LETTERS}-]{{1,63}}(?:(?:[ ]\.[ ]|\.)[{LETTERS}-]{{1,63}}){{0,5}}"
    rf"(?:[ ]\.[ ]|\.)[A-Za-z]{{2,24}}(?![A-Za-z])"
)
"""As it comes out of pictures and from careful people: ada @ home . example."""
AT = r"[(\[{<] ?(?:at|AT|At|@|ät|arroba|chiocciola) ?[)\]}>]"
DOT = r"(?: ?[(\[{<] ?(?:dot|DOT|\.|punkt|punto|point) ?[)\]}>] ?| (?:dot|DOT|punkt|punto|point) )"
SAID_MARKS = Words(("at)", "at]", "at}", "AT)", "AT]", "@)", "@]", "t )", "t ]", " dot ", " DOT "), (")", "]", "}"))
SAID = re.compile(
    rf"[{LETTERS}._%+-]{{1,64}} ?"
    rf"(?:{AT} ?[{LETTERS}-]{{1,63}}(?:(?:{DOT}|\.)[{LETTERS}-]{{1,63}}){{1,5}}|"
    rf"(?<= )(?:at|AT|ät|arroba|chiocciola) [{LETTERS}-]{{1,63}}(?:{DOT}[{LETTERS}-]{{1,63}}){{1,5}})"
)
"""ada (at) home.example, ada at home dot example"""
LOCAL_PART_MAX = 256
LOCAL_PART_BACKWARDS = re.compile(rf"[{LETTERS}._%+'-]+")
ANY_LOCAL_PART = re.compile(r"(?:[\w.+-]+|\"[^\"\n]{1,64}\")\Z")


def mails(text: str) -> Iterator[Span]:
    at = text.find("@")
    while at >= 0:
        host = MAIL_HOST.match(text, at) or ANY_HOST.match(text, at) or SPACED_HOST.match(text, at)
        start = _local_part(text, at) if host is not None else at
        if host is not None and start < at:
            yield Span(start, host.end(), "email")
        at = text.find("@", at + 1)
    if SAID_MARKS.within(text):
        yield from (Span(*found.span(), "email") for found in SAID.finditer(text))


def _local_part(text: str, at: int) -> int:
    """Return where the part before the @ begins; `at` where there is none."""
    spaced = text[at - 1 : at] == " " and text[at + 1 : at + 2] == " "
    at -= spaced
    begin = max(0, at - LOCAL_PART_MAX)
    backwards = LOCAL_PART_BACKWARDS.match(text[begin:at][::-1])
    if backwards is not None:
        local = backwards[0][::-1]
    elif (found := ANY_LOCAL_PART.search(text, begin, at)) is not None:
        local = found[0]
    else:
        return at + spaced
    return at - len(local.lstrip("'.%-"))
