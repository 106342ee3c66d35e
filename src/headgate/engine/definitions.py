"""What tenants have deployed: kept in the log, and compiled into a plan once per process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from headgate.core.definition import Definition
from headgate.core.errors import NotFound
from headgate.core.plan import Plan, compile_plan, load_plan
from headgate.ports import DEFAULT_TENANT, Clock, Log

__all__ = ["Definitions"]


class Definitions:
    """One per engine."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._plans: dict[tuple[str, str], Plan] = {}
        """By tenant and version: what one tenant has deployed, another cannot start."""
        self.before_deploying: Callable[[Definition], Awaitable[None]] = _nothing
        """Called before a definition is kept: whoever must know of its runs can be ready before there is one."""

    async def deploy(self, definition: Definition, *, tenant: str = DEFAULT_TENANT) -> tuple[str, bool]:
        """Keep a tenant's definition; return its version and whether it is new. Deploying the same again changes
        nothing."""
        await self.before_deploying(definition)
        plan = self._plans.get((tenant, definition.version)) or compile_plan(definition)
        self._plans[tenant, plan.version] = plan
        body, now = msgspec.json.encode(definition), self._clock.now()
        return plan.version, await self._log.save_definition(plan.version, definition.name, body, now, tenant=tenant)

    async def plan(self, name: str, version: str | None = None, *, tenant: str = DEFAULT_TENANT) -> Plan:
        """Return the plan of a definition that the tenant has deployed, the newest of the name unless `version` says
        which."""
        if version is not None and (known := self._plans.get((tenant, version))) is not None:
            return known
        found = await self._log.definition(name, version, tenant=tenant)
        if found is None:
            raise NotFound(f"There is no workflow {name!r}" + (f" of version {version}." if version else "."))
        version, body = found
        if (tenant, version) not in self._plans:
            self._plans[tenant, version] = load_plan(msgspec.json.decode(body, type=Definition))
        return self._plans[tenant, version]


async def _nothing(definition: Definition) -> None:
    """Nobody must know."""
