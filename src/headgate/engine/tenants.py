"""The tenants that people have made: what each may use, kept beside the runs and held in memory."""

from __future__ import annotations

import re

import msgspec

from headgate.core.errors import Invalid, NotFound, Refused
from headgate.engine.budget_keeper import BudgetKeeper
from headgate.engine.freshness import Freshness
from headgate.ports import BudgetRule, Clock, Documents, Tenant, every_document

__all__ = ["TENANTS_MAX", "Tenants"]

KIND = "tenant"
SETTINGS = "settings"
TENANTS_MAX = 10_000
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
QUOTA = "quota"
"""Who has set a budget that is a tenant's quota: it goes with the quota."""


class Tenants:
    """One per engine. Another node's change is seen within `freshness.ASK_SECONDS`."""

    def __init__(self, documents: Documents, clock: Clock, budgets: BudgetKeeper) -> None:
        self._documents = documents
        self._clock = clock
        self._budgets = budgets
        self._fresh = Freshness(documents, clock, [KIND])
        self._known: dict[str, Tenant] = {}

    async def of(self, name: str) -> Tenant:
        """Return what the tenant may use."""
        if await self._fresh.changed():
            await self._read()
        return self.known(name)

    def known(self, name: str) -> Tenant:
        """The same, as it was when somebody asked last."""
        return self._known.get(name) or Tenant(name=name)

    async def all(self) -> list[Tenant]:
        """Return the tenants that were made, by name."""
        await self._read()
        return [self._known[name] for name in sorted(self._known)]

    async def set(self, tenant: Tenant, *, new: bool = False) -> Tenant:
        """Make a tenant, or (but not with `new`) change what it may use. Raises `Invalid`, `Refused`, `Unavailable`."""
        if not NAME.fullmatch(tenant.name):
            raise Invalid(f"Expected a tenant's name of a-z, 0-9, _ and -, at most 63 long, got {tenant.name!r}.")
        for name in QUOTAS:
            amount = getattr(tenant, name)
            if amount is not None and amount < 0:
                raise Invalid(f"Expected {name} to be at least 0, got {amount}.")
        await self._read()
        before = self._known.get(tenant.name)
        if before is not None and new:
            raise Refused(f"There is a tenant {tenant.name!r} already; `headgate tenant set` changes it.")
        if before is None and len(self._known) >= TENANTS_MAX:
            raise Refused(f"There are {TENANTS_MAX:,} tenants already; no more are kept.")
        now = self._clock.now()
        tenant = msgspec.structs.replace(tenant, created_at=before.created_at if before else now)
        await self._documents.put(KIND, tenant.name, SETTINGS, msgspec.json.encode(tenant), at=now)
        await self._set_month(tenant)
        await self._read()
        return tenant

    async def _set_month(self, tenant: Tenant) -> None:
        """Have the budget of a month that the quota is."""
        rule = BudgetRule(tenant=tenant.name, scope="tenant", period="month", limit=0, by=QUOTA)
        if tenant.spend_per_month is not None:
            await self._budgets.set(msgspec.structs.replace(rule, limit=tenant.spend_per_month))
            return
        set_here = [one.rule for one in await self._budgets.standings(tenant.name) if one.rule.by == QUOTA]
        for known in set_here:
            await self._budgets.remove(known)

    async def _read(self) -> None:
        kept = await every_document(self._documents, KIND)
        self._known = {one.tenant: msgspec.json.decode(one.body, type=Tenant) for one in kept}

    async def insist(self, name: str) -> Tenant:
        """Return a tenant that was made. Raises `NotFound`."""
        await self._read()
        if name not in self._known:
            raise NotFound(f"There is no tenant {name!r}; `headgate tenant create` makes one.")
        return self._known[name]


QUOTAS = (
    *("runs_max", "starts_per_minute", "spend_per_month", "storage_bytes_max", "connections_max"),
    "requests_per_minute",
)
