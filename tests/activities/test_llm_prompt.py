"""What a prompt takes, what its result says, and how an answer is held against a schema."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from tests.activities.lab import COST, FULL, PRICE, SCHEMA, USED, Ledger, Models, fails, failure, prompt, says, task

from headgate.core.json_schema import problems_with
from headgate.core.values import Candidate, Price, Variant
from headgate.ports import Attempt, ToolCall

# --- The result ----------------------------------------------------------------------------------------


def test_the_result_says_who_answered_what_and_at_what_cost():
    ledger, models = Ledger(), Models({"m": says("384,400 km")})

    result = prompt(models, ledger)

    assert result == {
        "content": "384,400 km",
        "parsed": None,
        "tool_calls": [],
        "model": "m",
        "provider": "lab",
        "finish_reason": "Stop",
        "cost_usd": COST / 10**9,
        "usage": {
            "prompt_tokens": 100,
            "output_tokens": 50,
            "total_tokens": 150,
            "cached_tokens": 20,
            "cache_write_tokens": 0,
            "reasoning_tokens": 5,
        },
        "cache_hit": False,
        "budget_skipped_models": [],
    }
    assert ledger.settled == [("call-1", msgspec.structs.replace(USED, provider="lab", model="m"))]


def test_a_simulated_price_makes_a_simulated_result():
    models = Models({"m": says("x")}, price=msgspec.structs.replace(PRICE, simulated=True))

    assert prompt(models, Ledger())["simulated"] is True


def test_the_model_that_answered_is_priced_where_it_has_a_price_of_its_own():
    ledger, models = Ledger(), Models({"alias": msgspec.structs.replace(says("x"), model="m-2026")})
    models.prices["m-2026"] = Price(input=2_000_000_000)

    result = prompt(models, ledger, model="lab/alias")

    assert result["cost_usd"] == 200_000 / 10**9
    assert ledger.settled[0][1].cost_nano == 200_000
    assert ledger.settled[0][1].price == Price(input=2_000_000_000)


def test_a_price_that_was_set_for_the_model_asked_for_wins_over_the_listed_one_of_the_model_that_answered():
    ledger, models = Ledger(), Models({"deployment": msgspec.structs.replace(says("x"), model="gpt-9")})
    models.prices["deployment"] = Price(input=3_000_000_000, id="set:lab/deployment")
    models.prices["gpt-9"] = Price(input=2_000_000_000, id="list:lab/gpt-9")

    result = prompt(models, ledger, model="lab/deployment")

    assert result["cost_usd"] == 300_000 / 10**9
    assert ledger.settled[0][1].price is None


BATCHED = Price(500_000_000, 1_000_000_000, id="list:lab/m#batch")
TIERED = msgspec.structs.replace(
    PRICE, id="list:lab/m", variants=(Variant(input=500_000_000, output=1_000_000_000, name="batch"),)
)


def test_the_service_tier_that_answered_is_priced_and_the_log_keeps_only_that_price():
    usage = msgspec.structs.replace(USED, tier="batch")
    ledger, models = Ledger(), Models({"m": msgspec.structs.replace(says("x"), usage=usage)}, price=TIERED)

    result = prompt(models, ledger)

    (settled,) = (outcome for _, outcome in ledger.settled)
    assert ledger.asked[0][1][0].price == msgspec.structs.replace(TIERED, variants=())
    assert (settled.price, settled.cost_nano) == (BATCHED, BATCHED.cost(USED))
    assert result["cost_usd"] == BATCHED.cost(USED) / 10**9


def test_at_the_standard_tier_nothing_but_the_tokens_is_told():
    usage = msgspec.structs.replace(USED, tier="default")
    ledger, models = Ledger(), Models({"m": msgspec.structs.replace(says("x"), usage=usage)}, price=TIERED)

    result = prompt(models, ledger)

    assert (ledger.settled[0][1].price, ledger.settled[0][1].cost_nano) == (None, None)
    assert result["cost_usd"] == COST / 10**9


@pytest.mark.parametrize("asked", [{"service_tier": "batch"}, {"speed": "batch"}])
def test_a_tier_that_is_asked_for_is_reserved_where_it_is_the_dearer_one(asked: dict[str, str]):
    dear = msgspec.structs.replace(TIERED, variants=(Variant(input=9_000_000_000, output=1, name="batch"),))
    cheap, dearer = Ledger(), Ledger()

    prompt(Models({"m": says("x")}, price=TIERED), cheap, prompt="x" * 100, max_tokens=10, extra=asked)
    prompt(Models({"m": says("x")}, price=dear), dearer, prompt="x" * 100, max_tokens=10, extra=asked)

    assert cheap.asked[0][1][0].worst_case == 100 * 1000 + 10 * 4000, "it may be served at the standard tier"
    assert dearer.asked[0][1][0].worst_case == 100 * 9000 + 1


def test_a_tier_whose_price_is_not_known_makes_the_model_an_unpriced_one():
    ledger = Ledger()

    prompt(Models({"m": says("x")}, price=TIERED), ledger, extra={"service_tier": "priority"})

    assert ledger.asked[0][1] == [Candidate("lab/m", 0, None, 20)]


def test_a_billed_failure_is_priced_by_the_model_and_the_tier_that_failed():
    ledger, models = Ledger(), Models({}, price=None)
    models.prices |= {"m": PRICE, "m-2026": TIERED}
    used = msgspec.structs.replace(USED, model="m-2026", tier="batch")
    models.outcomes["m"] = fails(400, "invalid_request", usage=used)

    failure(models, ledger)

    assert ledger.settled[0][1].cost_nano == BATCHED.cost(USED)
    assert ledger.settled[0][1].price == BATCHED


def test_tool_calls_are_data():
    models = Models({"m": says("", tool_calls=(ToolCall("t", "add", {"a": 1}),), finish_reason="ToolUse")})

    result = prompt(models, Ledger(), response_schema={"type": "object"}, tools=[{"name": "add"}])

    assert result["tool_calls"] == [{"id": "t", "name": "add", "arguments": {"a": 1}}]
    assert result["parsed"] is None


def test_a_streaming_task_passes_text_on_as_it_comes():
    ledger = Ledger(task(streaming=True))

    result = prompt(Models({"m": says("far")}), ledger)

    assert ledger.streamed == ["so ", "far"]
    assert result["content"] == "far"


def test_a_task_that_does_not_stream_streams_nothing():
    ledger = Ledger()

    prompt(Models({"m": says("far")}), ledger)

    assert ledger.streamed == []


# --- Answers by a schema -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    ['{"km": 384400}', '```json\n{"km": 384400}\n```', 'Here it is:\n```\n{"km": 384400}```\nFine?'],
)
def test_json_by_the_schema_is_parsed_also_from_a_fenced_block(content: str):
    models = Models({"m": says(content)})

    result = prompt(models, Ledger(), response_schema=SCHEMA)

    assert result["parsed"] == {"km": 384400}
    assert result["content"] == content
    assert models.requests[0].response_schema == SCHEMA


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("About 384,400 km.", "no JSON"),
        ('{"km": "far"}', "expected $.km to be integer, got 'far'"),
        ("{}", "$.km is missing"),
        ('{"km": 1, "unit": "ly"}', "$.unit to be one of ['km', 'mi'], got 'ly'"),
        ('{"km": 1, "mi": 2}', "$.mi is not allowed"),
        ("[" * 100_000, "no JSON"),
        ('{"km": NaN}', "no JSON"),
    ],
)
def test_an_answer_beside_the_schema_fails_the_attempt_after_it_is_paid(content: str, said: str):
    ledger = Ledger()

    failed = failure(Models({"m": says(content, finish_reason="MaxTokens")}), ledger, response_schema=SCHEMA)

    assert (failed.code, failed.retryable) == ("invalid_response", True)
    assert said in failed.message
    assert "max_tokens" in failed.message
    assert ledger.settled[0][1].output_tokens == 50


@pytest.mark.parametrize(
    ("value", "schema", "problems"),
    [
        (1.0, {"type": "integer"}, 0),
        (True, {"type": "integer"}, 1),
        (True, {"enum": [1]}, 1),
        (None, {"type": ["string", "null"]}, 0),
        (
            [{"a": 1}, {"a": "x"}, {}],
            {"items": {"properties": {"a": {"type": "number"}}, "required": ["a"]}},
            2,
        ),
        ({"x": 1}, {"additionalProperties": {"type": "string"}}, 1),
        ([0] * 100, {"items": {"type": "string"}}, 5),
        (1, {"const": 2}, 1),
        ("anything", {"minLength": 100}, 0),
    ],
)
def test_the_schema_subset_is_checked(value: Any, schema: dict[str, Any], problems: int):
    assert len(problems_with(value, schema)) == problems


# --- Parameters ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"model": None}, "model"),
        ({"model": []}, "model"),
        ({"model": 3}, "model"),
        ({"model": ["lab/m", 3]}, "model"),
        ({"model": [{"model": "lab/m", "tries": 2}]}, "got tries"),
        ({"model": {"attempts": 2}}, "model"),
        ({"model": {"model": "lab/m", "attempts": 0}}, "attempts of lab/m"),
        ({"model": {"model": "lab/m", "attempts": True}}, "attempts of lab/m"),
        ({"model": {"model": "lab/m", "when_limited": "fall"}}, "wait or next"),
        ({"model": "m"}, "model"),
        ({"model": "lab/"}, "model"),
        ({"model": "elsewhere/m"}, "provider of this process (lab)"),
        ({"prompt": None}, "prompt or messages"),
        ({"messages": [{"role": "user", "content": "x"}]}, "prompt or messages, got both"),
        ({"prompt": None, "messages": "x"}, "messages"),
        ({"prompt": None, "messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"prompt": None, "messages": [{"role": "user"}]}, "messages[0].content"),
        ({"prompt": None, "messages": [{"role": "user", "content": "x", "name": "y"}]}, "name"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"stop_sequences": [1]}, "stop_sequences"),
        ({"tools": {"name": "x"}}, "tools"),
        ({"tool_choice": 1}, "tool_choice"),
        ({"response_schema": "json"}, "response_schema"),
        ({"seed": "x"}, "seed"),
        ({"extra": []}, "extra"),
        ({"prompt": "\ud800"}, "JSON"),
        ({"images": ["no-such.png"]}, "the image 'no-such.png' cannot be read"),
        ({"images": [__file__]}, "to be a PNG, JPEG, GIF or WebP image"),
        ({"images": "data:text/plain;base64,YQ=="}, "to be a data URL like"),
        ({"images": {"data": "%%%"}}, "to be base64"),
        ({"images": 3}, "to be an address, a path, or a map"),
        ({"drop_unsupported": "yes"}, "drop_unsupported to be true or false"),
        ({"reasoning": {"tokens": 3}}, "reasoning to be a word"),
        ({"temprature": 1}, "temprature"),
    ],
)
def test_a_wrong_parameter_is_named_and_nobody_is_asked(wrong: dict[str, Any], named: str):
    ledger, models = Ledger(), Models({"m": says("x")})

    failed = failure(models, ledger, **wrong)

    assert (failed.code, failed.retryable) == ("invalid_parameters", False)
    assert named in failed.message
    assert (ledger.asked, models.requests) == ([], [])


def test_parameters_reach_the_model_as_they_were_given():
    models = Models({"a/b": says("x")})

    prompt(
        models,
        Ledger(),
        model="lab/a/b",
        prompt={"rows": [1]},
        system_prompt="Be brief.",
        max_tokens=20.0,
        temperature=0,
        stop_sequences="END",
        seed=7,
        drop_unsupported=False,
        top_p=None,
        extra={"user": "u"},
    )

    (request,) = models.requests
    assert request.model == "a/b"
    assert [(message.role, message.content) for message in request.messages] == [
        ("system", "Be brief."),
        ("user", '{"rows":[1]}'),
    ]
    assert (request.max_tokens, request.temperature, request.stop_sequences) == (20, 0, ("END",))
    assert (request.seed, request.top_p, request.extra) == (7, None, {"user": "u"})
    assert request.activity_key == "ask"


def test_a_conversation_may_hold_tool_calls_and_their_answers():
    models = Models({"m": says("x")})
    messages = [
        {"role": "user", "content": "1+1?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "t", "name": "add", "arguments": {"a": 1}}],
        },
        {"role": "tool", "tool_call_id": "t", "content": 2},
    ]

    prompt(models, Ledger(), prompt=None, messages=messages)

    assert models.requests[0].messages[1].tool_calls == (ToolCall("t", "add", {"a": 1}),)
    assert (models.requests[0].messages[2].tool_call_id, models.requests[0].messages[2].content) == ("t", "2")


def test_thoughts_of_a_result_go_into_a_message_of_the_assistant():
    models = Models({"m": FULL})
    earlier = prompt(models, Ledger())
    told = {"role": "assistant", "tool_calls": earlier["tool_calls"], "thoughts": earlier["thoughts"]}

    prompt(models, Ledger(), prompt=None, messages=[{"role": "user", "content": "?"}, told])

    assert models.requests[1].messages[1].thoughts == FULL.thoughts


def test_an_answer_without_calls_has_no_thoughts_to_give_back():
    answer = says("x", thoughts=FULL.thoughts)

    assert "thoughts" not in prompt(Models({"m": answer}), Ledger())


@pytest.mark.parametrize(
    ("role", "thoughts", "expected"),
    [
        ("user", [{"provider": "lab", "seal": "s"}], "expected thoughts in a message of the assistant"),
        ("assistant", [{"provider": "lab"}], r"expected messages\[0\].thoughts to be those of an earlier result"),
        ("assistant", "hm", r"expected messages\[0\].thoughts to be those of an earlier result"),
    ],
)
def test_thoughts_that_are_none_are_refused(role: str, thoughts: Any, expected: str):
    message = {"role": role, "content": "x", "thoughts": thoughts}

    with pytest.raises(Attempt, match=expected):
        prompt(Models({"m": says("x")}), Ledger(), prompt=None, messages=[message])
