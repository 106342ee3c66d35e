"""The examples do what they say, on their own texts and on others: nothing in their answers is prepared."""

from __future__ import annotations

import asyncio
import datetime
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from headgate.app import App
from headgate.authoring import load_definition
from headgate.core.money import nano
from headgate.core.view import PlaceView, RunView
from headgate.llm.demo import DemoProvider
from headgate.ports import EmbeddingAnswer, EventView, ModelAnswer, ModelRequest, StartRequest
from headgate.stores.sqlite import SqliteLog

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/flow.yaml"))


class CountedDemo(DemoProvider):
    """The demo models, and a list of what they were asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[ModelRequest] = []

    async def request(self, request: ModelRequest) -> ModelAnswer:
        self.asked.append(request)
        return await super().request(request)

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        self.asked.append(request)
        async for item in super().stream(request):
            yield item

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
        raise AssertionError("no example makes embeddings")


class Ran:
    """What a run of an example came to."""

    def __init__(self, view: RunView, events: list[EventView], asked: list[ModelRequest]) -> None:
        self.view = view
        self.events = events
        self.asked = asked
        self.outputs = view.outputs or {}

    def activity(self, key: str) -> PlaceView:
        return next(activity for activity in self.view.activities if activity.key == key)

    def statuses(self) -> dict[str, str]:
        return {activity.key: activity.status for activity in self.view.activities}

    def places(self, type_: str) -> list[str]:
        return [event.place for event in self.events if event.type == type_]

    def assert_paid_calls(self, count: int) -> None:
        """So many calls reached the model, each was settled in the log, and the run's cost is their sum."""
        settled = [event for event in self.events if event.type == "call_settled"]
        assert len(self.asked) == len(settled) == count
        assert self.view.cost == sum(event.fields["cost"] for event in settled) > 0
        assert self.view.simulated
        assert self.view.reserved == 0
        assert self.view.limit is not None
        assert self.view.cost <= self.view.limit


def text_of(example: str, name: str) -> str:
    return (EXAMPLES / example / name).read_text(encoding="utf-8")


def run_example(
    folder: Path,
    example: str,
    inputs: dict[str, object],
    *,
    change: tuple[str, str] = ("", ""),
    limit: int | None = None,
    decision: tuple[bool, str] | None = None,
) -> Ran:
    """Run an example to its end, or to where it waits; `decision` (approved, comment) answers an approval."""
    definition = text_of(example, "flow.yaml")
    if change[0]:
        assert change[0] in definition
        definition = definition.replace(*change)
    return asyncio.run(_run(folder / "runs.db", definition, inputs, limit, decision))


async def _run(
    database: Path,
    definition: str,
    inputs: dict[str, object],
    limit: int | None,
    decision: tuple[bool, str] | None,
) -> Ran:
    demo = CountedDemo()
    async with App(SqliteLog(database), providers={"demo": demo}, environment={}) as app:
        started = await app.desk.start(StartRequest(definition=definition, input=inputs, limit=limit))
        await app.desk.settled()
        if decision is not None:
            waiting = await app.desk.show(started.id)
            assert waiting.status == "waiting"
            await app.desk.decide(started.id, approved=decision[0], by="ada", comment=decision[1])
            await app.desk.settled()
        return Ran(await app.desk.show(started.id), await app.desk.events(started.id), demo.asked)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_accepted_as_it_stands(name: str):
    definition = load_definition(text_of(name, "flow.yaml"), source=f"examples/{name}/flow.yaml")

    assert definition.name == name
    assert definition.description


# --- quickstart ---------------------------------------------------------------------------------------------

LETTER = """Kestrel Roofing Ltd

3 November 2025

Dear colleagues,

your invoice for our order QT-88150 asks for $1,250.50, but we agreed on less. Please send a corrected
invoice to books@kestrelroofing.example before the end of the month.

Piet Hollis
"""


def test_quickstart_makes_a_record_of_a_letter(tmp_path: Path):
    letter = text_of("quickstart", "letter.txt")

    ran = run_example(tmp_path, "quickstart", {"letter": letter})

    assert ran.view.status == "completed"
    assert ran.outputs["record"] == {
        "order_number": "PK-20417",
        "date": "2026-03-12",
        "amount": 418,
        "email": "office@marrowfinch.example",
        "topic": "delivery",
    }
    assert ran.outputs["summary"] in " ".join(letter.split())
    ran.assert_paid_calls(2)


def test_quickstart_makes_another_record_of_another_letter(tmp_path: Path):
    ran = run_example(tmp_path, "quickstart", {"letter": LETTER})

    record = ran.outputs["record"]
    assert record["order_number"] == "QT-88150"
    assert datetime.date.fromisoformat(record["date"]) == datetime.date(2025, 11, 3)
    assert record["amount"] == 1250.5
    assert record["email"] == "books@kestrelroofing.example"
    assert record["topic"] == "invoice"
    assert "Marrow" not in ran.outputs["summary"]
    ran.assert_paid_calls(2)


