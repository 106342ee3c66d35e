"""Frames that pass from script to script as Parquet, in files that are named by the digest of what is in them.

In OUTPUT, and so in the log, stands a small map in the frame's place; INPUT of the next script holds the frame again,
read when it is first asked for. So neither the engine nor the log ever holds the rows. The same frame is the same
file, however often it is made; a file is complete and on disk before the map that names it leaves the script.

Part of the process that runs a script: it imports only the standard library, and the others where they are used.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, ItemsView, Iterator, ValuesView
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from headgate.activities.script_values import Unfit, is_instance, plain, plain_form, prefer

__all__ = ["FrameMissing", "Inputs", "Shelf", "frame_files_of", "remove_unfinished"]

FRAME = "$frame"
ROWS_MAX = 1_000
"""A frame of at most so many rows, and so many bytes as JSON, is a list of rows: templates and people can read it."""
JSON_BYTES_MAX = 64 * 1024
ROWS_AS_JSON_MAX = 100_000
"""What Parquet cannot hold becomes a list of rows, up to this many."""
COLUMNS_MAX = 100
"""How many columns the map names; the file has all of them."""
UNFINISHED = "new-"
DIGEST = re.compile(r"[0-9a-f]{64}")


class FrameMissing(Exception):
    """The file of a frame is not there any more."""


def frame_files_of(value: Any) -> frozenset[str]:
    """Return the digests of all frames that a JSON value refers to; their files are `<first two>/<digest>.parquet`."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if _is_reference(one):
            found.add(one[FRAME])
        elif isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return frozenset(found)


def remove_unfinished(folder: Path) -> None:
    """Remove what scripts that were killed while writing have left. For when no script runs."""
    for path in folder.glob(f"{UNFINISHED}*"):
        with contextlib.suppress(OSError):
            path.unlink()


def _is_reference(value: Any) -> bool:
    if not isinstance(value, dict) or value.get("kind") not in KINDS:
        return False
    digest = value.get(FRAME)
    return isinstance(digest, str) and DIGEST.fullmatch(digest) is not None


# --- The shelf -------------------------------------------------------------------------------------------------


