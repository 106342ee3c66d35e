"""The threads of plain functions: as many as may be, reused, and none that a process waits for at its end."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from headgate.engine.user_threads import UserThreads

SECONDS_MAX = 30
HANGS = """
import asyncio, threading
from headgate.core.values import Assignment
from headgate.engine.task_context import TaskContext
from headgate.engine.user_loop import UserLoop

begun = threading.Event()

def hangs(parameters, context):
    begun.set()
    threading.Event().wait()

async def main():
    loop = UserLoop()
    task = Assignment(activity_id="r/a/1/x", workflow_id="r", activity_key="a", place="a", activity_name="hangs")
    working = asyncio.create_task(loop.call(hangs, task, TaskContext(task, None)))
    await asyncio.to_thread(begun.wait)
    working.cancel()
    loop.close()

asyncio.run(main())
print("left")
"""


def test_a_process_ends_though_a_plain_function_hangs():
    ended = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=SECONDS_MAX, check=False
    )

    assert (ended.returncode, ended.stdout) == (0, "left\n"), ended.stderr


def test_as_many_run_as_there_are_threads_and_the_rest_after_them():
    threads, release, begun = UserThreads(2, "t"), threading.Event(), threading.Barrier(3)

    def blocks() -> str:
        begun.wait(SECONDS_MAX)
        release.wait(SECONDS_MAX)
        return threading.current_thread().name

    first = [threads.submit(blocks) for _ in range(2)]
    begun.wait(SECONDS_MAX)
    later = threads.submit(lambda: threading.current_thread().name)
    assert not later.done()

    release.set()

    names = {future.result(SECONDS_MAX) for future in first}
    assert len(names) == 2
    assert later.result(SECONDS_MAX) in names


def test_what_waits_is_cancelled_at_the_end_and_what_is_raised_is_told():
    threads, release, begun = UserThreads(1, "t"), threading.Event(), threading.Event()

    def fails() -> None:
        begun.set()
        release.wait(SECONDS_MAX)
        raise KeyError("told")

    running, waiting = threads.submit(fails), threads.submit(print)
    begun.wait(SECONDS_MAX)

    threads.shutdown(wait=False, cancel_futures=True)
    release.set()

    assert waiting.cancelled()
    with pytest.raises(KeyError, match="told"):
        running.result(SECONDS_MAX)
