"""Nobody is told what is not durable, and what belongs together becomes durable together: the races, held still.

The kill matrix finds such faults by dying; here the moment between decision and commit is stretched by a log that
commits when it is let.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import apsw

from headgate.app import App
from headgate.core.values import Candidate, Price, Usage
from headgate.engine.lane import INLINE_BYTES_MAX
from headgate.ports import Admitted, Append, CallRequest, Changed, Outcome, Settlement, StartRequest
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog
from headgate.testing.log_conformance import HandmadeRun
from headgate.testing.rehearsal import Rehearsal, candidate

LARGE = "x" * (INLINE_BYTES_MAX + 1)
TWO_CALLS = """
name: two_calls
budget: 0.00000001
activities:
  a: {use: held}
  b: {use: held}
"""


class HeldLog(MemoryLog):
    """A log that, once it is held, makes each commit wait for a permit; `asked` says that one is waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.held = False
        self.asked = asyncio.Event()
        self._permits = asyncio.Semaphore(0)

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        if self.held:
            self.asked.set()
            await self._permits.acquire()
        return await super().commit(batch)

    def permit_one(self) -> None:
        self.asked.clear()
        self._permits.release()

    def release(self) -> None:
        self.held = False
        self._permits.release()


async def turns() -> None:
    """Let everything on the loop run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_waiting_call_is_answered_only_when_the_settlement_that_made_room_is_durable():
    async def scene() -> None:
        log = HeldLog()
        async with App(log, activities={"held": lambda parameters, ctx: None}, work=False, environment={}) as app:
            run = (await app.desk.start(StartRequest(definition=TWO_CALLS))).id
            asked = CallRequest("", (Candidate("scripted/model", 10, Price(1, 1)),))
            await app.ledger.admit(run, "a", 1, call_id="first", request=asked)
            log.held = True
            second = asyncio.create_task(app.ledger.admit(run, "b", 1, call_id="second", request=asked))
            await log.asked.wait()
            settled = asyncio.create_task(
                app.ledger.settle(run, call_id="first", settlement=Settlement.used(Usage(cost_nano=0)))
            )
            await turns()

            log.permit_one()  # the request of the second call, which is to wait
            await log.asked.wait()  # the settlement of the first, which admits the second
            await turns()
            told_early = second.done()
            log.release()
            answer = await second
            await settled

        assert not told_early
        assert isinstance(answer, Admitted)

    asyncio.run(scene())


def test_a_watcher_is_shown_nothing_that_is_not_durable():
    async def scene() -> list[int]:
        log = HeldLog()
        async with App(log, work=False, environment={}) as app:
            run = await app.desk.start(
                StartRequest(definition="name: quiet\nactivities: {a: {use: approval, with: {title: ok}}}")
            )
            await app.desk.settled()
            log.held = True
            pausing = asyncio.create_task(app.desk.pause(run.id))
            await log.asked.wait()
            shown: list[int] = []

            async def watch() -> None:
                async for update in app.desk.watch(run.id):
                    if isinstance(update, Changed):
                        row = await log.run(run.id)
                        assert row is not None
                        shown.append(update.run.version - row.head.version)

            watching = asyncio.create_task(watch())
            await turns()
            log.release()
            await pausing
            await turns()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        return shown

    shown = asyncio.run(scene())

    assert shown, "the watcher was shown nothing at all"
    assert max(shown) == 0, f"the watcher was shown {max(shown)} events that nobody had committed"


def test_a_large_content_is_there_as_soon_as_its_event_is(tmp_path: Path):
    """Whoever dies right after the COMMIT, before anything else, leaves the content as well as the event."""
    seen: list[tuple[int, int]] = []

    def look(*_: object) -> int:
        other = apsw.Connection(str(tmp_path / "log.db"))
        seen.extend(other.execute("select (select count(*) from events), (select count(*) from blobs)"))
        other.close()
        return apsw.SQLITE_OK

    async def scene() -> None:
        log = SqliteLog(tmp_path / "log.db")
        assert log._writer is not None
        log._writer.set_wal_hook(look)  # called when a transaction has just been committed
        await HandmadeRun(log, "run-1").commit((LARGE,))
        await log.close()

    asyncio.run(scene())

    assert seen[0] == (1, 1)


def test_a_large_content_is_not_kept_of_an_append_that_is_refused(tmp_path: Path):
    async def scene() -> tuple[list[Outcome], int]:
        log = SqliteLog(tmp_path / "log.db")
        run = HandmadeRun(log, "run-1")
        await run.commit()
        outcomes = await log.commit([run.append((LARGE + "a",)), run.append((LARGE + "b",))])
        assert log._writer is not None
        kept = log._writer.execute("select count(*) from blobs").fetchall()[0][0]
        await log.close()
        return outcomes, kept

    outcomes, kept = asyncio.run(scene())

    assert outcomes == ["accepted", "version_conflict"]
    assert kept == 1


def test_a_call_that_is_settled_twice_counts_once():
    run = Rehearsal("name: t\nbudget: 1.00\nactivities: {a: {use: echo}}").start()
    run.admit("a", "call", candidate(100))

    run.settle("call", 40)
    again = run.settle("call", 40)

    assert again == []
    assert (run.run.spent, run.run.reserved) == (40, 0)


def test_a_child_that_ends_after_its_cancelled_parent_still_counts_with_its_cost():
    run = Rehearsal("name: t\nactivities: {a: {workflow: below}}").start()
    run.suspend("a", "child", child_run="the-child", child_definition="below")
    run.cancel()

    told = run.finish_child("a", "the-child", status="cancelled", cost=40)
    again = run.finish_child("a", "the-child", status="cancelled", cost=40)

    assert (run.status, run.run.total_cost) == ("cancelled", 40)
    assert [event.type for event in told] == ["child_finished"]
    assert again == []
