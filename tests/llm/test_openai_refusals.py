"""What an OpenAI-compatible server refuses, how it breaks down, and that no key is shown for it."""

from __future__ import annotations

import asyncio
import json
import socket
from email.utils import formatdate
from time import time
from typing import Any

import pytest
from tests.llm.fake_openai import FakeOpenAI, completion, event, stream_reply
from tests.llm.fakes.server import Reply, json_reply
from tests.llm.openai_meetings import KEY, QUESTION, asked, streamed

from headgate.llm.openai_compatible import OpenAICompatibleProvider
from headgate.llm.provider_errors import retry_after_seconds
from headgate.llm.registry import build_providers, close_providers
from headgate.ports import ModelRequest, ProviderError

pytestmark = pytest.mark.slow  # each talks to a server of its own


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
