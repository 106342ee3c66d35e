"""The keys that tokens are signed with: Ed25519, kept as documents whose private part is sealed.

There is always one that signs; the first is made when it is first needed. A new one takes over (`rotate`), and the ones
before it verify until the last token that they signed is over. Every node holds the public parts in memory; whoever
meets the name of a key that it does not know looks again, at most every `RELOAD_SECONDS`, whatever it is sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from headgate.engine.sealing import Sealer
from headgate.ports import Clock, Documents

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["KIND", "LIFETIME_SECONDS_MAX", "SigningKey", "SigningKeys", "kept_keys"]

KIND = "signing_key"
TENANT = ""
"""Keys are the installation's, no tenant's."""
LIFETIME_SECONDS_MAX = 24 * 3_600
"""No token lives longer: a key that was retired so long ago has nothing left to verify, and goes."""
RELOAD_SECONDS = 0.1


class SigningKey(msgspec.Struct, frozen=True):
    """A key as it is kept. `retired_at` 0: it may sign."""

    id: str
    public: bytes
    private: bytes
    created_at: int
    retired_at: int = 0


class SigningKeys:
    """The key that signs, and those that verify. `sealer` is asked for when a key is first made or used."""

    def __init__(self, documents: Documents, clock: Clock, sealer: Callable[[], Sealer]) -> None:
        self._documents = documents
        self._clock = clock
        self._sealer = sealer
        self._keys: dict[str, SigningKey] = {}
        self._private: tuple[str, Ed25519PrivateKey] | None = None
        self._loaded_at = 0

    async def current(self) -> tuple[str, Ed25519PrivateKey]:
        """Return the key that signs, and its id. Raises `WrongKey`, `SealBroken`, `Unavailable`."""
        key = self._signing() or await self._reloaded() or await self._make()
        if self._private is None or self._private[0] != key.id:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

            raw = self._sealer().open(key.private, _context(key.id))
            self._private = key.id, Ed25519PrivateKey.from_private_bytes(raw)
        return self._private

    async def verifying(self, key_id: str) -> Ed25519PublicKey | None:
        """Return the public part of a key; None: there is no such key (any more)."""
        if key_id not in self._keys and self._clock.now() - self._loaded_at > RELOAD_SECONDS * 1_000_000:
            await self.reload()
        key = self._keys.get(key_id)
        if key is None or (key.retired_at and key.retired_at < self._over_before()):
            return None
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return Ed25519PublicKey.from_public_bytes(key.public)

    async def list(self) -> list[SigningKey]:
        """Return every key, newest first."""
        await self.reload()
        return sorted(self._keys.values(), key=lambda key: key.created_at, reverse=True)

    async def rotate(self, *, forget: bool = False) -> SigningKey:
        """Make a new key and let it sign. The ones before it verify on until their tokens are over; with `forget` they
        go at once, and every token that they signed with them."""
        new = await self._make()
        now = self._clock.now()
        for key in await self.list():
            if key.id == new.id:
                continue
            if forget or (key.retired_at and key.retired_at < self._over_before()):
                await self._documents.remove(KIND, TENANT, key.id)
            elif not key.retired_at:
                await self._keep(msgspec.structs.replace(key, retired_at=now))
        await self.reload()
        return new

    async def reload(self) -> None:
        """Read the keys as they are now."""
        self._loaded_at = self._clock.now()
        self._keys = {key.id: key for key in await kept_keys(self._documents)}

    def _signing(self) -> SigningKey | None:
        able = [key for key in self._keys.values() if not key.retired_at]
        return max(able, key=lambda key: (key.created_at, key.id), default=None)

    async def _reloaded(self) -> SigningKey | None:
        await self.reload()
        return self._signing()

    async def _make(self) -> SigningKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        key_id, private = secrets.token_hex(8), Ed25519PrivateKey.generate()
        sealed = self._sealer().seal(private.private_bytes_raw(), _context(key_id))
        key = SigningKey(key_id, private.public_key().public_bytes_raw(), sealed, self._clock.now())
        await self._keep(key)
        self._keys[key_id] = key
        return key

    async def _keep(self, key: SigningKey) -> None:
        await self._documents.put(KIND, TENANT, key.id, msgspec.msgpack.encode(key), at=self._clock.now())

    def _over_before(self) -> int:
        return self._clock.now() - LIFETIME_SECONDS_MAX * 1_000_000


async def kept_keys(documents: Documents) -> list[SigningKey]:
    """Return the keys as they are kept, their private parts sealed."""
    found = await documents.list(KIND, tenant=TENANT)
    return [msgspec.msgpack.decode(one.body, type=SigningKey) for one in found]


def _context(key_id: str) -> str:
    return f"signing key {key_id}"
