"""OpenAI-compatible providers against a real server on the loopback interface, on good days and on bad."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from time import time
from typing import Any

import pytest
from tests.llm.fake_openai import DONE, FakeOpenAI, completion, event, events, stream_reply
from tests.llm.fakes.server import Reply, json_reply

from headgate.core.values import Price, Usage
from headgate.llm.openai_compatible import OpenAICompatibleProvider
from headgate.llm.openai_requests import Dialect
from headgate.llm.provider_errors import retry_after_seconds
from headgate.llm.registry import build_providers, close_providers
from headgate.llm.token_estimate import ANSWER_TOKENS, MESSAGE_TOKENS, estimate_text
from headgate.ports import Message, ModelAnswer, ModelRequest, ProviderError, ToolCall

pytestmark = pytest.mark.slow  # each talks to a server of its own


KEY = "sk-very-secret-123"
QUESTION = ModelRequest(model="gpt-4o", messages=(Message("user", "How far is the moon?"),), max_tokens=50)
LIGHT = {"prompt_tokens": 5, "completion_tokens": 2}


def meet(reply: Any, use: Callable[[OpenAICompatibleProvider], Awaitable[Any]], **options: Any) -> tuple[Any, Any]:
    """Return what `use` makes of a provider whose server sends `reply`, and what the server was asked."""

    async def conversation() -> tuple[Any, Any]:
        async with FakeOpenAI(reply) as server:
            provider = OpenAICompatibleProvider("openai", server.base_url, KEY, **options)
            try:
                outcome = await use(provider)
            except ProviderError as error:
                outcome = error
            finally:
                await provider.close()
            return outcome, server.requests[0] if server.requests else None

    return asyncio.run(conversation())


def asked(reply: Any, request: ModelRequest = QUESTION, **options: Any) -> Any:
    return meet(reply, lambda provider: provider.request(request), **options)[0]


def sent(request: ModelRequest, **options: Any) -> Any:
    return meet(json_reply(completion("x")), lambda provider: provider.request(request), **options)[1]


def streamed(reply: Any, request: ModelRequest = QUESTION, **options: Any) -> tuple[list[str], Any]:
    texts: list[str] = []

    async def read(provider: OpenAICompatibleProvider) -> ModelAnswer | None:
        answer = None
        async for item in provider.stream(request):
            if isinstance(item, str):
                texts.append(item)
            else:
                assert answer is None, "the whole answer comes once"
                answer = item
        return answer

    return texts, meet(reply, read, **options)[0]


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


# --- Streams -------------------------------------------------------------------------------------------


def test_a_stream_yields_its_texts_and_then_the_whole_answer():
    texts, answer = streamed(stream_reply(events("384", ",400", " km", usage=LIGHT)))

    assert texts == ["384", ",400", " km"]
    assert answer.content == "384,400 km"
    assert answer.usage == Usage(model="gpt-4o-2024-08-06", input_tokens=5, output_tokens=2)


def test_a_stream_may_be_cut_up_anywhere_and_hold_comments():
    whole = b": keep-alive\n\n" + events("größer", " als π", usage=LIGHT).replace(b"\n", b"\r\n")
    byte_by_byte = [whole[place : place + 1] for place in range(len(whole))]

    texts, answer = streamed(stream_reply(*byte_by_byte))

    assert "".join(texts) == "größer als π" == answer.content
    assert answer.usage.input_tokens == 5


def test_a_stream_without_usage_is_counted():
    texts, answer = streamed(stream_reply(events("abc", "def")), token_factor=1.0)

    assert texts == ["abc", "def"]
    assert answer.usage.estimated
    assert answer.usage.output_tokens == estimate_text("abcdef", factor=1.0)


def test_a_stream_asks_for_its_usage():
    async def read(provider: OpenAICompatibleProvider) -> list[Any]:
        return [item async for item in provider.stream(QUESTION)]

    _, seen = meet(stream_reply(events("a", usage=LIGHT)), read)

    assert seen.body["stream"] is True
    assert seen.body["stream_options"] == {"include_usage": True}


def test_streamed_tool_calls_are_put_together():
    def part(index: int, **function: str) -> bytes:
        identity = {"id": f"t{index}"} if "name" in function else {}
        return event({"tool_calls": [{"index": index, **identity, "function": function}]})

    body = (
        part(0, name="add", arguments="")
        + part(0, arguments='{"a"')
        + part(1, name="sub", arguments="{}")
        + part(0, arguments=": 1}")
        + event(finish="tool_calls", usage=LIGHT)
        + DONE
    )

    texts, answer = streamed(stream_reply(body))

    assert texts == []
    assert answer.tool_calls == (ToolCall("t0", "add", {"a": 1}), ToolCall("t1", "sub", {}))
    assert answer.finish_reason == "ToolUse"


def test_one_token_of_a_megabyte_arrives():
    token = "x" * 1024 * 1024 * 2

    texts, answer = streamed(stream_reply(events(token, usage=LIGHT)))

    assert texts == [token]
    assert answer.content == token


@pytest.mark.parametrize("how", ["hangs up", "ends without an end"])
def test_a_cut_stream_is_a_broken_connection_and_never_an_answer(how: str):
    reply = stream_reply(event({"content": "384"}), cut=how == "hangs up")

    texts, error = streamed(reply)

    assert texts == ["384"]
    assert (error.kind, error.status, error.sent, error.retryable) == ("connection_failed", 0, True, True)
    assert (error.usage.estimated, error.usage.output_tokens) == (True, estimate_text("384", factor=1.3))


def test_a_stream_that_is_cut_before_it_said_anything_leaves_open_what_was_billed():
    texts, error = streamed(stream_reply(event({"role": "assistant"}), cut=True))

    assert (texts, error.kind, error.usage) == ([], "connection_failed", None)


def test_a_stream_that_is_cut_after_its_usage_still_reports_it():
    _, error = streamed(stream_reply(event({"content": "3"}, usage=LIGHT), cut=True))

    assert error.usage == Usage(input_tokens=5, output_tokens=2)


def test_a_stream_that_ends_without_the_word_done_is_whole_if_it_said_how_it_finished():
    body = events("a", usage=LIGHT).removesuffix(DONE)

    _, answer = streamed(stream_reply(body))

    assert answer.content == "a"


def test_an_error_in_the_middle_of_a_stream_leaves_open_what_was_billed():
    error_event = b'data: {"error": {"message": "overloaded", "code": 503}}\n\n'

    _, late = streamed(stream_reply(event({"content": "a"}), error_event))
    _, early = streamed(stream_reply(error_event))

    assert (late.kind, late.status) == ("provider_unavailable", 0)
    assert (early.kind, early.status) == ("provider_unavailable", 503)


def test_an_event_that_is_no_json_is_a_malformed_response():
    texts, error = streamed(stream_reply(event({"content": "a"}), b"data: {oops\n\n"))

    assert texts == ["a"]
    assert error.kind == "malformed_response"


def test_a_server_that_answers_a_stream_whole_is_understood():
    texts, answer = streamed(json_reply(completion("all at once")))

    assert texts == ["all at once"]
    assert answer.usage.output_tokens == 7


def test_a_connection_is_used_again_after_a_stream():
    async def conversation() -> tuple[int, int]:
        replies = [stream_reply(events("a", usage=LIGHT)) for _ in range(3)]
        async with FakeOpenAI(*replies) as server:
            provider = OpenAICompatibleProvider("openai", server.base_url, KEY)
            for _ in replies:
                first, answer = [item async for item in provider.stream(QUESTION)]
                assert (first, answer.content) == ("a", "a")
            await provider.close()
            return len(server.requests), server.connections

    assert asyncio.run(conversation()) == (3, 1)


def test_a_reader_that_leaves_in_the_middle_of_a_stream_leaves_nothing_open():
    async def conversation() -> list[Any]:
        silent = stream_reply(event({"content": "a"}))
        silent.silent = True
        async with FakeOpenAI(silent) as server:
            provider = OpenAICompatibleProvider("openai", server.base_url, KEY)
            stream = provider.stream(QUESTION)
            first = await anext(stream)
            await stream.aclose()
            await provider.close()
            return [first]

    assert asyncio.run(conversation()) == ["a"]


# --- Refusals and breakdowns ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error", "code", "retryable"),
    [
        (429, {"message": "Slow down"}, "rate_limited", True),
        (429, {"message": "Pay first", "code": "insufficient_quota"}, "quota_exhausted", False),
        (500, {"message": "Oh no"}, "provider_unavailable", True),
        (503, {"message": "Busy"}, "provider_unavailable", True),
        (401, {"message": "Who are you?"}, "authentication", False),
        (403, {"message": "Not you"}, "authentication", False),
        (404, {"message": "No such model"}, "not_found", False),
        (400, {"message": "Bad", "code": "context_length_exceeded"}, "context_too_long", False),
        (400, {"message": "This model's maximum context length is 8192 tokens"}, "context_too_long", False),
        (400, {"message": "Unknown parameter"}, "invalid_request", False),
        (422, {"message": "Unprocessable"}, "invalid_request", False),
    ],
)
def test_a_refusal_is_named_and_says_whether_to_try_again(
    status: int, error: dict[str, str], code: str, retryable: bool
):
    refused = asked(json_reply({"error": error}, status=status))

    assert (refused.status, refused.kind, refused.retryable, refused.sent) == (status, code, retryable, True)
    assert error["message"] in str(refused)
    assert "openai/gpt-4o" in str(refused)


def test_retry_after_is_understood_in_seconds_and_as_a_date():
    refused = asked(json_reply({"error": {"message": "x"}}, status=429, headers={"retry-after": "7"}))

    assert refused.retry_after_seconds == 7.0
    assert 50 < (retry_after_seconds(formatdate(time() + 60, usegmt=True)) or 0) <= 60
    assert retry_after_seconds(formatdate(time() - 60, usegmt=True)) == 0.0
    assert retry_after_seconds("1.5") == 1.5
    assert [retry_after_seconds(text) for text in ("", "soon", "-3", "²", "1.2.3")] == [None] * 5


def test_nothing_is_asked_twice():
    async def count(provider_replies: list[Any]) -> int:
        async with FakeOpenAI(*provider_replies) as server:
            provider = OpenAICompatibleProvider("openai", server.base_url, KEY)
            with pytest.raises(ProviderError):
                await provider.request(QUESTION)
            await provider.close()
            return len(server.requests)

    assert asyncio.run(count([json_reply("{}", status=500), json_reply(completion("x"))])) == 1


def test_a_silent_server_times_out_as_sent():
    error = asked(Reply([], silent=True), timeout_seconds=0.05)

    assert (error.kind, error.sent, error.status, error.retryable) == ("timed_out", True, 0, True)


def test_the_requests_own_limit_wins_over_the_providers():
    request = ModelRequest(model="m", messages=QUESTION.messages, timeout_seconds=0.05)

    error = asked(Reply([], silent=True), request)

    assert error.kind == "timed_out"
    assert "0.05 s" in str(error)


def test_a_stream_that_falls_silent_times_out_after_what_it_said():
    silent = stream_reply(event({"content": "a"}))
    silent.silent = True

    texts, error = streamed(silent, timeout_seconds=0.2)

    assert texts == ["a"]
    assert (error.kind, error.sent, error.usage.estimated) == ("timed_out", True, True)


def test_a_refused_connection_was_not_sent():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: a connection is refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"

        async def ask() -> ProviderError:
            provider = OpenAICompatibleProvider("openai", url, KEY)
            with pytest.raises(ProviderError) as caught:
                await provider.request(QUESTION)
            await provider.close()
            return caught.value

        error = asyncio.run(ask())

    assert (error.kind, error.sent, error.retryable) == ("connection_failed", False, True)


@pytest.mark.parametrize("body", ["", "<html>Gateway</html>", "[]", '{"choices": []}', '{"choices": 3}', "{"])
def test_a_body_that_is_no_completion_is_a_malformed_response(body: str):
    error = asked(json_reply(body))

    assert (error.kind, error.retryable) == ("malformed_response", True)


def test_a_refusal_whose_text_breaks_off_is_still_that_refusal():
    reply = json_reply('{"error": {"mess', status=503)
    reply.cut = True

    error = asked(reply)

    assert (error.kind, error.status) == ("provider_unavailable", 503)


def test_a_redirect_is_not_followed_for_it_is_a_wrong_address():
    error = asked(json_reply("", status=307, headers={"location": "http://elsewhere/v1"}))

    assert (error.kind, error.status, error.retryable) == ("misconfigured", 307, False)


def test_an_error_that_comes_with_status_200_is_an_error():
    error = asked(json_reply({"error": {"message": "upstream is busy", "code": 429}}))

    assert (error.kind, error.status) == ("rate_limited", 429)


def test_a_hung_up_answer_is_a_broken_connection():
    reply = json_reply(json.dumps(completion("x")))
    reply.cut = True

    error = asked(reply)

    assert (error.kind, error.sent) == ("connection_failed", True)


# --- Keys ----------------------------------------------------------------------------------------------


def test_a_key_is_in_no_error_and_no_repr():
    echoing = json_reply({"error": {"message": f"Incorrect key {KEY} and hush-hush"}}, status=401)

    error = asked(echoing, headers={"X-Other": "hush-hush"})

    assert KEY not in str(error)
    assert "hush-hush" not in str(error)
    assert "Incorrect key [secret]" in str(error)
    provider = OpenAICompatibleProvider("openai", "https://user:pw@host/v1", KEY)
    assert repr(provider) == "<OpenAICompatibleProvider openai at host>"


@pytest.mark.parametrize("key", ["a\nb", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(key: str):
    provider = OpenAICompatibleProvider("openai", "http://127.0.0.1:9/v1", key, key_variable="OPENAI_API_KEY")

    with pytest.raises(ProviderError, match="OPENAI_API_KEY") as caught:
        asyncio.run(provider.request(QUESTION))

    assert key not in str(caught.value)
    assert not caught.value.sent


def test_a_missing_key_is_named_by_its_variable_and_nothing_is_sent():
    async def ask() -> tuple[ProviderError, int]:
        async with FakeOpenAI(json_reply(completion("x"))) as server:
            providers = build_providers({"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "  "})
            with pytest.raises(ProviderError) as caught:
                await providers["openai"].request(QUESTION)
            await close_providers(providers)
            return caught.value, len(server.requests)

    error, requests = asyncio.run(ask())

    assert (error.kind, error.sent, error.retryable) == ("missing_key", False, False)
    assert "OPENAI_API_KEY" in str(error)
    assert requests == 0


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