# --- documents ----------------------------------------------------------------------------------------------


def test_documents_are_summarised_one_by_one_in_their_order(tmp_path: Path):
    documents = text_of("documents", "documents.txt").split("\n----\n")

    ran = run_example(tmp_path, "documents", {"documents": "\n----\n".join(documents)})

    summaries = ran.outputs["summaries"]
    assert ran.view.status == "completed"
    assert len(summaries) == len(documents) == 3
    for summary, document in zip(summaries, documents, strict=True):
        assert summary in " ".join(document.split())
    assert ran.outputs["digest"].count("\n- ") == 2
    assert sorted(ran.places("activity_scheduled")) == [
        *("digest", "split"),
        *(f"summarise[{item}]" for item in range(3)),
    ]
    ran.assert_paid_calls(4)


def test_as_many_documents_are_summarised_as_are_given(tmp_path: Path):
    documents = [
        f"Report {number}. The well at farm {number} gave {number} litres an hour. A hen was seen."
        for number in range(1, 8)
    ]

    ran = run_example(tmp_path, "documents", {"documents": "\n----\n".join(documents)})

    assert ran.activity("summarise").count == 7
    assert all(summary in document for summary, document in zip(ran.outputs["summaries"], documents, strict=True))
    assert all(re.search(rf"\b{number}\b", ran.outputs["summaries"][number - 1]) for number in range(1, 8))
    ran.assert_paid_calls(8)


# --- approval -----------------------------------------------------------------------------------------------


def test_an_approval_waits_for_a_person_and_costs_nothing_meanwhile(tmp_path: Path):
    ran = run_example(tmp_path, "approval", {"complaint": text_of("approval", "complaint.txt")})

    assert ran.view.status == "waiting"
    assert "waits for approval 'review'" in ran.view.waiting_for
    assert ran.statuses() == {"draft": "completed", "review": "waiting", "file": "not_scheduled"}
    ran.assert_paid_calls(1)


def test_what_was_approved_is_filed(tmp_path: Path):
    complaint = text_of("approval", "complaint.txt")

    ran = run_example(tmp_path, "approval", {"complaint": complaint}, decision=(True, "at once"))

    assert ran.view.status == "completed"
    assert ran.outputs["approved"] is True
    assert (ran.outputs["by"], ran.outputs["comment"]) == ("ada", "at once")
    assert ran.outputs["department"] == "repairs"
    assert all(sentence in " ".join(complaint.split()) for sentence in ran.outputs["summary"].split(". "))
    ran.assert_paid_calls(2)


def test_what_was_rejected_is_not_filed_and_no_model_is_asked_where_to(tmp_path: Path):
    complaint = text_of("approval", "complaint.txt")

    ran = run_example(tmp_path, "approval", {"complaint": complaint}, decision=(False, "too vague"))

    assert ran.view.status == "completed"
    assert ran.outputs["approved"] is False
    assert ran.outputs["department"] is None
    assert ran.activity("file").status == "skipped"
    ran.assert_paid_calls(1)


def test_another_complaint_goes_to_another_department(tmp_path: Path):
    complaint = (
        "I was charged twice for the month of May. My bank shows two debits of 31 euros on the same day. "
        "Please refund the second payment and send me a corrected bill. Billing told me on the phone that "
        "they cannot see it."
    )

    ran = run_example(tmp_path, "approval", {"complaint": complaint}, decision=(True, ""))

    assert ran.outputs["department"] == "billing"
    assert "euros" in ran.outputs["summary"] or "refund" in ran.outputs["summary"]


# --- triage ------------------------------------------------------------------------------------------------


def test_triage_files_every_letter_and_sends_the_digest_that_was_agreed_to(tmp_path: Path):
    letters = text_of("triage", "letters.txt")

    ran = run_example(tmp_path, "triage", {"letters": letters}, decision=(True, ""))

    assert ran.view.status == "completed"
    assert [record["topic"] for record in ran.outputs["records"]] == [
        *("repair", "praise", "refund", "repair", "refund", "other")
    ]
    assert [record["amount"] for record in ran.outputs["records"]] == [24, None, 39, None, 3.4, None]
    points = ran.outputs["digest"].removeprefix("- ").split("\n- ")
    assert len(points) == 4
    assert all(point in " ".join(letters.split()) for point in points)
    assert (ran.outputs["sent"], ran.outputs["by"]) == (True, "ada")
    ran.assert_paid_calls(13)


def test_triage_of_fewer_letters_asks_fewer_times(tmp_path: Path):
    letters = text_of("triage", "letters.txt").split("\n----\n")[1:4]

    ran = run_example(tmp_path, "triage", {"letters": "\n----\n".join(letters)}, decision=(False, ""))

    assert [record["topic"] for record in ran.outputs["records"]] == ["praise", "refund", "repair"]
    assert ran.outputs["sent"] is False
    ran.assert_paid_calls(7)


# --- fallback -----------------------------------------------------------------------------------------------


