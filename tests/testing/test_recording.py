"""A run that is recorded passes as a case at once, whatever became of it on its way."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from headgate.app import App
from headgate.authoring import load_definition
from headgate.core.errors import Invalid, Refused
from headgate.engine.reader import Reader
from headgate.llm.scripted import ScriptedProvider
from headgate.ports import Changed, StartRequest
from headgate.stores.memory import MemoryLog
from headgate.testing.case_file import load_cases
from headgate.testing.case_runner import run_case
from headgate.testing.case_text import with_case
from headgate.testing.recording import Recorded, record_case

EXAMPLES = Path(__file__).parents[2] / "examples"
ASK = """
name: ask
budget: 0.01
activities:
  answer:
    use: llm_prompt
    retry: {max_attempts: 3, base_seconds: 0.01}
    with:
      model: [scripted/dear, scripted/cheap]
      prompt: "Say it"
      max_tokens: 10
      response_schema: {type: object, required: [word], properties: {word: {type: string}}}
outputs: {word: "{{ answer.parsed.word }}", model: "{{ answer.model }}", cost: "{{ answer.cost_usd }}"}
"""


async def record(
    workflow: str,
    value: Any = None,
    *,
    models: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    functions: Mapping[str, Any] | None = None,
    approved: bool = True,
    secrets: Sequence[str] = (),
) -> Recorded:
    """Run a workflow in earnest, decide what it asks for, and record it."""
    log = MemoryLog()
    async with App(
        log, environment={}, scripted=ScriptedProvider(models or {}), activities=functions, offline=True
    ) as app:
        started = await app.desk.start(StartRequest(definition=workflow, input=value))
        decided: set[str] = set()
        async for update in app.desk.watch(started.id):
            assert isinstance(update, Changed)
            for place in update.run.activities:
                if place.waits == "approval" and place.place not in decided:
                    decided.add(place.place)
                    said = {"by": "Ann", "comment": "so be it", "data": {"n": 1}}
                    await app.desk.decide(started.id, key=place.place, approved=approved, **said)
        view = await app.desk.show(started.id)
        events = await Reader(log, app.clock.now).events(started.id, limit=100_000)
    definition = load_definition(workflow, providers=frozenset({"scripted"}), activities=frozenset(functions or {}))
    return record_case(view, events, definition, name="recorded", secrets=secrets)


def replay(folder: Path, workflow: str, recorded: Recorded) -> list[Any]:
    """Write the case to a file beside its workflow, read it, run it; return what is not as it was."""
    (folder / "w.yaml").write_text(workflow)
    (folder / "w.test.yaml").write_text(with_case(None, recorded.form))
    (case,) = load_cases(folder / "w.test.yaml")
    return list(run_case(case).mismatches)


INPUTS = {
    "approval": {"complaint": "complaint.txt"},
    "documents": {"documents": "documents.txt"},
    "fallback": {"text": "text.txt", "questions": "questions.txt"},
    "quickstart": {"letter": "letter.txt"},
    "research": {"sources": "sources.txt"},
    "triage": {"letters": "letters.txt"},
}


@pytest.mark.parametrize("approved", [True, False])
@pytest.mark.parametrize("example", sorted(INPUTS))
def test_every_example_passes_as_it_was_recorded(tmp_path: Path, example: str, approved: bool):
    workflow = (EXAMPLES / example / "flow.yaml").read_text()
    value = {name: (EXAMPLES / example / file).read_text() for name, file in INPUTS[example].items()}
    if example == "research":
        value["question"] = "When was the bridge opened?"

    recorded = asyncio.run(record(workflow, value, approved=approved))

    assert recorded.form["expect"]["status"] == "completed"
    assert recorded.form["expect"]["calls"]
    assert replay(tmp_path, workflow, recorded) == []


def test_the_inputs_of_every_offline_example_are_here():
    flows = {path.parent.name for path in EXAMPLES.glob("*/flow.yaml")}

    assert INPUTS.keys() <= flows


def test_failed_calls_refused_answers_and_fallbacks_are_recorded(tmp_path: Path):
    answers = [
        {"error": {"status": 503, "message": "busy"}},  # the dear model; the cheap one is asked
        {"text": "no JSON"},  # paid for, and no good: the attempt fails
        {"error": {"status": 0, "message": "cut"}},  # the connection of the dear one broke
        {"json": {"word": "yes"}, "usage": {"input_tokens": 70, "output_tokens": 7, "cache_read_tokens": 20}},
    ]

    recorded = asyncio.run(record(ASK, models={"answer": answers}))

    assert recorded.form["expect"]["outputs"]["model"] == "cheap"
    assert recorded.form["expect"]["calls"] == {"answer": 4}
    assert len(recorded.form["models"]["answer"]) == 4
    assert replay(tmp_path, ASK, recorded) == []


def test_a_run_that_failed_passes_as_one_that_fails(tmp_path: Path):
    answers = [{"error": {"status": 401, "message": "wrong key"}}]

    recorded = asyncio.run(record(ASK, models={"answer": answers}))

    assert recorded.form["expect"]["status"] == "failed"
    assert recorded.form["expect"]["error"]["code"] == "authentication"
    assert replay(tmp_path, ASK, recorded) == []


def test_what_others_workers_gave_is_recorded_with_its_failures(tmp_path: Path):
    workflow = """
