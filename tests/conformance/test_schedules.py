"""What every store of schedules keeps true."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.conformance.stores_beside import KINDS, opener

from headgate.ports import Schedule
from headgate.testing.clock import NOON
from headgate.testing.log_conformance import on_a_loop


@pytest.fixture(params=KINDS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return opener(request.param, tmp_path)


def beat(name: str = "beat", **fields: Any) -> Schedule:
    made = Schedule(id=f"id-{name}", name=name, workflow="tick", every_seconds=60.0, created_at=NOON, next_at=NOON)
    return msgspec.structs.replace(made, **fields)


@on_a_loop
async def test_what_was_saved_is_there_with_a_revision_and_as_it_was(opened: Any):
    async with opened() as storage:
        assert await storage.schedules.save(beat(input={"a": [1]}, labels={"x": "y"}, tenant="t"))
        assert await storage.schedules.save(beat())
    async with opened() as storage:
        first, second = await storage.schedules.all()

        assert first.revision > 0
        assert msgspec.structs.replace(first, revision=0) == beat()
        assert msgspec.structs.replace(second, revision=0) == beat(input={"a": [1]}, labels={"x": "y"}, tenant="t")


@on_a_loop
async def test_of_those_who_save_a_schedule_as_they_knew_it_one_succeeds(opened: Any):
    async with opened() as storage:
        schedules = storage.schedules
        made = await asyncio.gather(*(schedules.save(beat(note=str(number))) for number in range(5)))
        (known,) = await schedules.all()
        assert made.count(True) == 1
        assert known.note == str(made.index(True))

        changed = [msgspec.structs.replace(known, note=f"by {number}") for number in range(5)]
        saved = await asyncio.gather(*(schedules.save(one) for one in changed))

        (kept,) = await schedules.all()
        assert saved.count(True) == 1
        assert kept.note == f"by {saved.index(True)}"
        assert kept.revision > known.revision
        assert not await schedules.save(known)


@on_a_loop
async def test_what_is_due_comes_longest_due_first_and_what_is_paused_or_over_never(opened: Any):
    async with opened() as storage:
        schedules = storage.schedules
        assert await schedules.next_at() is None
        for name, at in (("late", NOON + 3), ("soon", NOON + 1), ("later", NOON + 9)):
            await schedules.save(beat(name, next_at=at))
        await schedules.save(beat("paused", next_at=NOON, enabled=False))
        await schedules.save(beat("over", next_at=None))

        assert await schedules.next_at() == NOON + 1
        assert [one.name for one in await schedules.due(NOON + 3, 10)] == ["soon", "late"]
        assert [one.name for one in await schedules.due(NOON + 9, 1)] == ["soon"]
        assert await schedules.due(NOON, 10) == []
        assert await schedules.remove("default", "soon")
        assert not await schedules.remove("default", "soon")
        assert await schedules.next_at() == NOON + 3


@on_a_loop
async def test_what_another_has_saved_or_removed_is_seen_by_the_next_question(tmp_path: Path):
    open_storage = opener("postgres", tmp_path)
    async with open_storage() as one, open_storage() as other:
        await one.schedules.save(beat())
        (seen,) = await other.schedules.all()
        assert await other.schedules.save(msgspec.structs.replace(seen, enabled=False))
        (back,) = await one.schedules.all()
        assert not back.enabled
        assert await one.schedules.remove("default", "beat")
        assert await other.schedules.all() == []
