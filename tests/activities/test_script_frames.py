"""Frames that pass from script to script: small ones as JSON, large ones as Parquet files."""

from __future__ import annotations

import asyncio
import os
import textwrap
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.activities.libraries import need

from headgate.activities.script import ScriptSettings, script
from headgate.activities.script_frames import frame_files_of
from headgate.core.values import Assignment, Failure
from headgate.ports import Attempt

pytestmark = pytest.mark.slow  # every script is a process

TASK = Assignment(activity_id="claim-1", workflow_id="run-1", activity_key="calc", place="calc", activity_name="script")


class Context:
    """The context of an attempt, as far as script uses it."""

    task = TASK

    def log(self, message: str, **fields: Any) -> None:
        print(fields["stream"], message)


def run(source: str, folder: Path | None, settings: ScriptSettings | None = None, **parameters: Any) -> Any:
    activity = script(settings or ScriptSettings(), folder=folder)
    return asyncio.run(activity({"script": textwrap.dedent(source), **parameters}, Context()))


def failure_of(source: str, folder: Path | None, **rest: Any) -> Failure:
    with pytest.raises(Attempt) as raised:
        run(source, folder, **rest)
    return raised.value.failure


MAKERS = {
    "pandas": """
        import pandas as pd
        days = pd.date_range("2026-01-01", periods=ROWS, freq="min")
        frame = pd.DataFrame({"n": range(ROWS), "name": ["ü"] * ROWS, "day": days}).set_index("n")
        frame.loc[0, "name"] = None
    """,
    "polars": """
        import polars as pl
        frame = pl.DataFrame({"n": range(ROWS), "name": ["ü"] * ROWS}).with_columns(x=pl.col("n") / 2)
    """,
    "polars_lazy": """
        import polars as pl
        frame = pl.DataFrame({"n": range(ROWS), "name": ["ü"] * ROWS}).lazy().filter(pl.col("n") >= 0)
    """,
    "pyarrow": """
        import pyarrow as pa
        frame = pa.table({"n": range(ROWS), "name": ["ü"] * ROWS})
    """,
}
TAKERS = {
    "pandas": """
        import pandas as pd
        frame = INPUT["frame"]
        assert type(frame) is pd.DataFrame and frame.index.name == "n"
        frame.loc[1, "name"] = "changed"
        row = frame.reset_index().iloc[-1]
        OUTPUT = [len(frame), int(row["n"]), row["name"], str(row["day"]), bool(frame["name"].isna()[0])]
    """,
    "polars": """
        import polars as pl
        assert type(INPUT["frame"]) is pl.DataFrame
        OUTPUT = [len(INPUT["frame"]), *INPUT["frame"].row(-1)]
    """,
    "polars_lazy": """
        import polars as pl
        assert type(INPUT["frame"]) is pl.LazyFrame
        OUTPUT = INPUT["frame"].select(pl.len(), pl.col("n").max(), pl.col("name").last()).collect().row(0)
    """,
    "pyarrow": """
        import pyarrow as pa
        assert type(INPUT["frame"]) is pa.Table
        OUTPUT = [len(INPUT["frame"]), *INPUT["frame"].slice(len(INPUT["frame"]) - 1).to_pylist()[0].values()]
    """,
}
LAST_ROWS = {
    "pandas": [5000, 4999, "ü", "2026-01-04 11:19:00", True],
    "polars": [5000, 4999, "ü", 2499.5],
    "polars_lazy": [5000, 4999, "ü"],
    "pyarrow": [5000, 4999, "ü"],
}


def made(kind: str, rows: int) -> str:
    return textwrap.dedent(MAKERS[kind]).replace("ROWS", str(rows)) + "OUTPUT['frame'] = frame\n"


