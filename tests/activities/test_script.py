"""The activity script with real child processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.activities.libraries import need

from headgate.activities.script import ScriptSettings, script
from headgate.core.values import Assignment, Failure
from headgate.ports import Attempt

pytestmark = pytest.mark.slow  # every script is a process

TASK = Assignment(
    activity_id="claim-1",
    workflow_id="run-1",
    activity_key="calc",
    place="calc",
    activity_name="script",
    attempt=2,
    iteration=4,
    trace_id="trace-1",
)


@dataclass
class Context:
    """The context of an attempt, as far as script uses it. `heard` is set at each line of the log."""

    task: Assignment = TASK
    lines: list[tuple[str, str]] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def log(self, message: str, **fields: Any) -> None:
        self.lines.append((fields["stream"], message))
        self.heard.set()


def run(source: str, *, ctx: Context | None = None, settings: ScriptSettings | None = None, **parameters: Any) -> Any:
    activity = script(settings or ScriptSettings())
    asked = {"script": textwrap.dedent(source), **parameters}
    return asyncio.run(activity(asked, ctx or Context()))


def failure_of(source: str, **rest: Any) -> Failure:
    with pytest.raises(Attempt) as raised:
        run(source, **rest)
    return raised.value.failure


async def first_line(ctx: Context) -> str:
    await asyncio.wait_for(ctx.heard.wait(), 10)
    return ctx.lines[0][1]


def ends(pid: int) -> bool:
    """Whether the process is gone within ten seconds (or is only waiting for its parent to notice)."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except FileNotFoundError:
            return True
        os.sched_yield()
    return False


# --- Input, output, names ------------------------------------------------------------------------------


def test_output_may_be_filled_or_assigned_to_any_json_value():
    assert run("OUTPUT['a'] = 1; OUTPUT['b'] = [True, None, 1.5, 'ü']") == {
        "a": 1,
        "b": [True, None, 1.5, "ü"],
    }
    assert run("OUTPUT = [1, 2**70]") == [1, 2**70]
    assert run("pass") == {}


def test_input_is_inputs_else_the_other_parameters_else_what_the_engine_put_together():
    prepared = msgspec.structs.replace(TASK, settings={"script_input": {"from": "engine"}})

    assert run("OUTPUT = INPUT", inputs=[1, 2], other=3, ctx=Context(prepared)) == [1, 2]
    assert run("OUTPUT = INPUT", inputs=None, ctx=Context(prepared)) is None
    assert run("OUTPUT = INPUT", other=3, ctx=Context(prepared)) == {"other": 3}
    assert run("OUTPUT = INPUT", ctx=Context(prepared)) == {"from": "engine"}
    assert run("OUTPUT = INPUT") == {}


def test_a_script_knows_where_it_runs():
    output = run("OUTPUT = [vars(ctx), workflow_id, activity_key, __name__]")

    context = {
        "workflow_id": "run-1",
        "activity_key": "calc",
        "attempt": 2,
        "iteration": 4,
        "trace_id": "trace-1",
    }
    assert output == [context, "run-1", "calc", "__main__"]


def test_top_level_await_works_and_so_does_a_main_guard():
    source = """
        import asyncio
        async def twice(x):
            await asyncio.sleep(0)
            return 2 * x
        if __name__ == "__main__":
            OUTPUT["values"] = await asyncio.gather(*[twice(x) for x in INPUT["xs"]])
    """

    assert run(source, xs=[1, 2]) == {"values": [2, 4]}


def test_a_large_input_and_a_large_output_pass():
    text = "x" * 3_000_000

    assert run("OUTPUT = INPUT['text'] + 'y'", text=text) == text + "y"


def test_a_script_file_is_read_relative_to_its_directory_and_may_import_its_neighbours(tmp_path: Path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "neighbour.py").write_text("ANSWER = 42")
    (tmp_path / "scripts" / "main.py").write_text("from neighbour import ANSWER\nOUTPUT = [ANSWER, INPUT, __file__]")
    activity = script(ScriptSettings(base_directory=str(tmp_path)))
    absolute = str(tmp_path / "scripts" / "main.py")

    relative = asyncio.run(activity({"script_file": "scripts/main.py", "n": 1}, Context()))

    assert relative == [42, {"n": 1}, absolute]
    assert asyncio.run(activity({"script_file": absolute}, Context())) == [42, {}, absolute]


