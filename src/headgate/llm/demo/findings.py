"""Things of a known kind in a text: dates, sums, addresses, identifiers, names, each where it stands."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from headgate.llm.demo.dates import dates
from headgate.llm.demo.numbers import numbers

__all__ = ["Finding", "Kind", "findings", "signed"]

Kind = Literal[
    "date",
    "datetime",
    "time",
    "email",
    "phone",
    "url",
    "iban",
    "uuid",
    "amount",
    "number",
    "percent",
    "currency",
    "identifier",
    "person",
    "company",
    "place",
    "postal",
]


class Finding(msgspec.Struct, frozen=True):
    """One thing found: the text's own words, the value they stand for, and their place."""

    shown: str
    value: Any
    start: int
    end: int


_CAPITAL = r"[A-ZÄÖÜÉÈÀÁÍÓÚÇŞŠŽØÅ]"
_PERSON_WORD = rf"{_CAPITAL}[\w’'.-]*[\w]"
_PERSON = rf"{_PERSON_WORD}(?: (?:{_CAPITAL}\.|van|von|de|der|den|da|di|la|le|bin|al|{_PERSON_WORD})){{0,3}}"
_FORM = (
    r"(?:GmbH(?: & Co\. KG)?|AG|SE|KG|UG|OHG|e\.V\.|Ltd\.?|Limited|Inc\.?|LLC|LLP|Corp\.?|Corporation|"
    r"PLC|plc|Co\.|S\.?A\.?S?\.?|SARL|S\.?r\.?l\.?|B\.?V\.?|N\.?V\.?|AB|A/S|ApS|Oy|Pty Ltd|Group|Bank|"
    r"University)"
)
_SIMPLE: dict[str, str] = {
    "email": r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    "url": r"https?://[^\s<>\"')\]]+[^\s<>\"')\].,;:!?]|\bwww\.[\w-]+(?:\.[\w-]+)+(?:/[^\s<>\"')\].,;]*)?",
    "iban": r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
    "uuid": r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b",
    "time": r"\b\d{1,2}:\d{2}(?::\d{2})?(?:\s?[ap]\.?m\b\.?)?|\b\d{1,2}\s?[ap]\.?m\b\.?",
    "postal": r"(?<![\w-])(?:[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|(?:D-)?\d{5}(?:-\d{4})?|\d{4} ?[A-Z]{2})\b",
    "company": rf"(?:{_CAPITAL}[\w&’'.-]*|&)(?:\s(?:{_CAPITAL}[\w&’'.-]*|&|and|und|of)){{0,4}}?"
    rf",?\s{_FORM}(?!\w)",
}
_PHONE = r"(?<![\w/.-])(?:\+\d{1,3}[\s./-]?)?(?:\(0?\d{1,5}\)[\s./-]?)?\d{2,5}(?:[\s./-]?\d{2,5}){1,4}(?![\w-])"
_IDENTIFIER = r"(?<![\w@.])(?=[\w/.-]*\d)(?:[A-Za-z]{1,8}[-_/.]?)*[A-Za-z\d]*\d[\w]*(?:[-_/.][\w]+)*"
_SIGNED = (
    rf"(?:(?i:regards|sincerely|cheers|thanks|thank you|best|grüßen|grüße|cordialement|yours(?: "
    rf"truly)?))\s*[,!.]?\s*\n+\s*({_PERSON})\s*(?:$|\n)"
)
_PEOPLE = (
    rf"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof|Herrn?|Frau|Mme|Mlle|Sir)\b\.?\s+(?:Dr\.?\s+|Prof\.?\s+)?({_PERSON})",
    _SIGNED,
    rf"(?i:my name is|this is|i am|i'm|ich bin|ich heiße|mein name ist|je m'appelle)\s+({_PERSON})",
    (
        rf"(?i:signed by|written by|author(?:ed)? by|contact(?: person)?:?|represented by|from:|"
        rf"by)\s+({_PERSON_WORD} {_PERSON})"
    ),
    rf"(?i:dear|hi|hello|hallo|hey|liebe|lieber|bonjour)\s+({_PERSON})\s*[,!\n]",
    (
        rf"\b({_CAPITAL}[a-zà-ÿ’'-]+ (?:{_CAPITAL}\. |van |von |de |{_CAPITAL}[a-zà-ÿ’'-]+ "
        rf")?{_CAPITAL}[a-zà-ÿ’'-]+)\b(?!\s{_FORM})"
    ),
)
_NOT_PEOPLE = re.compile(
    r"\b(?:The|This|That|There|Dear|Invoice|Order|Customer|Total|Please|Monday|Tuesday|Wednesday|"
    r"Thursday|Friday|Saturday|Sunday|"
    r"January|February|March|April|May|June|July|August|September|October|November|December|Street|Road|"
    r"Avenue|Hi|Hello|Hey|"
    r"Unit|Date|Number|Subject|Support|Team|Service|Our|Your|We|It|In|On|At|If|When|After|Article|"
    r"Section|Kind|Best|Regards|"
    r"Die|Der|Das|Den|Dem|Ein|Eine|Mein|Meine|Ich|Wir|Sie|Bei|Am|Im|Leider|Mit|Sehr|Rechnung|Nr|"
    r"Bestellung|Kunde|Bitte|Es|Herren|Damen|"
    r"New|Payment|Sub|Due|Bill|Ship|United|Thank|Contact|Phone|Price|Amount|Tax|Net|Grand)\b"
)
_ROLES = (
    r"(?:Architect|President|Minister|Chancellor|Professor|Captain|Director|Judge|Coach|Senator|"
    r"Governor|Mayor|Chairman|Chairwoman|Doctor|"
    r"Manager|Officer|Inspector|General|Colonel|King|Queen|Prince|Princess|Author|Researcher|Engineer|"
    r"Founder|Nurse|Contact|"
    r"Herr|Frau|Mr|Mrs|Ms|Dr|Prof)\b\.?\s+(?=\S)"
)
_PLACES = (
    rf"\b(?:in|at|near|to|from|for|around|nach|aus|von|bei|à)\s+({_CAPITAL}[\w’'-]+(?:[ "
    rf"-](?:{_CAPITAL}[\w’'-]+|am|an der|upon))*)"
)


