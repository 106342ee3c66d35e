"""What a script is given, and what its output is as JSON."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.activities.libraries import need
from tests.activities.script_lab import TASK, Context, failure_of, run

from headgate.activities.script import ScriptSettings, script
from headgate.ports import Attempt

pytestmark = pytest.mark.slow  # every script is a process


# --- Input, output, names ---------------------------------------------------------------------------------------------


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


# --- The output as JSON -----------------------------------------------------------------------------------------------


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
