"""What tenants have deployed: kept in the log, and run by plans that are compiled once per process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from headgate.core.definition import Definition
from headgate.core.plan import Plan
from headgate.engine.plans import Plans
from headgate.ports import DEFAULT_TENANT, Clock, Log, SharedLog

__all__ = ["Definitions"]


class Definitions:
    """One per engine."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._plans = Plans(log, many_writers=isinstance(log, SharedLog))
        self.before_deploying: Callable[[Definition], Awaitable[None]] = _nothing
        """Called before a definition is kept: whoever must know of its runs can be ready before there is one."""

    async def deploy(self, definition: Definition, *, tenant: str = DEFAULT_TENANT) -> tuple[str, bool]:
        """Keep a tenant's definition; return its version and whether it is new. Deploying the same again changes
        nothing."""
        await self.before_deploying(definition)
        plan = self._plans.compiled(definition, tenant)
        body, now = msgspec.json.encode(definition), self._clock.now()
        return plan.version, await self._log.save_definition(plan.version, definition.name, body, now, tenant=tenant)

    async def plan(self, name: str, version: str | None = None, *, tenant: str = DEFAULT_TENANT) -> Plan:
        """Return the plan of a definition that the tenant has deployed, the newest of the name unless `version` says
        which."""
        return await self._plans.plan(name, version, tenant)


async def _nothing(definition: Definition) -> None:
    """Nobody must know."""