class Shelf:
    """The folder of the frames, as one script sees it."""

    def __init__(self, folder: str, file_bytes_max: int) -> None:
        self._folder = Path(folder)
        self._file_bytes_max = file_bytes_max

    def open(self) -> None:
        """Have large frames in OUTPUT go to the shelf, from now on."""
        prefer((lambda value: type(value) is Inputs, _passed_on))
        prefer((lambda value: _kind_of(value) is not None, self.put))

    def put(self, frame: Any) -> Any:
        """Return the frame as a list of rows if it is small, else the map that stands for its file."""
        kind = _kind_of(frame)
        assert kind is not None
        few = KINDS[kind].rows(frame) <= ROWS_MAX
        if few and len(json.dumps(rows := plain_form(frame), ensure_ascii=False).encode()) <= JSON_BYTES_MAX:
            return rows
        try:
            return self._written(frame, kind)
        except (MemoryError, Unfit):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a library raises for what it cannot write
            if KINDS[kind].rows(frame) > ROWS_AS_JSON_MAX:
                raise Unfit(f"a frame that does not become a Parquet file: {type(error).__name__}: {error}") from None
            return plain_form(frame)

    def unpacked(self, value: Any) -> Any:
        """Return INPUT with its frames: those in maps are read when they are asked for, others now."""
        if _is_reference(value):
            return self.read(value)
        if isinstance(value, list):
            return [self.unpacked(one) for one in value]
        if not isinstance(value, dict):
            return value
        if not any(_is_reference(one) for one in value.values()):
            return {name: self.unpacked(one) for name, one in value.items()}
        return Inputs(
            (name, _Unread(self, one) if _is_reference(one) else self.unpacked(one)) for name, one in value.items()
        )

    def read(self, reference: dict[str, Any]) -> Any:
        """Return the frame, of the kind that it was. Raises `FrameMissing`."""
        path = self._path(reference[FRAME])
        if not path.is_file():
            message = (
                f"the file of this frame of {reference.get('rows')} rows is gone: {path}. Frames go with the run that "
                "made them; run again the activity whose output it is"
            )
            raise FrameMissing(message)
        return KINDS[reference["kind"]].read(str(path))

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / f"{digest}.parquet"

    def _written(self, frame: Any, kind: str) -> dict[str, Any]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=UNFINISHED, dir=self._folder)
        try:
            KINDS[kind].write(frame, name)
            size = Path(name).stat().st_size
            if size > self._file_bytes_max:
                raise Unfit(f"a frame whose file has {size} bytes, more than {self._file_bytes_max} (file_bytes_max)")
            digest = self._shelved(name)
        finally:
            os.close(descriptor)
            Path(name).unlink(missing_ok=True)
        columns = KINDS[kind].columns(frame)
        named = dict(list(columns.items())[:COLUMNS_MAX])
        left_out = {"columns_left_out": len(columns) - COLUMNS_MAX} if len(columns) > COLUMNS_MAX else {}
        rows = _rows_of_file(self._path(digest), kind, frame)
        return {FRAME: digest, "kind": kind, "rows": rows, "bytes": size, "columns": named, **left_out}

    def _shelved(self, name: str) -> str:
        """Give a written file its name and return the digest. An equal one is replaced, and so is young again."""
        with Path(name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            Path(name).chmod(0o400)
            os.fsync(file.fileno())
        path = self._path(digest)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        Path(name).replace(path)
        _sync_folder(path.parent)
        return digest


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- INPUT -----------------------------------------------------------------------------------------------------


class _Unread(NamedTuple):
    """A frame that nobody has asked for yet."""

    shelf: Shelf
    reference: dict[str, Any]

    def __repr__(self) -> str:
        return f"<{self.reference['kind']} frame of {self.reference.get('rows')} rows, not read yet>"


class Inputs(dict[str, Any]):
    """A map of INPUT that holds frames, each read when it is first asked for.

    A dictionary in all it does. What copies one (`dict(INPUT)`, `{**INPUT}`) asks for every value, for CPython takes
    the short way only where `__iter__` is the dictionary's own.
    """

    def __iter__(self) -> Iterator[str]:
        return super().__iter__()

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if type(value) is _Unread:
            value = self[name] = value.shelf.read(value.reference)
        return value

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default  # noqa: SIM401 - this is what `get` is

    def pop(self, name: str, *default: Any) -> Any:
        if name in self:
            self[name]  # which reads the frame
        return super().pop(name, *default)

    def popitem(self) -> tuple[str, Any]:
        name = next(reversed(self))
        return name, self.pop(name)

    def setdefault(self, name: str, default: Any = None) -> Any:
        super().setdefault(name, default)
        return self[name]

    def values(self) -> ValuesView[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]  # the view of any mapping, not of exactly a dict
        return ValuesView(self)

    def items(self) -> ItemsView[str, Any]:  # pyright: ignore[reportIncompatibleMethodOverride]  # as above
        return ItemsView(self)

    def copy(self) -> dict[str, Any]:
        return dict(self.items())

    def __or__(self, other: Any) -> Any:
        return self.copy() | other

    def __ror__(self, other: Any) -> Any:
        return other | self.copy()

    def __eq__(self, other: object) -> bool:
        return self.copy() == (other.copy() if isinstance(other, Inputs) else other)

    __hash__ = None  # as any dictionary's


def _passed_on(inputs: Inputs) -> dict[str, Any]:
    """Return INPUT, when it is put into OUTPUT, without reading what the script has not read."""
    fields = dict.items(inputs)
    return plain({name: value.reference if type(value) is _Unread else value for name, value in fields})


# --- Kinds of frames -------------------------------------------------------------------------------------------


class _Kind(NamedTuple):
    fits: Callable[[Any], bool]
    rows: Callable[[Any], int]
    columns: Callable[[Any], dict[str, str]]
    write: Callable[[Any, str], None]
    read: Callable[[str], Any]


def _kind_of(value: Any) -> str | None:
    return next((name for name, kind in KINDS.items() if kind.fits(value)), None)


def _rows_of_file(path: Path, kind: str, frame: Any) -> int:
    """Return the number of rows; of a frame that is only planned it is known when it is written."""
    if kind != "polars_lazy":
        return KINDS[kind].rows(frame)
    polars: Any = import_module("polars")
    return polars.scan_parquet(path).select(polars.len()).collect().item()


def _write_pandas(frame: Any, path: str) -> None:
    pyarrow: Any = import_module("pyarrow")
    _write_pyarrow(pyarrow.Table.from_pandas(frame), path)


def _read_pandas(path: str) -> Any:
    return _read_pyarrow(path).to_pandas(split_blocks=True, self_destruct=True)


def _write_pyarrow(table: Any, path: str) -> None:
    parquet: Any = import_module("pyarrow.parquet")
    parquet.write_table(table, path, compression="zstd")


def _read_pyarrow(path: str) -> Any:
    parquet: Any = import_module("pyarrow.parquet")
    return parquet.read_table(path, memory_map=True)


def _read_polars(path: str) -> Any:
    polars: Any = import_module("polars")
    return polars.read_parquet(path)


def _scan_polars(path: str) -> Any:
    polars: Any = import_module("polars")
    return polars.scan_parquet(path)


def _texts(pairs: Any) -> dict[str, str]:
    return {str(name): str(type_) for name, type_ in pairs}


KINDS: dict[str, _Kind] = {
    "pandas": _Kind(
        is_instance("pandas", "DataFrame"), len, lambda frame: _texts(frame.dtypes.items()), _write_pandas, _read_pandas
    ),
    "polars": _Kind(
        is_instance("polars", "DataFrame"),
        len,
        lambda frame: _texts(frame.schema.items()),
        lambda frame, path: frame.write_parquet(path),
        _read_polars,
    ),
    "polars_lazy": _Kind(
        is_instance("polars", "LazyFrame"),
        lambda frame: frame.head(ROWS_MAX + 1).collect().height,
        lambda frame: _texts(frame.collect_schema().items()),
        lambda frame, path: frame.sink_parquet(path),
        _scan_polars,
    ),
    "pyarrow": _Kind(
        is_instance("pyarrow", "Table"),
        len,
        lambda table: _texts((field.name, field.type) for field in table.schema),
        _write_pyarrow,
        _read_pyarrow,
    ),
}
