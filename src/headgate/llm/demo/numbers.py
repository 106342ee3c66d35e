"""Numbers and sums of money as people write them, in either decimal convention."""

from __future__ import annotations

import re

import msgspec

__all__ = ["FoundNumber", "numbers"]


class FoundNumber(msgspec.Struct, frozen=True):
    """A number in a text: exact as decimal text, with its currency (ISO 4217) or sign of percent, if any."""

    start: int
    end: int
    value: str
    currency: str = ""
    percent: bool = False
    glued: bool = False
    """Part of an identifier, a date, a time or a version rather than a quantity."""

    @property
    def number(self) -> int | float:
        """Return the value as JSON has it: whole numbers whole."""
        return int(self.value) if re.fullmatch(r"-?\d+", self.value) else _plain(float(self.value))


def _plain(value: float) -> int | float:
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


_SIGNS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "us$": "USD", "ca$": "CAD", "a$": "AUD"}
_CODES = "USD|EUR|GBP|JPY|CHF|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|INR|CNY|BRL|MXN|ZAR"
_NAMES = {
    "euro": "EUR",
    "euros": "EUR",
    "dollar": "USD",
    "dollars": "USD",
    "pound": "GBP",
    "pounds": "GBP",
    "francs": "CHF",
}
_CURRENCY = rf"US\$|CA\$|A\$|[$€£¥₹]|\b(?:{_CODES})\b"
_AFTER = rf"{_CURRENCY}|\b(?:{'|'.join(_NAMES)})\b"
_SCALES = {
    "k": 3,
    "thousand": 3,
    "m": 6,
    "million": 6,
    "millions": 6,
    "mio": 6,
    "bn": 9,
    "billion": 9,
    "mrd": 9,
}
_NUMBER = (
    rf"(?P<before>{_CURRENCY})?\s?(?P<sign>(?<![\w)])[-−])?(?P<value>\d{{1,3}}(?:[.,'’ "
    rf"\u00a0\u202f]\d{{3}})+(?:[.,]\d{{1,4}})?(?![\d])|\d+(?:[.,]\d+)?)"
    rf"(?P<scale>\s?(?:thousand|millions?|billion|Mio|Mrd|[kK]|"
    rf"bn)\b\.?)?(?:\s?(?P<after>{_AFTER}))?(?P<percent>\s?(?:%|percent\b|per cent\b|Prozent\b))?"
)


def numbers(text: str) -> list[FoundNumber]:
    """Return the numbers of `text` in order."""
    comma = _comma_decimals(text)
    found: list[FoundNumber] = []
    for match in re.finditer(_NUMBER, text, re.IGNORECASE):
        value = _value(match.group("value"), comma_decimals=comma)
        scale = _SCALES.get((match.group("scale") or "").strip().rstrip(".").casefold(), 0)
        value = _scaled(value, scale)
        sign = "-" if match.group("sign") else ""
        currency = _currency(match.group("before")) or _currency(match.group("after"))
        start = (
            match.start("before") if match.group("before") else match.start("sign") if sign else match.start("value")
        )
        found.append(
            FoundNumber(start, match.end(), sign + value, currency, bool(match.group("percent")), _glued(text, match))
        )
    return found


def _comma_decimals(text: str) -> bool:
    """Tell whether the text writes cents behind a comma, by its sums that leave no doubt."""
    comma = len(re.findall(r"(?<![\d,])\d{1,3}(?:\.\d{3})*,\d{1,2}(?![\d,])", text))
    point = len(re.findall(r"(?<![\d.])\d{1,3}(?:,\d{3})*\.\d{1,2}(?![\d.])", text))
    return comma > point


def _value(shown: str, *, comma_decimals: bool) -> str:
    shown = re.sub(r"['’ \u00a0\u202f]", "", shown)
    both = "," in shown and "." in shown
    decimal = max(shown.rfind(","), shown.rfind(".")) if both else -1
    if not both and (mark := re.search(r"[.,]", shown)):
        single = len(re.findall(r"[.,]", shown)) == 1
        three = len(shown) - mark.start() - 1 == 3
        thousands = not single or (
            three and (mark.group() == "," or comma_decimals) and not (mark.group() == "," and comma_decimals)
        )
        decimal = -1 if thousands else mark.start()
    whole = re.sub(r"\D", "", shown[:decimal] if decimal >= 0 else shown)
    rest = shown[decimal + 1 :] if decimal >= 0 else ""
    whole = whole.lstrip("0") or "0"
    return f"{whole}.{rest}" if rest else whole


def _scaled(value: str, scale: int) -> str:
    if not scale:
        return value
    whole, _, rest = value.partition(".")
    moved = (rest + "0" * scale)[:scale]
    left = rest[scale:]
    return (whole + moved).lstrip("0") + (f".{left}" if left else "")


def _currency(shown: str | None) -> str:
    if not shown:
        return ""
    folded = shown.strip().casefold()
    return _SIGNS.get(folded) or _NAMES.get(folded) or shown.strip().upper()


def _glued(text: str, match: re.Match[str]) -> bool:
    """Tell whether letters, dashes, slashes or colons tie the digits to something else (`INV-2024`,
    `10:30`, `3/4`)."""
    before = text[: match.start("value")][-2:]
    after = text[match.end("value") :][:2]
    if match.group("before") or match.group("after"):
        return False
    tied_before = bool(re.search(r"[^\W\d_]$|[#_/:.@]$|\w[-–]$", before)) and not re.search(
        r"(?:\bx|:)$", before.strip().casefold()[-1:] + " "
    )
    tied_after = (
        bool(re.match(r"[-/:.–][\w]|_|[^\W\d_]", after)) and not match.group("scale") and not re.match(r"x\b", after)
    )
    return tied_before or tied_after
