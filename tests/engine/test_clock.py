"""What time it is: at the machine, and where many nodes share a database, there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headgate.engine.clock import WallClock
from headgate.engine.database_time import DatabaseTime

NOON = 1_700_000_000_000_000


class Machine:
    """A machine whose clocks are set by hand, in microseconds."""

    def __init__(self, wall: int) -> None:
        self.wall = wall
        self.steady = 5
        self.clock = WallClock(wall=lambda: self.wall * 1_000, steady=lambda: self.steady * 1_000)

    def pass_(self, microseconds: int) -> None:
        self.wall += microseconds
        self.steady += microseconds


class Database:
    """At `NOON` when the machine was made. Each question takes so long there, and so long back."""

    def __init__(self, machine: Machine, ways: tuple[tuple[int, int], ...]) -> None:
        self.machine, self.ways = machine, list(ways)
        self.begun = machine.steady
        self.set_by = 0

    @property
    def now(self) -> int:
        return NOON + self.machine.steady - self.begun + self.set_by

    async def server_time(self) -> int:
        there, back = self.ways.pop(0)
        self.machine.pass_(there)
        said = self.now
        self.machine.pass_(back)
        return said


AT_ONCE = ((0, 0), (0, 0), (0, 0))


def time_at(machine: Machine, *ways: tuple[int, int]) -> tuple[DatabaseTime, Database]:
    database: Any = Database(machine, ways)
    return DatabaseTime(database, machine.clock), database


def test_a_step_backwards_stands_still():
    machine = Machine(NOON)
    assert machine.clock.now() == NOON
    machine.wall -= 10

    assert machine.clock.now() == NOON


def test_a_node_goes_by_the_database_though_somebody_has_asked_it_for_the_time_before():
    machine = Machine(NOON + 3_600_000_000)
    machine.clock.now()
    node, database = time_at(machine, *AT_ONCE)

    asyncio.run(node.open())

    assert machine.clock.now() == database.now == NOON
    assert node.ahead_seconds == 3_600


def test_the_quickest_answer_counts():
    machine = Machine(NOON)
    node, database = time_at(machine, (700, 0), (5, 5), (0, 300))

    asyncio.run(node.open())

    assert machine.clock.now() == database.now


def test_whoever_sets_the_machines_clock_does_not_set_the_nodes():
    machine = Machine(NOON)
    node, database = time_at(machine, *AT_ONCE)
    asyncio.run(node.open())

    machine.wall += 3_600_000_000
    machine.pass_(100)

    assert machine.clock.now() == database.now
    assert node.ahead_seconds == 3_600


@pytest.mark.parametrize(("set_by", "follows"), [(400, False), (600, True)])
def test_a_database_whose_clock_was_set_is_followed_where_no_slow_answer_can_be_the_reason(set_by: int, follows: bool):
    machine = Machine(NOON)
    node, database = time_at(machine, *AT_ONCE, (500, 500))
    asyncio.run(node.open())
    before = database.now

    database.set_by = set_by
    asyncio.run(node.look())

    assert machine.clock.now() == (database.now if follows else before + 1_000)


def test_a_database_whose_clock_was_set_back_is_waited_for():
    machine = Machine(NOON)
    node, database = time_at(machine, *AT_ONCE, (0, 0))
    asyncio.run(node.open())
    database.set_by = -600
    asyncio.run(node.look())

    assert machine.clock.now() == NOON
    machine.pass_(601)
    assert machine.clock.now() == database.now == NOON + 1
