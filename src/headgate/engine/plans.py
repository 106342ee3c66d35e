"""The plans of the definitions that tenants have deployed: compiled once, the newest of a name asked of the log.

Where other processes deploy as well, each start has to ask which version is the newest, for one may have been deployed
a moment ago, and said so to whoever starts the run. A crowd that starts together asks once: whoever comes before a
question has left is answered by it; whoever comes while it is under way waits for the next, which leaves when it is
back.
"""

from __future__ import annotations

import asyncio

import msgspec

from headgate.core.definition import Definition
from headgate.core.errors import NotFound
from headgate.core.plan import Plan, compile_plan, load_plan
from headgate.ports import Log

__all__ = ["Plans"]

PLANS_KEPT_MAX = 2_000
"""Beyond it the one that was kept first goes, and is compiled again when a run of it begins or is loaded."""

Found = tuple[str, bytes] | None
Named = tuple[str, str]
"""A tenant, and a name of its."""


class Plans:
    """By tenant and version: what one tenant has deployed, another cannot start."""

    def __init__(self, log: Log, *, many_writers: bool) -> None:
        self._log = log
        self._many_writers = many_writers
        self._known: dict[tuple[str, str], Plan] = {}
        self._next: dict[Named, asyncio.Task[Found]] = {}
        """Questions that have not left."""
        self._under_way: dict[Named, asyncio.Task[Found]] = {}

    def compiled(self, definition: Definition, tenant: str) -> Plan:
        """Return the plan of a definition that is about to be deployed."""
        return self._known.get((tenant, definition.version)) or self._kept(tenant, compile_plan(definition))

    async def plan(self, name: str, version: str | None, tenant: str) -> Plan:
        """Return the plan of what the tenant has deployed. Raises `NotFound`, `Unavailable`."""
        if version is not None and (known := self._known.get((tenant, version))) is not None:
            return known
        if version is None and self._many_writers:
            found = await self._newest((tenant, name))
        else:
            found = await self._log.definition(name, version, tenant=tenant)
        if found is None:
            raise NotFound(f"There is no workflow {name!r}" + (f" of version {version}." if version else "."))
        version, body = found
        if (known := self._known.get((tenant, version))) is not None:
            return known
        return self._kept(tenant, load_plan(msgspec.json.decode(body, type=Definition)))

    def _kept(self, tenant: str, plan: Plan) -> Plan:
        self._known[tenant, plan.version] = plan
        if len(self._known) > PLANS_KEPT_MAX:
            del self._known[next(iter(self._known))]
        return plan

    async def _newest(self, named: Named) -> Found:
        asking = self._next.get(named)
        if asking is None:
            asking = self._next[named] = asyncio.get_running_loop().create_task(self._ask(named))
            asking.add_done_callback(_seen)
        return await asyncio.shield(asking)

    async def _ask(self, named: Named) -> Found:
        if (before := self._under_way.get(named)) is not None:
            await asyncio.wait([before])
        self._under_way[named] = self._next.pop(named)
        try:
            tenant, name = named
            return await self._log.definition(name, None, tenant=tenant)
        finally:
            del self._under_way[named]


def _seen(asking: asyncio.Task[Found]) -> None:
    """Whoever asked may be gone: then a failure is no news to anybody."""
    if not asking.cancelled():
        asking.exception()
