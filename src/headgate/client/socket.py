"""The client's end of the control socket: every verb of `ports.Client`, answered by the process that owns the database.

Each call has a connection of its own, so a call that is given up costs the others nothing: closing its connection is
how the owner hears of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import msgspec

from headgate.client.address import Address, open_address
from headgate.client.client_frames import RESULTS
from headgate.client.frames import LINE_BYTES_MAX, Answer, OwnerGone, Request, as_error
from headgate.core.errors import Invalid
from headgate.core.view import RunSummary, RunView
from headgate.ports import (
    BudgetRule,
    BudgetStanding,
    Closed,
    Collected,
    Delivered,
    Document,
    Documents,
    Erased,
    EventView,
    Hook,
    Position,
    RateLimit,
    Schedule,
    SecretLine,
    SpendRow,
    StartRequest,
    Tenant,
    TenantStanding,
    Update,
    Webhook,
)

__all__ = ["SocketClient"]

_encoder = msgspec.json.Encoder()
_answers = msgspec.json.Decoder(Answer)


class SocketClient:
    """`ports.Client` over a control socket.

    Every method raises what the owner raised, in the same branch and with the same code and message, and `OwnerGone`
    when nobody answers: what was asked may then have been done or not, so repeat it with the same `command_id`.
    """

    def __init__(self, address: Address) -> None:
        self._address = address

    @property
    def documents(self) -> Documents:
        """What the owner keeps beside the runs: whoever may ask here may also read and write its database's file."""
        return _SocketDocuments(self._ask)

    async def start(self, request: StartRequest) -> RunSummary:
        return await self._ask("start", request=request)

    async def show(self, run: str, *, at: int | None = None, contents: bool = True) -> RunView:
        return await self._ask("show", run=run, at=at, contents=contents)

    async def runs(
        self, *, status: str | None = None, workflow: str | None = None, limit: int = 50
    ) -> list[RunSummary]:
        return await self._ask("runs", status=status, workflow=workflow, limit=limit)

    async def events(self, run: str, *, after: int = 0, limit: int = 1_000, contents: bool = True) -> list[EventView]:
        return await self._ask("events", run=run, after=after, limit=limit, contents=contents)

    async def signal(self, run: str, name: str, *, key: str = "", data: Any = None) -> RunView:
        return await self._ask("signal", run=run, name=name, key=key, data=data)

    async def decide(
        self, run: str, *, key: str = "", approved: bool, by: str = "", comment: str = "", data: Any = None
    ) -> RunView:
        return await self._ask("decide", run=run, key=key, approved=approved, by=by, comment=comment, data=data)

    async def cancel(self, run: str, *, reason: str = "") -> RunView:
        return await self._ask("cancel", run=run, reason=reason)

    async def pause(self, run: str, *, reason: str = "") -> RunView:
        return await self._ask("pause", run=run, reason=reason)

    async def resume(self, run: str) -> RunView:
        return await self._ask("resume", run=run)

    async def retry(self, run: str) -> RunView:
        return await self._ask("retry", run=run)

    async def raise_budget(self, run: str, *, to: int = 0, more: int = 0, key: str = "", by: str = "") -> RunView:
        return await self._ask("raise_budget", run=run, to=to, more=more, key=key, by=by)

    async def refuse_calls(self, run: str, *, key: str = "", by: str = "") -> RunView:
        return await self._ask("refuse_calls", run=run, key=key, by=by)

    async def set_budget(self, rule: BudgetRule) -> BudgetStanding:
        return await self._ask("set_budget", rule=rule)

    async def remove_budget(self, rule: BudgetRule) -> BudgetStanding:
        return await self._ask("remove_budget", rule=rule)

    async def budgets(self) -> list[BudgetStanding]:
        return await self._ask("budgets")

    async def erase(self, runs: Sequence[str] = (), *, label: str = "", tenant: str = "", by: str = "") -> Erased:
        return await self._ask("erase", runs=list(runs), label=label, tenant=tenant, by=by)

    async def collect(self, *, older: str = "", dry_run: bool = False, by: str = "") -> Collected:
        return await self._ask("collect", older=older, dry_run=dry_run, by=by)

    async def spend(self, run: str) -> list[SpendRow]:
        return await self._ask("spend", run=run)

    async def settled(self) -> None:
        await self._ask("settled")

    async def schedule(self, schedule: Schedule, *, definition: str, files: dict[str, str]) -> Schedule:
        return await self._ask("schedule", schedule=schedule, definition=definition, files=files)

    async def backfill_schedule(self, name: str, since: int, until: int) -> list[str]:
        return await self._ask("backfill_schedule", name=name, since=since, until=until)

    async def schedules(self) -> list[Schedule]:
        return await self._ask("schedules")

    async def change_schedule(self, name: str, change: Literal["pause", "resume", "remove", "trigger"]) -> Schedule:
        return await self._ask("change_schedule", name=name, change=change)

    async def add_webhook(self, webhook: Webhook) -> Webhook:
        return await self._ask("add_webhook", webhook=webhook)

    async def enable_webhook(self, webhook: str, *, enabled: bool, tenant: str = "default") -> Webhook:
        return await self._ask("enable_webhook", webhook=webhook, enabled=enabled, tenant=tenant)

    async def remove_webhook(self, webhook: str, *, tenant: str = "default") -> Webhook:
        return await self._ask("remove_webhook", webhook=webhook, tenant=tenant)

    async def test_webhook(self, webhook: str, *, tenant: str = "default") -> Delivered:
        return await self._ask("test_webhook", webhook=webhook, tenant=tenant)

    async def add_hook(self, hook: Hook) -> Hook:
        return await self._ask("add_hook", hook=hook)

    async def remove_hook(self, hook: str, *, tenant: str = "default") -> Hook:
        return await self._ask("remove_hook", hook=hook, tenant=tenant)

    async def set_limit(self, limit: RateLimit) -> RateLimit:
        return await self._ask("set_limit", limit=limit)

    async def remove_limit(self, scope: str) -> RateLimit:
        return await self._ask("remove_limit", scope=scope)

    async def set_secret(self, name: str, value: str, *, tenant: str = "default") -> SecretLine:
        return await self._ask("set_secret", name=name, value=value, tenant=tenant)

    async def remove_secret(self, name: str, *, tenant: str = "default") -> SecretLine:
        return await self._ask("remove_secret", name=name, tenant=tenant)

    async def secrets(self, *, tenant: str = "default") -> list[SecretLine]:
        return await self._ask("secrets", tenant=tenant)

    async def set_tenant(self, tenant: Tenant, *, new: bool = False) -> Tenant:
        return await self._ask("set_tenant", tenant=tenant, new=new)

    async def tenants(self) -> list[Tenant]:
        return await self._ask("tenants")

    async def tenant(self, name: str) -> TenantStanding:
        return await self._ask("tenant", name=name)

    async def close_tenant(self, name: str, *, by: str = "") -> Closed:
        return await self._ask("close_tenant", name=name, by=by)

    async def watch(
        self, run: str, *, tokens: bool = False, place: str = "", resume: Sequence[Position] = ()
    ) -> AsyncIterator[Update]:
        """Yield what the owner's `watch` yields; ends after the finished run, or raises `OwnerGone`."""
        asked = {"run": run, "tokens": tokens, "place": place, "resume": list(resume)}
        async with self._connection() as (reader, writer):
            await self._send(writer, "watch", asked)
            while not (answer := await self._read(reader)).end:
                if answer.update is not msgspec.UNSET:
                    yield msgspec.json.decode(answer.update, type=Update)

    async def ping(self) -> None:
        """Return if an owner answers; raises `OwnerGone` otherwise."""
        async with self._connection():
            return

    # --- Lines ---------------------------------------------------------------------------------------------------

    async def _ask(self, verb: str, **arguments: Any) -> Any:
        async with self._connection() as (reader, writer):
            await self._send(writer, verb, arguments)
            answer = await self._read(reader)
        if answer.result is msgspec.UNSET:
            return None
        return msgspec.json.decode(answer.result, type=RESULTS[verb])

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await open_address(self._address)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _send(self, writer: asyncio.StreamWriter, verb: str, arguments: dict[str, Any]) -> None:
        line = _encoder.encode(Request(1, verb, msgspec.to_builtins(arguments), self._address.token)) + b"\n"
        if len(line) > LINE_BYTES_MAX:
            raise Invalid(f"The request has {len(line)} bytes; expected at most {LINE_BYTES_MAX}.")
        writer.write(line)
        try:
            await writer.drain()
        except OSError:
            return  # what the owner said before it closed, or its silence, tells why

    async def _read(self, reader: asyncio.StreamReader) -> Answer:
        try:
            line = await reader.readuntil(b"\n")
        except (asyncio.IncompleteReadError, OSError) as error:
            raise OwnerGone("The process that owns the database has ended.") from error
        except asyncio.LimitOverrunError as error:
            raise Invalid(f"The answer is longer than {LINE_BYTES_MAX} bytes; ask for less of it.") from error
        answer = _answers.decode(line)
        if answer.error is not None:
            raise as_error(answer.error)
        return answer


class _SocketDocuments:
    """`ports.Documents` over a control socket."""

    def __init__(self, ask: Callable[..., Awaitable[Any]]) -> None:
        self._ask = ask

    async def get(self, kind: str, tenant: str, name: str) -> Document | None:
        return await self._ask("documents.get", kind=kind, tenant=tenant, name=name)

    async def list(
        self, kind: str, *, tenant: str | None = None, after: tuple[str, str] = ("", ""), limit: int = 1_000
    ) -> list[Document]:
        return await self._ask("documents.list", kind=kind, tenant=tenant, after=after, limit=limit)

    async def put(
        self, kind: str, tenant: str, name: str, body: bytes, *, at: int, expected: int | None = None
    ) -> int | None:
        key = {"kind": kind, "tenant": tenant, "name": name}
        return await self._ask("documents.put", **key, body=body, at=at, expected=expected)

    async def remove(self, kind: str, tenant: str, name: str, *, expected: int | None = None) -> bool:
        return await self._ask("documents.remove", kind=kind, tenant=tenant, name=name, expected=expected)

    async def revision(self, kind: str) -> int:
        return await self._ask("documents.revision", kind=kind)
