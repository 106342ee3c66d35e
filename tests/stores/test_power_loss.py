"""Whatever was acknowledged survives the loss of power at any moment, and nothing is there by half."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import apsw
import pytest

from headgate.core.errors import Unavailable
from headgate.engine.appender import Appender
from headgate.engine.audit import verify
from headgate.ports import Append, Log, Move, Outcome, OverBudget
from headgate.stores.sqlite import SqliteLog
from headgate.testing.log_conformance import HandmadeRun, on_a_loop
from headgate.testing.vfs import CountingVfs, PowerLossVfs

RUNS = 6
APPENDS_PER_RUN = 12
OPERATIONS = 560
"""About as many writes and syncs as a story needs from its first to its last byte."""

SEEDS = range(60)

Plant = Callable[[SqliteLog], Log]


class Story:
    """Several runs that are appended to through one appender, until all is written or the power goes."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.tried: dict[str, list[Append]] = {}
        self.acknowledged: dict[str, int] = {}
        """Each run's version as it was last acknowledged."""

    async def tell(self, log: Log) -> None:
        appender = Appender(log)
        appender.start()
        await asyncio.gather(*(self._write(appender, HandmadeRun(log, f"run-{n}")) for n in range(RUNS)))
        await appender.close()

    async def _write(self, appender: Appender, run: HandmadeRun) -> None:
        for number in range(APPENDS_PER_RUN):
            contents = [self._content() for _ in range(self.chance.randint(1, 3))]
            moves = [Move("team", reserve=1, limit=1_000_000)]
            item = run.append(contents, moves=moves, commands=[f"{run.id}/{number}"])
            self.tried.setdefault(run.id, []).append(item)
            outcome = await appended(appender, item)
            if isinstance(outcome, BaseException):
                assert isinstance(outcome, Unavailable)
                return
            assert outcome == "accepted"
            run.settle(item, outcome)
            self.acknowledged[run.id] = item.head.version

    def _content(self) -> str | None:
        size = self.chance.choice((0, 10, 500, 5_000, 70_000 if self.chance.random() < 0.1 else 50))
        return self.chance.randbytes(size // 2).hex() if size else None


async def appended(appender: Appender, item: Append) -> Outcome:
    told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    appender.append(item, lambda _, outcome: told.set_result(outcome))
    return await told


async def lose_power(folder: Path, seed: int, plant: Plant | None = None) -> list[str]:
    """Tell a story, lose power on the way, and return what is wrong with what is found afterwards."""
    path = folder / f"{seed}.db"
    story = Story(seed)
    with PowerLossVfs(seed, fail_at=story.chance.randint(1, OPERATIONS)) as disk:
        try:
            log = SqliteLog(path, vfs=disk.name)
        except Unavailable:
            assert disk.dark
        else:
            log._writer.execute("pragma wal_autocheckpoint = 60")  # so that the power may go in a checkpoint too
            await story.tell(plant(log) if plant else log)
            disk.lose_power()
            await log.close()
        disk.restore()
    return await wrong_with(path, story)


async def wrong_with(path: Path, story: Story) -> list[str]:
    try:
        log = SqliteLog(path)
    except Unavailable as error:
        return [str(error)]
    try:
        wrong = [str(answer) for (answer,) in log._reader.execute("pragma integrity_check") if answer != "ok"]
        wrong += [str(fault) for fault in await verify(log)]
        for run_id, items in story.tried.items():
            wrong += await wrong_with_run(log, run_id, items, story.acknowledged.get(run_id, 0))
        kept = sum([await log.answer("default", name) is not None for name in commands_of(story)])
        budget = await log.budget("team") or OverBudget("team", 0, 0, 0)
        if budget.reserved != kept:
            wrong.append(f"{kept} appends are there, and {budget.reserved} reservations")
        if await HandmadeRun(log, "afterwards").commit() != "accepted":
            wrong.append("no append is possible afterwards")
    except (apsw.CorruptError, Unavailable) as error:
        wrong = [str(error)]
    finally:
        await log.close()
    return wrong


def commands_of(story: Story) -> list[str]:
    return [name for items in story.tried.values() for item in items for _, name, _, _ in item.commands]


async def wrong_with_run(log: Log, run_id: str, items: Sequence[Append], acknowledged: int) -> list[str]:
    row = await log.run(run_id)
    version = row.head.version if row else 0
    wrong: list[str] = []
    if version < acknowledged:
        wrong.append(f"{run_id}: event {acknowledged} was acknowledged; only {version} are there")
    if version not in [0, *(item.head.version for item in items)]:
        wrong.append(f"{run_id}: half an append is there, up to event {version}")
    written = [tuple(event[1:]) for event in await log.events(items[0].run)]
    there = [item for item in items if item.head.version <= version]
    if written != [event for item in there for event in item.rows]:
        wrong.append(f"{run_id}: the events are not those that were written")
    blobs = [data for item in there for _, data in item.blobs]
    large = [event[1] for item in there for event in item.rows if event[6] is None]
    found = await log.contents(items[0].run, large)
    if sorted(found.values()) != sorted(blobs):
        wrong.append(f"{run_id}: {len(blobs)} large contents were written, {len(found)} are there")
    for item in items:
        answered = await log.answer("default", item.commands[0][1]) is not None
        if answered != (item in there):
            wrong.append(f"{run_id}: command {item.commands[0][1]} and its events parted")
    return wrong


@pytest.mark.parametrize("seed", SEEDS)
@on_a_loop
async def test_what_was_acknowledged_survives_the_loss_of_power(tmp_path: Path, seed: int):
    assert await lose_power(tmp_path, seed) == []


@on_a_loop
async def test_a_story_is_long_enough_to_lose_power_anywhere_in_it(tmp_path: Path):
    with PowerLossVfs(0) as disk:
        log = SqliteLog(tmp_path / "x.db", vfs=disk.name)
        log._writer.execute("pragma wal_autocheckpoint = 60")
        story = Story(0)
        await story.tell(log)
        await log.close()

    assert len(story.acknowledged) == RUNS
    assert disk.operations > OPERATIONS * 0.6


# --- Faults that must be seen ----------------------------------------------------------------------------


def without_sync(log: SqliteLog) -> Log:
    log._writer.execute("pragma synchronous = off")
    return log


class HastyLog:
    """A log that says "accepted" before the commit."""

    def __init__(self, log: SqliteLog) -> None:
        self._log = log
        self._commits: set[asyncio.Task[object]] = set()

    def __getattr__(self, name: str) -> object:
        return getattr(self._log, name)

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        commit = asyncio.ensure_future(self._log.commit(list(batch)))
        commit.add_done_callback(lambda done: done.exception())
        self._commits.add(commit)
        return ["accepted"] * len(batch)


@pytest.mark.parametrize("plant", [without_sync, HastyLog])
@on_a_loop
async def test_a_log_that_does_not_wait_for_the_disk_is_found_out(tmp_path: Path, plant: Plant):
    for seed in SEEDS:
        wrong = await lose_power(tmp_path, seed, plant)
        if any("was acknowledged; only" in words for words in wrong):
            return

    pytest.fail(f"no seed of {SEEDS} has shown the fault")


# --- The disks themselves --------------------------------------------------------------------------------


def test_bytes_that_were_not_synced_may_be_lost_or_torn(tmp_path: Path):
    path = tmp_path / "x.db"
    found: set[bytes] = set()
    for seed in range(40):
        path.unlink(missing_ok=True)
        with PowerLossVfs(seed) as disk:
            flags = [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE, 0]
            file = disk.xOpen(str(path), flags)
            file.xWrite(b"a" * 1024, 0)
            file.xSync(apsw.SQLITE_SYNC_NORMAL)
            file.xWrite(b"b" * 1024, 0)
            file.xWrite(b"c" * 1024, 1024)
            file.xClose()
            disk.restore()
        found.add(bytes(dict.fromkeys(path.read_bytes()[0::512])))
        assert path.read_bytes()[:1] in (b"a", b"b")

    assert {b"a", b"ba", b"bc"} <= found


@on_a_loop
async def test_every_acknowledged_batch_has_a_sync_of_its_own(tmp_path: Path):
    path = tmp_path / "x.db"
    with CountingVfs() as disk:
        log = SqliteLog(path, vfs=disk.name)
        appender = Appender(log)
        appender.start()
        before = disk.syncs[f"{path}-wal"]

        runs = [HandmadeRun(log, f"run-{number}") for number in range(10)]
        await asyncio.gather(*(appended(appender, run.append()) for run in runs))
        for number in range(5):
            await appended(appender, HandmadeRun(log, f"alone-{number}").append())

        assert disk.syncs[f"{path}-wal"] - before >= appender.commits >= 6
        assert disk.total >= disk.syncs[f"{path}-wal"]
        await appender.close()
        await log.close()


@on_a_loop
async def test_without_sync_the_count_stands_still(tmp_path: Path):
    path = tmp_path / "x.db"
    with CountingVfs() as disk:
        log = SqliteLog(path, vfs=disk.name)
        without_sync(log)
        before = disk.total

        assert await HandmadeRun(log, "run-1").commit() == "accepted"

        assert disk.total == before
        await log.close()