# --- There and back --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(MAKERS))
def test_a_large_frame_passes_to_the_next_script_as_a_file_and_comes_back_as_the_kind_that_it_was(
    kind: str, tmp_path: Path
):
    need("pyarrow")
    folder = tmp_path / "state" / "frames"

    output = run(made(kind, 5_000), folder)

    reference = output["frame"]
    path = folder / reference["$frame"][:2] / f"{reference['$frame']}.parquet"
    assert {"kind": kind, "rows": 5_000, "bytes": path.stat().st_size}.items() <= reference.items()
    assert set(reference["columns"]) >= {"name"}
    assert len(msgspec.json.encode(output)) < 400
    assert run(TAKERS[kind], folder, inputs=output) == LAST_ROWS[kind]


@pytest.mark.parametrize("kind", list(MAKERS))
def test_a_small_frame_is_a_list_of_rows(kind: str, tmp_path: Path):
    need("pyarrow")

    rows = run(made(kind, 3), tmp_path)["frame"]

    assert [row["n"] for row in rows] == [0, 1, 2]
    assert rows[2]["name"] == "ü"
    assert list(tmp_path.rglob("*.parquet")) == []


def test_few_rows_that_are_long_are_a_file_and_without_a_folder_every_frame_is_rows(tmp_path: Path):
    need("pandas")
    source = "import pandas as pd\nOUTPUT = pd.DataFrame({'text': ['x' * 1000] * 100})"

    long = run(source, tmp_path)
    rows = run(made("pandas", 5_000), None)["frame"]

    assert (long["rows"], long["kind"]) == (100, "pandas")
    assert len(rows) == 5_000


def test_the_map_of_a_wide_frame_is_small_and_its_file_has_every_column(tmp_path: Path):
    need("pandas")
    source = "import pandas as pd\nOUTPUT = pd.DataFrame({f'c{n}': range(2000) for n in range(150)})"

    wide = run(source, tmp_path)

    assert (len(wide["columns"]), wide["columns_left_out"]) == (100, 50)
    assert run("OUTPUT = INPUT.shape", tmp_path, inputs=wide) == [2000, 150]


def test_equal_frames_are_one_file_and_a_file_that_is_made_again_is_young_again(tmp_path: Path):
    need("pandas")

    first = run(made("pandas", 5_000), tmp_path)
    [path] = tmp_path.rglob("*.parquet")
    os.utime(path, (1_000, 1_000))
    second = run(made("pandas", 5_000), tmp_path)
    other = run(made("pandas", 5_001), tmp_path)

    assert first == second
    assert path.stat().st_mtime > 1_000
    assert other["frame"]["$frame"] != first["frame"]["$frame"]
    assert len(list(tmp_path.rglob("*"))) == len({path.parent for path in tmp_path.rglob("*.parquet")}) + 2


def test_frames_are_found_wherever_they_stand_in_input_and_output(tmp_path: Path):
    need("pandas")
    source = """
        import pandas as pd
        frame = pd.DataFrame({"n": range(2000)})
        OUTPUT = {"parts": [frame, {"deep": frame + 1}], "plain": 1}
    """

    output = run(source, tmp_path)

    assert len(frame_files_of(output)) == 2
    taken = run("OUTPUT = [len(INPUT['parts'][0]), int(INPUT['parts'][1]['deep']['n'][0])]", tmp_path, inputs=output)
    assert taken == [2000, 1]
    assert run("OUTPUT = len(INPUT)", tmp_path, inputs=output["parts"][0]) == 2000


# --- INPUT -----------------------------------------------------------------------------------------------------


def test_a_frame_that_is_not_asked_for_is_not_read_and_may_be_passed_on(tmp_path: Path):
    need("pandas")
    output = {**run(made("pandas", 5_000), tmp_path), "n": 1}
    source = """
        import sys
        assert "not read yet" in repr(INPUT)
        INPUT["n"] += 1
        OUTPUT = {"all": INPUT, "loaded": "pandas" in sys.modules}
    """

    passed = run(source, tmp_path, inputs=output)

    assert passed == {"all": {**output, "n": 2}, "loaded": False}


