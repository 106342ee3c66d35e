"""What a worker says while it is at a task: model calls, effects, streamed text; and what is held of a claim for it.

A claim is known by its `activity_id`, which holds run, place, attempt and a nonce.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import lru_cache

import msgspec

from headgate.core import commands as c
from headgate.core.errors import Invalid
from headgate.engine.engine import Engine
from headgate.engine.gate import Gate
from headgate.engine.masking import MaskedStream, masked
from headgate.engine.progress import Progress
from headgate.engine.told_amounts import check_request, check_usage
from headgate.engine.told_texts import ToldTexts
from headgate.engine.vault import Vault
from headgate.ports import Admission, CallRequest, Completed, Kept, Queue, Report, Settlement, Streams

__all__ = ["HeldClaim", "WorkerCalls", "split_activity_id"]

NEVER = 1 << 62
SPLITS_KEPT_MAX = 10_000
"""Ids of claims whose parts are remembered: each token of a stream names one."""


class HeldClaim(msgspec.Struct, frozen=True):
    """What is remembered of a claim beside the queue's own record."""

    input_hash: str
    secrets: tuple[str, ...]
    """What must not be seen of its output: those that were rendered into its parameters."""
    keys: tuple[str, ...] = ()
    """And the keys of model providers that were sent along."""
    cache_key: bytes = b""
    cost: int = 0
    """What the place had cost before this attempt."""


class WorkerCalls:
    """The half of `ports.WorkerHost` that concerns tasks under way."""

    def __init__(self, engine: Engine, queue: Queue, gate: Gate, streams: Streams, vault: Vault) -> None:
        self._engine = engine
        self._queue = queue
        self._gate = gate
        self._streams = streams
        self._vault = vault
        self._held: dict[str, HeldClaim] = {}
        self._progress = Progress()
        self._masks: dict[str, MaskedStream] = {}
        """Of claims that secrets went into and that have streamed something."""
        self._told = ToldTexts()
        self._stopped: dict[str, tuple[int, int]] = {}
        """Of claims whose calls wait for money: how many do, and the time that the attempt has left (microseconds)."""
        self.deadline_set: Callable[[int], None] = lambda deadline: None
        """Told of each claim's deadline, and of the end of its lease, so that somebody watches it."""

    def tenant_of(self, activity_id: str) -> str | None:
        """Return whose task a claim holds, as far as that is in memory; None: nobody knows without the log."""
        claim = self._queue.claimed(activity_id)
        if claim is not None:
            return claim.task.tenant
        lane = self._engine.loaded(split_activity_id(activity_id)[0])
        return None if lane is None else lane.row.tenant

    def _unknown(self, activity_id: str) -> HeldClaim:
        """Return what there is to be known of a claim that this process did not hand out: any secret of its tenant may
        have gone into it, or where nobody knows the tenant, any secret at all."""
        with contextlib.suppress(Invalid):  # it is no id, and is refused as such
            return HeldClaim("", self._vault.values(self.tenant_of(activity_id)))
        return HeldClaim("", ())

    def _set_deadline(self, activity_id: str, deadline: int) -> None:
        self._queue.set_deadline(activity_id, deadline)
        self.deadline_set(deadline)

    # --- Model calls -----------------------------------------------------------------------------------------------

    async def admit(self, activity_id: str, *, call_id: str, request: CallRequest) -> Admission:
        run_id, place, attempt = split_activity_id(activity_id)
        check_request(request)
        self._stop_time(activity_id)
        try:
            return await self._gate.admit(run_id, place, attempt, call_id=call_id, request=request)
        finally:
            self._let_time_go_on(activity_id)

    def _stop_time(self, activity_id: str) -> None:
        """The time in which calls wait for money does not count against `timeout_seconds`."""
        claim = self._queue.claimed(activity_id)
        if claim is None:
            return
        waiting, remaining = self._stopped.get(activity_id, (0, 0))
        if not waiting:
            remaining = claim.deadline - self._engine.clock.now()
            self._queue.set_deadline(activity_id, NEVER)
        self._stopped[activity_id] = (waiting + 1, remaining)

    def _let_time_go_on(self, activity_id: str) -> None:
        waiting, remaining = self._stopped.pop(activity_id, (0, 0))
        if waiting > 1:
            self._stopped[activity_id] = (waiting - 1, remaining)
        elif waiting:
            self._set_deadline(activity_id, self._engine.clock.now() + remaining)

    async def settle(self, activity_id: str, *, call_id: str, settlement: Settlement) -> None:
        run_id, _, _ = split_activity_id(activity_id)
        if settlement.usage is not None:
            check_usage(settlement.usage)
        if settlement.answers:
            secrets = (self._held.get(activity_id) or self._unknown(activity_id)).secrets
            answers = tuple(Kept(masked(kept.answer, secrets), kept.share) for kept in settlement.answers)
            settlement = msgspec.structs.replace(settlement, answers=answers)
        await self._gate.settle(run_id, call_id=call_id, settlement=settlement)

    async def begin_effect(self, activity_id: str, *, what: str) -> None:
        run_id, place, attempt = split_activity_id(activity_id)
        what = masked(what, (self._held.get(activity_id) or self._unknown(activity_id)).secrets)
        command = c.BeginEffect(at=self._engine.clock.now(), actor="engine", place=place, attempt=attempt, what=what)
        await self._engine.submit(run_id, command)

    # --- Streams ---------------------------------------------------------------------------------------------------

    def stream(self, activity_id: str, text: str, offset: int | None = None) -> None:
        if offset is not None:
            new = self._told.add(activity_id, text, offset)
            if new is None:  # what is here is no beginning of the text: its readers get the result
                self._take_back(activity_id)
                return
            text = new
        run_id, place, attempt = split_activity_id(activity_id)
        held = self._held.get(activity_id)
        if held is None:
            text = masked(text, self._unknown(activity_id).secrets)
        elif held.secrets:
            text = self._masks.setdefault(activity_id, MaskedStream(held.secrets)).add(text)
        self._streams.publish(run_id, place, attempt, text)

    def _stream_rest(self, report: Report) -> None:
        """Pass on what has waited for the rest of a secret that does not come."""
        mask = self._masks.pop(report.activity_id, None)
        if mask is not None and isinstance(report, Completed):
            self._streams.publish(*split_activity_id(report.activity_id), mask.rest())

    def restart_stream(self, activity_id: str, offset: int | None = None) -> None:
        if offset is None or self._told.restart(activity_id, offset):
            self._take_back(activity_id)

    def _take_back(self, activity_id: str) -> None:
        self._masks.pop(activity_id, None)
        self._streams.restart(*split_activity_id(activity_id))


@lru_cache(maxsize=SPLITS_KEPT_MAX)
def split_activity_id(activity_id: str) -> tuple[str, str, int]:
    """Return run, place and attempt. Raises `Invalid` for an id that we did not give."""
    parts = activity_id.split("/")
    if len(parts) != 4 or not parts[2].isdigit():
        raise Invalid(f"{activity_id!r} is not an activity id.")
    return parts[0], parts[1], int(parts[2])