def test_a_script_whose_text_came_with_the_definition_reads_no_file_and_is_called_by_its_name(tmp_path: Path):
    (tmp_path / "main.py").write_text("OUTPUT = 'what was changed later'")
    activity = script(ScriptSettings(base_directory=str(tmp_path)))

    parameters = {"script": "OUTPUT = [INPUT, __file__]", "script_file": "main.py", "n": 1}
    output = asyncio.run(activity(parameters, Context()))

    assert output == [{"n": 1}, "main.py"]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "got neither"),
        ({"script": "pass", "script_file": 5}, "got int"),
        ({"script": 5}, "got int"),
        ({"script_file": "absent.py"}, "absent.py cannot be read"),
    ],
)
def test_parameters_that_name_no_script_are_refused_for_good(parameters: dict[str, Any], said: str):
    with pytest.raises(Attempt) as raised:
        asyncio.run(script(ScriptSettings())(parameters, Context()))

    assert raised.value.failure.code == "invalid_parameters"
    assert raised.value.failure.retryable is False
    assert said in raised.value.failure.message


# --- The output as JSON --------------------------------------------------------------------------------


def test_the_standard_librarys_values_have_a_form_in_json():
    source = """
        import collections, dataclasses, datetime, decimal, enum, pathlib, uuid
        @dataclasses.dataclass
        class Point:
            x: int
            when: datetime.date
        class Colour(enum.Enum):
            RED = "red"
        class Size(enum.IntEnum):
            BIG = 3
        OUTPUT = {
            "datetime": datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.timezone.utc),
            "time": datetime.time(3, 4),
            "delta": datetime.timedelta(minutes=1.5),
            "decimal": decimal.Decimal("1.10"),
            "uuid": uuid.UUID(int=1),
            "bytes": b"\\x00\\xff",
            "set": {3, 1, 2},
            "mixed": frozenset({"a"}),
            "point": Point(1, datetime.date(2026, 1, 2)),
            "enum": [Colour.RED, Size.BIG],
            "path": pathlib.Path("a/b"),
            "tuple": (1, (2,)),
            "deque": collections.deque([1]),
            "counter": collections.Counter("aab"),
            "range": range(3),
            "keys": {"a": 1}.keys(),
            1: {None: 1, True: 2, 2.5: 3, datetime.date(2026, 1, 2): 4, Colour.RED: 5},
        }
    """

    assert run(source) == {
        "datetime": "2026-01-02T03:04:00+00:00",
        "time": "03:04:00",
        "delta": 90.0,
        "decimal": "1.10",
        "uuid": "00000000-0000-0000-0000-000000000001",
        "bytes": "AP8=",
        "set": [1, 2, 3],
        "mixed": ["a"],
        "point": {"x": 1, "when": "2026-01-02"},
        "enum": ["red", 3],
        "path": "a/b",
        "tuple": [1, [2]],
        "deque": [1],
        "counter": {"a": 2, "b": 1},
        "range": [0, 1, 2],
        "keys": ["a"],
        "1": {"null": 1, "true": 2, "2.5": 3, "2026-01-02": 4, "red": 5},
    }


def test_scalars_arrays_series_and_frames_are_known_by_what_they_can_do():
    source = """
        class Type:
            def __init__(self, kind): self.kind = kind
        class Array:
            dtype = Type("f")
            def __init__(self, value): self.value = value
            def tolist(self): return self.value
        class RangeIndex: names = [None]
        class Labels: names = ["city"]
        class Series(Array):
            def __init__(self, index, value): self.index, self.value = index, value
            def to_dict(self): return {"Rome": self.value[0]}
        class Frame:
            columns = ["n", "name"]
            dtypes = {"n": Type("f"), "name": Type("O")}
            def __init__(self, index): self.index = index
            def to_dict(self, orient):
                return [{"n": 1.0, "name": float("nan"), "index": type(self.index).__name__}]
            def reset_index(self): return Frame(RangeIndex())
        OUTPUT = [Array(1.5), Array([[1, 2], [3, 4]]), Series(RangeIndex(), [1, 2]), Series(Labels(), [1]),
                  Frame(RangeIndex()), Frame(Labels())]
    """

    row = {"n": 1.0, "name": None, "index": "RangeIndex"}
    assert run(source) == [1.5, [[1, 2], [3, 4]], [1, 2], {"Rome": 1}, [row], [row]]


