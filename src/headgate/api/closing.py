"""The end of a tenant: nobody comes in for it, nothing is started or told for it, what it had under way is cancelled.

First those who could ask for more, then what asks by itself, then the runs, and their secrets last. Each step may be
repeated, so whoever is cut off closes it again. What its runs have kept stays until it is erased, and their events and
costs beyond that.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from headgate.api.auth import Auth
from headgate.core.errors import NotFound, Refused
from headgate.engine.hooks import Hooks
from headgate.engine.webhooks import Webhooks
from headgate.ports import Closed, Log, RunsWanted, Tenant

if TYPE_CHECKING:
    from headgate.api.desk import Desk

__all__ = ["Closing"]

REASON = "the tenant was closed"
PAGE = 500


class Closing:
    """One per desk of whoever has the machine."""

    def __init__(self, desk: Desk, log: Log, auth: Auth, webhooks: Webhooks, hooks: Hooks) -> None:
        self._desk = desk
        self._log = log
        self._auth = auth
        self._webhooks = webhooks
        self._hooks = hooks

    async def close(self, tenant: Tenant, *, by: str) -> Closed:
        """Close a tenant; return what was ended by this call. Raises `Unavailable`."""
        its = self._desk.of(tenant.name, by)
        clients, users = await self._end_logins(tenant.name, by)
        await self._desk.set_tenant(msgspec.structs.replace(tenant, runs_max=0))
        hooks = [await its.remove_hook(hook.name) for hook in await self._hooks.all(tenant.name)]
        schedules = [
            await its.change_schedule(schedule.name, "pause") for schedule in await its.schedules() if schedule.enabled
        ]
        runs = await self._cancel_runs(its, tenant.name)
        webhooks = [await its.remove_webhook(webhook.id) for webhook in await self._webhooks.all(tenant.name)]
        secrets = [await its.remove_secret(secret.name) for secret in await its.secrets()]
        return Closed(
            tenant=tenant.name,
            clients=clients,
            users=users,
            hooks=len(hooks),
            schedules=len(schedules),
            runs=runs,
            webhooks=len(webhooks),
            secrets=len(secrets),
        )

    async def _end_logins(self, tenant: str, by: str) -> tuple[int, int]:
        clients = [one for one in await self._auth.clients.list(tenant) if not one.revoked_at]
        users = [one for one in await self._auth.users.list(tenant) if not one.disabled_at]
        for client in clients:
            await self._auth.clients.revoke(tenant, client.name, by=by)
        for user in users:
            await self._auth.users.disable(tenant, user.name, by=by)
        return len(clients), len(users)

    async def _cancel_runs(self, its: Desk, tenant: str) -> int:
        cancelled, before = 0, None
        wanted = RunsWanted(tenant=tenant, unfinished=True)
        while rows := await self._log.runs(wanted, limit=PAGE, before=before):
            for row in rows:
                if row.head.status == "cancelling":  # a worker still has a task of it
                    continue
                if row.parent:  # it ends with its parent, which would fail if it ended before
                    continue
                with suppress(NotFound, Refused):  # it has just ended by itself
                    await its.cancel(row.id, reason=REASON)
                    cancelled += 1
            before = rows[-1].key
        return cancelled
