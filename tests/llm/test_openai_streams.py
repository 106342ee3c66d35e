"""Streams of OpenAI-compatible providers against a real server, on good days and on bad."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.llm.fake_openai import DONE, FakeOpenAI, completion, event, events, stream_reply
from tests.llm.fakes.server import json_reply
from tests.llm.openai_meetings import KEY, LIGHT, QUESTION, meet, streamed

from headgate.core.values import Usage
from headgate.llm.openai_compatible import OpenAICompatibleProvider
from headgate.llm.token_estimate import estimate_text
from headgate.ports import ToolCall

pytestmark = pytest.mark.slow  # each talks to a server of its own


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
