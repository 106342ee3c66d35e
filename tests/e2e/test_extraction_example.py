"""The example `extraction`: unlike documents become one table, and what is unsure is marked and not guessed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from headgate.app import App
from headgate.core.view import RunView
from headgate.ports import StartRequest
from headgate.stores.sqlite import SqliteLog

EXAMPLE = Path(__file__).parents[2] / "examples" / "extraction"
DOCUMENTS = (EXAMPLE / "documents.txt").read_text(encoding="utf-8").split("\n----\n")
SURE = """Invoice

Invoice number: TR-9
Invoice date: 2 February 2026
Total: 1,299.50 EUR
"""


def extracted(folder: Path, documents: list[str], *, decision: bool | None = None, data: Any = None) -> RunView:
    """Run the example; `decision` answers its approval, where there is one."""

    async def run() -> RunView:
        text = (EXAMPLE / "flow.yaml").read_text(encoding="utf-8")
        async with App(SqliteLog(folder / "runs.db"), environment={}, offline=True) as app:
            asked = {"documents": "\n----\n".join(documents)}
            started = await app.desk.start(StartRequest(definition=text, input=asked))
            await app.desk.settled()
            if decision is not None:
                await app.desk.decide(started.id, approved=decision, by="ada", data=data)
                await app.desk.settled()
            return await app.desk.show(started.id)

    return asyncio.run(run())


def output_of(view: RunView, key: str) -> Any:
    return next(place.output for place in view.activities if place.key == key)


def table_of(view: RunView) -> list[dict[str, Any]]:
    assert view.outputs is not None
    return view.outputs["table"]


def test_each_document_is_read_into_the_same_record_and_what_is_unsure_waits_for_a_person(tmp_path: Path):
    view = extracted(tmp_path, DOCUMENTS)

    rows = output_of(view, "check")["table"]
    assert view.status == "waiting"
    assert [row["kind"] for row in rows] == ["letter", "invoice", "minutes", "invoice"]
    assert (rows[1]["number"], rows[1]["date"], rows[1]["total"]) == ("KR-2026-0417", "2026-04-03", 640)
    assert [row["doubts"] for row in rows] == [[], [], ["the total is no sum of money in the text"], ["no total"]]


def test_what_a_person_corrects_stands_in_the_table_and_is_marked(tmp_path: Path):
    data = {"corrections": {"2": {"total": None}, "3": {"total": 120}}}

    view = extracted(tmp_path, DOCUMENTS, decision=True, data=data)

    assert [row["total"] for row in table_of(view)] == [None, 640, None, 120]
    assert [row["corrected"] for row in table_of(view)] == [[], [], ["total"], ["total"]]
    assert (view.outputs or {})["left_out"] == 0


def test_rows_that_are_rejected_are_left_out_and_counted(tmp_path: Path):
    view = extracted(tmp_path, DOCUMENTS, decision=False, data={"corrections": {"3": {"total": 120}}})

    assert [row["document"] for row in table_of(view)] == [0, 1]
    assert view.outputs is not None
    assert (view.outputs["left_out"], view.outputs["unsure"]) == (2, [2, 3])


def test_of_rows_that_are_all_sure_nobody_is_asked(tmp_path: Path):
    view = extracted(tmp_path, [SURE])

    assert view.status == "completed"
    assert [(row["number"], row["total"], row["sure"]) for row in table_of(view)] == [("TR-9", 1299.5, True)]
    assert next(place.status for place in view.activities if place.key == "look") == "skipped"


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        (("2 February 2026", "2 February 1926"), "the date is before 2000"),
        (("Invoice date: 2 February 2026\n", ""), "no date"),
        (("Total: 1,299.50 EUR", "Total: to follow"), "no total"),
    ],
)
def test_what_a_kind_of_document_lacks_is_named(change: tuple[str, str], doubt: str, tmp_path: Path):
    view = extracted(tmp_path, [SURE.replace(*change)])

    assert view.status == "waiting"
    assert doubt in output_of(view, "check")["unsure"][0]["doubts"]


def test_a_correction_of_a_field_that_there_is_not_fails_rather_than_to_be_dropped(tmp_path: Path):
    view = extracted(tmp_path, DOCUMENTS, decision=True, data={"corrections": {"3": {"totl": 120}}})

    assert view.status == "failed"
    assert "document 3 has no totl" in next(place.error for place in view.activities if place.key == "merge")
