"""The process of a script: what it sees, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from tests.activities.script_lab import Context, ends, first_line, run

from headgate.activities.script import ScriptSettings, script

pytestmark = pytest.mark.slow  # every script is a process


def test_the_parents_secrets_are_not_in_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADGATE_SECRET_KEY", "s3cret")
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    monkeypatch.setenv("MY_REGION", "eu")
    monkeypatch.setenv("LC_TIME", "C")

    closed = run("import os; OUTPUT = dict(os.environ)")
    opened = run("import os; OUTPUT = dict(os.environ)", settings=ScriptSettings(environment=("MY_REGION",)))

    assert "s3cret" not in str(closed)
    assert {"PATH", "LC_TIME"} <= set(closed)
    assert closed["HEADGATE_TRACE_ID"] == "trace-1"
    assert "MY_REGION" not in closed
    assert opened["MY_REGION"] == "eu"


def test_a_script_has_a_process_group_of_its_own_and_cannot_read_our_input():
    output = run("import os, sys; OUTPUT = [os.getpid(), os.getpgid(0), os.getsid(0), sys.stdin.read()]")

    pid = output[0]
    assert output == [pid, pid, pid, ""]
    assert pid != os.getpid()


def test_a_script_that_sleeps_blocks_nothing_else_and_a_cancelled_one_is_terminated():
    async def story() -> None:
        ctx = Context()
        activity = script(ScriptSettings())
        source = "import os, time; print(os.getpid()); time.sleep(120)"
        sleeping = asyncio.create_task(activity({"script": source}, ctx))
        pid = int(await first_line(ctx))

        assert await activity({"script": "OUTPUT = 1"}, Context()) == 1
        assert not sleeping.done()

        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    asyncio.run(story())


def test_a_cancelled_script_may_clean_up_and_is_killed_when_it_does_not_end():
    async def story(source: str) -> tuple[float, Context]:
        ctx = Context()
        running = asyncio.create_task(script(ScriptSettings(stop_seconds=0.3))({"script": source}, ctx))
        await first_line(ctx)
        started = time.monotonic()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return time.monotonic() - started, ctx

    prelude = "import signal, sys, time\n"
    polite = "def stop(*_):\n    print('cleaned')\n    sys.exit()\nsignal.signal(signal.SIGTERM, stop)\n"
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    rest = "print('ready')\ntime.sleep(120)"

    _, cleaned = asyncio.run(story(prelude + polite + rest))
    seconds, _ = asyncio.run(story(prelude + stubborn + rest))

    assert ("stdout", "cleaned") in cleaned.lines
    assert 0.3 <= seconds < 5


def test_what_a_script_started_ends_with_it():
    source = """
        import subprocess, sys
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
        OUTPUT = child.pid
    """

    pid = run(source)

    assert ends(pid)


def test_a_copy_that_a_script_forks_does_not_answer_for_it():
    source = """
        import os
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
        OUTPUT = "child" if pid == 0 else "parent"
    """

    assert run(source) == "parent"


PARENT = """
import asyncio, sys
from headgate.activities.script import ScriptSettings, script
from headgate.core.values import Assignment

class Context:
    task = Assignment(activity_id="c", workflow_id="r", activity_key="k", place="k", activity_name="script")
    def log(self, message, **fields):
        print(message, flush=True)

asyncio.run(script(ScriptSettings())({"script": sys.argv[1]}, Context()))
"""


@pytest.mark.parametrize(
    "at_work",
    [
        "time.sleep(120)",
        "re.match('(a+)+$', 'a' * 60 + 'b')",
    ],  # the second never lets go of the interpreter's lock
)
def test_a_script_whose_parent_is_killed_does_not_live_on_nor_does_what_it_started(at_work: str):
    source = textwrap.dedent("""
        import os, re, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
        print(os.getpid(), child.pid)
        AT_WORK
    """).replace("AT_WORK", at_work)
    parent = subprocess.Popen([sys.executable, "-c", PARENT, source], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent, parent.stdout:
        pids = [int(pid) for pid in parent.stdout.readline().split()]

        parent.send_signal(signal.SIGKILL)
        parent.wait(10)

    assert len(pids) == 2
    assert all(ends(pid) for pid in pids)
