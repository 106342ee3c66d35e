"""What keeps secrets unreadable to whoever has the database but not the key: AES-256-GCM under a key from outside it.

A sealed value names the key that sealed it, so keys can be changed: `HEADGATE_KEY` may hold several, divided by commas;
the first seals, each opens what it has sealed. It is bound to its `context` (which secret of which tenant), so nobody
who can write to the database can put one sealed value in the place of another.

The nonce is random, 96 bits: one key is good for some 2^32 values, far more than people make secrets.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from headgate.core.errors import Invalid, Unavailable

__all__ = ["FILE", "KEY_BYTES", "VARIABLE", "SealBroken", "Sealer", "WrongKey", "new_key", "sealer_of"]

KEY_BYTES = 32
KEYS_MAX = 8
VARIABLE = "HEADGATE_KEY"
FILE = "key"

_VERSION = b"\x01"
_NAME_BYTES = 8
_NONCE_BYTES = 12


class WrongKey(Unavailable):
    """What is sealed was sealed with a key that is not here."""

    code = "wrong_key"


class SealBroken(Invalid):
    """What is sealed was changed, or stands in the place of something else."""

    code = "seal_broken"


class Sealer:
    """`seal` and `open`, with the first key and with any of them. Keys are `KEY_BYTES` long."""

    def __init__(self, key: bytes, *older: bytes) -> None:
        assert all(len(one) == KEY_BYTES for one in (key, *older))
        self._first = _name_of(key)
        self._keys = {_name_of(one): one for one in (key, *older)}

    def seal(self, value: bytes, context: str) -> bytes:
        """Return `value` unreadable; `open` gives it back to whoever has the key and says the same `context`."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(self._keys[self._first]).encrypt(nonce, value, context.encode())
        return _VERSION + self._first + nonce + sealed

    def open(self, sealed: bytes, context: str) -> bytes:
        """Return what was sealed. Raises `WrongKey` and `SealBroken`."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        name, nonce, rest = _parts(sealed, context)
        if name not in self._keys:
            has = ", ".join(key.hex() for key in self._keys)
            raise WrongKey(
                f"The {context} was sealed with the key {name.hex()}; here is {has}. Add that key to {VARIABLE}, "
                "behind the present one and a comma."
            )
        try:
            return AESGCM(self._keys[name]).decrypt(nonce, rest, context.encode())
        except InvalidTag:
            raise SealBroken(f"The {context} is not what was sealed; remove it and set it anew.") from None

    def knows(self, sealed: bytes) -> bool:
        """Whether one of the keys has sealed it."""
        return sealed[1 : 1 + _NAME_BYTES] in self._keys

    def is_current(self, sealed: bytes) -> bool:
        """Whether the first key has sealed it; what an older one has is to be sealed anew before that key goes."""
        return sealed[1 : 1 + _NAME_BYTES] == self._first


def _parts(sealed: bytes, context: str) -> tuple[bytes, bytes, bytes]:
    head = len(_VERSION) + _NAME_BYTES
    if sealed[:1] != _VERSION or len(sealed) <= head + _NONCE_BYTES:
        raise SealBroken(f"The {context} is not a sealed value; remove it and set it anew.")
    return sealed[1:head], sealed[head : head + _NONCE_BYTES], sealed[head + _NONCE_BYTES :]


def _name_of(key: bytes) -> bytes:
    return hashlib.sha256(b"headgate key name\0" + key).digest()[:_NAME_BYTES]


# --- Where the key is ----------------------------------------------------------------------------------------------


def new_key() -> str:
    """Return a new key as `HEADGATE_KEY` takes it."""
    return _written(secrets.token_bytes(KEY_BYTES))


def sealer_of(environment: Mapping[str, str], folder: Path | None) -> Sealer:
    """Return the sealer of `HEADGATE_KEY`, or of the file `key` in `folder`, which is made where it is missing.

    `folder` None: several processes on several machines share the database, so no file of one of them will do.
    Raises `Invalid` for keys that are none, a file that others may read, and where the key must be given.
    """
    given = environment.get(VARIABLE, "").strip()
    if given:
        return _sealer(given, VARIABLE)
    if folder is None:
        raise Invalid(
            "The database is shared, so the key that secrets are sealed with must be given to each process, and "
            f"{VARIABLE} is not set. Of a database that was copied from a file it is what the file `key` there says; "
            f"the first time take a new one, {VARIABLE}=$(openssl rand -base64 32), and keep it."
        )
    path = folder / FILE
    return _sealer(_read(path) or _make(path), str(path))


def _sealer(text: str, where: str) -> Sealer:
    keys = [_key(part.strip(), where) for part in text.split(",")]
    if len(keys) > KEYS_MAX:
        raise Invalid(f"{where}: expected at most {KEYS_MAX} keys, got {len(keys)}.")
    return Sealer(*keys)


def _key(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise Invalid(
            f"{where}: expected {KEY_BYTES} random bytes in base64 (44 characters), got {len(text)} characters. "
            "`openssl rand -base64 32` makes some."
        )
    return key


def _written(key: bytes) -> str:
    return base64.b64encode(key).decode()


def _read(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text("ascii").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"The key {path} cannot be read: {error}.") from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Invalid(f"The key {path} may be read by others (mode {stat.S_IMODE(mode):o}): `chmod 600 {path}`.")
    return text


def _make(path: Path) -> str:
    """Write a new key, whole or not at all; of two processes that do, one wins and both have its key."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(new_key() + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    except OSError as error:
        raise Unavailable(f"The key {path} cannot be made: {error.strerror or error}. Or set {VARIABLE}.") from None
    return _read(path)
