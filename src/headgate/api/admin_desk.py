"""The verbs of whoever administers: programs outside, rates of providers, secrets, tenants."""

from __future__ import annotations

import msgspec

from headgate.api.asker import Asker
from headgate.api.closing import Closing
from headgate.core.errors import Refused
from headgate.engine.engine import Engine
from headgate.engine.gate import Gate
from headgate.engine.hooks import Hooks
from headgate.engine.limits import checked_limit
from headgate.engine.quotas import Quotas
from headgate.engine.tenants import Tenants
from headgate.engine.vault import Vault
from headgate.engine.webhooks import WebhookChange, Webhooks
from headgate.ports import (
    DEFAULT_TENANT,
    Closed,
    Delivered,
    Hook,
    RateLimit,
    SecretLine,
    Tenant,
    TenantStanding,
    Webhook,
)

__all__ = ["AdminDesk"]


class AdminDesk(Asker):
    """What concerns all tenants is for the default tenant's desk alone (`Forbidden`)."""

    def __init__(
        self,
        engine: Engine,
        *,
        webhooks: Webhooks,
        hooks: Hooks,
        gate: Gate,
        vault: Vault,
        tenants: Tenants,
        quotas: Quotas,
    ) -> None:
        Asker.__init__(self, engine)
        self._webhooks = webhooks
        self._hooks = hooks
        self._gate = gate
        self._vault = vault
        self._tenants = tenants
        self._quotas = quotas
        self.closing: Closing | None = None
        """Given by whoever puts things together."""

    # --- Programs outside ----------------------------------------------------------------------------------------

    async def add_webhook(self, webhook: Webhook) -> Webhook:
        return await self._webhooks.add(msgspec.structs.replace(webhook, tenant=self._tenant or webhook.tenant))

    async def enable_webhook(self, webhook: str, *, enabled: bool, tenant: str = DEFAULT_TENANT) -> Webhook:
        return await self._webhooks.change(self._tenant or tenant, webhook, WebhookChange(enabled=enabled))

    async def remove_webhook(self, webhook: str, *, tenant: str = DEFAULT_TENANT) -> Webhook:
        return await self._webhooks.remove(self._tenant or tenant, webhook)

    async def test_webhook(self, webhook: str, *, tenant: str = DEFAULT_TENANT) -> Delivered:
        return await self._webhooks.test(self._tenant or tenant, webhook)

    async def add_hook(self, hook: Hook) -> Hook:
        return await self._hooks.add(msgspec.structs.replace(hook, tenant=self._tenant or hook.tenant))

    async def remove_hook(self, hook: str, *, tenant: str = DEFAULT_TENANT) -> Hook:
        return await self._hooks.remove(self._tenant or tenant, hook)

    # --- Providers -----------------------------------------------------------------------------------------------

    async def set_limit(self, limit: RateLimit) -> RateLimit:
        self.require_default_tenant("sets the rates of providers")
        return await self._gate.set_limit(checked_limit(limit))

    async def remove_limit(self, scope: str) -> RateLimit:
        self.require_default_tenant("sets the rates of providers")
        return await self._gate.remove_limit(scope)

    # --- Tenants -------------------------------------------------------------------------------------------------

    async def set_secret(self, name: str, value: str, *, tenant: str = DEFAULT_TENANT) -> SecretLine:
        await self._vault.set(self._tenant or tenant, name, value)
        return SecretLine(name, self._now)

    async def remove_secret(self, name: str, *, tenant: str = DEFAULT_TENANT) -> SecretLine:
        await self._vault.remove(self._tenant or tenant, name)
        return SecretLine(name, self._now)

    async def secrets(self, *, tenant: str = DEFAULT_TENANT) -> list[SecretLine]:
        return await self._vault.lines(self._tenant or tenant)

    async def set_tenant(self, tenant: Tenant, *, new: bool = False) -> Tenant:
        self.require_default_tenant("administers tenants")
        return await self._tenants.set(tenant, new=new)

    async def tenants(self) -> list[Tenant]:
        self.require_default_tenant("administers tenants")
        return await self._tenants.all()

    async def tenant(self, name: str) -> TenantStanding:
        self.require_default_tenant("administers tenants")
        return await self._quotas.standing(await self._tenants.insist(name))

    async def tenant_to_close(self, name: str) -> Tenant:
        """Return a tenant that may be closed. Raises `Forbidden`, `NotFound`, `Refused` for the default one."""
        self.require_default_tenant("administers tenants")
        if name == DEFAULT_TENANT:
            raise Refused(f"The tenant {DEFAULT_TENANT!r} is whoever has the machine, and cannot be closed.")
        return await self._tenants.insist(name)

    async def close_tenant(self, name: str, *, by: str = "") -> Closed:
        assert self.closing is not None
        return await self.closing.close(await self.tenant_to_close(name), by=self._signed(by))
