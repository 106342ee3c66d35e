"""The exact cache of model calls: asked before money is, filled by what has been settled.

What is kept: the answer of a call, under the tenant, the hash of what was asked (as it left, after the policies) and
the model it was asked of. So equal calls of any activity, workflow, item or order of models share it. It is kept in the
listener of the commit that has its settlement, before anybody hears of that: what is found was paid for, and what a
crash takes with it costs a call more. Nothing of the answer is in the log; the use of one is (`CallReused`).

Whose answer counts: that of the first model which the call would go to now. A later model of the list is a fallback,
and its answer from yesterday must not silently replace what the preferred one would say. One that has failed in this
attempt is passed over, and then the next one counts.

Equal calls at the same time: the second waits for the first, a bounded time, within this process; then it asks by
itself. So no wait can hold another up for ever, whatever that one waits for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

from headgate.core import commands as c
from headgate.core import gate_events as g
from headgate.core.codec import content_bytes, content_value
from headgate.core.decision import Decision
from headgate.core.errors import Invalid
from headgate.core.place import Place
from headgate.core.values import Failure
from headgate.engine.cache import NO_CACHE, caches_calls, call_key
from headgate.engine.engine import Engine
from headgate.engine.lane import Lane
from headgate.ports import Cache, CallRequest, Denied, Hit, Kept, Reusable

__all__ = ["OPEN_CALLS_MAX", "SAME_CALL_SECONDS_MAX", "CallCache"]

OPEN_CALLS_MAX = 10_000
"""Calls whose answers may be kept, at a time; one beyond that is made, and its answer is not kept."""
SAME_CALL_SECONDS_MAX = 60
"""So long a call waits for an equal one that is being made."""

Name = tuple[str, str]
"""A call, by its run and its id."""


class _Open:
    """A call that is being made: where its answers are to be kept, and the answers once they are there."""

    __slots__ = ("activity", "answers", "attempt", "keys", "model", "place")

    def __init__(self, lane: Lane, place: Place, request: CallRequest, model: str) -> None:
        self.activity = place.planned.activity
        self.place, self.attempt, self.model = place.path, place.attempt, model
        self.keys = _keys(lane, request, model)
        self.answers: list[tuple[bytes, int]] = []
        """As JSON, each with its share of the cost."""


class CallCache:
    """One per engine, in front of its ledger. Made before whoever hands out what a commit makes due."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.cache: Cache = NO_CACHE
        self.reuse = True
        """False: answers are kept, and none is reused."""
        self._open: dict[Name, _Open] = {}
        self._being_made: dict[bytes, Name] = {}
        """Of equal calls, by their key: the one that the others wait for."""
        self._waiting: dict[bytes, list[asyncio.Event]] = {}
        """They are as many as attempts are under way, at most."""
        engine.listen(self._committed)

    # --- Before a call -------------------------------------------------------------------------------------------

    async def find(
        self, run_id: str, path: str, attempt: int, *, call_id: str, request: CallRequest
    ) -> Hit | Denied | None:
        """Return the answers of equal calls, once their use is in the log; None: the call is to be made.

        Asked again with the same `call_id` the answer is the same, or a refusal where it is gone. Raises
        `StaleAttempt`.
        """
        lane = self._engine.loaded(run_id) or await self._engine.lane(run_id)
        place, known = _caching(lane, path, attempt), lane.run.calls.get(call_id)
        if place is None or not self.reuse or (known is not None and known.state != "reused"):
            return None
        until = self._engine.clock.now() + SAME_CALL_SECONDS_MAX * 1_000_000
        while True:
            hit = await self._take(lane, place, attempt, call_id, request)
            if hit is not None or not await self._waited(_keys(lane, request), until):
                break
        if hit is None and known is not None:
            return Denied(Failure("reused_answer_gone", "The kept answer was taken, and is gone by now. Try again."))
        return hit

    async def _take(self, lane: Lane, place: Place, attempt: int, call_id: str, request: CallRequest) -> Hit | None:
        first, now = request.candidates[0], self._engine.clock.now()
        assert place.planned.activity.cache is not None
        youngest = now - int(place.planned.activity.cache.ttl_seconds * 1_000_000)
        found = await self._found(lane.run.tenant, _keys(lane, request), now)
        kept = [one if one is not None and one.at > youngest else None for one in found]
        if not any(kept):
            return None
        command = c.ReuseCall(
            at=now,
            actor="policy",
            place=place.path,
            attempt=attempt,
            call_id=call_id,
            request_hash=request.request_hash,
            model=first.model,
            saved=sum(one.saves for one in kept if one is not None),
            simulated=bool(first.price and first.price.simulated),
            verdicts=request.verdicts,
        )
        await self._engine.submit(lane.run.id, command)
        return Hit(first.model, tuple(None if one is None else content_value(one.output) for one in kept))

    async def _found(self, tenant: str, keys: Sequence[bytes], now: int) -> list[Reusable | None]:
        if len(keys) == 1:  # no turn of the loop between this look and the next one, which is for a call under way
            return [await self.cache.find(tenant, keys[0], now)]
        return await asyncio.gather(*(self.cache.find(tenant, key, now) for key in keys))

    async def _waited(self, keys: Sequence[bytes], until: int) -> bool:
        """Wait for an equal call that is being made; return whether it is worth looking again."""
        if len(keys) != 1 or keys[0] not in self._being_made or self._engine.clock.now() >= until:
            return False
        woken = asyncio.Event()
        waiting = self._waiting.setdefault(keys[0], [])
        waiting.append(woken)
        try:
            await self._engine.clock.wait(until, woken)
        finally:
            waiting.remove(woken)
        return True

    @contextmanager
    def asking(self, run_id: str, *, call_id: str, request: CallRequest) -> Generator[None]:
        """Within it a call is asked for, and equal ones wait for it; after it no more, unless it was `admitted`."""
        lane = self._engine.loaded(run_id)
        keys = () if lane is None or not self.reuse else _keys(lane, request)
        if len(keys) == 1 and len(self._being_made) < OPEN_CALLS_MAX:
            self._being_made.setdefault(keys[0], (run_id, call_id))
        try:
            yield
        finally:
            if (run_id, call_id) not in self._open:
                self._let_go((run_id, call_id), keys)

    # --- After it ------------------------------------------------------------------------------------------------

    def admitted(self, run_id: str, path: str, attempt: int, *, call_id: str, request: CallRequest, model: str) -> None:
        """Take note of a call that is going to be made, to `model`."""
        lane = self._engine.loaded(run_id)
        place = None if lane is None else _caching(lane, path, attempt)
        if lane is None or place is None or len(self._open) >= OPEN_CALLS_MAX:
            return
        call = lane.run.calls.get(call_id)
        if call is not None and call.state == "admitted":  # else it has ended already
            self._open[run_id, call_id] = _Open(lane, place, request, model)
        if model != request.candidates[0].model:
            self._let_go((run_id, call_id), _keys(lane, request))

    @contextmanager
    def settling(self, run_id: str, call_id: str, answers: tuple[Kept, ...]) -> Generator[None]:
        """Within it a call is settled; when that is in the log, `answers` are kept."""
        open_ = self._open.get((run_id, call_id))
        if open_ is not None and len(answers) == len(open_.keys) and all(kept.share > 0 for kept in answers):
            with suppress(Invalid):  # what JSON cannot hold cannot be kept
                open_.answers = [(content_bytes(kept.answer), kept.share) for kept in answers]
        try:
            yield
        finally:
            if open_ is not None:
                open_.answers = []

    def _committed(self, lane: Lane, decisions: Sequence[Decision]) -> None:
        if not self._open:
            return
        for decision in decisions:
            for event in decision.events:
                if isinstance(event, g.CallSettled | g.CallForfeited):
                    name = (lane.run.id, event.call_id)
                    open_ = self._open.pop(name, None)
                    if open_ is None:
                        continue
                    if isinstance(event, g.CallSettled) and event.outcome == "used":
                        self._keep(lane, open_, event)
                    self._let_go(name, open_.keys)

    def _keep(self, lane: Lane, open_: _Open, settled: g.CallSettled) -> None:
        shares, given = sum(share for _, share in open_.answers), 0
        cache = open_.activity.cache
        assert cache is not None
        for key, (answer, share) in zip(open_.keys, open_.answers, strict=False):
            before, given = given, given + share
            entry = Reusable(
                tenant=lane.run.tenant,
                key=key,
                workflow=lane.run.plan.definition.name,
                activity=open_.activity.key,
                name=open_.model,
                at=settled.at,
                expires_at=settled.at + int(cache.ttl_seconds * 1_000_000),
                # What a share comes to is rounded so that all shares together are what the call cost.
                saves=settled.cost * given // shares - settled.cost * before // shares,
                output=answer,
            )
            self.cache.keep(entry)

    def _let_go(self, name: Name, keys: Sequence[bytes]) -> None:
        """Equal calls wait for this one no more."""
        for key in keys:
            if self._being_made.get(key) == name:
                del self._being_made[key]
                for woken in self._waiting.pop(key, ()):
                    woken.set()


def _caching(lane: Lane, path: str, attempt: int) -> Place | None:
    """Return the place if this attempt of it is under way and its calls are reused."""
    place = lane.run.tasks.get(path)
    return place if place and place.attempt == attempt and caches_calls(place.planned.activity) else None


def _keys(lane: Lane, request: CallRequest, model: str = "") -> tuple[bytes, ...]:
    """Return under which keys the answers of a call to `model` lie; else of one to the first candidate."""
    asked_of = model or request.candidates[0].model
    return tuple(call_key(lane.run.tenant, asked_of, asked) for asked in request.reuse)
