"""How JSON values become PostgreSQL's and back: as PostgreSQL's own text, so that nothing is rounded on the way.

A parameter is sent as text and read by the server as the type that it infers for the place; a result is read from the
server's text. So every type works, also one that nobody here has heard of, and numbers keep every digit.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from headgate.activities.sql_rows import as_base64, as_json_float

if TYPE_CHECKING:
    from asyncpg import Connection

__all__ = ["set_codecs", "set_session"]

SESSION = """
set datestyle = iso;
set intervalstyle = iso_8601;
set timezone = 'UTC';
set bytea_output = hex;
set extra_float_digits = 1;
"""
"""What the server prints does not hang on how it was set up. Not said when connecting: a pooler refuses most of it."""

ZONE = re.compile(r"([+-]\d\d)$")


async def set_session(connection: Connection[Any]) -> None:
    """Have values printed in one way; the driver's pool resets that whenever a connection is given back."""
    await connection.execute(SESSION)


async def set_codecs(connection: Connection[Any]) -> None:
    """Teach a connection to speak text of every type whose binary form would lose something or ask for Python types."""
    for name, decode in DECODERS.items():
        await connection.set_type_codec(name, schema="pg_catalog", encoder=_encode, decoder=decode, format="text")
    for name in ("json", "jsonb"):
        await connection.set_type_codec(
            name, schema="pg_catalog", encoder=_encode_json, decoder=msgspec.json.decode, format="text"
        )
    await connection.set_type_codec(
        "bytea", schema="pg_catalog", encoder=_encode_bytes, decoder=_decode_bytes, format="text"
    )


def _encode(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return msgspec.json.encode(value).decode()


def _encode_json(value: Any) -> str:
    """A text that is a JSON object or list stands for that; any other text is a JSON string."""
    if isinstance(value, str) and value.strip()[:1] in ("{", "["):
        try:
            msgspec.json.decode(value)
        except msgspec.DecodeError:
            return msgspec.json.encode(value).decode()
        return value
    return msgspec.json.encode(value).decode()


def _encode_bytes(value: Any) -> str:
    return "\\x" + base64.b64decode(str(value), validate=True).hex()


def _decode_bytes(text: str) -> str:
    return as_base64(bytes.fromhex(text.removeprefix("\\x")))


def _time(text: str) -> str:
    """Return a time as ISO 8601: `T` in the middle, minutes in the zone. `infinity` and years BC stay as they are."""
    if not text[:1].isdigit() or text.endswith("BC"):
        return text
    return ZONE.sub(r"\1:00", text.replace(" ", "T", 1))


def _float(text: str) -> float | str:
    return as_json_float(float(text))


TEXTS = (
    *("numeric", "money", "date", "time", "interval", "uuid", "inet", "cidr", "macaddr", "macaddr8", "bit", "varbit"),
    *("point", "line", "lseg", "box", "path", "polygon", "circle", "tsvector", "tsquery", "xml", "pg_lsn"),
    *("text", "varchar", "bpchar", "name"),
)

DECODERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), int),
    **dict.fromkeys(("float4", "float8"), _float),
    **dict.fromkeys(("timestamp", "timestamptz", "timetz"), _time),
    **dict.fromkeys(TEXTS, str),
    "bool": "t".__eq__,
}
