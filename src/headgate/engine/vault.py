"""The vault: the secrets of every tenant, kept sealed beside the runs, and the keys of their own for model providers.

A secret is read by templates as `SECRET.NAME`, of the tenant whose run it is. The default tenant also has those of the
process's environment; one that was set here wins over them. A secret whose name is `provider:NAME` is no template's: it
is the key that the tenant's calls to that provider carry.

All of them are in memory: whatever leaves a run is looked through for them, and that may not wait. Another node's
change is seen within `freshness.ASK_SECONDS`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping

from headgate.core.errors import Invalid, NotFound, Refused
from headgate.engine.freshness import Freshness
from headgate.engine.logs import hide_in_logs
from headgate.engine.sealing import SealBroken, Sealer
from headgate.ports import DEFAULT_TENANT, Clock, Documents, SecretLine, every_document

__all__ = ["KIND", "NO_SECRETS", "PROVIDER", "SECRETS_MAX", "SECRET_BYTES_MAX", "Vault", "secrets_of"]

KIND = "secret"
SECRETS_MAX = 5_000
"""Of all tenants together; a further one is refused."""
SECRET_BYTES_MAX = 65_536
PROVIDER = "provider:"
NAME = re.compile(r"(?:provider:)?[A-Za-z_][A-Za-z0-9_]{0,99}")

NO_SECRETS: Mapping[str, str] = {}
PREFIXES = ("HEADGATE_SECRET_", "KRUXIAFLOW_SECRET_")

logger = logging.getLogger("headgate.vault")


class Vault:
    """One per engine. `own` are the secrets of the process, which are the default tenant's."""

    def __init__(
        self, documents: Documents, clock: Clock, sealer: Callable[[], Sealer], *, own: Mapping[str, str]
    ) -> None:
        self._documents = documents
        self._clock = clock
        self._sealer = sealer
        self._own = dict(own)
        self._fresh = Freshness(documents, clock, [KIND])
        self._lines: dict[str, list[SecretLine]] = {}
        self._kept: dict[str, dict[str, str]] = {}
        self._of: dict[str, Mapping[str, str]] = {DEFAULT_TENANT: self._own}
        self._keys: dict[str, Mapping[str, str]] = {}
        hide_in_logs(self._own.values())

    async def open(self) -> None:
        """Read what is kept. Raises `Unavailable`, also where the key that seals is not the right one."""
        await self.refresh()

    async def refresh(self) -> None:
        """Read everything again, where anything has changed."""
        if await self._fresh.changed():
            await self._read()

    # --- What runs get ---------------------------------------------------------------------------------------------

    async def of(self, tenant: str) -> Mapping[str, str]:
        """Return what a tenant's templates read as `SECRET`."""
        await self.refresh()
        return self._of.get(tenant, NO_SECRETS)

    async def provider_keys(self, tenant: str) -> Mapping[str, str]:
        """Return the tenant's own keys, by provider."""
        await self.refresh()
        return self._keys.get(tenant, NO_SECRETS)

    def values(self, tenant: str | None) -> tuple[str, ...]:
        """Return all that must not be seen of what a tenant's run says; None: of any tenant's."""
        tenants = {DEFAULT_TENANT, *self._kept} if tenant is None else {tenant}
        found = [self._own.values()] if DEFAULT_TENANT in tenants else []
        found += [kept.values() for whose, kept in self._kept.items() if whose in tenants]
        return tuple(dict.fromkeys(value for values in found for value in values))

    # --- What people do --------------------------------------------------------------------------------------------

    async def set(self, tenant: str, name: str, value: str) -> None:
        """Keep a secret; one of the same name is replaced. Durable when this returns. Raises `Invalid`, `Refused`."""
        name = _checked_name(name)
        size = len(value.encode())
        if not 0 < size <= SECRET_BYTES_MAX:
            raise Invalid(f"Expected the secret {name} to have 1 to {SECRET_BYTES_MAX:,} bytes, got {size:,}.")
        await self.refresh()
        if name not in self._kept.get(tenant, ()) and sum(map(len, self._kept.values())) >= SECRETS_MAX:
            raise Refused(f"There are {SECRETS_MAX:,} secrets already, of all tenants together; remove some first.")
        sealed = self._sealer().seal(value.encode(), _context(tenant, name))
        await self._documents.put(KIND, tenant, name, sealed, at=self._clock.now())
        await self._read()

    async def remove(self, tenant: str, name: str) -> None:
        """Forget a secret. Raises `NotFound`."""
        if not await self._documents.remove(KIND, tenant, _checked_name(name)):
            raise NotFound(f"There is no secret {name!r}; `headgate secret list` names those there are.")
        await self._read()

    async def lines(self, tenant: str) -> list[SecretLine]:
        """Return the names of a tenant's secrets, without their values."""
        await self._read()
        kept = self._lines.get(tenant, [])
        own = self._own if tenant == DEFAULT_TENANT else {}
        named = {line.name for line in kept}
        rest = (SecretLine(name, 0) for name in own if name.upper() not in named)
        return sorted([*kept, *rest], key=lambda line: line.name)

    # --- Reading ---------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        lines: dict[str, list[SecretLine]] = {}
        kept: dict[str, dict[str, str]] = {}
        for one in await every_document(self._documents, KIND):
            try:
                value = self._sealer().open(one.body, _context(one.tenant, one.name)).decode()
                kept.setdefault(one.tenant, {})[one.name] = value
            except SealBroken as error:  # of one of them: the others are as good as ever
                logger.warning("%s", error)
            lines.setdefault(one.tenant, []).append(SecretLine(one.name, one.at))
        hide_in_logs(value for values in kept.values() for value in values.values())
        self._lines, self._kept = lines, kept
        self._of = {tenant: _plain(values) for tenant, values in kept.items()}
        own = {name: value for name, value in self._own.items() if name.upper() not in kept.get(DEFAULT_TENANT, ())}
        self._of[DEFAULT_TENANT] = {**own, **self._of.get(DEFAULT_TENANT, {})}
        self._keys = {tenant: _keys(values) for tenant, values in kept.items()}


def _checked_name(name: str) -> str:
    """Return the name as it is kept: of a secret in capitals, for templates read it in whatever case."""
    if not NAME.fullmatch(name):
        raise Invalid(f"Expected a secret's name of letters, digits and _, or provider:NAME, got {name!r}.")
    return name.lower() if name.lower().startswith(PROVIDER) else name.upper()


def _context(tenant: str, name: str) -> str:
    return f"secret {name} of the tenant {tenant}"


def _plain(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if not name.startswith(PROVIDER)}


def _keys(values: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(PROVIDER): value for name, value in values.items() if name.startswith(PROVIDER)}


def secrets_of(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the default tenant's secrets: `HEADGATE_SECRET_X` and `KRUXIAFLOW_SECRET_X`, the former winning."""
    found: dict[str, str] = {}
    for prefix in reversed(PREFIXES):
        found |= {name.removeprefix(prefix): value for name, value in environment.items() if name.startswith(prefix)}
    return found
