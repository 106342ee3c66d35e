"""What a tenant may use, held against what it uses: before a run starts, a request is answered, a stream is opened.

Runs in flight are counted in the log, and starts that are under way, on whichever node, in a cell of the shared store
of limits: a start writes itself there, then counts. So whoever counts sees every other start either there or in the
log, and of many that come at once exactly as many are admitted as there is room for. While others are under way nobody
is refused for their sake: it waits until they are in the log, or have failed. An entry that a crash has left is over
after `START_SECONDS_MAX`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext

import msgspec

from headgate.core.errors import OverQuota, Unavailable
from headgate.core.money import show
from headgate.engine import rate
from headgate.engine.budget_scopes import budget_id
from headgate.engine.rate import Rate
from headgate.engine.tenants import Tenants
from headgate.ports import BudgetRule, Clock, LimitStore, Log, RunsWanted, Swap, Tenant, TenantStanding

__all__ = ["Quotas"]

SWAPS_MAX = 100
"""So often a cell is tried anew because somebody was faster."""
START_SECONDS_MAX = 30
AGAIN_SECONDS = 0.005
STORAGE_SECONDS = 60
"""So long a count of what is stored is taken for true."""
RUN_SECONDS = 5.0
"""When to ask again where it is not known when there is room."""
MICROSECONDS = 1_000_000

_entries = msgspec.json.Decoder(dict[str, int])


class Quotas:
    """One per engine."""

    def __init__(self, log: Log, clock: Clock, limits: LimitStore, tenants: Tenants) -> None:
        self._log = log
        self._clock = clock
        self._limits = limits
        self._tenants = tenants
        self._connections: Counter[str] = Counter()
        self._stored: dict[str, tuple[int, int]] = {}
        """By tenant: how many bytes, and when they were counted."""

    # --- Runs ------------------------------------------------------------------------------------------------------

    async def starting(self, name: str) -> AbstractAsyncContextManager[None]:
        """Return the context in which a run of the tenant is started. Entering it raises `OverQuota`."""
        tenant = await self._tenants.of(name)
        return self._start_of(tenant) if tenant.limits_starts else nullcontext()

    @asynccontextmanager
    async def _start_of(self, tenant: Tenant) -> AsyncGenerator[None]:
        await self._refuse_spent(tenant)
        await self._refuse_full(tenant)
        async with self._in_flight(tenant):
            if tenant.starts_per_minute is not None:
                wait = await self._take(f"quota starts {tenant.name}", tenant.starts_per_minute)
                if wait:
                    raise OverQuota(
                        f"The tenant {tenant.name} may start {tenant.starts_per_minute} runs a minute and has; "
                        f"there is room for the next one in {wait:.1f} s.",
                        retry_after_seconds=wait,
                    )
            yield

    @asynccontextmanager
    async def _in_flight(self, tenant: Tenant) -> AsyncGenerator[None]:
        if tenant.runs_max is None:
            yield
            return
        cell, token = f"quota starting {tenant.name}", secrets.token_hex(8)
        until = self._clock.now() + START_SECONDS_MAX * MICROSECONDS
        await self._change(cell, lambda entries: {**entries, token: until})
        try:
            await self._wait_for_room(tenant, tenant.runs_max, cell, token)
            yield
        finally:
            without = self._change(cell, lambda entries: {key: at for key, at in entries.items() if key != token})
            await asyncio.shield(asyncio.ensure_future(without))

    async def _wait_for_room(self, tenant: Tenant, most: int, cell: str, token: str) -> None:
        while True:
            (text,) = await self._limits.read([cell])
            # Whoever wrote itself there first goes first, lest all wait for each other.
            before = self._before(_entries.decode(text or "{}"), token)
            runs = await self._log.count_runs(RunsWanted(tenant=tenant.name, unfinished=True))
            if runs + before < most:
                return
            if runs >= most:
                raise OverQuota(
                    f"The tenant {tenant.name} has {runs} runs that have not ended, and may have {most}; start this "
                    "one when one of them has ended.",
                    retry_after_seconds=RUN_SECONDS,
                )
            await asyncio.sleep(AGAIN_SECONDS)

    def _before(self, entries: dict[str, int], token: str) -> int:
        """Return how many starts stand before this one: entries are kept in the order they came."""
        now, count = self._clock.now(), 0
        for key, until in entries.items():
            if key == token:
                break
            count += until > now
        return count

    async def _refuse_spent(self, tenant: Tenant) -> None:
        if tenant.spend_per_month is None:
            return
        spent = await self._spent(tenant.name)
        if spent >= tenant.spend_per_month:
            raise OverQuota(
                f"The tenant {tenant.name} has spent {show(spent)} of {show(tenant.spend_per_month)} this month (UTC); "
                "runs are started again in the next one, or when its quota is raised.",
                retry_after_seconds=3_600,
            )

    async def _spent(self, name: str) -> int:
        rule = BudgetRule(tenant=name, scope="tenant", period="month", limit=0)
        stands = await self._log.budget(budget_id(rule, self._clock.now(), simulated=False))
        return 0 if stands is None else stands.spent

    async def _refuse_full(self, tenant: Tenant) -> None:
        if tenant.storage_bytes_max is None:
            return
        stored = await self._stored_bytes(tenant.name)
        if stored >= tenant.storage_bytes_max:
            raise OverQuota(
                f"The runs of the tenant {tenant.name} take about {stored:,} bytes of {tenant.storage_bytes_max:,}; "
                "erase some, or let retention delete them. It is counted once a minute.",
                retry_after_seconds=STORAGE_SECONDS,
            )

    async def _stored_bytes(self, name: str) -> int:
        stored, at = self._stored.get(name, (0, 0))
        now = self._clock.now()
        if now - at >= STORAGE_SECONDS * MICROSECONDS:
            self._stored[name] = (stored, now)  # who comes meanwhile takes what was counted before
            stored = await self._log.stored_bytes(name)
            self._stored[name] = (stored, now)
        return stored

    # --- Requests and streams --------------------------------------------------------------------------------------

    async def request(self, name: str, client: str) -> float:
        """Count a request of a tenant's client; return for how long (seconds) it is too many, 0: it is not."""
        most = (await self._tenants.of(name)).requests_per_minute
        return 0.0 if most is None else await self._take(f"quota requests {name} {client}", most)

    @contextmanager
    def connection(self, name: str) -> Generator[None]:
        """Hold one of the tenant's streams of this process. Raises `OverQuota`."""
        most = self._tenants.known(name).connections_max
        if most is not None and self._connections[name] >= most:
            raise OverQuota(
                f"The tenant {name} reads {self._connections[name]} streams here, and may read {most}; close one.",
                retry_after_seconds=RUN_SECONDS,
            )
        self._connections[name] += 1
        try:
            yield
        finally:
            self._connections[name] -= 1

    # --- How it stands ---------------------------------------------------------------------------------------------

    async def standing(self, tenant: Tenant) -> TenantStanding:
        """Return what the tenant uses now."""
        return TenantStanding(
            tenant=tenant,
            runs=await self._log.count_runs(RunsWanted(tenant=tenant.name, unfinished=True)),
            spent=await self._spent(tenant.name),
            storage_bytes=await self._log.stored_bytes(tenant.name),
            connections=self._connections[tenant.name],
        )

    # --- Cells -----------------------------------------------------------------------------------------------------

    async def _take(self, cell: str, per_minute: int) -> float:
        """Take one of a rate; return for how long (seconds) there is none, 0: it was taken."""
        if per_minute == 0:
            return 60.0
        one = Rate(per_minute)
        for _ in range(SWAPS_MAX):
            (text,) = await self._limits.read([cell])
            now, full_at = self._limits.now(), int(text or 0)
            opens_at = rate.opens_at(full_at, one, 1)
            if opens_at > now:
                return (opens_at - now) / MICROSECONDS
            if await self._limits.swap([Swap(cell, text, str(rate.taken(full_at, one, 1, now)))]):
                return 0.0
        raise _contended(cell)

    async def _change(self, cell: str, change: Callable[[dict[str, int]], dict[str, int]]) -> None:
        for _ in range(SWAPS_MAX):
            (text,) = await self._limits.read([cell])
            now = self._clock.now()
            entries = {key: until for key, until in _entries.decode(text or "{}").items() if until > now}
            after = change(entries)
            if await self._limits.swap([Swap(cell, text, msgspec.json.encode(after).decode() if after else None)]):
                return
            await asyncio.sleep(AGAIN_SECONDS)
        raise _contended(cell)


def _contended(cell: str) -> Unavailable:
    return Unavailable(f"Too many change {cell!r} at once; try again in a moment.")
