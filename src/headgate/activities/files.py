"""The activities `file_read` and `file_write`: files of this machine, in and out.

Paths are relative to the folder of the process. A file is written under another name, synced and renamed, so that a
crash leaves the old file or the new one, never half of one; writing once more leaves the same.
"""

from __future__ import annotations

import asyncio
import base64
import mimetypes
import os
import secrets
from pathlib import Path
from typing import Any, Literal

import msgspec

from headgate.activities.parameters import parameters_of
from headgate.core.values import FILE_MARK
from headgate.ports import ActivityContext, ActivityFunction, Attempt, Files

__all__ = ["file_read", "file_write"]

BYTES_MAX = 50 * 1024 * 1024


class _Read(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    file: str | dict[str, Any]
    as_: Literal["auto", "text", "json", "base64", "file"] = msgspec.field(default="auto", name="as")
    encoding: str = "utf-8"


class _Write(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    path: str
    content: Any
    encoding: str = "utf-8"
    if_exists: Literal["replace", "fail", "append"] = "replace"


def file_read(files: Files) -> ActivityFunction:
    """Return the activity over kept files.

    Its result is `{content, name, size, media_type}`: of a text its text, of other files base64, unless `as` says
    `text`, `json`, `base64` or `file` (a file value, whose bytes are kept as they are now). Raises `Attempt`, not tried
    again: `invalid_parameters`, `file_missing`, `file_too_large`, `not_text`.
    """

    async def read(parameters: dict[str, Any], ctx: ActivityContext) -> dict[str, Any]:
        asked = parameters_of("file_read", parameters, _Read)
        return await asyncio.to_thread(_read, asked, files.of(ctx.task.tenant))

    return read


def file_write(files: Files) -> ActivityFunction:
    """Return the activity over kept files.

    It writes `content` (a text as it is, a file value's bytes, `{"$base64": …}`, anything else as JSON) to `path`,
    whose folder is made; its result is `{path, size, file}`, the last a file value. Raises `Attempt`:
    `invalid_parameters`, `file_exists` (with `if_exists: fail`), `file_missing`; `file_not_kept` (tried again: there
    may be room then). With `if_exists: append` a second execution appends once more.
    """

    async def write(parameters: dict[str, Any], ctx: ActivityContext) -> dict[str, Any]:
        asked = parameters_of("file_write", parameters, _Write)
        return await asyncio.to_thread(_write, asked, files.of(ctx.task.tenant))

    return write


def _failed(code: str, message: str, *, retryable: bool = False) -> Attempt:
    return Attempt.failed(code, message, retryable=retryable)


# --- Reading -----------------------------------------------------------------------------------------------------


def _read(asked: _Read, files: Files) -> dict[str, Any]:
    if isinstance(asked.file, dict):
        name, data = str(asked.file.get("name", "file")), _kept_bytes("file_read", asked.file, files)
    else:
        name, data = Path(asked.file).name, _path_bytes("file_read", asked.file)
    content = files.keep(data, name) if asked.as_ == "file" else _content(asked, name, data)
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return {"content": content, "name": name, "size": len(data), "media_type": media_type}


def _content(asked: _Read, name: str, data: bytes) -> Any:
    if asked.as_ == "base64":
        return base64.b64encode(data).decode()
    try:
        text = data.decode(asked.encoding)
    except LookupError:
        raise _failed("invalid_parameters", f"file_read: there is no encoding {asked.encoding!r}.") from None
    except UnicodeDecodeError as error:
        if asked.as_ == "auto":
            return base64.b64encode(data).decode()
        message = f"file_read: {name} is not {asked.encoding} text (byte {error.start}); read it with `as: base64`."
        raise _failed("not_text", message) from None
    if asked.as_ != "json":
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise _failed("not_json", f"file_read: {name} is not JSON: {error}.") from None


def _path_bytes(activity: str, text: str) -> bytes:
    path = Path(text)
    try:
        if path.is_dir():
            raise _failed("file_missing", f"{activity}: {path.name} is a folder. Name a file.")
        size = path.stat().st_size
        if size > BYTES_MAX:
            raise _failed("file_too_large", f"{activity}: {path.name} has {size:,} bytes, the most is {BYTES_MAX:,}.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise _failed("file_missing", f"{activity}: {path.name} cannot be read: {why}.") from None


def _kept_bytes(activity: str, value: dict[str, Any], files: Files) -> bytes:
    try:
        return files.read(value)
    except ValueError as error:
        raise _failed("invalid_parameters", f"{activity}: {error}.") from None
    except OSError:
        message = f"{activity}: the file {value.get('name', '')!r} is not kept any more (or was never kept here)."
        raise _failed("file_missing", message) from None


# --- Writing -----------------------------------------------------------------------------------------------------


def _write(asked: _Write, files: Files) -> dict[str, Any]:
    data, path = _bytes(asked, files), Path(asked.path)
    if len(data) > BYTES_MAX:
        raise _failed("file_too_large", f"file_write: the content has {len(data):,} bytes, the most is {BYTES_MAX:,}.")
    try:
        if asked.if_exists == "fail" and path.exists() and path.read_bytes() != data:
            raise _failed("file_exists", f"file_write: {path.name} is there already, with other content.")
        if asked.if_exists == "append" and path.exists():
            data = path.read_bytes() + data
        _replace(path, data)
        value = files.keep(data, path.name)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise _failed("file_not_kept", f"file_write: {path.name} cannot be written: {why}.", retryable=True) from None
    return {"path": asked.path, "size": len(data), "file": value}


def _bytes(asked: _Write, files: Files) -> bytes:
    content = asked.content
    if isinstance(content, str):
        try:
            return content.encode(asked.encoding)
        except (LookupError, UnicodeEncodeError) as error:
            raise _failed("invalid_parameters", f"file_write: {error}.") from None
    if isinstance(content, dict) and FILE_MARK in content:
        return _kept_bytes("file_write", content, files)
    if isinstance(content, dict) and set(content) == {"$base64"}:
        return base64.b64decode(str(content["$base64"]))
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}.unfinished")
    try:
        with unfinished.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
