"""Single tokens that are good no more, by their ids: kept until they would have been over anyway."""

from __future__ import annotations

import msgspec

from headgate.api.auth.tokens import Claims
from headgate.ports import Clock, Documents

__all__ = ["KIND", "RevokedTokens"]

KIND = "revoked_token"


class RevokedTokens:
    """`add` and `holds`. What is over is removed by and by, with each `add`."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock

    async def add(self, claims: Claims) -> None:
        """Revoke a token, on every node. Once more changes nothing."""
        now = self._clock.now()
        body = msgspec.msgpack.encode(claims.exp)
        await self._documents.put(KIND, claims.tenant, claims.jti, body, at=now)
        for document in await self._documents.list(KIND):
            if msgspec.msgpack.decode(document.body, type=int) * 1_000_000 < now:
                await self._documents.remove(KIND, document.tenant, document.name)

    async def holds(self, claims: Claims) -> bool:
        return await self._documents.get(KIND, claims.tenant, claims.jti) is not None
