"""The activity `text_split`: a text in parts that a model can take, and where each part stands in it.

It computes and does nothing else, so an attempt that runs again gives the same result.
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

from headgate.activities.file_values import is_file_value, path_of
from headgate.activities.parameters import refuse_unknown, wrong_parameters
from headgate.activities.text_borders import Borders
from headgate.activities.text_parts import By, Span, parts_of
from headgate.core.errors import Invalid
from headgate.ports import ActivityContext, ActivityFunction, Attempt, state_folder_of

__all__ = ["text_split"]

_invalid = partial(wrong_parameters, "text_split")

SIZE = 1_200
SIZE_MAX = 1_000_000
TEXT_CHARACTERS_MAX = 20_000_000
FILE_BYTES_MAX = 50 * 1024 * 1024
PARTS_MAX = 50_000
_KNOWN = frozenset({"text", "size", "overlap", "by"})
_BY: tuple[str, ...] = get_args(By)


def text_split(folder: Path) -> ActivityFunction:
    """Return the activity; `folder` is the state folder, where the bytes of file values lie.

    Its result is `{parts: [text], count, places: [{index, start, end, heading?, page?}]}`: each part is exactly
    `text[start:end]`, offsets count characters. Raises `Attempt` (`invalid_parameters`, `file_missing`; neither is
    retryable).
    """

    async def split(parameters: dict[str, Any], ctx: ActivityContext) -> dict[str, Any]:
        refuse_unknown(parameters, _KNOWN, "text_split")
        size = _whole(parameters, "size", SIZE, 1, SIZE_MAX)
        overlap = _whole(parameters, "overlap", 0, 0, size // 2)
        by = parameters.get("by") or "paragraph"
        if by not in _BY:
            raise _invalid(f"expected by to be one of {', '.join(_BY)}, got {by!r}")
        given = parameters.get("text")
        own = state_folder_of(folder, ctx.task.tenant)
        return await asyncio.to_thread(_split, own, given, size, overlap, cast("By", by))

    return split


def _split(folder: Path, given: object, size: int, overlap: int, by: By) -> dict[str, Any]:
    text = _text(folder, given)
    if len(text) > TEXT_CHARACTERS_MAX:
        raise _invalid(f"the text has {len(text):,} characters, the most is {TEXT_CHARACTERS_MAX:,}; split it before")
    spans, borders = parts_of(text, size=size, overlap=overlap, by=by)
    if len(spans) > PARTS_MAX:
        raise _invalid(f"a size of {size} gives {len(spans):,} parts, the most is {PARTS_MAX:,}; set a larger size")
    return {
        "parts": [text[start:end] for start, end in spans],
        "count": len(spans),
        "places": [_place(index, span, borders) for index, span in enumerate(spans)],
    }


def _place(index: int, span: Span, borders: Borders) -> dict[str, Any]:
    place: dict[str, Any] = {"index": index, "start": span[0], "end": span[1]}
    if heading := borders.heading_at(span[0]):
        place["heading"] = heading
    if borders.pages:
        place["page"] = borders.page_at(span[0])
    return place


def _text(folder: Path, given: object) -> str:
    """Return the text, or what the file of a file value holds as UTF-8."""
    if isinstance(given, str):
        return given
    if not is_file_value(given):
        raise _invalid(f"expected text to be a text or a file value, got {type(given).__name__}")
    try:
        path = path_of(folder, given)
    except Invalid as error:
        raise _invalid(str(error)) from None
    name = str(given.get("name") or path.name)
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise _invalid(f"{name} has {path.stat().st_size:,} bytes, the most is {FILE_BYTES_MAX:,}")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise _invalid(f"{name} is no UTF-8 text; read it with document_text first") from None
    except OSError as error:
        message = f"text_split: the bytes of {name} are not in the state folder ({error.strerror}). Store it again."
        raise Attempt.failed("file_missing", message, retryable=False) from None


def _whole(parameters: dict[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = parameters.get(name)
    value = default if value is None else value
    if isinstance(value, float) and value.is_integer():  # templates that divide yield floats
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        half = " (half of size)" if name == "overlap" else ""
        raise _invalid(f"expected {name} to be a whole number from {least} to {most}{half}, got {value!r}")
    return value