def test_input_with_a_frame_is_a_dictionary_in_all_it_does(tmp_path: Path):
    need("pandas")
    output = {**run(made("pandas", 2_000), tmp_path), "n": 1}
    ways = {
        "get": "INPUT.get('frame')",
        "items": "dict(INPUT.items())['frame']",
        "values": "list(INPUT.values())[0]",
        "copy": "INPUT.copy()['frame']",
        "dict": "dict(INPUT)['frame']",
        "stars": "{**INPUT}['frame']",
        "call": "(lambda frame, n: frame)(**INPUT)",
        "or": "(INPUT | {'m': 1})['frame']",
        "ror": "({'m': 1} | INPUT)['frame']",
        "update": "(lambda d: d.update(INPUT) or d)({})['frame']",
        "setdefault": "INPUT.setdefault('frame')",
        "deepcopy": "copy.deepcopy(INPUT)['frame']",
        "pop": "INPUT.pop('frame')",
        "popitem": "(INPUT.pop('n'), INPUT.popitem())[1][1]",
    }
    source = f"""
        import copy
        unread, map_of = list(dict.items(INPUT)), type(INPUT)
        for name, way in {ways!r}.items():
            OUTPUT[name] = len(eval(way, {{"INPUT": map_of(unread), "copy": copy}}))
        OUTPUT["empty"] = map_of() == {{}} and isinstance(INPUT, dict)
    """

    taken = run(source, tmp_path, inputs=output)

    assert taken == {**dict.fromkeys(ways, 2_000), "empty": True}


def test_a_frame_whose_file_is_gone_fails_the_script_for_good_and_says_what_to_do(tmp_path: Path):
    need("pandas")
    output = run(made("pandas", 5_000), tmp_path)
    next(tmp_path.rglob("*.parquet")).unlink()

    failure = failure_of("x = 1\nlen(INPUT['frame'])", tmp_path, inputs=output)

    assert (failure.code, failure.retryable) == ("frame_missing", False)
    assert "5000 rows is gone" in failure.message
    assert "run again the activity" in failure.message
    assert failure.details is not None
    assert failure.details["line"] == 2
    assert "script_frames.py" not in failure.details["traceback"]


@pytest.mark.parametrize("digest", ["../../etc/passwd", "a" * 63, "A" * 64, 5, None])
def test_what_only_looks_like_a_frame_stays_data(digest: object, tmp_path: Path):
    data = {"$frame": digest, "kind": "pandas", "rows": 1}

    assert frame_files_of([data]) == frozenset()
    assert run("OUTPUT = INPUT", tmp_path, inputs={"a": data}) == {"a": data}


# --- What Parquet does not take --------------------------------------------------------------------------------


def test_a_frame_that_parquet_cannot_hold_is_rows_or_is_refused_when_it_is_too_large_for_that(tmp_path: Path):
    need("pandas")
    source = "import pandas as pd\nOUTPUT['mixed'] = pd.DataFrame({'a': [1, 'x'] * ROWS})"

    rows = run(source.replace("ROWS", "1000"), tmp_path)["mixed"]
    failure = failure_of(source.replace("ROWS", "60_000"), tmp_path)

    assert rows[:2] == [{"a": 1}, {"a": "x"}]
    assert (failure.code, failure.retryable) == ("script_output", False)
    assert "OUTPUT.mixed" in failure.message
    assert "does not become a Parquet file: Arrow" in failure.message
    assert list(tmp_path.iterdir()) == []


def test_a_frame_whose_file_is_too_large_is_refused_and_leaves_nothing(tmp_path: Path):
    need("pandas")

    failure = failure_of(made("pandas", 5_000), tmp_path, settings=ScriptSettings(file_bytes_max=1000))

    assert (failure.code, failure.retryable) == ("script_output", False)
    assert "more than 1000 (file_bytes_max)" in failure.message
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_script_left_half_written_is_removed_before_the_next_engines_first_script(tmp_path: Path):
    (tmp_path / "new-half.parquet").write_bytes(b"PAR1")
    kept = tmp_path / "ab" / f"{'ab' * 32}.parquet"
    kept.parent.mkdir()
    kept.write_bytes(b"PAR1")

    run("pass", tmp_path)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]
