"""A run in a program's hands: its state, its outcome, its news, and what can be done to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any, Self, cast

import msgspec

from headgate.core.errors import HeadgateError
from headgate.core.money import NANO
from headgate.core.view import RunView
from headgate.ports import Changed, Position, RunClient, SpendRow, Update

__all__ = ["Handle", "Result", "RunFailed"]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to. `status` is completed, failed or cancelled; `cost` is nano-dollars, exact."""

    id: str
    workflow: str
    status: str
    outputs: Any = None
    """The workflow's `outputs`; without any, those of the activities that nothing depends on. Only when completed."""
    cost: int = 0
    simulated: bool = False
    """At least one call had a notional price (demo models)."""
    error_code: str = ""
    error: str = ""
    trace_id: str = ""

    @property
    def completed(self) -> bool:
        return self.status == "completed"

    @property
    def cost_usd(self) -> Decimal:
        """The cost in US dollars, exact."""
        return Decimal(self.cost) / NANO

    def raise_for_status(self) -> Self:
        """Return the result of a completed run. Raises `RunFailed` for any other."""
        if not self.completed:
            raise RunFailed(self)
        return self


class RunFailed(HeadgateError):
    """A run did not complete. `result` says what became of it; `result.error_code` is stable."""

    code = "run_failed"

    def __init__(self, result: Result) -> None:
        reason = ": ".join(part for part in (result.error_code, result.error) if part) or "no reason given"
        super().__init__(
            f"Run {result.id} of {result.workflow} {result.status}: {reason} (trace {result.trace_id}). "
            f"`headgate show {result.id}` has the whole of it."
        )
        self.result = result


class Handle:
    """One run. Every method may be called any number of times, from the loop in which the handle was made.

    Raises what the engine raises: `NotFound` for a run that is gone, and `OwnerGone` when another process owns the
    database and ends; the run itself goes on with the next one that takes the database.
    """

    def __init__(self, client: RunClient, run_id: str, on_close: Callable[[], Awaitable[None]] | None = None) -> None:
        self.id = run_id
        self._client = client
        self._on_close = on_close

    def __repr__(self) -> str:
        return f"<run {self.id}>"

    async def status(self) -> str:
        """Return running, waiting (for a time, a person or a signal), paused, completed, failed or cancelled."""
        return (await self._client.show(self.id, contents=False)).status

    async def show(self) -> RunView:
        """Return the run with its activities, their outputs, and what each waits for."""
        return await self._client.show(self.id)

    async def result(self) -> Result:
        """Return what the run came to, when it has ended. It waits for people as long as the run does."""
        updates = cast("AsyncGenerator[Update]", self._client.watch(self.id))
        view: RunView | None = None
        async with aclosing(updates):
            async for update in updates:
                if isinstance(update, Changed):
                    view = update.run
        assert view is not None, "a watch yields the run as it is before it ends"
        return result_of(view)

    def stream(self, place: str = "", *, resume: Sequence[Position] = ()) -> AsyncIterator[Update]:
        """Yield the run as it is, then `Changed` for each change and `Tokens` as models write; ends with the run.

        Of every text that is under way its newest epoch is told from the beginning, or from where `resume` says (the
        `after` of the last that was read of it), and of one that has ended its result; `Ended` follows it. `Restarted`:
        what was told of this place before is void. `Gap`: a part is not kept any more. `place` names the one activity
        or item whose texts are wanted. A slow reader skips changes, never the last one, and no token.

        Raises `Invalid` for a position that cannot be, `Unavailable` (`reader_too_slow`) when too much waits for the
        reader: go on with `resume`.
        """
        return self._client.watch(self.id, tokens=True, place=place, resume=resume)

    async def signal(self, name: str, data: Any = None, *, key: str = "") -> None:
        """Send a signal; it is kept until an activity waits for it. `key` names the one that it is for."""
        await self._client.signal(self.id, name, key=key, data=data)

    async def approve(self, key: str = "", *, by: str = "", comment: str = "", data: Any = None) -> None:
        """Approve what waits for approval; `key` names the activity where several do. Raises `Refused` if none does."""
        await self._client.decide(self.id, key=key, approved=True, by=by, comment=comment, data=data)

    async def reject(self, key: str = "", *, by: str = "", comment: str = "", data: Any = None) -> None:
        """Reject what waits for approval; otherwise as `approve`."""
        await self._client.decide(self.id, key=key, approved=False, by=by, comment=comment, data=data)

    async def costs(self) -> list[SpendRow]:
        """Return what the run has cost so far, row by row, in nano-dollars, in the order of its events."""
        return await self._client.spend(self.id)

    async def cancel(self, reason: str = "") -> None:
        """End the run now. Work under way is stopped and its result discarded."""
        await self._client.cancel(self.id, reason=reason)

    async def close(self) -> None:
        """Give up what was opened for this handle alone (by `astart`); the run goes on with the next process that
        opens the database. Harmless when repeated, and for a handle of a connection."""
        close, self._on_close = self._on_close, None
        if close is not None:
            await close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def result_of(view: RunView) -> Result:
    """Return what a view of an ended run says."""
    return Result(
        id=view.id,
        workflow=view.workflow,
        status=view.status,
        outputs=view.outputs,
        cost=view.cost,
        simulated=view.simulated,
        error_code=view.error_code,
        error=view.error,
        trace_id=view.trace_id,
    )