def fallback_inputs(questions: str = "") -> dict[str, object]:
    return {
        "text": text_of("fallback", "text.txt"),
        "questions": questions or text_of("fallback", "questions.txt"),
    }


def test_the_dear_model_answers_until_it_does_not_fit_and_then_the_cheap_one_does(tmp_path: Path):
    ran = run_example(tmp_path, "fallback", fallback_inputs())

    assert ran.view.status == "completed"
    assert ran.outputs["models"] == ["large", "large", "large", "small", "small"]
    assert [len(answer["budget_skipped_models"]) for answer in ran.activity("answer").output] == [
        0,
        0,
        0,
        1,
        1,
    ]
    assert "Agnes Tullock" in ran.outputs["answers"][0]
    assert "eight weeks" in ran.outputs["answers"][3]
    assert ran.outputs["answers"][4] == "not in the text"
    ran.assert_paid_calls(5)


def test_each_model_that_was_passed_over_stands_in_the_log_with_the_reason(tmp_path: Path):
    ran = run_example(tmp_path, "fallback", fallback_inputs())

    skipped = [event for event in ran.events if event.type == "model_skipped"]
    assert [event.place for event in skipped] == ["answer[3]", "answer[4]"]
    assert {event.fields["model"] for event in skipped} == {"demo/large"}
    dollars = r"\$[\d.]+"
    reason = rf"demo/large would cost up to {dollars}; the run's budget has {dollars} left of \$0\.0040*"
    assert all(re.fullmatch(reason, event.fields["reason"]) for event in skipped)


def test_a_larger_budget_keeps_the_dear_model_to_the_end(tmp_path: Path):
    ran = run_example(tmp_path, "fallback", fallback_inputs(), limit=nano("0.05"))

    assert ran.outputs["models"] == ["large"] * 5


def test_other_questions_get_other_answers(tmp_path: Path):
    questions = "When was the lamp changed to electricity?\nWhen are the steps closed?\n"

    ran = run_example(tmp_path, "fallback", fallback_inputs(questions))

    assert "1931" in ran.outputs["answers"][0]
    assert "November to March" in ran.outputs["answers"][1]
    ran.assert_paid_calls(2)


# --- research -----------------------------------------------------------------------------------------------


def research_inputs(question: str = "Why was the glassworks closed?", **more: object) -> dict[str, object]:
    return {"question": question, "sources": text_of("research", "sources.txt"), **more}


def test_research_goes_round_until_enough_sources_answer(tmp_path: Path):
    ran = run_example(tmp_path, "research", research_inputs())

    assert ran.view.status == "completed"
    assert ran.outputs["sources_read"] == 4
    assert len(ran.outputs["findings"]) == 2
    assert "run out of wood" in ran.outputs["findings"][0]
    assert "tenfold" in ran.outputs["findings"][1]
    assert [place for place in ran.places("activity_completed") if place.startswith(("search", "judge"))] == [
        *("search", "judge", "search@1", "judge@1", "search@2", "judge@2", "search@3", "judge@3")
    ]
    assert ran.places("activity_completed").count("report") == 1
    ran.assert_paid_calls(5)


def test_research_stops_at_the_first_source_where_one_is_enough(tmp_path: Path):
    ran = run_example(tmp_path, "research", research_inputs("When did the glassworks begin work?", enough=1))

    assert ran.outputs["sources_read"] == 2
    assert "1742" in ran.outputs["report"]
    ran.assert_paid_calls(3)


def test_research_reads_every_source_and_no_further_where_none_answers(tmp_path: Path):
    ran = run_example(tmp_path, "research", research_inputs("Which bishop consecrated the cathedral organ?"))

    assert ran.view.status == "completed"
    assert ran.outputs["sources_read"] == 5
    assert ran.outputs["findings"] == []
    assert ran.outputs["report"] is None
    assert ran.activity("report").status == "skipped"
    ran.assert_paid_calls(5)


def test_research_stops_searching_when_its_money_is_spent(tmp_path: Path):
    ran = run_example(
        tmp_path,
        "research",
        research_inputs("Which bishop consecrated the cathedral organ?"),
        change=("budget: 0.002", "budget: 0.00023"),
    )

    assert ran.view.status == "completed"
    assert ran.outputs["sources_read"] == 2
    assert ran.activity("search").cost <= nano("0.00023")
    ran.assert_paid_calls(2)


def test_research_goes_round_no_more_often_than_its_limit(tmp_path: Path):
    sources = "\n----\n".join(f"Page {number}. The baker sold {number} loaves." for number in range(1, 12))

    ran = run_example(
        tmp_path,
        "research",
        {"question": "Which bishop consecrated the cathedral organ?", "sources": sources},
    )

    assert ran.outputs["sources_read"] == 6
    loops = [event for event in ran.events if event.type == "loop_decided"]
    assert [event.fields["again"] for event in loops[:-1]] == [True] * 5
    assert loops[-1].fields["reason"] == "its limit of 6 iterations is reached"
