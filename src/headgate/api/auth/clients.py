"""Programs that may ask: each with scopes, and with secrets of which only digests are kept.

A secret is 256 random bits of our making. There is nothing to guess, so a plain SHA-256 keeps it as well as a slow hash
would, and whoever asks for a token does not wait for one. A secret is shown once, when it is made.

A token remembers by the number of its secret how it was come by: when that secret goes (`rotate`), or the client
(`revoke`), so does the token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable

import msgspec

from headgate.api.auth.accounts import Accounts
from headgate.api.auth.identities import checked_name, checked_scopes, identity, parsed_identity
from headgate.core.errors import Invalid, Refused

__all__ = ["CLIENTS_MAX", "KIND", "Client", "Clients", "NewSecret"]

KIND = "client"
CLIENTS_MAX = 1_000
"""Of a tenant, those that are revoked included."""
SECRETS_MAX = 4
"""That are good at a time."""
KEEP_SECONDS_MAX = 7 * 86_400

_NO_DIGEST = bytes(32)


class Secret(msgspec.Struct, frozen=True):
    """`until` 0: it is good until it is replaced."""

    number: int
    digest: bytes
    until: int = 0


class Client(msgspec.Struct, frozen=True):
    """A client as it is kept."""

    tenant: str
    name: str
    scopes: tuple[str, ...]
    secrets: tuple[Secret, ...]
    created_at: int
    created_by: str
    revoked_at: int = 0

    @property
    def id(self) -> str:
        """Its `client_id`."""
        return identity(self.tenant, self.name)

    def has_secret(self, number: int, now: int) -> bool:
        """Whether the secret of this number is still good."""
        return not self.revoked_at and any(
            secret.number == number and (not secret.until or now < secret.until) for secret in self.secrets
        )


class NewSecret(msgspec.Struct, frozen=True):
    """A client, and its newest secret, which nobody can ask for again."""

    client: Client
    secret: str


class Clients(Accounts[Client]):
    """Who may ask for tokens by a secret."""

    _kind = KIND
    _of = Client

    async def create(self, tenant: str, name: str, scopes: Iterable[str], *, by: str) -> NewSecret:
        """Make a client. Raises `Invalid`, and `Refused` where there is one of the name, even a revoked one: what is
        written of it in logs shall not come to mean another."""
        checked_name(tenant, "tenant")
        checked_name(name, "client")
        allowed = checked_scopes(scopes)
        known = await self.list(tenant)
        if any(one.name == name for one in known):
            raise Refused(f"There is a client {identity(tenant, name)!r} already; take another name, or rotate it.")
        if len(known) >= CLIENTS_MAX:
            raise Refused(f"The tenant {tenant!r} has {len(known)} clients, which is the most there can be.")
        text, secret = _new_secret(1)
        client = Client(tenant, name, allowed, (secret,), self._clock.now(), by)
        await self._acts.record(tenant, by, "client.create", client.id, scopes=list(allowed))
        await self._keep(client, expected=0)
        return NewSecret(client, text)

    async def rotate(self, tenant: str, name: str, *, by: str, keep_seconds: float = 0) -> NewSecret:
        """Give a client a new secret. The one before, and its tokens, are good for `keep_seconds` more. Raises
        `NotFound`, `Refused` (it is revoked)."""
        if not 0 <= keep_seconds <= KEEP_SECONDS_MAX:
            raise Invalid(f"expected the old secret to be kept for 0 to {KEEP_SECONDS_MAX} seconds, got {keep_seconds}")
        client, revision = await self._standing(tenant, name)
        if client.revoked_at:
            raise Refused(f"The client {client.id!r} is revoked, for good; create another.")
        now = self._clock.now()
        until = now + int(keep_seconds * 1_000_000)
        kept = [_ending(secret, until) for secret in client.secrets] if keep_seconds else []
        good = [secret for secret in kept if now < secret.until][-SECRETS_MAX + 1 :]
        text, secret = _new_secret(max(one.number for one in client.secrets) + 1)
        changed = msgspec.structs.replace(client, secrets=(*good, secret))
        await self._acts.record(tenant, by, "client.rotate", client.id, keep_seconds=keep_seconds)
        await self._keep(changed, expected=revision)
        return NewSecret(changed, text)

    async def revoke(self, tenant: str, name: str, *, by: str) -> Client:
        """End a client and all its tokens, for good. Once more changes nothing. Raises `NotFound`."""
        client, revision = await self._standing(tenant, name)
        if client.revoked_at:
            return client
        changed = msgspec.structs.replace(client, revoked_at=self._clock.now())
        await self._acts.record(tenant, by, "client.revoke", client.id)
        await self._keep(changed, expected=revision)
        return changed

    async def find(self, client_id: str, secret: str) -> tuple[Client, int] | None:
        """Return whose secret this is, and the secret's number; None where it is nobody's. It takes as long."""
        digest = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
        client = await self.get(*parsed_identity(client_id))
        kept = client.secrets if client else (Secret(0, _NO_DIGEST),)
        right = [one.number for one in kept if hmac.compare_digest(one.digest, digest)]
        if client is None or not right or not client.has_secret(right[0], self._clock.now()):
            return None
        return client, right[0]


def _ending(secret: Secret, until: int) -> Secret:
    return msgspec.structs.replace(secret, until=min(secret.until or until, until))


def _new_secret(number: int) -> tuple[str, Secret]:
    text = f"hgs_{secrets.token_urlsafe(32)}"
    return text, Secret(number, hashlib.sha256(text.encode()).digest())
