"""What a script's values look like as JSON: numbers, times, arrays, frames, records, each by what it can do.

Part of the process that runs a script: it knows only the standard library, and of the libraries that a script uses
only what their values show. numpy, pandas and the others are never imported here.
"""

from __future__ import annotations

import binascii
import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Form", "Unfit", "is_instance", "plain", "plain_form", "prefer"]

Form = tuple[Callable[[Any], bool], Callable[[Any], Any]]
"""A test for a kind of value, and what makes plain JSON of it."""


class Unfit(Exception):
    """A value that is not JSON and cannot become it. `path` grows from the inside out."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path = ""


def plain(value: Any) -> Any:
    """Return `value` as None, bool, int, float, str, list or dict; raise `Unfit` where that cannot be."""
    kind = type(value)
    if value is None or kind is bool or kind is int:
        return value
    if kind is str:
        return _text(value)
    if kind is float:
        return _number(value)
    if kind is dict:
        return _object(value)
    if kind is list or kind is tuple:
        return _array(value)
    return _converted(value)


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unfit("text with half of a surrogate pair, which is not Unicode") from None
    return value


def _number(value: float) -> float:
    if value != value or value in (float("inf"), float("-inf")):
        raise Unfit(f"{value}, which JSON does not have; say what it means, for example None")
    return value


def _array(values: Any) -> list[Any]:
    items: list[Any] = []
    try:
        for value in values:
            items.append(plain(value))
    except Unfit as error:
        error.path = f"[{len(items)}]{error.path}"
        raise
    return items


def _object(values: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in values.items():
        name = key if type(key) is str else _key(key)
        try:
            fields[_text(name)] = plain(value)
        except Unfit as error:
            error.path = f".{name}{error.path}"
            raise
    return fields


def _key(key: Any) -> str:
    name = plain(key)
    if isinstance(name, (dict, list)):
        raise Unfit(f"a key of type {type(key).__name__}; use text or numbers as keys")
    return name if isinstance(name, str) else json.dumps(name)


def prefer(form: Form) -> None:
    """Have `form` asked before all others, for the rest of this process."""
    _preferred.insert(0, form)


def _converted(value: Any) -> Any:
    """Return what is not plain already by the first form that fits it."""
    for fits, convert in _preferred:
        if fits(value):
            return convert(value)
    return plain_form(value)


def plain_form(value: Any) -> Any:
    """Return `value` by the forms that every script has, whatever is preferred to them; raise `Unfit`."""
    for fits, convert in FORMS:
        if fits(value):
            return convert(value)
    reason = f"a value of type {type(value).__name__}; put text, numbers, lists or dictionaries there"
    raise Unfit(reason)


def _has(*names: str) -> Callable[[Any], bool]:
    return lambda value: not isinstance(value, type) and all(hasattr(value, name) for name in names)


def is_instance(module: str, name: str) -> Callable[[Any], bool]:
    """Return a test for a class of a module that is only there if the script has imported it."""
    return lambda value: isinstance(value, getattr(sys.modules.get(module), name, ()))


def _numpy(value: Any) -> Any:
    kind = getattr(value.dtype, "kind", "")
    if kind in ("M", "m") and type(value).__module__.partition(".")[0] == "numpy":
        # Of nanoseconds numpy makes plain integers; of microseconds it makes datetimes, and None of NaT.
        value = value.astype("datetime64[us]" if kind == "M" else "timedelta64[us]")
    return plain(value.tolist())


def _frame(value: Any) -> list[Any]:
    """Return a pandas frame as a list of rows; an index that has a name is a column like the others."""
    if any(name is not None for name in value.index.names):
        value = value.reset_index()
    floats = {name for name, dtype in value.dtypes.items() if getattr(dtype, "kind", "") == "f"}
    rows: list[dict[Any, Any]] = value.to_dict(orient="records")
    for row in rows:
        for name, cell in row.items():
            # So pandas marks missing text. In a column of floats it may be a result, and is refused as such.
            if type(cell) is float and cell != cell and name not in floats:
                row[name] = None
    return _array(rows)


def _series(value: Any) -> Any:
    """Return a pandas series as a list, or, if its index says more than the position, as a map."""
    return plain(value.tolist() if type(value.index).__name__ == "RangeIndex" else value.to_dict())


def _set(value: Any) -> list[Any]:
    """Return a set as a list in an order that is the same in every process."""
    items = _array(value)
    try:
        return sorted(items)
    except TypeError:
        return sorted(items, key=json.dumps)


def _decimal(value: Any) -> str:
    if not value.is_finite():
        raise Unfit(f"{value}, which JSON does not have; say what it means, for example None")
    return str(value)


def _missing(value: Any) -> bool:
    return type(value).__name__ in ("NAType", "NaTType")


def _base64(value: Any) -> str:
    return binascii.b2a_base64(bytes(value), newline=False).decode("ascii")


def _fields(value: Any, names: Any) -> dict[str, Any]:
    return _object({name: getattr(value, name) for name in names})


_preferred: list[Form] = []

FORMS: tuple[Form, ...] = (
    (_missing, lambda _: None),  # before datetime: pandas' NaT is one
    (is_instance("enum", "Enum"), lambda value: plain(value.value)),
    (_has("to_dict", "columns", "index", "dtypes"), _frame),
    (_has("to_dict", "index", "tolist"), _series),
    (_has("to_dicts", "columns"), lambda value: _array(value.to_dicts())),  # polars
    (_has("to_pylist", "column_names"), lambda value: _array(value.to_pylist())),  # pyarrow
    (is_instance("polars", "LazyFrame"), lambda value: _array(value.collect().to_dicts())),
    (_has("dtype", "tolist"), _numpy),
    (_has("dtype", "to_list"), lambda value: _array(value.to_list())),
    (lambda value: isinstance(value, str), lambda value: _text(str.__str__(value))),
    (lambda value: isinstance(value, int), int),
    (lambda value: isinstance(value, float), lambda value: _number(float(value))),
    (lambda value: isinstance(value, Mapping), _object),
    (lambda value: isinstance(value, (set, frozenset)), _set),
    (lambda value: isinstance(value, (bytes, bytearray, memoryview)), _base64),
    (_has("isoformat"), lambda value: value.isoformat()),
    (_has("total_seconds"), lambda value: _number(value.total_seconds())),
    (is_instance("decimal", "Decimal"), _decimal),
    (is_instance("uuid", "UUID"), str),
    (_has("__fspath__"), lambda value: plain(os.fspath(value))),
    (_has("__dataclass_fields__"), lambda value: _fields(value, value.__dataclass_fields__)),
    (_has("__struct_fields__"), lambda value: _fields(value, value.__struct_fields__)),
    (_has("model_dump"), lambda value: plain(value.model_dump())),  # pydantic
    (_has("__attrs_attrs__"), lambda value: _fields(value, [one.name for one in value.__attrs_attrs__])),
    (lambda value: isinstance(value, (list, tuple)), _array),
    (is_instance("collections", "deque"), _array),
    (lambda value: isinstance(value, (range, type({}.keys()), type({}.values()), type({}.items()))), _array),
)