def test_numpy_and_pandas_values_have_a_form_in_json():
    need("numpy", "pandas")
    source = """
        import numpy as np, pandas as pd
        days = pd.to_datetime(["2026-01-02", None])
        frame = pd.DataFrame({"n": [1, 2], "name": ["a", None], "day": days})
        OUTPUT = {
            "scalars": [np.int64(1), np.float64(1.5), np.float32(0.5), np.bool_(True), np.str_("s")],
            "array": np.arange(4).reshape(2, 2),
            "times": np.array(["2026-01-02", "NaT"], dtype="datetime64[ns]"),
            "series": frame["n"],
            "counts": frame.set_index("name")["n"].iloc[:1],
            "frame": frame,
            "grouped": frame.groupby("n").size().to_frame("size"),
            "missing": [pd.NA, pd.NaT],
            "stamp": pd.Timestamp("2026-01-02"),
        }
    """

    assert run(source) == {
        "scalars": [1, 1.5, 0.5, True, "s"],
        "array": [[0, 1], [2, 3]],
        "times": ["2026-01-02T00:00:00", None],
        "series": [1, 2],
        "counts": {"a": 1},
        "frame": [
            {"n": 1, "name": "a", "day": "2026-01-02T00:00:00"},
            {"n": 2, "name": None, "day": None},
        ],
        "grouped": [{"n": 1, "size": 1}, {"n": 2, "size": 1}],
        "missing": [None, None],
        "stamp": "2026-01-02T00:00:00",
    }


@pytest.mark.parametrize(
    ("source", "path", "reason"),
    [
        ("OUTPUT['a'] = [1, {'b': float('nan')}]", "OUTPUT.a[1].b", "nan"),
        ("OUTPUT = float('inf')", "OUTPUT", "inf"),
        ("import decimal; OUTPUT['d'] = decimal.Decimal('NaN')", "OUTPUT.d", "NaN"),
        ("OUTPUT['a'] = [lambda: 1]", "OUTPUT.a[0]", "type function"),
        ("OUTPUT['a'] = int", "OUTPUT.a", "type type"),
        ("OUTPUT['a'] = {(1, 2): 3}", "OUTPUT.a", "key of type tuple"),
        ("OUTPUT['a'] = '\\ud800'", "OUTPUT.a", "surrogate"),
        ("OUTPUT['a'] = OUTPUT", "OUTPUT", "holds itself"),
    ],
)
def test_what_has_no_form_in_json_is_refused_with_its_path(source: str, path: str, reason: str):
    failure = failure_of(source)

    assert (failure.code, failure.retryable) == ("script_output", False)
    assert f"{path} " in failure.message
    assert reason in failure.message


def test_an_output_above_the_bound_is_refused_with_its_size():
    failure = failure_of("OUTPUT = 'x' * 2000", settings=ScriptSettings(output_bytes_max=1000))

    assert (failure.code, failure.retryable) == ("script_output", False)
    assert "at most 1000 bytes" in failure.message
    assert "2013" in failure.message


# --- Failures ------------------------------------------------------------------------------------------


def test_an_exception_is_a_retryable_failure_with_the_scripts_own_lines():
    failure = failure_of("def inner(x):\n    return 1 / x  # here\n\ninner(0)\n")

    assert (failure.code, failure.retryable) == ("script_error", True)
    assert failure.message == "ZeroDivisionError: division by zero (line 2 of <script of calc>)"
    assert failure.details is not None
    assert failure.details["line"] == 2
    assert 'File "<script of calc>", line 4, in <module>\n    inner(0)' in failure.details["traceback"]
    assert "return 1 / x  # here" in failure.details["traceback"]
    assert "script_child" not in failure.details["traceback"]


