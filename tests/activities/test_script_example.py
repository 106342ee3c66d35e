"""The pipeline example by the real command line: its figures come from the table that it is given."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.activities.libraries import need

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "pipeline"
Row = dict[str, str]


@pytest.fixture(autouse=True)
def _libraries() -> None:
    need("pandas", "pyarrow", "duckdb", "sklearn")


def outputs(folder: Path, change: Callable[[list[Row]], list[Row]] = list, **inputs: object) -> dict[str, Any]:
    """Run the example on a changed copy of its table; return the run's outputs."""
    with (EXAMPLE / "sales.csv").open(newline="") as file:
        rows = change(list(csv.DictReader(file)))
    with (folder / "sales.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["day", "cafe", "temperature", "cups"])
        writer.writeheader()
        writer.writerows(rows)
    given = [f"--input={name}={value}" for name, value in {"sales": "@sales.csv", **inputs}.items()]
    done = subprocess.run(
        [sys.executable, "-m", "headgate", "run", str(EXAMPLE / "flow.yaml"), *given],
        cwd=folder,
        env=os.environ | {"NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def cups_of(row: Row) -> int:
    return int(row["cups"] or -999)


def test_the_example_finds_what_is_in_its_table_and_its_frames_are_files(tmp_path: Path):
    with (EXAMPLE / "sales.csv").open(newline="") as file:
        good = {tuple(row.values()): row for row in csv.DictReader(file)}
    good_rows = [row for row in good.values() if cups_of(row) >= 0 and row["temperature"] != "n/a"]
    sums: dict[str, int] = {}
    for row in good_rows:
        cafe = row["cafe"].strip().title()
        sums[cafe] = sums.get(cafe, 0) + cups_of(row)

    found = outputs(tmp_path)

    assert found["rows"] == len(good_rows)
    assert {one["cafe"]: one["cups"] for one in found["sold"]} == sums
    assert [one["cups"] for one in found["sold"]] == sorted(sums.values(), reverse=True)
    for cafe in found["forecast"].values():
        assert cafe["cups_per_degree"] < -1
        assert cafe["fit"] > 0.5
    assert found["forecast"]["Station"]["forecast"]["weekend"] < found["forecast"]["Station"]["forecast"]["workday"]
    assert len(list((tmp_path / ".headgate" / "frames").rglob("*.parquet"))) == 2


def test_another_table_gives_other_figures(tmp_path: Path):
    def warmer_sells_more(rows: list[Row]) -> list[Row]:
        straight = [row for row in rows if cups_of(row) >= 0 and row["temperature"] != "n/a"]
        return [{**row, "cups": str(round(100 + 3 * float(row["temperature"])))} for row in straight]

    found = outputs(tmp_path, warmer_sells_more, temperature=20)

    assert found["dropped"] == 6  # rows that stand there twice
    for cafe in found["forecast"].values():
        assert cafe["cups_per_degree"] == pytest.approx(3, abs=0.02)
        assert cafe["fit"] >= 0.998
        assert cafe["forecast"] == {"workday": 160, "weekend": 160}


def test_a_short_table_passes_as_rows_and_gives_figures_too(tmp_path: Path):
    found = outputs(tmp_path, lambda rows: rows[::4])

    assert found["rows"] < 300
    assert set(found["forecast"]) == {"Harbour", "Market", "Station"}
    assert found["forecast"]["Station"]["cups_per_degree"] < -2
    assert not (tmp_path / ".headgate" / "frames").exists()
