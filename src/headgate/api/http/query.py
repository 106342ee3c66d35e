"""What stands behind the question mark, checked against a route's type."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec

from headgate.api.http.errors import BadRequest
from headgate.core.errors import Invalid

__all__ = ["QueryShape", "given_fields"]

QUERY_FIELDS_MAX = 100


def given_fields(query: bytes) -> dict[str, str]:
    """Return the fields of a query. Raises `BadRequest`."""
    try:
        text = query.decode("utf-8")
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=QUERY_FIELDS_MAX)
    except ValueError:
        raise BadRequest("What stands behind the question mark is not name=value&…") from None
    return dict(pairs)


class QueryShape:
    """The parameters that a route takes, as a struct says."""

    def __init__(self, shape: type[Any]) -> None:
        self._shape = shape
        self._names = frozenset(field.encode_name for field in msgspec.structs.fields(shape))
        required = any(field.required for field in msgspec.structs.fields(shape))
        self._none = None if required else shape()

    def read(self, query: bytes) -> Any:
        """Return the parameters of a query. Raises `BadRequest`, `Invalid`."""
        return self._none if not query and self._none is not None else self.checked(given_fields(query))

    def checked(self, given: dict[str, str]) -> Any:
        """Return the parameters. Raises `BadRequest` for one that there is not, `Invalid` for one that is not right."""
        unknown = sorted(given.keys() - self._names)
        if unknown:
            takes = ", ".join(sorted(self._names)) or "none"
            raise BadRequest(f"There is no parameter {unknown[0]!r} here; there are: {takes}.")
        try:
            return msgspec.convert(given, self._shape, strict=False)
        except msgspec.ValidationError as error:
            raise Invalid(f"The parameters are not right: {error}.") from None