name: own
activities:
  fetch: {use: fetch, retry: {max_attempts: 2, base_seconds: 0.01}, with: {n: 1}}
outputs: {got: "{{ fetch.result }}"}
"""
    tries: list[int] = []

    def fetch(parameters: dict[str, Any], ctx: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("not yet")
        return {"n": parameters["n"], "text": "1e5", "flag": "no"}

    recorded = asyncio.run(record(workflow, functions={"fetch": fetch}))

    assert [*recorded.form["activities"]["fetch"][0]] == ["error"]
    assert replay(tmp_path, workflow, recorded) == []
    assert len(tries) == 2


def test_what_was_reused_is_answered_for_or_reused_again(tmp_path: Path):
    workflow = """
name: reuse
activities:
  each:
    use: llm_prompt
    for_each: [a, b, a]
    max_parallel: 1
    cache: {ttl: 1h}
    with: {model: scripted/m, prompt: "{{ ITEM }}", max_tokens: 5}
outputs: {all: "{{ each.content }}"}
"""

    async def twice() -> list[Recorded]:
        log = MemoryLog()
        scripted = ScriptedProvider({"each": [{"text": "A"}, {"text": "B"}]})
        async with App(log, environment={}, scripted=scripted, offline=True) as app:
            found: list[Recorded] = []
            for number in range(2):
                started = await app.desk.start(StartRequest(definition=workflow))
                await app.desk.settled()
                view, events = await app.desk.show(started.id), await app.desk.events(started.id)
                assert view.status == "completed", view.error
                definition = load_definition(workflow, providers=frozenset({"scripted"}))
                found.append(record_case(view, events, definition, name=str(number)))
            return found

    first, second = asyncio.run(twice())

    assert first.form["expect"]["calls"] == {"each": 2}
    assert replay(tmp_path, workflow, first) == []
    assert replay(tmp_path, workflow, second) == []


def test_values_of_secrets_are_masked_wherever_they_stand(tmp_path: Path):
    workflow = "name: w\ninputs: {t: string}\nactivities:\n  a: {use: echo, with: {t: '{{ INPUT.t }}'}}\n"

    recorded = asyncio.run(record(workflow, {"t": "the key is s3cr3t!"}, secrets=["s3cr3t"]))
    clean = asyncio.run(record(workflow, {"t": "nothing here"}, secrets=["s3cr3t"]))

    assert (recorded.masked, clean.masked) == (True, False)
    assert "s3cr3t" not in repr(recorded.form)
    assert replay(tmp_path, workflow, recorded) == []


def test_a_run_that_has_not_ended_is_refused():
    async def unfinished() -> None:
        log = MemoryLog()
        async with App(log, environment={}, offline=True) as app:
            text = "name: w\nactivities:\n  a: {use: approval, with: {title: ok?}}\n"
            started = await app.desk.start(StartRequest(definition=text))
            await app.desk.settled()
            view = await app.desk.show(started.id)
            record_case(view, await app.desk.events(started.id), load_definition(text), name="x")

    with pytest.raises(Refused, match="has not ended: it is waiting"):
        asyncio.run(unfinished())


# --- The text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        "no",
        "1e5",
        "0o17",
        "12:30",
        "007",
        "2026-01-01",
        "null",
        "",
        "~",
        " leading",
        "trailing \nline",
        "two\nlines",
        "two\nlines\n",
        "\n",
        "{{ x }}",
        "# no comment",
        "tab\there",
        "\x85",
        "a: b",
        1e-7,
        0.1,
        [[], {}],
        {"1": None},
    ],
)
def test_every_value_is_read_as_it_was_written(value: Any):
    from headgate.authoring.document import decode, plain
    from headgate.authoring.yaml_text import read_yaml

    text = with_case(None, {"name": "a", "input": {"value": value}})

    assert plain(read_yaml(decode(text))[0])["cases"][0]["input"]["value"] == value


def test_a_case_is_added_at_the_end_and_nothing_else_changes():
    before = "# mine\ncases:\n- name: a  # first\n  input: {n: 1}\n"

    after = with_case(before, {"name": "b", "input": {"n": 2}})

    assert after == before + "- name: b\n  input:\n    n: 2\n"


@pytest.mark.parametrize(
    "text", ["cases: [{name: a}]\n", "cases:\n- name: a\nworkflow: w.yaml\n", "cases: []\n", "x: 1\n"]
)
def test_a_file_that_ends_otherwise_is_left_alone(text: str):
    with pytest.raises(Invalid, match="--out"):
        with_case(text, {"name": "b"})
