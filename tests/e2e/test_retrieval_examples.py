"""The examples that search and remember do what they say, on their own texts and on others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from headgate.app import App
from headgate.core.view import RunView
from headgate.llm.demo import DemoProvider
from headgate.ports import EmbeddingAnswer, StartRequest
from headgate.stores.sqlite import SqliteLog
from headgate.testing.clock import VirtualClock

EXAMPLES = Path(__file__).parents[2] / "examples"
DAY_SECONDS = 86_400


class CountedDemo(DemoProvider):
    """The demo models, and a list of the texts that were embedded."""

    def __init__(self) -> None:
        super().__init__()
        self.embedded: list[str] = []

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
        self.embedded += inputs
        return await super().embed(model, inputs)


class House:
    """A database and a state folder, with processes that come and go over them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.demo = CountedDemo()
        self.clock = VirtualClock()

    def app(self) -> App:
        return App(
            SqliteLog(self.folder / "runs.db"),
            clock=self.clock,
            providers={"demo": self.demo},
            environment={},
            folder=self.folder / "state",
        )


def text_of(example: str, name: str) -> str:
    return (EXAMPLES / example / name).read_text(encoding="utf-8")


# --- rag_chat ------------------------------------------------------------------------------------------------

BOAT = """# The dinghy Swift

## Reefing

In a wind above force five, take two reefs in before you leave the harbour.

## The rudder

If the rudder comes loose, its pin is worn. The rudder pin is the spare part SW-77 and costs 12.25 euros.

## Winter

Put the boat under a roof from November to March, keel upwards.
"""


def ask(house: House, question: str, *, manual: str = "", decision: bool | None = None, **more: str) -> RunView:
    async def run() -> RunView:
        async with house.app() as app:
            given = {"manual": manual or text_of("rag_chat", "manual.md"), "question": question, **more}
            request = StartRequest(definition=text_of("rag_chat", "flow.yaml"), input=given)
            started = await app.desk.start(request)
            await app.desk.settled()
            if decision is not None:
                await app.desk.decide(started.id, approved=decision, by="ada")
                await app.desk.settled()
            return await app.desk.show(started.id)

    return asyncio.run(run())


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.mark.parametrize(
    ("question", "says", "source"),
    [
        ("How often must the filter be cleaned?", "once a month", "Cleaning the filter"),
        ("How long is the warranty?", "three years", "Warranty"),
        ("What does error E4 mean?", "water stays in the tub", "The machine does not drain"),
    ],
)
def test_an_answer_is_a_passage_of_the_manual_with_its_place(question: str, says: str, source: str, house: House):
    view = ask(house, question)

    outputs: Any = view.outputs
    assert view.status == "completed"
    assert says in outputs["answer"]
    assert f"source {source}" in outputs["answer"]
    assert outputs["sources"][0] == source
    assert outputs["order"] is None
    assert view.reserved == 0


def test_another_manual_gives_other_answers(house: House):
    first: Any = ask(house, "How many reefs above force five?", manual=BOAT).outputs
    second: Any = ask(house, "How often must the filter be cleaned?", manual=BOAT).outputs

    assert "take two reefs" in first["answer"]
    assert "source Reefing" in first["answer"]
    assert (second["answer"], second["found"]) == ("That is not in the documents.", False)


def test_what_is_not_in_the_manual_is_not_answered(house: House):
    outputs: Any = ask(house, "Who painted the ceiling of the chapel?").outputs

    assert (outputs["answer"], outputs["found"]) == ("That is not in the documents.", False)


def test_the_manual_is_paid_for_once_and_a_changed_section_once_more(house: House):
    manual = text_of("rag_chat", "manual.md")
    ask(house, "How long is the warranty?")
    sections = len(house.demo.embedded) - 1
    house.demo.embedded.clear()

    again: Any = ask(house, "How long is the warranty?").outputs
    changed: Any = ask(house, "How long is the warranty?", manual=manual.replace("three years", "nine years")).outputs

    assert sections == manual.count("\n## ") + 1
    assert (again["embedded"], changed["embedded"]) == (0, 1)
    assert len(house.demo.embedded) == 3  # two questions and a section
    assert "nine years" in changed["answer"]


