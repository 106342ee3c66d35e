"""Dates and times as people write them, read into ISO 8601. What needs today's date ("tomorrow") is not
read."""

from __future__ import annotations

import re
from datetime import date

import msgspec

__all__ = ["FoundDate", "dates"]


class FoundDate(msgspec.Struct, frozen=True):
    """A date in a text: `iso` is `2025-03-04`, `time` is `10:30:00` with its offset if it has one, or
    empty."""

    start: int
    end: int
    iso: str
    time: str = ""


_MONTHS = (
    "jan january januar janvier enero gennaio januari",
    "feb february februar février febrero febbraio februari",
    "mar march märz mrz mars marzo maart",
    "apr april avril abril aprile",
    "may mai mayo maggio mei",
    "jun june juni juin junio giugno",
    "jul july juli juillet julio luglio",
    "aug august août agosto augustus",
    "sep sept september septembre septiembre settembre",
    "oct october oktober okt octobre octubre ottobre",
    "nov november novembre noviembre",
    "dec december dezember dez décembre diciembre dicembre",
)
_MONTH_NUMBERS = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split()}
_MONTH = "|".join(sorted(_MONTH_NUMBERS, key=lambda name: (-len(name), name)))

_PATTERNS = (
    r"(?<![\d.-])(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})(?![\d-])",
    (
        rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th|\.|er|º)?\s*(?:of\s+|de\s+|"
        rf"-)?(?P<n>{_MONTH})\b\.?,?\s*(?:de\s+|-)?(?P<y>\d{{4}})\b"
    ),
    rf"\b(?P<n>{_MONTH})\.?\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<y>\d{{4}})\b",
    r"(?<![\d.])(?P<a>\d{1,2})(?P<s>[./-])(?P<b>\d{1,2})(?P=s)(?P<y>\d{4}|\d{2})(?![\d.]\d|\d)",
)
_TIME = (
    r"(?:T|,?\s+(?:at|um|à|a las|@)?\s*)(?P<h>\d{1,2})(?::(?P<min>\d{2}))?(?::(?P<sec>\d{2})(?:\.\d+)?)?"
    r"\s*(?P<half>[ap]\.?m\.?)?(?P<zone>\s?Z\b|\s?UTC\b|\s?GMT\b|\s?[+-]\d{2}:?\d{2})?"
)


def dates(text: str) -> list[FoundDate]:
    """Return the dates of `text` in order; `03/04/2025` is month first unless another date of the text
    says otherwise."""
    day_first = _day_first(text)
    found: list[FoundDate] = []
    for pattern in _PATTERNS:
        for match in re.finditer(pattern, text, re.IGNORECASE):
            iso = _iso(match.groupdict(), day_first=day_first)
            if iso and not any(other.start < match.end() and match.start() < other.end for other in found):
                time, end = _time(text, match.end())
                found.append(FoundDate(match.start(), end, iso, time))
    return sorted(found, key=lambda date_found: date_found.start)


def _day_first(text: str) -> bool:
    slashed = re.findall(r"\b(\d{1,2})([/-])(\d{1,2})\2(?:\d{4}|\d{2})\b", text)
    if any(int(first) > 12 for first, _, _ in slashed):
        return True
    if any(int(second) > 12 for _, _, second in slashed):
        return False
    return bool(re.search(r"[€£]|\bEUR\b|\bGBP\b|\bVAT\b", text))


def _iso(groups: dict[str, str | None], *, day_first: bool) -> str:
    year = int(groups["y"] or 0)
    year += 0 if year > 99 else 2000 if year < 70 else 1900
    if name := groups.get("n"):
        return _checked(year, _MONTH_NUMBERS[name.casefold()], int(groups["d"] or 0))
    if groups.get("m"):
        return _checked(year, int(groups["m"] or 0), int(groups["d"] or 0))
    first, second = int(groups["a"] or 0), int(groups["b"] or 0)
    if groups["s"] == "." or first > 12 or (day_first and second <= 12):
        return _checked(year, second, first)
    return _checked(year, first, second)


def _checked(year: int, month: int, day: int) -> str:
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return ""


def _time(text: str, start: int) -> tuple[str, int]:
    match = re.compile(_TIME, re.IGNORECASE).match(text, start)
    if not match or not (match.group("min") or match.group("half")):
        return "", start
    hour, minute = int(match.group("h")), int(match.group("min") or 0)
    if match.group("half"):
        hour = hour % 12 + (12 if match.group("half").casefold().startswith("p") else 0)
    if hour > 23 or minute > 59 or int(match.group("sec") or 0) > 59:
        return "", start
    zone = (match.group("zone") or "").strip().upper()
    offset = "Z" if zone in ("Z", "UTC", "GMT") else f"{zone[:3]}:{zone[-2:]}" if zone else ""
    return f"{hour:02d}:{minute:02d}:{int(match.group('sec') or 0):02d}{offset}", match.end()
