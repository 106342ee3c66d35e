"""Everything about who asks, put together: clients, people, keys, tokens, and what becomes of a login."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from headgate.api.auth.acts import AdminActs
from headgate.api.auth.clients import Clients
from headgate.api.auth.identification import Identification
from headgate.api.auth.login_attempts import LoginAttempts
from headgate.api.auth.oidc import Oidc
from headgate.api.auth.oidc_settings import OidcSettings
from headgate.api.auth.revoked_tokens import RevokedTokens
from headgate.api.auth.signing_keys import SigningKeys
from headgate.api.auth.tokens import Tokens
from headgate.api.auth.users import User, Users
from headgate.api.caller import Caller, Unauthorized
from headgate.api.tickets import TICKET_SECONDS
from headgate.core.errors import Invalid, NotFound
from headgate.engine.sealing import Sealer
from headgate.ports import Clock, Documents

__all__ = ["SESSION_SECONDS", "TOKEN_SECONDS", "Auth", "Granted", "InvalidClient", "InvalidScope"]

TOKEN_SECONDS = 3_600
SESSION_SECONDS = 8 * 3_600


class InvalidClient(Unauthorized):
    """No client or user has this name and this secret."""

    code = "invalid_client"


class InvalidScope(Invalid):
    """The client may not have a scope that it asks for."""

    code = "invalid_scope"


class Granted(msgspec.Struct, frozen=True):
    """What a login gives."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


class Auth:
    """What `Doors` has of it. `sealer` is asked for when a signing key is first made or used."""

    def __init__(self, documents: Documents, clock: Clock, sealer: Callable[[], Sealer]) -> None:
        self.acts = AdminActs(documents, clock)
        self.clients = Clients(documents, clock, self.acts, self._changed)
        self.users = Users(documents, clock, self.acts, self._changed)
        self.keys = SigningKeys(documents, clock, sealer)
        self._tokens = Tokens(self.keys, clock)
        self._revoked = RevokedTokens(documents, clock)
        self._attempts = LoginAttempts(clock)
        self.identification = Identification(
            documents,
            clock,
            tokens=self._tokens,
            keys=self.keys,
            clients=self.clients,
            users=self.users,
            revoked=self._revoked,
        )

        self.identify = self.identification.identify
        self.identify_token = self.identification.identify_token
        self.still_may = self.identification.still_may
        self._oidc: Oidc | None = None
        self._clock = clock
        self._sealer = sealer

    def use_issuer(self, settings: OidcSettings) -> None:
        """Let people log in through an OIDC issuer, too."""
        self._oidc = Oidc(settings, self.users, self._clock, self._sealer)

    def _changed(self) -> None:
        self.identification.forget()

    async def token_for_client(self, client_id: str, secret: str, scope: str = "", *, address: str = "") -> Granted:
        """Return a token for a client's secret, with the scopes it asks for, or with all that it has.

        Raises `InvalidClient`, `InvalidScope`, `TooMany`.
        """
        with self._attempts.attempt(client_id, address):
            found = await self.clients.find(client_id, secret)
            if found is None:
                raise InvalidClient("No client has this id and this secret.")
        client, number = found
        has = frozenset(client.scopes)
        wanted = frozenset(scope.split()) or has
        if wrong := [one for one in sorted(wanted) if one not in has]:
            raise InvalidScope(f"The client {client.id!r} has no scope {wrong[0]!r}; it has {' '.join(client.scopes)}.")
        actor = f"client:{client.name}"
        return await self._grant(actor, client.tenant, wanted, TOKEN_SECONDS, number)

    async def log_in(self, login: str, password: str, *, address: str = "") -> tuple[User, Granted]:
        """Return the user whose password this is, and a session's token. Raises `InvalidClient`, `TooMany`."""
        with self._attempts.attempt(f"user {login}", address):
            user = await self.users.find(login, password)
            if user is None:
                raise InvalidClient("No user has this name and this password.")
        return user, await self.session_of(user)

    async def session_of(self, user: User) -> Granted:
        """Return a session's token for somebody who is known to be that user."""
        return await self._grant(f"user:{user.name}", user.tenant, user.scopes, SESSION_SECONDS, user.generation)

    async def log_in_by_issuer(
        self, cookie: str, *, state: str, code: str, issuer: str = "", address: str = ""
    ) -> tuple[Granted, str]:
        """Return a session's token for whoever comes back from the issuer, and the page they go on to.

        Raises `Unauthorized`, `TooMany`, `NotFound` (there is no issuer), `Refused` (the name is another's).
        """
        with self._attempts.attempt(f"issuer {address}", address):
            user, then = await self.issuer_login().finish(cookie, state=state, code=code, issuer=issuer)
        return await self.session_of(user), then

    def issuer_login(self) -> Oidc:
        """Return what begins a login through the issuer. Raises `NotFound`: there is none."""
        if self._oidc is None:
            raise NotFound("No issuer is set to log in through: HEADGATE_OIDC_ISSUER names one.")
        return self._oidc

    async def log_out(self, text: str) -> None:
        """Revoke a token, on every node. One that is not good any more is no error."""
        try:
            claims = await self.identification.claims(text)
        except Unauthorized:
            return
        await self._revoked.add(claims)
        self.identification.forget()

    async def issue_ticket(self, caller: Caller, run: str) -> str:
        """Return a token that may look at one run, and do nothing else, for `TICKET_SECONDS`: for a browser, where it
        can be seen in an address. It ends with whoever it is issued to. `run` is the whole id, of a run that the caller
        may see."""
        await self.identification.refresh()
        return await self._tokens.issue(
            caller.actor,
            tenant=caller.tenant,
            scopes=frozenset({"runs:read"}),
            seconds=TICKET_SECONDS,
            generation=await self._generation(caller),
            audience="ticket",
            run=run,
        )

    async def _generation(self, caller: Caller) -> int:
        kind, _, name = caller.actor.partition(":")
        if kind == "user":
            user = await self.users.get(caller.tenant, name)
            return user.generation if user else 0
        client = await self.clients.get(caller.tenant, name)
        return client.secrets[-1].number if client else 0

    async def _grant(self, actor: str, tenant: str, scopes: frozenset[str], seconds: int, generation: int) -> Granted:
        await self.identification.refresh()
        token = await self._tokens.issue(actor, tenant=tenant, scopes=scopes, seconds=seconds, generation=generation)
        return Granted(token, "Bearer", seconds, " ".join(sorted(scopes)))
