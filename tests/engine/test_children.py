"""Parents and children: how a child's end reaches its parent, and a parent's end its child."""

from __future__ import annotations

from typing import Any

from headgate.authoring import load_definition
from headgate.ports import Attempt

CHILD = "name: child\ntimeout: 1h\noutputs: {n: '{{ a.n }}'}\nactivities: {a: {use: moody, retry: 1}}"
PARENT = "name: parent\nactivities: {sub: {workflow: child, retry: %s, with: {x: 1}}, after: {use: echo, after: [sub]}}"
PATIENT = "{max_attempts: 2, base_seconds: 1}"
ACTIVITIES = frozenset({"moody"})


class Moody:
    """An activity that fails as often as it is told to, then answers."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self, parameters: Any, context: Any) -> dict[str, int]:
        self.calls += 1
        if self.calls <= self.failures:
            raise Attempt.failed("moody", "not today", retryable=False)
        return {"n": self.calls}


async def children(bench: Any) -> list[Any]:
    return [row for row in reversed(await bench.log.runs()) if row.parent]


async def begin(bench: Any, text: str, child: str = CHILD) -> str:
    await bench.app.engine.definitions.deploy(load_definition(child, activities=ACTIVITIES))
    return await bench.start(text)


def test_a_childs_outputs_are_the_activitys_and_its_trace_is_the_parents(play):
    async def scene(bench: Any) -> None:
        run_id = await begin(bench, PARENT % 1)
        row = await bench.finished(run_id)

        assert row.head.status == "completed"
        assert await bench.output(run_id, "sub") == {"n": 1}
        (child,) = await children(bench)
        assert (child.parent, child.trace_id, child.head.status) == (run_id, row.trace_id, "completed")

    play(scene, activities={"moody": Moody()})


def test_a_child_that_fails_is_tried_again_as_a_new_child_where_its_activity_says_so(play):
    async def scene(bench: Any) -> None:
        run_id = await begin(bench, PARENT % PATIENT)
        await bench.until(lambda: bench.app.engine.loaded(run_id).run.timers)
        await bench.until(lambda: bench.clock.next_alarm is not None)
        bench.clock.advance(seconds=2)

        assert (await bench.finished(run_id)).head.status == "completed"
        assert [child.head.status for child in await children(bench)] == ["failed", "completed"]
        assert await bench.output(run_id, "sub") == {"n": 2}

    play(scene, activities={"moody": Moody(failures=1)})


def test_a_child_that_fails_for_good_fails_its_parent_with_its_own_words(play):
    async def scene(bench: Any) -> None:
        row = await bench.finished(await begin(bench, PARENT % 1))

        assert row.head.status == "failed"
        assert "activity 'a' failed: not today" in row.head.error

    play(scene, activities={"moody": Moody(failures=9)})


def test_retry_of_the_parent_starts_a_new_child(play):
    async def scene(bench: Any) -> None:
        run_id = await begin(bench, PARENT % 1)
        assert (await bench.finished(run_id)).head.status == "failed"

        await bench.app.desk.retry(run_id)

        assert (await bench.finished(run_id)).head.status == "completed"
        assert [child.head.status for child in await children(bench)] == ["failed", "completed"]

    play(scene, activities={"moody": Moody(failures=1)})


def test_a_cancelled_parent_cancels_its_child(play):
    async def scene(bench: Any) -> None:
        run_id = await begin(bench, PARENT % 1, CHILD.replace("{use: moody, retry: 1}", "{wait_for: never}"))
        await bench.until(lambda: len(bench.app.engine._lanes) == 2)

        await bench.app.desk.cancel(run_id)

        assert (await bench.finished(run_id)).head.status == "cancelled"
        (child,) = await children(bench)
        assert (await bench.finished(child.id)).head.status == "cancelled"

    play(scene, activities={"moody": Moody()})


def test_a_cancelled_child_fails_its_parent_and_is_not_tried_again(play):
    async def scene(bench: Any) -> None:
        run_id = await begin(bench, PARENT % PATIENT, CHILD.replace("{use: moody, retry: 1}", "{wait_for: never}"))
        await bench.until(lambda: len(bench.app.engine._lanes) == 2)
        (child,) = await children(bench)

        await bench.app.desk.cancel(child.id, reason="not this one")

        row = await bench.finished(run_id)
        assert row.head.status == "failed"
        assert "not this one" in row.head.error
        assert len(await children(bench)) == 1

    play(scene, activities={"moody": Moody()})


def test_a_child_whose_time_is_up_fails_its_parent_as_timed_out(play):
    async def scene(bench: Any) -> None:
        run_id = await begin(bench, PARENT % 1, CHILD.replace("{use: moody, retry: 1}", "{wait_for: never}"))
        await bench.until(lambda: len(bench.app.engine._lanes) == 2)
        await bench.until(lambda: bench.clock.next_alarm is not None)

        bench.clock.advance(seconds=3_601)

        row = await bench.finished(run_id)
        assert "the run took longer than its 3600 s" in row.head.error

    play(scene, activities={"moody": Moody()})


def test_a_child_of_an_unknown_workflow_fails_the_activity_and_names_it(play):
    async def scene(bench: Any) -> None:
        row = await bench.finished(await bench.start(PARENT % 1))

        assert row.head.status == "failed"
        assert "There is no workflow 'child'" in row.head.error

    play(scene)
