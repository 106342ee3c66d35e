"""Interpreters that are started ahead: one script each, none before the first, none after the engine."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from asyncio import base_subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headgate.activities.script import Scripts, ScriptSettings, _request
from headgate.activities.script_process import ScriptProcess
from headgate.app import App
from headgate.core.values import Assignment
from headgate.stores.sqlite import SqliteLog

pytestmark = pytest.mark.slow  # every script is a process


class Context:
    """The context of an attempt, as far as script uses it."""

    task = Assignment(
        activity_id="claim-1",
        workflow_id="run-1",
        activity_key="calc",
        place="calc",
        activity_name="script",
        trace_id="trace-1",
    )

    def log(self, message: str, **_: Any) -> None:
        print(message)


def children() -> set[int]:
    """The processes of this one that live."""
    found = {int(pid) for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()}
    return {pid for pid in found if not gone(pid)}


def gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


async def run(scripts: Scripts, source: str) -> Any:
    return await scripts.run({"script": source}, Context())


def test_a_process_that_runs_no_script_starts_no_interpreter():
    async def story() -> int:
        scripts = Scripts(ScriptSettings())
        await asyncio.sleep(0)
        warm = scripts.interpreters.warm
        await scripts.close()
        return warm

    assert asyncio.run(story()) == 0


def test_after_the_first_script_one_waits_and_each_script_has_an_interpreter_of_its_own():
    async def story() -> tuple[list[int], list[Any]]:
        scripts = Scripts(ScriptSettings(warm_max=2))
        counts, seen = [], []
        for _ in range(4):
            seen.append(
                await run(scripts, "import os, sys\nOUTPUT = [os.getpid(), hasattr(sys, 'left')]\nsys.left = 1")
            )
            await scripts.interpreters.refilled()
            counts.append(scripts.interpreters.warm)
        await scripts.close()
        return counts, seen

    counts, seen = asyncio.run(story())

    assert counts == [2, 2, 2, 2]
    assert len({pid for pid, _ in seen}) == 4
    assert not any(left for _, left in seen)


def test_a_script_in_a_warm_interpreter_knows_its_own_run():
    async def story() -> Any:
        scripts = Scripts(ScriptSettings())
        await run(scripts, "pass")
        await scripts.interpreters.refilled()
        output = await run(scripts, WARM)
        await scripts.close()
        return output

    assert asyncio.run(story()) == ["trace-1", "run-1", "calc", True]


WARM = """
import asyncio, os
await asyncio.sleep(0)
OUTPUT = [os.environ["HEADGATE_TRACE_ID"], workflow_id, activity_key, os.getsid(0) == os.getpid()]
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts processes in /proc")
def test_a_warm_interpreter_that_has_died_is_replaced_and_all_end_with_the_engine():
    async def story() -> tuple[Any, set[int]]:
        before = children()
        scripts = Scripts(ScriptSettings())
        await run(scripts, "pass")
        await scripts.interpreters.refilled()
        [waiting] = children() - before
        os.kill(waiting, signal.SIGKILL)
        while not gone(waiting):
            os.sched_yield()
        output = await run(scripts, "OUTPUT = 1")
        await scripts.interpreters.refilled()
        await scripts.close()
        return output, children() - before

    assert asyncio.run(story()) == (1, set())


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX only")
def test_scripts_run_in_an_engine_that_has_more_than_a_thousand_files_open():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4_096, hard), hard))
    held = [os.dup(0) for _ in range(1_100)]

    async def story() -> list[Any]:
        scripts = Scripts(ScriptSettings())
        first = await run(scripts, "OUTPUT = 1")
        await scripts.interpreters.refilled()
        second = await run(scripts, "OUTPUT = 2")
        await scripts.close()
        return [first, second]

    try:
        assert asyncio.run(story()) == [1, 2]
    finally:
        for descriptor in held:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


