"""Money as whole nano-dollars (1 USD = 1,000,000,000): exact to add, exact to compare, never a float."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, ROUND_UP, Decimal, InvalidOperation

from headgate.core.errors import Invalid

__all__ = ["NANO", "USD_MAX", "Amount", "dollars", "exact_dollars", "given_nano", "nano", "nano_ceiling", "show"]

Amount = str | int | float | Decimal
"""US dollars as a program gives them; a text is exact."""
NANO = 1_000_000_000
USD_MAX = 1_000_000_000
"""The most that a budget may be: more than is sensible, and little enough for nano-dollars to fit into 64 bits."""


def nano(usd: str | int | Decimal) -> int:
    """Return `usd` in nano-dollars, rounded half-even below one nano-dollar.

    Raises `decimal.InvalidOperation` for text that is not a number.
    """
    return int((Decimal(usd) * NANO).to_integral_value(rounding=ROUND_HALF_EVEN))


def given_nano(usd: str | float | Decimal) -> int:
    """Return a budget that somebody gave, such as `0.25` or `$0.25`, in nano-dollars. Raises `Invalid` for what is no
    amount, a negative one, or one above `USD_MAX`."""
    try:
        value = Decimal(str(usd).removeprefix("$"))
        if not value.is_finite() or not 0 <= value <= USD_MAX:
            raise InvalidOperation
    except InvalidOperation:
        raise Invalid(f'expected the budget to be US dollars such as "0.25", got {usd!r}.') from None
    return nano(value)


def nano_ceiling(usd: Decimal) -> int:
    """Return `usd` in nano-dollars, rounded up: for worst cases, which may not be too low."""
    return int((usd * NANO).to_integral_value(rounding=ROUND_UP))


def dollars(amount: int) -> float:
    """Return nano-dollars as a float of dollars: for templates and JSON only, never to calculate with."""
    return amount / NANO


def exact_dollars(amount: int) -> str:
    """Return nano-dollars as a decimal text of dollars: exact, never in exponent form."""
    return format((Decimal(amount) / NANO).normalize(), "f")


def show(amount: int) -> str:
    """Return nano-dollars as people read them: `$0.25`, `$0.000142`, `-$1.10`, `$0`."""
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    whole, rest = divmod(amount, NANO)
    if not rest:
        return f"{sign}${whole}"
    digits = f"{rest:09d}"
    shown = digits[:2] if amount >= NANO else digits[: max(2, len(digits) - len(digits.lstrip("0")) + 3)]
    if int(shown) == 0 and not whole:
        shown = digits.rstrip("0")
    return f"{sign}${whole}.{shown[:2]}{shown[2:].rstrip('0')}"