def test_an_exception_under_top_level_await_has_the_scripts_lines_too():
    failure = failure_of("import asyncio\nawait asyncio.sleep(0)\nraise ValueError('no')")

    assert failure.message == "ValueError: no (line 3 of <script of calc>)"
    assert failure.details is not None
    assert "raise ValueError('no')" in failure.details["traceback"]
    assert "script_child" not in failure.details["traceback"]


def test_an_exception_in_a_script_file_names_the_file(tmp_path: Path):
    (tmp_path / "main.py").write_text("x = 1\nraise KeyError('k')")

    with pytest.raises(Attempt) as raised:
        asyncio.run(script(ScriptSettings(base_directory=str(tmp_path)))({"script_file": "main.py"}, Context()))

    assert raised.value.failure.message == f"KeyError: 'k' (line 2 of {tmp_path / 'main.py'})"


def test_a_syntax_error_is_not_retryable_and_names_its_line():
    failure = failure_of("x = 1\ny = = 2\n")

    assert (failure.code, failure.retryable) == ("script_error", False)
    assert failure.message == "SyntaxError: invalid syntax (line 2 of <script of calc>)"
    assert failure.details is not None
    assert "y = = 2" in failure.details["traceback"]


def test_sys_exit_without_a_code_ends_the_script_well_and_with_a_code_fails_it():
    assert run("import sys; OUTPUT['a'] = 1; sys.exit()") == {"a": 1}
    assert run("import sys; OUTPUT['a'] = 1; sys.exit(0)") == {"a": 1}

    failure = failure_of("import sys\nsys.exit('out of stock')")

    assert (failure.code, failure.retryable) == ("script_error", True)
    assert failure.message == "The script called sys.exit('out of stock') (line 2 of <script of calc>)"


def test_a_process_that_leaves_without_a_result_says_so_with_its_last_lines():
    failure = failure_of("import os, sys; print('so long', file=sys.stderr); os._exit(3)")

    assert failure.code == "script_error"
    assert "exit code 3" in failure.message
    assert failure.details == {"exit_code": 3, "last_lines": ["so long"]}


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL", "SIGABRT"])
def test_a_killed_process_is_a_failure_that_names_the_signal(name: str):
    failure = failure_of(f"import os, signal; os.kill(os.getpid(), signal.{name})")

    assert (failure.code, failure.retryable) == ("script_killed", True)
    assert name in failure.message


def test_a_script_that_needs_too_much_memory_is_told_so():
    settings = ScriptSettings(memory_bytes_max=200 * 1024 * 1024)

    at_once = failure_of("x = bytearray(10**9)", settings=settings)
    by_and_by = failure_of("x = []\nwhile True:\n    x.append('y' * 1000 + str(len(x)))", settings=settings)

    for failure in (at_once, by_and_by):
        assert (failure.code, failure.retryable) == ("script_memory", False)
        assert "209715200 bytes" in failure.message


# --- Logs ----------------------------------------------------------------------------------------------


def test_what_a_script_prints_and_logs_is_in_the_attempts_log():
    ctx = Context()
    source = """
        import sys
        print("one\\ntwo")
        print("three", file=sys.stderr)
        logger.info("four %d", 4)
        print("end", end="")
    """

    run(source, ctx=ctx)

    assert [line for stream, line in ctx.lines if stream == "stdout"] == ["one", "two", "end"]
    assert [line for stream, line in ctx.lines if stream == "stderr"] == ["three", "INFO four 4"]


def test_a_script_that_prints_without_end_is_cut_short_and_not_blocked():
    ctx = Context()
    settings = ScriptSettings(log_lines_max=10, log_line_characters_max=50)

    output = run(
        "for i in range(20_000): print('x' * 100)\nprint('y' * 10_000_000)\nOUTPUT = 1",
        ctx=ctx,
        settings=settings,
    )

    assert output == 1
    assert len(ctx.lines) == 11
    assert ctx.lines[0][1].startswith("x" * 50 + " …")
    assert "more than 10 lines" in ctx.lines[10][1]


# --- The process ---------------------------------------------------------------------------------------


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