PARENT = """
import asyncio, sys
from pathlib import Path
from headgate.activities.script import Scripts, ScriptSettings
from headgate.core.values import Assignment

class Context:
    task = Assignment(activity_id="c", workflow_id="r", activity_key="k", place="k", activity_name="script")
    def log(self, message, **fields):
        pass

async def main():
    scripts = Scripts(ScriptSettings(warm_max=2))
    await scripts.run({"script": "pass"}, Context())
    await scripts.interpreters.refilled()
    print(*(pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()), flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts processes in /proc")
def test_warm_interpreters_end_when_the_engine_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent, parent.stdout:
        pids = [int(pid) for pid in parent.stdout.readline().split()]

        parent.send_signal(signal.SIGKILL)
        parent.wait(10)

    deadline = time.monotonic() + 10
    while not all(gone(pid) for pid in pids) and time.monotonic() < deadline:
        os.sched_yield()
    assert len(pids) == 2
    assert all(gone(pid) for pid in pids)


def test_a_script_whose_end_is_cut_short_too_leaves_no_child_that_its_loop_has_not_heard_the_end_of():
    source = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf')\nwhile True: pass"

    async def story() -> int | None:
        deaf = asyncio.Event()

        class Listening(Context):
            def log(self, message: str, **_: Any) -> None:
                deaf.set()

        process = await ScriptProcess.start(ScriptSettings(stop_seconds=600))
        request = msgspec.json.encode(_request({"script": source}, Context.task, ScriptSettings(), None)) + b"\n"
        running = asyncio.create_task(process.converse(request, Listening()))
        await deaf.wait()
        for _ in range(2):  # the second while it is given time to end by itself
            running.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await running
        return process._process.returncode

    assert asyncio.run(story()) == -signal.SIGKILL


# --- Cancelled meanwhile --------------------------------------------------------------------------------------------


async def cancelled_twice(work: Coroutine[Any, Any, object]) -> None:
    task = asyncio.create_task(work)
    for _ in range(2):
        await asyncio.sleep(0)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.fixture
def unheard(monkeypatch: pytest.MonkeyPatch) -> Callable[[Coroutine[Any, Any, None]], list[Any]]:
    """Return a function that plays a story, and returns the children whose ends its loop had not heard when it closed.

    The collector finds them, in the middle of something else. News of a child's end comes when the loop has turned a
    few times more, as on a busy machine.
    """
    kind: Any = base_subprocess.BaseSubprocessTransport
    begin, heard = kind.__init__, kind._process_exited
    begun: list[Any] = []

    def note(transport: Any, *arguments: Any, **named: Any) -> None:
        begun.append(transport)
        begin(transport, *arguments, **named)

    def hear_later(transport: Any, code: int, turns: int = 50) -> None:
        if turns:
            transport._loop.call_soon(hear_later, transport, code, turns - 1)
        else:
            heard(transport, code)

    def play(story: Coroutine[Any, Any, None]) -> list[Any]:
        asyncio.run(story)
        assert begun
        return [transport for transport in begun if transport.get_returncode() is None]

    monkeypatch.setattr(kind, "__init__", note)
    monkeypatch.setattr(kind, "_process_exited", hear_later)
    return play


def test_of_a_process_whose_start_is_cut_short_twice_the_end_is_heard(unheard: Any):
    async def story() -> None:
        await cancelled_twice(ScriptProcess.start(ScriptSettings()))

    assert unheard(story()) == []


def test_of_interpreters_that_wait_the_end_is_heard_though_their_closing_is_cut_short(unheard: Any):
    async def story() -> None:
        scripts = Scripts(ScriptSettings(warm_max=2))
        await run(scripts, "pass")
        await scripts.interpreters.refilled()
        await cancelled_twice(scripts.close())
        assert scripts.interpreters.warm == 0

    assert unheard(story()) == []


def test_of_interpreters_that_wait_the_end_is_heard_though_their_engine_is_told_to_end_while_it_ends(unheard: Any):
    async def story() -> None:
        app = App(SqliteLog(":memory:"), environment={}, offline=True)
        await app.__aenter__()
        await run(app.builtins.scripts, "pass")
        await app.builtins.scripts.interpreters.refilled()
        await cancelled_twice(app.__aexit__())

    assert unheard(story()) == []
