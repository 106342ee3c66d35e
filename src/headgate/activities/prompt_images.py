"""Images for a model: an address, a `data:` URL, a file of this machine, or bytes in base64, all made into URLs.

An address is passed on, so the provider fetches it; a file is read here, and only if its first bytes are an image's: a
template must not be able to send any other file of this machine to a provider. Nothing is kept, so a second execution
reads the file anew.
"""

from __future__ import annotations

import base64
import binascii
from functools import partial
from pathlib import Path
from typing import Any, cast

from headgate.activities.parameters import wrong_parameters
from headgate.ports import Attempt

__all__ = ["image_urls", "split_parts"]

_invalid = partial(wrong_parameters, "llm_prompt")

IMAGES_MAX = 50
IMAGE_BYTES_MAX = 20 * 1024 * 1024
URL_CHARACTERS_MAX = 8_192
KINDS = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"))


def image_urls(given: list[object], place: str) -> tuple[str, ...]:
    """Return the images as URLs. Each is a text (address, `data:` URL or path), or a map of one of `url`, `path` and
    `data` (base64). Raises `Attempt` (`invalid_parameters`)."""
    if len(given) > IMAGES_MAX:
        raise _invalid(f"expected at most {IMAGES_MAX} images, got {len(given)} in {place}")
    return tuple(_image_url(image, place if len(given) == 1 else f"{place}[{n}]") for n, image in enumerate(given))


def split_parts(content: object) -> tuple[object, list[object]]:
    """Return a message's text and its images, where its content is a list of `text` and `image_url` parts; else the
    content as it is."""
    if not isinstance(content, list) or not content:
        return content, []
    texts: list[str] = []
    images: list[object] = []
    for part in cast("list[object]", content):
        fields = cast("dict[str, Any]", part) if isinstance(part, dict) else {}
        if fields.get("type") == "text" and isinstance(fields.get("text"), str):
            texts.append(fields["text"])
        elif fields.get("type") == "image_url" and "image_url" in fields:
            images.append(fields["image_url"])
        else:
            return cast("list[object]", content), []
    return "\n".join(texts), images


def _image_url(image: object, place: str) -> str:
    kind, value = _kind(image)
    if kind == "url" and isinstance(value, str):
        return _checked_url(value, place)
    if kind == "path" and isinstance(value, str):
        return _read(value, place)
    if kind == "data" and isinstance(value, str):
        return _of_bytes(_decoded(value, place), place)
    raise _invalid(f"expected {place} to be an address, a path, or a map of url, path or data (base64)")


def _kind(image: object) -> tuple[str, object]:
    if isinstance(image, str):
        return ("url" if image.startswith(("http://", "https://", "data:")) else "path"), image
    if isinstance(image, dict):
        fields = cast("dict[str, object]", image)
        kinds = [name for name in ("url", "path", "data") if name in fields]
        if len(kinds) == 1 and not fields.keys() - {*kinds, "detail"}:
            return kinds[0], fields[kinds[0]]
    return "", None


def _checked_url(url: str, place: str) -> str:
    if url.startswith("data:"):
        head, comma, body = url.partition(",")
        if not (comma and head.startswith("data:image/") and head.endswith(";base64")):
            raise _invalid(f"expected {place} to be a data URL like data:image/png;base64,…")
        _of_bytes(_decoded(body, place), place)
        return url
    if not url.startswith(("http://", "https://")) or len(url) > URL_CHARACTERS_MAX:
        raise _invalid(f"expected {place} to be an http address of at most {URL_CHARACTERS_MAX} characters")
    return url


def _read(path: str, place: str) -> str:
    try:
        with Path(path).open("rb") as file:
            content = file.read(IMAGE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no such name is possible"
        raise _invalid(f"{place}: the image {path[:200]!r} cannot be read: {reason}") from None
    return _of_bytes(content, place)


def _decoded(text: str, place: str) -> bytes:
    if len(text) > IMAGE_BYTES_MAX * 4 // 3 + 4:
        raise _too_large(place)
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _invalid(f"expected {place} to be base64, and it is not") from None


def _of_bytes(content: bytes, place: str) -> str:
    if len(content) > IMAGE_BYTES_MAX:
        raise _too_large(place)
    kind = next((kind for start, kind in KINDS if content.startswith(start)), "")
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        kind = "image/webp"
    if not kind:
        raise _invalid(f"expected {place} to be a PNG, JPEG, GIF or WebP image; its first bytes are none's")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _too_large(place: str) -> Attempt:
    return _invalid(f"expected {place} to have at most {IMAGE_BYTES_MAX // 1024**2} MB")
