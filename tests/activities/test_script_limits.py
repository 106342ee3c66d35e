"""A script that does not keep its bounds is stopped at them, and nothing else is: real processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from tests.activities.script_lab import Context, ends, failure_of, run

from headgate.activities.script import Scripts, ScriptSettings, script
from headgate.activities.script_process import Ending, ScriptProcess
from headgate.app import App
from headgate.ports import Attempt, StartRequest
from headgate.stores.sqlite import SqliteLog

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="these are the limits of POSIX systems"),
]

MEBIBYTE = 1024 * 1024


# --- Time, memory, output --------------------------------------------------------------------------------------


def test_an_endless_loop_is_stopped_when_its_processor_time_is_used_up():
    failure = failure_of("while True: pass", settings=ScriptSettings(cpu_seconds_max=1))

    assert (failure.code, failure.retryable) == ("script_cpu", False)
    assert "more than 1 seconds of processor time" in failure.message


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds what a process may write")
@pytest.mark.parametrize(
    "eat",
    [
        "x = bytearray(10**9)",
        "x = []\nwhile True: x.append('y' * 1000 + str(len(x)))",
        "import mmap\nx = [mmap.mmap(-1, 1 << 30) for _ in range(20)]",
        "import os\nif os.fork() == 0: x = bytearray(10**9)\nos._exit(os.waitstatus_to_exitcode(os.wait()[1]) + 70)",
    ],
    ids=["at once", "by and by", "shared", "in a copy"],
)
def test_a_script_that_eats_memory_is_stopped_at_the_bound(eat: str):
    failure = failure_of(eat, settings=ScriptSettings(memory_bytes_max=200 * MEBIBYTE))

    if "fork" in eat:
        assert failure.details == {"exit_code": 70, "last_lines": []}  # the copy answered nothing, and ended well
    else:
        assert (failure.code, failure.retryable) == ("script_memory", False)
        assert f"{200 * MEBIBYTE} bytes" in failure.message


def test_a_script_that_prints_gigabytes_is_stopped():
    failure = failure_of(
        "import os\nwhile True: os.write(1, b'x' * 65536)", settings=ScriptSettings(printed_bytes_max=20 * MEBIBYTE)
    )

    assert (failure.code, failure.retryable) == ("script_printed", False)
    assert f"{20 * MEBIBYTE} bytes" in failure.message


def test_a_process_that_sends_more_than_its_result_may_be_is_stopped():
    source = """
        import os, stat
        channel = max(int(n) for n in os.listdir("/proc/self/fd")
                      if os.path.exists(f"/proc/self/fd/{n}") and stat.S_ISSOCK(os.stat(f"/proc/self/fd/{n}").st_mode))
        while True: os.write(channel, b"x" * 65536)
    """

    failure = failure_of(source, settings=ScriptSettings(output_bytes_max=MEBIBYTE))

    assert (failure.code, failure.retryable) == ("script_output", False)
    assert "sent more than" in failure.message


def test_a_crash_leaves_no_core_file_and_limits_cannot_be_raised():
    source = """
        import resource
        limits = [resource.getrlimit(name) for name in (resource.RLIMIT_CORE, resource.RLIMIT_DATA, resource.RLIMIT_AS)]
        try:
            resource.setrlimit(resource.RLIMIT_DATA, (1 << 40, 1 << 40))
            raised = resource.getrlimit(resource.RLIMIT_DATA)[0] == 1 << 40
        except ValueError:
            raised = False
        OUTPUT = [limits, raised]
    """

    limits, raised = run(source, settings=ScriptSettings(memory_bytes_max=1024 * MEBIBYTE))

    assert limits == [[0, 0], [1024 * MEBIBYTE] * 2, [6 * 1024 * MEBIBYTE] * 2]
    assert not raised or os.geteuid() == 0  # who may do anything may do this, too


# --- Pipes -----------------------------------------------------------------------------------------------------


def test_a_script_that_closes_its_pipes_fails_with_a_reason():
    at_its_end = failure_of("import os\nos.closerange(0, 100)\nOUTPUT = 1")

    assert (at_its_end.code, at_its_end.retryable) == ("script_closed", False)


def test_a_script_that_closes_its_pipes_and_goes_on_for_ever_is_stopped():
    failure = failure_of(
        "import os, time\nos.closerange(0, 100)\ntime.sleep(600)", settings=ScriptSettings(stop_seconds=0.2)
    )

    assert (failure.code, failure.retryable) == ("script_closed", False)


def test_the_result_does_not_go_into_a_file_that_has_got_the_channels_number(tmp_path: Path):
    source = f"""
        import os
        os.closerange(3, 100)
        files = [open({str(tmp_path / "file")!r} + str(n), "w") for n in range(60)]
        OUTPUT = "x" * 10
    """

    failure = failure_of(source)

    assert failure.code == "script_closed"
    assert {path.read_text() for path in tmp_path.iterdir()} == {""}


def test_a_script_of_whose_death_the_loop_has_not_heard_yet_is_told_as_killed(tmp_path: Path):
    os.mkfifo(tmp_path / "go")
    source = f"import os\nprint(1)\nopen({str(tmp_path / 'go')!r}).read()\nos.kill(os.getpid(), 9)"
    context = {"workflow_id": "r", "activity_key": "a", "trace_id": "t"}
    request = {"source": source, "filename": "x", "file": "", "input": {}, "frames": "", "context": context}
    bounds = {"memory_bytes_max": 1 << 30, "cpu_seconds_max": 60, "output_bytes_max": 100, "file_bytes_max": 100}

    async def killed() -> Ending:
        ctx: Any = Context()
        process = await ScriptProcess.start(ScriptSettings())
        conversing = asyncio.create_task(process.converse(json.dumps(request | bounds).encode() + b"\n", ctx))
        await ctx.heard.wait()
        (tmp_path / "go").write_text("")
        with contextlib.suppress(ChildProcessError):  # asyncio's thread was faster
            os.waitid(os.P_PID, process._process.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - the loop must not turn

        assert process.alive  # for all that the loop knows
        process._stop_closed()
        return await conversing

    ending = asyncio.run(killed())

    assert (ending.exit_code, ending.limit) == (-9, "")


# --- Processes -------------------------------------------------------------------------------------------------

DAEMON = """
    import os, subprocess, sys, time
    daemon = "import os, time; os.setsid(); print(os.getpid(), flush=True); os.closerange(0, 3); time.sleep(600)"
    command = ["sh", "-c", '"$0" -c "$1" &', sys.executable, daemon]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    pid = int(started.stdout.readline())
    started.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the group is known")
