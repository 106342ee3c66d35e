"""Routes of files: those among a run's values, those that a worker sends for its output, those sent for a start.

No file stands in memory as a whole, in either direction. A file is kept by its content; its name is a word that travels
with it and is no path of anything. What is sent out is never shown by a browser as a page of this server: it is an
attachment, of the type that it was given, and of no other.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from headgate.api.http.errors import NoSuchRange
from headgate.api.http.route import Call, Chunks, NoQuery, Route, Streamed
from headgate.api.http.wire import rfc3339
from headgate.core.errors import Invalid, NotFound, Refused, Unavailable
from headgate.core.values import FILE_MARK
from headgate.core.view import RunView
from headgate.ports import FileBeingKept, Files

__all__ = ["ROUTES"]

INPUT = "INPUT"
"""Stands for an activity's key where the run's input is meant."""
NAME_CHARACTERS_MAX = 200
PIECE_BYTES = 256 * 1024
MEDIA_TYPE = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}(; ?charset=[\w-]{1,40})?", re.ASCII)
RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


class FileSent(msgspec.Struct, frozen=True):
    """A file that was sent; `file` is the value to use: in the input of a start, or in an activity's output."""

    filename: str
    size: int
    content_type: str
    file: dict[str, Any]
    workflow_id: str | None = None
    activity_key: str | None = None
    created_at: str | None = None


# --- In ------------------------------------------------------------------------------------------------------------


async def send_file(call: Call[NoQuery, Chunks]) -> FileSent:
    """Send a file to use in the input of a start; it is kept for a day, and as long as a run names it"""
    name = _checked_name(call.path["name"])
    value = await _kept(call.files, name, call.body)
    return FileSent(name, value["size"], value["media_type"], value)


async def send_activity_file(call: Call[NoQuery, Chunks]) -> FileSent:
    """Send a file of an activity's output; its report names it, or declares it as an output of type file"""
    name, key = _checked_name(call.path["name"]), call.path["key"]
    row = await call.records.row(call.path["id"])
    await call.doors.texts.require(row.id, key)
    if row.head.finished_at is not None:
        raise Refused(f"Run {row.id} has ended; nothing can be added to it.")
    value = await _kept(call.files, name, call.body)
    at = await call.doors.uploads.note(call.caller.tenant, row.id, key, name, value)
    return FileSent(name, value["size"], value["media_type"], value, row.id, key, rfc3339(at))


async def _kept(files: Files, name: str, body: Chunks) -> dict[str, Any]:
    """Keep a body as a file. What ends before its end is not kept."""
    media_type = body.content_type if MEDIA_TYPE.fullmatch(body.content_type) else ""
    if media_type == "application/x-www-form-urlencoded":
        media_type = ""  # what curl says of any bytes, unless it is told something else
    try:
        file = await asyncio.to_thread(files.begin, name, media_type)
        try:
            await _write(file, body)
            return await asyncio.to_thread(file.finish)
        finally:
            await asyncio.to_thread(file.discard)
    except OSError as error:
        raise Unavailable(f"The file cannot be kept: {error.strerror or error}.") from None


async def _write(file: FileBeingKept, body: Chunks) -> None:
    waiting: list[bytes] = []
    size = 0
    async for piece in body.pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            await asyncio.to_thread(file.write, b"".join(waiting))
            waiting, size = [], 0
    await asyncio.to_thread(file.write, b"".join(waiting))


def _checked_name(name: str) -> str:
    if name in (".", "..") or len(name) > NAME_CHARACTERS_MAX or not name.isprintable() or set(name) & set('/\\"'):
        raise Invalid(f"expected a file name of at most {NAME_CHARACTERS_MAX} characters and no path, got {name!r}")
    return name


# --- Out -----------------------------------------------------------------------------------------------------------


async def get_activity_file(call: Call[NoQuery, None]) -> Streamed:
    """Take a file out of an activity's output (or, with the key INPUT, of the run's input), by its name or its place"""
    run, key, name = await call.records.run_id(call.path["id"]), call.path["key"], call.path["name"]
    value = _find(await call.desk.show(run), key, name)
    value = value or await call.doors.uploads.find(call.caller.tenant, run, key, name)
    if value is None:
        raise NotFound(f"Activity {key!r} of run {run} has no file {name!r}.")
    try:
        size = await asyncio.to_thread(call.files.size, value)
    except (OSError, ValueError):
        raise NotFound(f"The bytes of {name!r} are not kept any more.") from None
    return _sent(call.files, value, size, call.headers.get("range", ""))


def _find(view: RunView, key: str, name: str) -> dict[str, Any] | None:
    """Return the file of this name among the values of an activity; or the one that stands in the field `name`."""
    within = view.input if key == INPUT else next((one.output for one in view.activities if one.key == key), None)
    if isinstance(within, Mapping) and isinstance(field := within.get(name), dict) and FILE_MARK in field:
        return field
    return next((value for value in _files_in(within) if value.get("name") == name), None)


def _files_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict) and FILE_MARK in value:
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _files_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from _files_in(part)


def _sent(files: Files, value: dict[str, Any], size: int, wanted: str) -> Streamed:
    begin, end = _range(wanted, size)
    media_type = str(value.get("media_type", ""))
    headers = (
        ("content-length", str(end - begin)),
        ("content-disposition", f"attachment; filename*=UTF-8''{quote(str(value.get('name', 'file')), safe='')}"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox; default-src 'none'"),
        ("accept-ranges", "bytes"),
        ("etag", f'"{value[FILE_MARK]}"'),
        *((("content-range", f"bytes {begin}-{end - 1}/{size}"),) if end - begin < size else ()),
    )
    return Streamed(
        _pieces(files, value, begin, end),
        content_type=media_type if MEDIA_TYPE.fullmatch(media_type) else "application/octet-stream",
        status=206 if end - begin < size else 200,
        headers=headers,
        whole=True,
    )


def _range(wanted: str, size: int) -> tuple[int, int]:
    """Return from where until before where; all of it where the range is of a kind that is not known here."""
    found = RANGE.fullmatch(wanted)
    if found is None or not (found[1] or found[2]):
        return 0, size
    if not found[1]:
        return max(0, size - int(found[2])), size
    begin, end = int(found[1]), min(size, int(found[2]) + 1) if found[2] else size
    if begin >= end:
        raise NoSuchRange(f"There is no {wanted} in a file of {size} bytes.")
    return begin, end


async def _pieces(files: Files, value: dict[str, Any], begin: int, end: int) -> AsyncGenerator[bytes]:
    with await asyncio.to_thread(files.open, value) as file:
        await asyncio.to_thread(file.seek, begin)
        while begin < end and (piece := await asyncio.to_thread(file.read, min(PIECE_BYTES, end - begin))):
            begin += len(piece)
            yield piece


ROUTES = (
    Route(
        method="GET",
        path="/workflows/{id}/activities/{key}/files/{name}",
        function=get_activity_file,
        answer=bytes,
        other_statuses=(206,),
        refusals=(404, 416),
    ),
    Route(
        method="POST",
        path="/workflows/{id}/activities/{key}/files/{name}",
        function=send_activity_file,
        body=Chunks,
        answer=FileSent,
        status=201,
        scope="workers",
        refusals=(404, 409),
    ),
    Route(
        method="POST",
        path="/files/{name}",
        function=send_file,
        body=Chunks,
        answer=FileSent,
        status=201,
        scope="runs:write",
    ),
)
