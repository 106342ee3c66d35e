"""Lists in pages. A cursor is the id or name of the last line of a page; the next one begins behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from headgate.core.errors import Invalid

__all__ = ["Page", "bad_cursor", "page_behind", "page_by_name", "page_of"]

Line = TypeVar("Line")


class Page(NamedTuple, Generic[Line]):
    """`next`: the cursor of the page behind this one; None: there is none."""

    lines: Sequence[Line]
    next: str | None


def page_of(found: Sequence[Line], limit: int, name: Callable[[Line], str]) -> Page[Line]:
    """Return the first `limit` of what was found; that more was found says that there is another page."""
    if len(found) <= limit:
        return Page(found, None)
    return Page(found[:limit], name(found[limit - 1]))


def page_behind(whole: Sequence[Line], cursor: str | None, limit: int, name: Callable[[Line], str]) -> Page[Line]:
    """Return a page of a list that is at hand as a whole, and whose order stays. Raises `Invalid` for a cursor that is
    none of its lines."""
    begin = 0
    if cursor is not None:
        begin = next((at for at, line in enumerate(whole, 1) if name(line) == cursor), 0)
        if not begin:
            raise bad_cursor(cursor)
    return page_of(whole[begin : begin + limit + 1], limit, name)


def page_by_name(whole: Sequence[Line], cursor: str | None, limit: int, name: Callable[[Line], str]) -> Page[Line]:
    """Return a page of a list that is at hand as a whole and goes by name: the next begins behind the name of the last,
    whether or not that one is still there."""
    behind = whole if cursor is None else [line for line in whole if name(line) > cursor]
    return page_of(behind, limit, name)


def bad_cursor(given: str) -> Invalid:
    """Return what is said to whoever gives a cursor that leads nowhere."""
    return Invalid(f"expected cursor to be the next_cursor of an earlier answer, got {given!r}; begin anew")
