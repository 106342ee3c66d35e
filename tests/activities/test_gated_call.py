"""The caller half of the gate: what is asked of it, what it lets be reused, and what is settled."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.activities.lab import CACHED, FULL, PRICE, SCHEMA, USED, Ledger, Models, fails, failure, prompt, says, task

from headgate.activities.llm_prompt import PIECES_MAX, llm_prompt
from headgate.core.token_budget import MAX_TOKENS_UNDER_BUDGET
from headgate.core.values import Candidate, Failure
from headgate.ports import Attempt, Denied, Hit, ModelAnswer

# --- What is asked of the gate -------------------------------------------------------------------------


def test_the_worst_case_is_the_counted_input_and_all_of_max_tokens():
    ledger = Ledger()

    prompt(Models({"m": says("x")}), ledger, prompt="x" * 100, max_tokens=10)

    assert ledger.asked[0][1] == [Candidate("lab/m", 100 * 1000 + 10 * 4000, PRICE, 100, 10)]


def test_a_task_under_a_budget_gets_a_limit_that_is_sent_reserved_and_hashed():
    models = Models({"m": says("x")})
    free, limited, explicit = Ledger(), Ledger(task(budget_remaining_nano=5)), Ledger()

    prompt(models, free, prompt="")
    prompt(models, limited, prompt="")
    prompt(models, explicit, prompt="", max_tokens=MAX_TOKENS_UNDER_BUDGET)

    assert [request.max_tokens for request in models.requests] == [None, 1024, 1024]
    assert limited.asked[0][1][0].worst_case == 1024 * 4000
    assert limited.asked == explicit.asked
    assert free.asked[0][0] != limited.asked[0][0]


def test_the_hash_is_of_what_is_asked_and_of_whom_and_not_of_who_asks():
    def digest(ledger: Ledger, **parameters: Any) -> str:
        prompt(Models({"m": says("x"), "n": says("y")}), ledger, **parameters)
        return ledger.asked[0][0]

    same = {digest(Ledger(task(trace_id=str(n)), []), tools=[{"name": "a", "x": 1}]) for n in range(3)}
    elsewhere = Ledger(msgspec.structs.replace(task(), activity_key="other", timeout_seconds=9.0))

    assert len(same) == 1
    assert digest(elsewhere, tools=[{"x": 1, "name": "a"}]) in same
    assert digest(Ledger(), tools=[]) not in same
    assert digest(Ledger()) != digest(Ledger(), model="lab/n")
    assert digest(Ledger()) != digest(Ledger(), temperature=0)
    assert len(same.pop()) == 64


def test_an_unpriced_model_is_offered_as_such():
    ledger = Ledger()

    result = prompt(Models({"m": says("x")}, price=None), ledger, max_tokens=10)

    assert ledger.asked[0][1] == [Candidate("lab/m", 0, None, 20, 10)]
    assert result["cost_usd"] == 0.0


def test_what_the_gate_denies_is_the_failure_and_nobody_is_asked():
    denied = Failure("budget_exceeded", "It is $0.02 short.", retryable=False)
    ledger, models = Ledger(admissions=[Denied(denied)]), Models({"m": says("x")})

    assert failure(models, ledger) == denied
    assert (models.requests, ledger.settled) == ([], [])


def test_a_hit_is_an_earlier_result_for_nothing_tools_and_reasoning_kept():
    first, models = Ledger(task(**CACHED)), Models({"m": FULL})
    earlier = prompt(models, first, response_schema=SCHEMA)
    kept = msgspec.json.decode(msgspec.json.encode([one.answer for one in first.settlements[0].answers]))
    again, nobody = Ledger(task(**CACHED), admissions=[Hit("lab/m", tuple(kept))]), Models({"m": says("x")})

    result = prompt(nobody, again, response_schema=SCHEMA)

    assert result == {**earlier, "cost_usd": 0.0, "cache_hit": True}
    assert (earlier["reasoning"], earlier["parsed"]) == ("first this, then that", {"km": 1})
    assert earlier["thoughts"] == [{"provider": "lab", "seal": "c2VhbA==", "text": "first this", "call": "t"}]
    assert (nobody.requests, again.settled) == ([], [])


def test_a_hit_is_streamed_in_pieces_and_they_are_its_text():
    text = "Tides follow the moon. " * 5_000
    kept = msgspec.to_builtins(says(text))
    ledger = Ledger(task(streaming=True), admissions=[Hit("lab/m", (kept,))])

    prompt(Models({"m": says("x")}), ledger)

    assert "".join(ledger.streamed) == text
    assert 100 < len(ledger.streamed) <= PIECES_MAX


def test_only_a_task_that_caches_asks_for_answers_of_equal_calls_and_gives_its_own():
    with_cache, without = Ledger(task(**CACHED)), Ledger()

    for ledger in (with_cache, without):
        prompt(Models({"m": says("x")}), ledger)

    assert [len(reuse) for reuse in with_cache.reuse] == [1]
    assert len(with_cache.settlements[0].answers) == 1
    assert (without.reuse, without.settlements[0].answers) == ([()], ())


@pytest.mark.parametrize(
    "answer",
    [
        says("cut", finish_reason="MaxTokens"),
        says("filtered", finish_reason="ContentFilter"),
        says("no JSON"),
        says('{"km": "far"}'),
    ],
)
def test_what_was_cut_or_filtered_or_does_not_fit_its_schema_is_not_kept(answer: ModelAnswer):
    schema = None if answer.finish_reason != "Stop" else SCHEMA
    ledger = Ledger(task(**CACHED))

    with suppress(Attempt):
        prompt(Models({"m": answer}), ledger, response_schema=schema)

    assert ledger.settlements[0].answers == ()


MATTERS: dict[str, st.SearchStrategy[Any]] = {
    "prompt": st.text(max_size=5),
    "system_prompt": st.text(min_size=1, max_size=5),
    "temperature": st.sampled_from([0, 0.5, 1]),
    "top_p": st.sampled_from([0.1, 0.9]),
    "max_tokens": st.integers(1, 3),
    "seed": st.integers(0, 3),
    "stop_sequences": st.lists(st.sampled_from("ab"), min_size=1, max_size=2),
    "reasoning": st.sampled_from(["low", "high"]),
    "tools": st.lists(st.sampled_from([{"name": "a"}, {"name": "b"}]), min_size=1, max_size=2),
    "tool_choice": st.sampled_from(["auto", "none"]),
    "extra": st.fixed_dictionaries({"k": st.integers(0, 2)}),
    "drop_unsupported": st.just(True),
}
ASKED = st.fixed_dictionaries({}, optional=MATTERS).map(lambda asked: {"prompt": "?", **asked})
CHANGES = st.sampled_from(sorted(MATTERS)).flatmap(lambda name: MATTERS[name].map(lambda value: (name, value)))


def hash_of_asked(parameters: dict[str, Any], model: Any = "lab/m", **fields: Any) -> str:
    ledger = Ledger(msgspec.structs.replace(task(**CACHED), **fields))
    prompt(Models({"m": says("x"), "n": says("x")}), ledger, model=model, **parameters)
    return ledger.reuse[0][0]


@given(ASKED, CHANGES)
def test_requests_that_differ_in_anything_that_matters_share_no_answer(asked: dict[str, Any], change: tuple[str, Any]):
    changed = {**asked, change[0]: change[1]}

    assert (hash_of_asked(asked) == hash_of_asked(changed)) == (asked == changed)


@given(
    ASKED,
    st.permutations(["lab/m", "lab/n"]),
    st.text(min_size=1, max_size=3),
    st.floats(1, 9),
    st.booleans(),
)
def test_requests_that_differ_in_who_asks_or_of_whom_or_for_how_long_share_theirs(
    asked: dict[str, Any], models: list[str], who: str, seconds: float, streaming: bool
):
    elsewhere = {"activity_key": who, "trace_id": who, "timeout_seconds": seconds, "streaming": streaming}

    assert hash_of_asked(dict(reversed(asked.items())), models, **elsewhere) == hash_of_asked(asked)


@pytest.mark.parametrize("schema", [{"type": "object"}, {"type": "object", "required": []}])
def test_a_schema_matters(schema: dict[str, Any]):
    plain, with_schema = Ledger(task(**CACHED)), Ledger(task(**CACHED))

    prompt(Models({"m": says("{}")}), plain)
    prompt(Models({"m": says("{}")}), with_schema, response_schema=schema)

    assert plain.reuse != with_schema.reuse


def test_what_a_model_said_before_it_failed_is_taken_back_where_another_is_asked_and_stays_where_none_is():
    for models, streamed in ((["lab/a", "lab/b"], ["so ", "y"]), (["lab/a"], ["so "])):
        ledger = Ledger(task(streaming=True))
        outcomes = Models({"a": fails(503), "b": says("y")})
        if len(models) == 1:
            failure(outcomes, ledger, model=models)
        else:
            prompt(outcomes, ledger, model=models)

        assert ledger.streamed == streamed


def test_models_that_did_not_fit_the_budget_are_named():
    ledger = Ledger(admissions=["last"])

    result = prompt(Models({"a": says("x"), "b": says("y")}), ledger, model=["lab/a", "lab/b"])

    assert (result["content"], result["budget_skipped_models"]) == ("y", ["lab/a"])


# --- Exactly one settlement ----------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [False, True])
def test_a_call_that_is_cancelled_is_lost(streaming: bool):
    async def story() -> list[Any]:
        ledger, models = Ledger(task(streaming=streaming)), Models({"m": asyncio.Event()})
        running = asyncio.ensure_future(llm_prompt({"lab": models})({"model": "lab/m", "prompt": "?"}, ledger))
        await models.asked.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return ledger.settled

    assert asyncio.run(story()) == [("call-1", "lost")]


def test_a_settlement_goes_on_when_the_attempt_is_cancelled_in_the_middle_of_it():
    async def story() -> list[Any]:
        ledger = Ledger(settling=asyncio.Event())
        models = Models({"m": says("x")})
        running = asyncio.ensure_future(llm_prompt({"lab": models})({"model": "lab/m", "prompt": "?"}, ledger))
        await models.asked.wait()
        for _ in range(3):
            await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert ledger.settled == []
        assert ledger.settling is not None
        ledger.settling.set()
        for _ in range(3):
            await asyncio.sleep(0)
        return ledger.settled

    assert asyncio.run(story()) == [("call-1", msgspec.structs.replace(USED, provider="lab", model="m"))]


OUTCOMES = st.sampled_from(
    [
        says("x"),
        says('{"km": 1}'),
        fails(429, "rate_limited", retryable=True, retry_after_seconds=1),
        fails(500, "provider_unavailable", retryable=True),
        fails(503, "provider_unavailable", usage=USED),
        fails(0, "timed_out", retryable=True),
        fails(0, "connection_failed", sent=False, retryable=True),
        fails(200, "malformed_response", retryable=True),
        fails(401, "authentication"),
        fails(400, "context_too_long"),
        RuntimeError("a bug in a provider"),
        "hangs",
    ]
)
HIT = Hit("lab/m0", ({"content": "h", "model": "m0", "usage": {}},))
ADMISSIONS = st.sampled_from(["first", "last", Denied(Failure("budget_exceeded", "no")), HIT])


@given(
    outcomes=st.lists(OUTCOMES, min_size=1, max_size=4),
    admissions=st.lists(ADMISSIONS, max_size=4),
    streaming=st.booleans(),
    schema=st.sampled_from([None, SCHEMA]),
)
def test_whatever_happens_every_admitted_call_is_settled_once(
    outcomes: list[Any], admissions: list[Any], streaming: bool, schema: dict[str, Any] | None
):
    async def story() -> Ledger:
        named = {f"m{n}": asyncio.Event() if outcome == "hangs" else outcome for n, outcome in enumerate(outcomes)}
        ledger, models = Ledger(task(streaming=streaming), list(admissions)), Models(named)
        parameters = {"model": [f"lab/{name}" for name in named], "prompt": "?", "response_schema": schema}
        running = asyncio.ensure_future(llm_prompt({"lab": models})(parameters, ledger))
        for _ in range(200):  # nothing in this story waits for time: either it is done by now, or it hangs
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return ledger

    ledger = asyncio.run(story())

    assert [call_id for call_id, _ in ledger.settled] == ledger.admitted
    assert len(ledger.asked) <= len(outcomes)
