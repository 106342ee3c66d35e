"""The worker protocol, in process: doors for workers elsewhere expose this object, the built-in worker has no other.

A claim is known by its `activity_id`, which holds run, place, attempt and a nonce; a report after a restart, when no
claim is remembered, is still fenced by its attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from headgate.core import commands as c
from headgate.core import events as e
from headgate.core.catalogue import MODEL_CALLERS
from headgate.core.decision import Decision
from headgate.core.definition import PolicyUse
from headgate.core.errors import HeadgateError, Invalid, NotFound, Refused, StaleAttempt, Unavailable
from headgate.core.place import Place
from headgate.core.values import Assignment, Failure
from headgate.engine.assignment import assignment_of
from headgate.engine.cache import result_key, reused_output
from headgate.engine.engine import Engine
from headgate.engine.file_values import with_files, with_texts
from headgate.engine.gate import Gate
from headgate.engine.leases import HEARTBEAT_SECONDS, held_open_seconds, lease_seconds
from headgate.engine.masking import masked
from headgate.engine.outcome import masked_report, outcome_of
from headgate.engine.policy_settings import policy_settings
from headgate.engine.rendering import reads_secrets, render, rendering_needs
from headgate.engine.result_cache import ResultCache, completion_of
from headgate.engine.told_amounts import check_usages
from headgate.engine.vault import NO_SECRETS, Vault
from headgate.engine.worker_calls import HeldClaim, WorkerCalls, split_activity_id
from headgate.ports import (
    Acknowledged,
    Claim,
    Completed,
    Failed,
    Files,
    Queue,
    Report,
    Reusable,
    Streams,
    Task,
)

__all__ = ["LocalProtocol"]

CLAIMS_MAX = 1_000
PIPELINED_MIN = 32
"""Reports on so many runs are worth two commits, the second decided while the first waits for the disk."""


class LocalProtocol(WorkerCalls):
    """`ports.WorkerHost` in front of an engine and a queue."""

    def __init__(self, engine: Engine, queue: Queue, gate: Gate, streams: Streams, vault: Vault) -> None:
        super().__init__(engine, queue, gate, streams, vault)
        self.results = ResultCache(engine)
        self.files: Files | None = None
        self.policies: tuple[PolicyUse, ...] = ()
        """The policies of the process: every model call goes through them first."""
        self.own_keys_only: Callable[[str], Awaitable[bool]] = _never
        """Whether a tenant's model calls may not use the keys of the process."""
        self.claims = 0
        self.reports = 0

    # --- Tasks out -----------------------------------------------------------------------------------------------

    async def poll(
        self,
        queues: Sequence[str],
        *,
        worker_id: str,
        count: int,
        wait_seconds: float,
        heartbeats: bool | None = None,
        tenant: str | None = None,
    ) -> list[Assignment]:
        """Return tasks; `tenant` given: that tenant's alone."""
        claims = await self._queue.take(
            queues,
            worker_id=worker_id,
            count=min(count, CLAIMS_MAX),
            wait_seconds=held_open_seconds(wait_seconds, heartbeats=heartbeats),
            tenant=tenant,
        )
        try:
            assignments = await self._assign_all(claims)
            if heartbeats is not None:
                await self._lend(assignments, heartbeats=heartbeats)
        except (Unavailable, asyncio.CancelledError):  # or whoever asked is gone: nobody has got any of them
            self._give_back(claims)
            raise
        self.claims += len(assignments)
        return assignments

    async def _assign_all(self, claims: Sequence[Claim]) -> list[Assignment]:
        """Return what comes of the claims, as far as the log can be read. Raises `Unavailable` where it cannot."""
        assignments: list[Assignment] = []
        for number, claim in enumerate(claims):
            try:
                assignment = await self._assign(claim)
            except Unavailable:
                if not assignments:
                    raise
                self._give_back(claims[number:])
                break
            if assignment is not None:
                assignments.append(assignment)
        return assignments

    def _give_back(self, claims: Sequence[Claim]) -> None:
        """Offer tasks anew that could not be handed out, as far as they are still to be done."""
        for claim in claims:
            if self._queue.claimed(claim.activity_id) is not None:
                self._held.pop(claim.activity_id, None)
                self._queue.finish(claim.activity_id)
                self._queue.put(claim.task)

    async def belongs(self, activity_id: str, tenant: str) -> bool:
        """Return whether the run of this claim is the tenant's. Raises `Invalid` for an id that we did not give."""
        known = self.tenant_of(activity_id)
        if known is None:
            row = await self._engine.log.run(split_activity_id(activity_id)[0])
            known = None if row is None else row.tenant
        return known == tenant

    async def claim_of(self, task: Task, *, worker_id: str) -> str:
        """Return the id of the worker's claim of an attempt; `worker_id` empty: of whoever holds it. Where there is
        none, it is the id of a claim that is over, whose outcome is still taken if the attempt is the current one."""
        for claim in await self._queue.claims_of(task.run_id):
            if claim.task[1:4] == task[1:4] and worker_id in ("", claim.worker_id):
                return claim.activity_id
        return f"{task.run_id}/{task.place}/{task.attempt}/"

    async def lose(self, activity_ids: Sequence[str], reason: str) -> None:
        """Whoever worked on these is gone: a new attempt of each is offered, and calls that were open are forfeited.
        Of an attempt that is over, or was never handed out, there is nothing to lose."""
        for activity_id in activity_ids:
            run_id, place, attempt = split_activity_id(activity_id)
            command = c.LoseAttempt(
                at=self._engine.clock.now(), actor="engine", place=place, attempt=attempt, reason=reason
            )
            with contextlib.suppress(Invalid, Refused):
                await self._engine.insist(run_id, command)
            self.release(activity_id)

    async def _assign(self, claim: Claim) -> Assignment | None:
        """Render a claim. One that is of no use any more is let go; one that cannot be rendered has failed."""
        task = claim.task
        lane = self._engine.loaded(task.run_id)
        if lane is None or lane.head.version < claim.version:
            lane = await self._engine.news.lane_at(task.run_id, claim.version)
        run = lane.run
        place = run.tasks.get(task.place)
        if place is None or place.attempt != task.attempt or run.status in ("paused", "cancelling"):
            self._queue.discard(claim.activity_id)
            return None
        try:
            needs = rendering_needs(run, place)
            values = await self._engine.load_values(lane.row.key, needs) if needs else {}
            if values and self.files is not None and place.planned.reads_files_as_text:
                fan = run.owner(place).fan
                values = with_texts(
                    values,
                    self.files.of(task.tenant),
                    fileless=self._engine.contents.fileless(lane.row.key),
                    list_of_items=fan.content if fan is not None and place.item >= 0 else 0,
                    item=place.item,
                )
            secrets = await self._vault.of(run.tenant) if reads_secrets(place) else NO_SECRETS
            rendered = render(run, place, values, secrets)
            left = await self._engine.shared.left(run)
            assignment = assignment_of(claim, run, place, rendered, values, shared_left=left)
            assignment.settings.update(policy_settings(run, place, values, self.policies, lane.row.content_key))
            key = result_key(run, place, assignment, rendered.plain, values)
        except Unavailable:
            raise
        except HeadgateError as error:
            self._refuse(claim, error)
            return None
        if key and (kept := await self.results.find(run.tenant, key)) is not None:
            self._complete_from_cache(claim, place, rendered.input_hash, kept)
            return None
        # After the keys of caches were made, into nothing that is kept, and only for what calls models.
        keys = await self._send_keys(assignment) if assignment.activity_name in MODEL_CALLERS else ()
        self._held[claim.activity_id] = HeldClaim(rendered.input_hash, rendered.secrets, keys, key, place.cost)
        if rendered.secrets:
            assignment.settings["secrets"] = True
        deadline = claim.claimed_at + int(assignment.timeout_seconds * 1_000_000)
        self._set_deadline(claim.activity_id, deadline)
        return assignment

    async def _lend(self, assignments: Sequence[Assignment], *, heartbeats: bool) -> None:
        """Give tasks into another process: from now on silence is a sign of its death."""
        leases = {
            task.activity_id: int(lease_seconds(task.timeout_seconds, heartbeats=heartbeats) * 1_000_000)
            for task in assignments
        }
        if leases:
            await self._queue.set_leases(leases)
            self.deadline_set(self._engine.clock.now() + min(leases.values()))

    async def _send_keys(self, assignment: Assignment) -> tuple[str, ...]:
        """Send the tenant's own keys for model providers along; return them."""
        keys, only = await self._vault.provider_keys(assignment.tenant), await self.own_keys_only(assignment.tenant)
        if keys or only:
            assignment.settings["provider_keys"] = dict(keys)
        if only:
            assignment.settings["provider_keys_only"] = True
        return tuple(keys.values())

    def _complete_from_cache(self, claim: Claim, place: Place, input_hash: str, kept: Reusable) -> None:
        """Complete the attempt with the output of an equal one: no worker is needed, nothing is spent."""
        task, output = claim.task, reused_output(kept)
        if place.planned.activity.name == "llm_prompt" and isinstance(output, dict):
            self._streams.publish(task.run_id, task.place, task.attempt, str(output.get("content") or ""))
        command = completion_of(claim, input_hash, output, saved=kept.saves, now=self._engine.clock.now())

        def told(answer: asyncio.Future[Decision]) -> None:
            self.release(claim.activity_id)
            if not answer.cancelled() and isinstance(answer.exception(), Unavailable):
                self._queue.put(task)

        self._engine.submit_soon(task.run_id, command).add_done_callback(told)

    def _refuse(self, claim: Claim, error: HeadgateError) -> None:
        task = claim.task
        command = c.FailActivity(
            at=self._engine.clock.now(),
            actor="engine",
            place=task.place,
            attempt=task.attempt,
            error=Failure(error.code, str(error), retryable=False),
        )
        self._queue.finish(claim.activity_id)
        self._engine.submit_soon(task.run_id, command)

    # --- Reports in ----------------------------------------------------------------------------------------------

    async def heartbeat(self, activity_id: str, *, worker_id: str, progress: Any = None) -> float:
        run_id, place, attempt = split_activity_id(activity_id)
        # Of many nodes: the row goes with the attempt, and the run in memory may be old.
        lane = self._engine.loaded(run_id) if self._engine.others is None else None
        over = lane is not None and (place not in lane.run.tasks or lane.run.status == "cancelling")
        if not await self._queue.renew(activity_id) or over:
            row = await self._engine.log.run(run_id) if lane is None else None
            status = lane.run.status if lane is not None else row.head.status if row is not None else ""
            raise StaleAttempt(run_id, place, reported=attempt, current=attempt, run_status=status)
        held = self._held.get(activity_id)
        if progress is not None and held is not None:
            self._progress.note(run_id, place, masked(progress, held.secrets) if held.secrets else progress)
        return HEARTBEAT_SECONDS

    def progress_of(self, run_id: str) -> dict[str, Any]:
        """Return what the workers of a run's tasks have said of them to this process, by place."""
        return self._progress.of(run_id)

    async def report(self, reports: Sequence[Report], *, worker_id: str) -> list[Acknowledged]:
        """Record outcomes. Raises `Invalid`, and records none, where one has used what cannot be; `Unavailable` when
        the log cannot be written: report again, nothing is lost."""
        for one in reports:
            if one.usage:
                check_usages(one.usage)
        now = self._engine.clock.now()
        parted = self._engine.appender.lanes == 1 and _runs_of(reports) >= PIPELINED_MIN
        first = len(reports) // 2 if parted else 0
        answers = self._submit_all(reports[:first], worker_id, now) if first else []
        if first and self._engine.appender.idle:
            # Let the first half's commit begin: while it waits for the disk, the other half is decided.
            await asyncio.sleep(0)
        answers += self._submit_all(reports[first:], worker_id, now)
        acknowledged: list[Acknowledged] = []
        for report, answer in zip(reports, answers, strict=True):
            stale, will_retry = "", False
            try:
                decision = await answer
                if isinstance(report, Failed):
                    will_retry = any(type(event) is e.RetryScheduled for event in decision.events)
            except (StaleAttempt, NotFound, Invalid) as error:
                stale = str(error)
            except Unavailable:
                # The caller reports all of them again; that the others failed as well is no news to anybody.
                for other in answers:
                    other.add_done_callback(_seen)
                raise
            self.release(report.activity_id)
            acknowledged.append(Acknowledged(report.activity_id, stale, will_retry))
        self.reports += len(acknowledged)
        return acknowledged

    def _submit_all(self, reports: Sequence[Report], worker_id: str, now: int) -> list[asyncio.Future[Decision]]:
        with self._engine.gather():
            return [self._submit(report, worker_id, now) for report in reports]

    def _submit(self, report: Report, worker_id: str, now: int) -> asyncio.Future[Decision]:
        claim = self._queue.claimed(report.activity_id)
        held = self._held.get(report.activity_id) or self._unknown(report.activity_id)
        if claim is not None:
            task, started_at = claim.task, claim.claimed_at
        else:
            try:
                task, started_at = Task("", *split_activity_id(report.activity_id)), now
            except Invalid as error:
                refused: asyncio.Future[Decision] = self._engine.loop.create_future()
                refused.set_exception(error)
                return refused
        if held.secrets:
            self._stream_rest(report)
        if held.secrets or held.keys:  # before anything of it is kept, as a file or in the log
            report = masked_report(report, (*held.secrets, *held.keys))
        command = outcome_of(
            self._with_files(report, task),
            task,
            input_hash=held.input_hash,
            worker=worker_id,
            started_at=started_at,
            now=now,
        )
        if held.cache_key and isinstance(command, c.CompleteActivity):
            self.results.note(task, held, command)
        return self._engine.submit_soon(task.run_id, command)

    def _with_files(self, report: Report, task: Task) -> Report:
        """Keep as files what the activity declares so. What cannot be kept fails the attempt."""
        lane = self._engine.loaded(task.run_id)
        place = lane and lane.run.tasks.get(task.place)
        if self.files is None or place is None or not place.planned.makes_files or not isinstance(report, Completed):
            return report
        try:
            output = with_files(place.planned.activity, report.output, self.files.of(task.tenant))
        except Invalid as error:
            return Failed(report.activity_id, Failure("invalid_output", str(error), retryable=False), report.usage)
        except OSError as error:
            message = f"the file cannot be kept: {error.strerror or error}"
            return Failed(report.activity_id, Failure("file_not_kept", message), report.usage)
        return msgspec.structs.replace(report, output=output)

    def release(self, activity_id: str) -> None:
        """The claim is over: keep nothing for it."""
        self._queue.finish(activity_id)
        self._held.pop(activity_id, None)
        self._masks.pop(activity_id, None)
        if self._progress:
            self._progress.forget(*split_activity_id(activity_id)[:2])
        self._told.forget(activity_id)
        if self.results.under_way:
            self.results.forget(*split_activity_id(activity_id))


async def _never(tenant: str) -> bool:
    return False


def _runs_of(reports: Sequence[Report]) -> int:
    return 1 if len(reports) < PIPELINED_MIN else len({report.activity_id.partition("/")[0] for report in reports})


def _seen(answer: asyncio.Future[Decision]) -> None:
    """Take note of a failure, so that asyncio does not log it as one that nobody looked at."""
    if not answer.cancelled():
        answer.exception()