def findings(kind: Kind, text: str) -> list[Finding]:
    """Return all things of `kind` in `text`, in order."""
    match kind:
        case "date":
            return [Finding(text[d.start : d.end], d.iso, d.start, d.end) for d in dates(text)]
        case "datetime":
            return [Finding(text[d.start : d.end], f"{d.iso}T{_zoned(d.time)}", d.start, d.end) for d in dates(text)]
        case "amount" | "number" | "percent" | "currency":
            return _numeric(kind, text)
        case "phone":
            return [one for one in _matches(_PHONE, text) if _is_phone(one, text)]
        case "identifier":
            return [one for one in _matches(_IDENTIFIER, text) if _is_identifier(one.shown)]
        case "person":
            return _people(text)
        case "place":
            return [
                one
                for one in _places(text)
                if not re.match(
                    (
                        r"(?:January|February|March|April|May|June|July|August|September|October|November|"
                        r"December|\w+day)\b"
                    ),
                    one.shown,
                )
            ]
        case _:
            return _matches(_SIMPLE[kind], text)


def _places(text: str) -> list[Finding]:
    return [Finding(m.group(1), m.group(1), m.start(1), m.end(1)) for m in re.finditer(_PLACES, text)]


def _zoned(time: str) -> str:
    """RFC 3339 wants an offset; where the text has none, `Z` is put."""
    time = time or "00:00:00"
    return time if re.search(r"Z$|[+-]\d\d:\d\d$", time) else f"{time}Z"


def _matches(pattern: str, text: str) -> list[Finding]:
    return [Finding(m.group(), m.group(), m.start(), m.end()) for m in re.finditer(pattern, text)]


def _numeric(kind: Kind, text: str) -> list[Finding]:
    taken = [(d.start, d.end) for d in dates(text)]
    found: list[Finding] = []
    for one in numbers(text):
        if one.glued or any(start <= one.start < end for start, end in taken):
            continue
        wanted = (
            (kind == "amount" and not one.percent)
            or (kind == "number" and not one.percent)
            or (kind == "percent" and one.percent)
            or (kind == "currency" and bool(one.currency))
        )
        if wanted:
            found.append(
                Finding(
                    text[one.start : one.end].strip(),
                    one.currency if kind == "currency" else one.number,
                    one.start,
                    one.end,
                )
            )
    if kind == "amount":
        money = [one for one in found if re.search(r"[^\d\s.,'’+-]|[.,]\d\d$", one.shown)]
        return money or found
    return found


def _is_phone(one: Finding, text: str) -> bool:
    digits = re.sub(r"\D", "", one.shown)
    if not 7 <= len(digits) <= 15 or any(d.start < one.end and one.start < d.end for d in dates(text)):
        return False
    labelled = re.search(
        r"(?i:tel|phone|mobile|cell|fax|call|fon|handy|whatsapp|reach|dial|ring)[^\n]{0,30}$",
        text[: one.start],
    )
    return (
        bool(labelled)
        or one.shown.startswith(("+", "(0", "0"))
        or bool(re.fullmatch(r"\d{3}[-. ]\d{3}[-. ]\d{4}|\(\d{3}\) ?\d{3}-\d{4}", one.shown))
    )


def _is_identifier(shown: str) -> bool:
    return bool(re.search(r"\d{2}", shown) or re.search(r"[A-Za-z].*\d", shown)) and not re.fullmatch(
        r"\d{1,2}[./:]\d{1,2}(?:[./:]\d{2,4})?|\d+(?:st|nd|rd|th|x|k|px|am|pm|%)|\d{4}-\d\d-\d\d\w*", shown
    )


def _people(text: str) -> list[Finding]:
    found: list[Finding] = []
    for pattern in _PEOPLE:
        for match in re.finditer(pattern, text, re.MULTILINE):
            shown, start = match.group(1).rstrip(".,"), match.start(1)
            if role := re.match(_ROLES, shown):
                shown, start = shown[role.end() :], start + role.end()
            overlaps = any(one.start < start + len(shown) and start < one.end for one in found)
            if not overlaps and not _NOT_PEOPLE.search(shown) and len(shown) > 2:
                found.append(Finding(shown, shown, start, start + len(shown)))
    return sorted(found, key=lambda one: one.start)


def signed(text: str) -> list[str]:
    """Return who signs `text`: the name below its closing words."""
    return [match.group(1).rstrip(".,") for match in re.finditer(_SIGNED, text, re.MULTILINE)]
