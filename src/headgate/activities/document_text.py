"""The activity `document_text`: the text of a PDF, DOCX, HTML, Markdown or text file, page by page.

It reads and does nothing else, so an attempt that runs again gives the same result as long as the file is the same. The
work is done in a thread; a reading that nobody waits for any more ends at the next page.
"""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from headgate.activities.document_formats import bytes_of, media_type_of, read_document
from headgate.activities.file_values import is_file_value, path_of
from headgate.activities.parameters import refuse_unknown, wrong_parameters
from headgate.activities.text_borders import PAGE_BREAK
from headgate.core.errors import Invalid
from headgate.ports import ActivityContext, ActivityFunction, Attempt, state_folder_of

__all__ = ["document_text"]

_invalid = partial(wrong_parameters, "document_text")

FILE_BYTES_MAX = 50 * 1024 * 1024
_KNOWN = frozenset({"file", "content", "media_type"})


class _Source(msgspec.Struct, frozen=True):
    """Where the document is: a path or a content, what it is called, and what kind it is said to be."""

    name: str
    media_type: str
    path: Path | None = None
    content: str = ""


def document_text(folder: Path) -> ActivityFunction:
    """Return the activity; `folder` is the state folder, where the bytes of file values lie.

    Its result is `{text, pages: [{number, text}], page_count, empty_pages, title, media_type, name, characters}`, with
    a form feed between two pages of `text`. A path is relative to the folder of the process. Raises `Attempt`, never
    retryable: `invalid_parameters`, `file_missing`, `document_too_large`, and what `read_document` raises.
    """

    async def read(parameters: dict[str, Any], ctx: ActivityContext) -> dict[str, Any]:
        source = _source(state_folder_of(folder, ctx.task.tenant), parameters)
        stop = threading.Event()
        try:
            return await asyncio.to_thread(_read, source, stop)
        finally:
            stop.set()

    return read


def _source(folder: Path, parameters: dict[str, Any]) -> _Source:
    refuse_unknown(parameters, _KNOWN, "document_text")
    file, content, media_type = (parameters.get(name) for name in ("file", "content", "media_type"))
    if (file is None) == (content is None):
        raise _invalid(f"expected either file or content, got {'neither' if file is None else 'both'}")
    if media_type is not None and not isinstance(media_type, str):
        raise _invalid(f"expected media_type to be a text such as text/html, got {type(media_type).__name__}")
    given = file if content is None else content
    if is_file_value(given):
        return _of_file_value(folder, given, media_type or "")
    if content is not None:
        if not isinstance(content, str) or not media_type:
            raise _invalid(f"expected content to be a text beside its media_type, got {type(content).__name__}")
        return _Source("the content", media_type, content=content)
    if not isinstance(file, str) or not file or "\0" in file:
        raise _invalid(f"expected file to be a path or a file value, got {type(file).__name__}")
    if "\n" in file:  # what an input of `type: file` is where the file is plain text
        return _Source("the text", media_type or "text/plain", content=file)
    return _Source(file, media_type or "", Path(file))


def _of_file_value(folder: Path, value: dict[str, Any], media_type: str) -> _Source:
    try:
        path = path_of(folder, value)
    except Invalid as error:
        raise _invalid(str(error)) from None
    return _Source(str(value.get("name") or path.name), media_type or str(value.get("media_type") or ""), path)


def _read(source: _Source, stop: threading.Event) -> dict[str, Any]:
    data = bytes_of(source.content, source.media_type) if source.path is None else _bytes(source.name, source.path)
    media_type = media_type_of(source.name, data, source.media_type)
    document = read_document(source.name, data, media_type, charset_of=source.media_type, stopped=stop.is_set)
    text = PAGE_BREAK.join(document.pages)
    return {
        "text": text,
        "pages": [{"number": number, "text": page} for number, page in enumerate(document.pages, 1)],
        "page_count": len(document.pages),
        "empty_pages": [number for number, page in enumerate(document.pages, 1) if not page.strip()],
        "title": document.title,
        "media_type": media_type,
        "name": source.name if source.path is not None else "",
        "characters": len(text),
    }


def _bytes(name: str, path: Path) -> bytes:
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is not there"
            message = f"document_text: {name} {what} (looked for from {Path.cwd().name or '/'}). Name a file."
            raise Attempt.failed("file_missing", message, retryable=False)
        if (size := path.stat().st_size) > FILE_BYTES_MAX:
            message = f"document_text: {name} has {size:,} bytes, the most is {FILE_BYTES_MAX:,}. Divide it."
            raise Attempt.failed("document_too_large", message, retryable=False)
        return path.read_bytes()
    except OSError as error:
        message = f"document_text: {name} cannot be read: {error.strerror}."
        raise Attempt.failed("file_missing", message, retryable=False) from None