@pytest.mark.parametrize("end", ["OUTPUT = pid", "raise ValueError(pid)", "while True: print(pid)"])
def test_a_daemon_that_has_left_the_group_does_not_outlive_the_script(end: str):
    settings = ScriptSettings(printed_bytes_max=MEBIBYTE)
    ctx = Context()

    try:
        pid = run(textwrap.dedent(DAEMON) + end, settings=settings, ctx=ctx)
    except Attempt as error:
        pid = int(ctx.lines[0][1] if ctx.lines else error.failure.message.split()[1])

    assert ends(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the group is known")
def test_a_daemon_does_not_outlive_a_script_that_is_cancelled():
    async def story() -> int:
        ctx = Context()
        source = textwrap.dedent(DAEMON) + "print(pid)\ntime.sleep(600)"
        running = asyncio.create_task(script(ScriptSettings())({"script": source}, ctx))
        await asyncio.wait_for(ctx.heard.wait(), 10)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return int(ctx.lines[0][1])

    assert ends(asyncio.run(story()))


def test_scripts_beyond_the_number_that_may_run_wait_for_their_turn(tmp_path: Path):
    source = f"""
        import os, time
        mine = {str(tmp_path)!r} + "/" + str(os.getpid())
        open(mine, "w").close()
        OUTPUT = len(os.listdir({str(tmp_path)!r}))
        time.sleep(0.05)
        os.unlink(mine)
    """

    async def story() -> list[int]:
        scripts = Scripts(ScriptSettings(running_max=2, warm_max=0))
        return await asyncio.gather(*(scripts.run({"script": textwrap.dedent(source)}, Context()) for _ in range(6)))

    assert max(asyncio.run(story())) <= 2


# --- Only that one ---------------------------------------------------------------------------------------------


def test_while_one_script_is_stopped_its_siblings_and_the_loop_go_on():
    settings = ScriptSettings(
        memory_bytes_max=200 * MEBIBYTE, cpu_seconds_max=1, printed_bytes_max=MEBIBYTE, stop_seconds=0.1
    )
    bad = [
        "while True: pass",
        "x = bytearray(10**9)",
        "import os\nwhile True: os.write(1, b'x' * 65536)",
        "import os\nos.closerange(0, 100)\nimport time\ntime.sleep(600)",
        "import os\nos.abort()",
    ]

    async def story() -> tuple[list[Any], list[Any]]:
        scripts = Scripts(settings)
        running = [asyncio.create_task(scripts.run({"script": source}, Context())) for source in bad]
        good = [await scripts.run({"script": f"OUTPUT = {n}"}, Context()) for n in range(5)]
        ended = await asyncio.gather(*running, return_exceptions=True)
        await scripts.close()
        return good, ended

    good, ended = asyncio.run(story())

    assert good == [0, 1, 2, 3, 4]
    codes = [error.failure.code for error in ended]
    assert codes == ["script_cpu", "script_memory", "script_printed", "script_closed", "script_killed"]


FLOW = """
name: limits
activities:
  spin:
    use: script
    timeout: 1s
    retry: 1
    with:
      script: |
        import os, signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open("pid", "w").write(str(os.getpid()))
        while True: pass
  sibling:
    use: script
    with: {script: "OUTPUT['n'] = 1"}
  after:
    use: script
    after: [sibling]
    with: {script: "OUTPUT['n'] = INPUT['n'] + 1"}
"""


def test_an_endless_loop_is_stopped_at_its_timeout_and_the_other_activities_complete(tmp_path: Path):
    async def story() -> Any:
        scripts = ScriptSettings(base_directory=str(tmp_path), stop_seconds=0.2)
        async with App(SqliteLog(tmp_path / "runs.db"), environment={}, folder=tmp_path, scripts=scripts) as app:
            await app.desk.start(StartRequest(definition=FLOW, input={}))
            await app.desk.settled()
            return await app.desk.show("-")

    view = asyncio.run(story())

    assert {place.key: place.status for place in view.activities} == {
        "spin": "failed",
        "sibling": "completed",
        "after": "completed",
    }
    assert "timed_out" in str(view.activities[0])
    assert ends(int((tmp_path / "pid").read_text()))


# --- Secrets ---------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="looks where only Linux shows")
def test_the_engines_secrets_are_in_no_place_that_a_script_is_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    secret = "s3cret-" + "4711"
    monkeypatch.setenv("HEADGATE_SECRET_KEY", secret)
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    (tmp_path / "open").write_text(secret)
    source = """
        import os
        def content(path):
            with open(path, "rb") as file:
                return file.read().decode("latin-1")
        ranges = [line.split()[0] for line in content("/proc/self/maps").splitlines() if " rw" in line]
        memory = []
        with open("/proc/self/mem", "rb", 0) as file:
            for one in ranges:
                start, end = (int(number, 16) for number in one.split("-"))
                try:
                    file.seek(start)
                    memory.append(file.read(end - start))
                except (OSError, ValueError):
                    pass
        needle = bytes(reversed(INPUT["needle"].encode()))
        descriptors = {n: os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                       if os.path.exists(f"/proc/self/fd/{n}")}
        OUTPUT = {
            "environment": str(dict(os.environ)),
            "initial": content("/proc/self/environ"),
            "arguments": content("/proc/self/cmdline"),
            "in memory": any(needle in part for part in memory),
            "control": any(b"a name to find" in part for part in memory),
            "descriptors": sorted(name.split(":")[0] for name in descriptors.values()),
        }
        find = "a name to find"
    """

    async def story() -> Any:
        scripts = Scripts(ScriptSettings())
        with (tmp_path / "open").open() as held:
            os.set_inheritable(held.fileno(), True)
            await scripts.run({"script": "pass"}, Context())
            await scripts.interpreters.refilled()
            parameters = {"script": textwrap.dedent(source), "needle": secret[::-1]}
            output = await scripts.run(parameters, Context())  # in an interpreter that was started ahead
            await scripts.close()
        return output

    output = asyncio.run(story())

    assert secret not in output["environment"] + output["initial"] + output["arguments"]
    assert output["control"] is True
    assert output["in memory"] is False
    assert output["descriptors"] == ["/dev/null", "pipe", "pipe", "pipe", "socket"]
