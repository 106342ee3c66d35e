"""Addresses of machines in a text: IPv4 and IPv6, also as reports of attacks write them, so that nobody clicks."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from headgate.policies.scrubber import Span
from headgate.policies.words import Words, stands_before

__all__ = ["machines"]

OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4_PARTS = re.compile(r"\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
IPV4_LIKE = re.compile(r"[0-9][0-9]{0,2}\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
IPV4 = re.compile(rf"(?<![0-9.])(?:{OCTET}\.){{3}}{OCTET}(?![0-9]|\.[0-9])")
GOES_ON = re.compile(r"(?: ?[,;/–-] ?| (?:and|or|to|und|oder|bis|et|ou|y|o|e|и|или) )")
"""What stands between the numbers of a list."""
IPV6_PART = re.compile(r":[0-9A-Fa-f]{0,4}:")
IPV6_BEGIN = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{1,4}\Z")
IPV6_REST = re.compile(r"[0-9A-Fa-f:]{2,39}+(?:(?<=:)(?:[0-9]{1,3}\.){3}[0-9]{1,3})?")
IPV6_COLONS_MIN = 6
"""So many has one in which no groups are left out and the last two are written as an IPv4 address."""
NO_MACHINE = re.compile(
    r"(?:^|\n)#{1,4} \Z|(?<![a-z])(?:"
    r"sections?|clauses?|chapters?|articles?|annex|recital|appendix|schedule|anhang|anlage|allegato|anexo|§+|п\.|ст\.|versions?|release|firmware|build|v|rev\.?|abschnitt|kapitel|punkt|"
    r"absatz|ziffer|paragraph|articolo|artículo|sección|capítulo|cláusula|paragraphe|раздел|пункт|第|節|章|版本|oid|"
    r"programme|driver|kernel)[ \t:]*\Z",
    re.IGNORECASE,
)
NOBODYS = ("127.", "0.0.0.0", "255.")  # noqa: S104 - nothing is bound: these are no machine's addresses
GROUPS_LEFT_OUT_MAX = 3


DEFANGED_MARKS = Words(("[.", "(.", "[dot", "ip-"), ("[", "("))
DEFANGED = re.compile(
    rf"(?<![0-9])(?:{OCTET}(?:\.|\[\.\]|\(\.\)|\[dot\])){{3}}{OCTET}(?![0-9])|"
    rf"(?<=ip-)(?:{OCTET}-){{3}}{OCTET}(?![0-9])"
)
"""As reports of attacks write them, so that nobody clicks, and as machines are named after them."""


def machines(text: str) -> Iterator[Span]:
    if DEFANGED_MARKS.within(text):
        yield from (Span(*found.span(), "ip") for found in DEFANGED.finditer(text))
    if IPV4_PARTS.search(text):
        other = None  # the one before it, where that is no machine
        for like in IPV4_LIKE.finditer(text):
            found = IPV4.match(text, like.start())
            if found is None or found[0].startswith(NOBODYS):
                continue
            start, end = found.span()
            if stands_before(NO_MACHINE, text, start) or (other is not None and _goes_on(other, found)):
                other = found
            else:
                yield Span(start, end, "ip")
    if text.count(":") >= 2:
        yield from _six(text)


def _goes_on(other: re.Match[str], found: re.Match[str]) -> bool:
    """Return whether a number goes on with a list, and begins as the one before it: §§ 12.4.1.3, 12.4.1.4."""
    between = found.string[other.end() : found.start()]
    return GOES_ON.fullmatch(between) is not None and other[0].partition(".")[0] == found[0].partition(".")[0]


def _six(text: str) -> Iterator[Span]:
    at = 0
    while (part := IPV6_PART.search(text, at)) is not None:
        begin = IPV6_BEGIN.search(text, max(at, part.start() - 5), part.start())
        start = part.start() if begin is None else begin.start()
        rest = IPV6_REST.match(text, start)
        assert rest is not None
        at = rest.end()
        if "::" not in rest[0] and rest[0].count(":") < IPV6_COLONS_MIN:
            continue
        address = rest[0] if rest[0].endswith("::") else rest[0].rstrip(":")
        for _ in range(GROUPS_LEFT_OUT_MAX):  # what stands before it, as in `addr:2001:db8::1`
            if _is_ipv6(address):
                yield Span(start, start + len(address), "ip")
                break
            left_out, _, address = address.partition(":")
            start += len(left_out) + 1


def _is_ipv6(address: str) -> bool:
    if address.count(":") < 2 or not any(digit in address for digit in "0123456789"):
        return False
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        return False
    if parsed.is_loopback or parsed.is_unspecified:
        return False
    return any(len(group) != 2 for group in address.split(":"))  # a fingerprint, or the address of a network card