@pytest.mark.parametrize(
    ("question", "manual", "part", "price"),
    [
        ("Water drips from the door. Please order the door seal.", "", "TN-114", 18.5),
        ("I would like to order a new drain pump.", "", "TN-260", 64),
        ("The rudder is loose, please order a spare part.", BOAT, "SW-77", 12.25),
    ],
)
def test_a_spare_part_is_ordered_when_a_person_agrees(
    question: str, manual: str, part: str, price: float, house: House
):
    view = ask(house, question, manual=manual, decision=True)

    outputs: Any = view.outputs
    assert outputs["order"] == {"part_number": part, "price": price, "agreed_by": "ada"}


def test_nothing_is_ordered_before_a_person_agrees_nor_when_she_does_not(house: House):
    waiting = ask(house, "I would like to order a new drain pump.")
    refused = ask(house, "I would like to order a new drain pump.", decision=False)

    outputs: Any = refused.outputs
    assert waiting.status == "waiting"
    assert "approve" in waiting.waiting_for
    assert (refused.status, outputs["order"]) == ("completed", None)


def test_what_the_manual_does_not_sell_is_not_ordered(house: House):
    outputs: Any = ask(house, "Please order a new toaster.").outputs

    assert outputs["order"] is None


# --- memoir --------------------------------------------------------------------------------------------------

VOYAGE = """I left Brest on 2 May 1963 on the barque Lorelei. The cook was a man named Yannick.
----
Off Madeira we lost the mainmast in a squall. It took us nineteen days to reach Funchal under a jury rig.
----
In Funchal I sold my sextant for 40 pounds, and took the steamer home."""


def remember(house: House, sessions: str, *, days: int, **more: Any) -> RunView:
    """Run the example, a process for each day; the last one shows what it came to."""

    async def first_day() -> str:
        async with house.app() as app:
            given = {"sessions": sessions, **more}
            started = await app.desk.start(StartRequest(definition=text_of("memoir", "flow.yaml"), input=given))
            await app.desk.settled()
            return started.id

    async def another_day(run_id: str) -> RunView:
        house.clock.forget()
        house.clock.advance(seconds=DAY_SECONDS)
        async with house.app() as app:
            await app.desk.settled()
            return await app.desk.show(run_id)

    run_id = asyncio.run(first_day())
    return [asyncio.run(another_day(run_id)) for _ in range(days)][-1]


def test_a_conversation_goes_on_over_days_and_processes(house: House):
    view = remember(house, text_of("memoir", "sessions.txt"), days=3)

    outputs: Any = view.outputs
    assert view.status == "completed"
    assert "goat whose name was Bishop" in outputs["answer"]
    assert (outputs["turns"], outputs["left_out"]) == (8, 0)
    assert outputs["memoir"].count("\n- ") == 5


def test_between_two_sessions_it_waits_for_a_day(house: House):
    view = remember(house, text_of("memoir", "sessions.txt"), days=2)

    assert view.status == "waiting"
    assert "rest@2 waits until" in view.waiting_for


def test_what_was_told_first_is_remembered_from_the_summary(house: House):
    outputs: Any = remember(house, VOYAGE, days=2, question="What was the name of the cook?", tokens=300).outputs

    assert "named Yannick" in outputs["answer"]
    assert outputs["tokens"] <= 300
    assert "goat" not in outputs["memoir"]


def test_what_was_never_told_is_not_remembered(house: House):
    outputs: Any = remember(house, VOYAGE, days=2, question="Which bishop blessed the bridge?").outputs

    assert outputs["answer"] == "not in the text"


def test_a_tight_limit_of_tokens_keeps_the_newest_and_says_what_is_left_out(house: House):
    outputs: Any = remember(house, VOYAGE, days=2, question="For how much was the sextant sold?", tokens=60).outputs

    assert "40 pounds" in outputs["answer"]
    assert outputs["tokens"] <= 60
    assert outputs["left_out"] == 4
