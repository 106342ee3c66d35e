"""OpenAI-compatible providers against a real server: whole answers, embeddings, prices, and the registry."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from tests.llm.fake_openai import FakeOpenAI, completion, events, stream_reply
from tests.llm.fakes.server import json_reply
from tests.llm.openai_meetings import KEY, LIGHT, QUESTION, asked, meet, sent

from headgate.core.values import Price, Usage
from headgate.llm.openai_compatible import OpenAICompatibleProvider
from headgate.llm.openai_requests import Dialect
from headgate.llm.registry import build_providers, close_providers
from headgate.llm.token_estimate import ANSWER_TOKENS, MESSAGE_TOKENS, estimate_text
from headgate.ports import Message, ModelAnswer, ModelRequest, ToolCall

pytestmark = pytest.mark.slow  # each talks to a server of its own


# --- Whole answers -------------------------------------------------------------------------------------


def test_an_answer_carries_text_model_and_usage_as_the_provider_named_them():
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 40,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 30},
    }

    answer = asked(json_reply(completion("384,400 km", usage=usage)))

    assert answer == ModelAnswer(
        content="384,400 km",
        model="gpt-4o-2024-08-06",
        usage=Usage(
            model="gpt-4o-2024-08-06",
            input_tokens=100,
            output_tokens=40,
            cache_read_tokens=64,
            reasoning_tokens=30,
        ),
    )


def test_a_request_says_everything_that_was_asked_for_and_nothing_else():
    schema = {"type": "object", "properties": {"km": {"type": "number"}}, "required": ["km"]}
    request = ModelRequest(
        model="gpt-4o",
        messages=(
            Message("system", "Be brief."),
            Message("assistant", "", (ToolCall("t1", "measure", {"what": "moon"}),)),
            Message("tool", "384400", tool_call_id="t1"),
        ),
        max_tokens=9,
        temperature=0.0,
        top_p=0.5,
        stop_sequences=("END",),
        response_schema=schema,
        tools=({"name": "measure", "description": "Measures.", "input_schema": {"type": "object"}},),
        tool_choice={"name": "measure"},
        seed=0,
        extra={"reasoning_effort": "low"},
        activity_key="ask",
    )

    seen = sent(request, headers={"X-Team": "blue"})

    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert seen.headers["x-team"] == "blue"
    assert seen.body == {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "t1",
                        "type": "function",
                        "function": {"name": "measure", "arguments": '{"what":"moon"}'},
                    }
                ],
            },
            {"role": "tool", "content": "384400", "tool_call_id": "t1"},
        ],
        "max_tokens": 9,
        "temperature": 0.0,
        "top_p": 0.5,
        "stop": ["END"],
        "seed": 0,
        "tools": [
            {
                "type": "function",
                "function": {"name": "measure", "description": "Measures.", "parameters": {"type": "object"}},
            }
        ],
        "tool_choice": {"type": "function", "function": {"name": "measure"}},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "response", "schema": schema, "strict": False},
        },
        "reasoning_effort": "low",
    }


def test_a_schema_is_sent_as_strict_only_where_every_object_in_it_is_closed_and_complete():
    open_inside = {
        "type": "object",
        "properties": {"a": {"type": "object", "properties": {"b": {"type": "string"}}}},
        "required": ["a"],
        "additionalProperties": False,
    }
    closed = {**open_inside, "properties": {"a": {"type": "string"}}}

    def strict(schema: dict[str, Any]) -> bool:
        request = ModelRequest(model="m", messages=QUESTION.messages, response_schema=schema)
        return sent(request).body["response_format"]["json_schema"]["strict"]

    assert strict(closed) is True
    assert strict(open_inside) is False


def test_a_dialect_renames_fields_and_asks_for_no_usage():
    dialect = Dialect(output_limit="max_completion_tokens", seed="random_seed", asks_for_usage=False)
    request = ModelRequest(model="m", messages=QUESTION.messages, max_tokens=3, seed=4)

    async def read(provider: OpenAICompatibleProvider) -> None:
        async for _ in provider.stream(request):
            pass

    _, seen = meet(stream_reply(events("a", usage=LIGHT)), read, dialect=dialect)

    assert seen.body["max_completion_tokens"] == 3
    assert seen.body["random_seed"] == 4
    assert not {"max_tokens", "seed", "stream_options"} & seen.body.keys()


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n", "model", "stream"])
def test_extra_cannot_change_what_was_reserved(name: str):
    request = ModelRequest(model="m", messages=QUESTION.messages, extra={name: 100_000})

    error, seen = meet(json_reply(completion("x")), lambda provider: provider.request(request))

    assert (error.kind, error.sent) == ("invalid_request", False)
    assert name in str(error)
    assert seen is None


def test_tool_calls_are_read_with_their_arguments():
    calls = [{"id": "t1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}]

    answer = asked(json_reply(completion(None, message={"tool_calls": calls}, finish_reason="tool_calls")))

    assert answer.tool_calls == (ToolCall("t1", "add", {"a": 1}),)
    assert (answer.content, answer.finish_reason) == ("", "ToolUse")


def test_tool_arguments_that_are_no_json_fail_the_call_and_keep_its_usage():
    calls = [{"id": "t1", "function": {"name": "add", "arguments": '{"a": '}}]

    error = asked(json_reply(completion(None, message={"tool_calls": calls})))

    assert (error.kind, error.retryable) == ("malformed_response", True)
    assert error.usage.output_tokens == 7


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("stop", "Stop"),
        ("length", "MaxTokens"),
        ("content_filter", "ContentFilter"),
        ("function_call", "ToolUse"),
        (None, "Stop"),
        ("solar_flare", "Error"),
    ],
)
def test_finish_reasons_have_one_vocabulary_and_unknown_ones_are_errors(reason: str | None, expected: str):
    answer = asked(json_reply(completion("text", finish_reason=reason)))

    assert answer.finish_reason == expected


def test_a_refusal_is_the_text_of_an_answer_that_was_filtered():
    answer = asked(json_reply(completion(None, message={"refusal": "I will not."})))

    assert (answer.content, answer.finish_reason) == ("I will not.", "ContentFilter")


def test_content_in_parts_is_joined():
    parts = [
        {"type": "thinking", "thinking": []},
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]

    assert asked(json_reply(completion(None, message={"content": parts}))).content == "ab"


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": "11", "completion_tokens": 7},
        {"prompt_tokens": 11, "completion_tokens": -7},
        {"prompt_tokens": True, "completion_tokens": 7},
        {"prompt_tokens": 11.5, "completion_tokens": 7},
        {"prompt_tokens": 10**15, "completion_tokens": 7},
        {"prompt_tokens": 11},
        [11, 7],
        "many",
    ],
)
def test_a_usage_that_is_missing_or_nonsense_is_counted_by_us_and_said_so(usage: Any):
    answer = asked(json_reply(completion("a" * 30, usage=usage)), token_factor=1.0)

    assert answer.usage.estimated
    assert answer.usage.output_tokens == estimate_text("a" * 30, factor=1.0) >= 7
    assert answer.usage.input_tokens >= len("How far is the moon?") / 3


def test_details_that_make_no_sense_do_not_spoil_the_usage():
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 99},
        "completion_tokens_details": "none",
    }

    answer = asked(json_reply(completion("a", usage=usage)))

    assert answer.usage == Usage(model=answer.model, input_tokens=10, output_tokens=5, cache_read_tokens=10)


def test_an_estimated_output_is_never_more_than_max_tokens():
    answer = asked(json_reply(completion("a" * 3000, usage=None)))

    assert answer.usage.output_tokens == QUESTION.max_tokens


# --- Embeddings, prices, counts ------------------------------------------------------------------------


def test_embeddings_come_in_the_order_of_their_inputs():
    body = {
        "model": "text-embedding-3-small",
        "data": [{"index": 1, "embedding": [0.5, 1]}, {"index": 0, "embedding": [0.25, 0.0]}],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }

    answer, seen = meet(json_reply(body), lambda provider: provider.embed("text-embedding-3-small", ["a", "b"]))

    assert seen.path == "/v1/embeddings"
    assert seen.body == {"model": "text-embedding-3-small", "input": ["a", "b"]}
    assert answer.embeddings == ((0.25, 0.0), (0.5, 1.0))
    assert answer.usage == Usage(model="text-embedding-3-small", input_tokens=4)


def test_too_few_embeddings_are_a_malformed_response_with_its_usage():
    body = {"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 4}}

    error, _ = meet(json_reply(body), lambda provider: provider.embed("m", ["a", "b"]))

    assert (error.kind, error.usage.input_tokens) == ("malformed_response", 4)


def test_a_price_is_known_overridden_or_none():
    override = Price(input=1, output=2)
    provider = OpenAICompatibleProvider("openai", "http://x/v1", KEY, prices={"openai/mine": override})

    listed = provider.price("gpt-4o-2024-08-06")

    assert listed is not None
    assert listed.cost(Usage(input_tokens=1_000_000, output_tokens=1_000_000)) == 12_500_000_000
    assert provider.price("mine") == override
    assert provider.price("gpt-99") is None


@pytest.mark.parametrize("text", ["plain words", "größer als π", "日本語のテキスト", "🙂" * 20, ""])
def test_a_count_is_the_estimate_of_the_text_and_its_borders(text: str):
    provider = OpenAICompatibleProvider("x", "http://x/v1", token_factor=1.0)

    counted = provider.count(ModelRequest(model="m", messages=(Message("user", text),)))

    assert counted == estimate_text(text, factor=1.0, model="m") + MESSAGE_TOKENS + ANSWER_TOKENS


# --- Registry ------------------------------------------------------------------------------------------


def test_offline_leaves_only_the_demo_models_whatever_keys_there_are():
    environment = {"OPENAI_API_KEY": KEY, "HEADGATE_PROVIDER_LAB_BASE_URL": "http://lab/v1"}

    assert set(build_providers(environment, offline=True)) == {"demo"}


def test_any_compatible_url_is_a_provider_under_its_own_name():
    async def ask() -> tuple[ModelAnswer, Any]:
        async with FakeOpenAI(json_reply(completion("hello"))) as server:
            settings = {
                "HEADGATE_PROVIDER_MY_LAB_BASE_URL": server.base_url,
                "HEADGATE_PROVIDER_MY_LAB_API_KEY": KEY,
            }
            providers = build_providers(settings)
            answer = await providers["my_lab"].request(QUESTION)
            await close_providers(providers)
            return answer, server.requests[0]

    answer, seen = asyncio.run(ask())

    assert answer.content == "hello"
    assert seen.headers["authorization"] == f"Bearer {KEY}"


def test_ollama_needs_no_key_and_costs_nothing():
    async def ask() -> tuple[ModelAnswer, Any, Price | None]:
        async with FakeOpenAI(json_reply(completion("hello"))) as server:
            providers = build_providers({"OLLAMA_BASE_URL": server.base_url.removesuffix("/v1")})
            answer = await providers["ollama"].request(QUESTION)
            await close_providers(providers)
            return answer, server.requests[0], providers["ollama"].price("qwen")

    answer, seen, price = asyncio.run(ask())

    assert answer.content == "hello"
    assert seen.path == "/v1/chat/completions"
    assert "authorization" not in seen.headers
    assert price is not None
    assert price.worst_case(10**6, 10**6) == 0


def test_building_the_registry_imports_no_http_client():
    program = (
        "import sys; from headgate.llm.registry import build_providers; "
        "providers = build_providers({'OPENAI_API_KEY': 'k'}); providers['openai']; 'demo' in providers; "
        "print([name for name in ('httpx2', 'yaml', 'headgate.llm.demo') if name in sys.modules])"
    )

    async def run() -> bytes:
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
        return (await process.communicate())[0]

    assert asyncio.run(run()) == b"[]\n"
