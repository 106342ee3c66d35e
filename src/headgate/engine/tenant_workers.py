"""The worker protocol as far as one tenant goes: its tasks are all there are, and claims of others were never given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headgate.core.errors import Invalid, StaleAttempt
from headgate.core.values import Assignment
from headgate.engine.engine import no_run
from headgate.engine.protocol import LocalProtocol
from headgate.engine.worker_calls import split_activity_id
from headgate.ports import Acknowledged, Admission, CallRequest, Report, Settlement, Task

__all__ = ["TenantWorkers"]


class TenantWorkers:
    """`ports.WorkerHost` for a tenant's own workers. Claims of others are answered like those that never were."""

    def __init__(self, protocol: LocalProtocol, tenant: str) -> None:
        self._protocol = protocol
        self._tenant = tenant

    async def poll(
        self,
        queues: Sequence[str],
        *,
        worker_id: str,
        count: int,
        wait_seconds: float,
        heartbeats: bool | None = None,
    ) -> list[Assignment]:
        return await self._protocol.poll(
            queues,
            worker_id=worker_id,
            count=count,
            wait_seconds=wait_seconds,
            heartbeats=heartbeats,
            tenant=self._tenant,
        )

    async def claim_of(self, task: Task, *, worker_id: str) -> str:
        """Return what the protocol does: which runs there are to be asked about is not decided here."""
        return await self._protocol.claim_of(task, worker_id=worker_id)

    async def heartbeat(self, activity_id: str, *, worker_id: str, progress: Any = None) -> float:
        if not await self._protocol.belongs(activity_id, self._tenant):
            run_id, place, attempt = split_activity_id(activity_id)
            raise StaleAttempt(run_id, place, reported=attempt, current=attempt)
        return await self._protocol.heartbeat(activity_id, worker_id=worker_id, progress=progress)

    def progress_of(self, run_id: str) -> dict[str, Any]:
        """Return what the protocol does, of a run that is the tenant's."""
        return self._protocol.progress_of(run_id)

    async def report(self, reports: Sequence[Report], *, worker_id: str) -> list[Acknowledged]:
        own = [report for report in reports if await self._may_report(report)]
        if len(own) == len(reports):
            return await self._protocol.report(reports, worker_id=worker_id)
        answers = iter(await self._protocol.report(own, worker_id=worker_id) if own else ())
        taken = {id(report) for report in own}
        return [next(answers) if id(report) in taken else _of_no_run(report) for report in reports]

    async def _may_report(self, report: Report) -> bool:
        try:
            return await self._protocol.belongs(report.activity_id, self._tenant)
        except Invalid:
            return True  # it is no id at all, and the answer says so

    async def admit(self, activity_id: str, *, call_id: str, request: CallRequest) -> Admission:
        await self._insist(activity_id)
        return await self._protocol.admit(activity_id, call_id=call_id, request=request)

    async def settle(self, activity_id: str, *, call_id: str, settlement: Settlement) -> None:
        await self._insist(activity_id)
        await self._protocol.settle(activity_id, call_id=call_id, settlement=settlement)

    async def begin_effect(self, activity_id: str, *, what: str) -> None:
        await self._insist(activity_id)
        await self._protocol.begin_effect(activity_id, what=what)

    async def _insist(self, activity_id: str) -> None:
        if not await self._protocol.belongs(activity_id, self._tenant):
            raise no_run(split_activity_id(activity_id)[0])

    def stream(self, activity_id: str, text: str, offset: int | None = None) -> None:
        if self._protocol.tenant_of(activity_id) == self._tenant:
            self._protocol.stream(activity_id, text, offset)

    def restart_stream(self, activity_id: str, offset: int | None = None) -> None:
        if self._protocol.tenant_of(activity_id) == self._tenant:
            self._protocol.restart_stream(activity_id, offset)


def _of_no_run(report: Report) -> Acknowledged:
    return Acknowledged(report.activity_id, stale=str(no_run(split_activity_id(report.activity_id)[0])))
