"""What stands behind the question mark, checked against a route's type."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec

from headgate.api.http.errors import BadRequest
from headgate.core.errors import Invalid, Problem

__all__ = [
    "LIMIT_MAX",
    "Count",
    "Limit",
    "PageWanted",
    "QueryShape",
    "Seconds",
    "form_fields",
    "given_fields",
    "whole_number",
]

QUERY_FIELDS_MAX = 100
WHOLE_NUMBER_MAX = 2**63 - 1
"""What databases hold."""

LIMIT_MAX = 1_000

Limit = Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)]
"""How many lines of a list are wanted at once."""
Count = Annotated[int, msgspec.Meta(ge=0)]
Seconds = Annotated[float, msgspec.Meta(ge=0)]
"""A time to wait; no NaN, which no clock ever reaches."""


class PageWanted(msgspec.Struct, frozen=True):
    """Which page of a list: the first, or the one behind the `next_cursor` of another."""

    limit: Limit = LIMIT_MAX
    cursor: str | None = None


def given_fields(query: bytes) -> dict[str, str]:
    """Return the fields of a query. Raises `BadRequest`."""
    return _fields(query, "What stands behind the question mark")


def form_fields(body: bytes) -> dict[str, str]:
    """Return the fields of a form. Raises `BadRequest`."""
    return _fields(body, "The form")


def _fields(data: bytes, what: str) -> dict[str, str]:
    try:
        text = data.decode("utf-8")
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise BadRequest(f"{what} is not name=value&…") from None
    return dict(pairs)


def whole_number(text: str) -> int | None:
    """Return the number that these digits are; None where they are none, or more than a database holds."""
    if not text.isdecimal() or len(text) > len(str(WHOLE_NUMBER_MAX)):
        return None
    number = int(text)
    return number if number <= WHOLE_NUMBER_MAX else None


class QueryShape:
    """The parameters that a route takes, as a struct says. `open_ended`: those that it does not know are left alone."""

    def __init__(self, shape: type[Any], *, open_ended: bool = False) -> None:
        self._shape = shape
        self._open_ended = open_ended
        self._names = frozenset(field.encode_name for field in msgspec.structs.fields(shape))
        required = any(field.required for field in msgspec.structs.fields(shape))
        self._none = None if required else shape()

    def read(self, query: bytes) -> Any:
        """Return the parameters of a query. Raises `BadRequest`, `Invalid`."""
        return self._none if not query and self._none is not None else self.checked(given_fields(query))

    def checked(self, given: dict[str, str]) -> Any:
        """Return the parameters. Raises `BadRequest` for one that there is not, `Invalid` for one that is not right."""
        unknown = sorted(given.keys() - self._names)
        if unknown and not self._open_ended:
            takes = ", ".join(sorted(self._names)) or "none"
            raise BadRequest(f"There is no parameter {unknown[0]!r} here; there are: {takes}.")
        try:
            found = msgspec.convert(given, self._shape, strict=False)
        except msgspec.ValidationError as error:
            raise _wrong_parameter(error) from None
        for name, value in msgspec.structs.asdict(found).items():
            if isinstance(value, int) and abs(value) > WHOLE_NUMBER_MAX:
                raise Invalid(f"expected {name} to be a number of at most 64 bits, got {value}")
        return found


def _wrong_parameter(error: msgspec.ValidationError) -> Invalid:
    message, _, path = str(error).partition(" - at `$.")
    return Invalid(f"The parameters are not right: {error}.", (Problem(message, path=path.rstrip("`") or "$"),))
