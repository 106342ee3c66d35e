"""Scripted models: answers in order, errors as written, and no call that nobody wrote down."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from headgate.core.errors import Invalid
from headgate.core.values import Price, Usage
from headgate.llm.registry import build_providers
from headgate.llm.scripted import ScriptedProvider
from headgate.llm.token_estimate import estimate_text
from headgate.ports import Message, ModelAnswer, ModelRequest, ProviderError, ToolCall


def ask(provider: ScriptedProvider, model: str = "small", activity: str = "", **fields: Any) -> ModelAnswer:
    messages = (Message("user", "How far is the moon?"),)
    request = ModelRequest(model=model, messages=messages, activity_key=activity, **fields)
    return asyncio.run(provider.request(request))


def test_answers_come_in_the_order_of_the_script():
    provider = ScriptedProvider({"small": [{"text": "one"}, {"json": {"n": 2}}, {"text": "three"}]})

    assert [ask(provider).content for _ in range(3)] == ["one", '{"n":2}', "three"]


def test_an_activitys_own_answers_come_before_its_models():
    provider = ScriptedProvider({"small": [{"text": "model"}], "review": [{"text": "activity"}]})

    assert ask(provider, activity="review").content == "activity"
    assert ask(provider, activity="other").content == "model"


def test_an_unscripted_call_is_an_error_that_says_who_called_and_how_much_there_was():
    provider = ScriptedProvider({"review": [{"text": "one"}]})
    ask(provider, activity="review")

    with pytest.raises(ProviderError, match=r"'review'.*its 1 answers are used up") as used_up:
        ask(provider, activity="review")
    with pytest.raises(ProviderError, match=r"'small'.*has no answers for it"):
        ask(provider)

    assert (used_up.value.kind, used_up.value.retryable, used_up.value.sent) == (
        "unscripted_call",
        False,
        False,
    )
    assert [call.activity_key for call in provider.calls] == ["review", "review", ""]


def test_every_call_is_heard_of_before_it_is_answered():
    heard: list[tuple[str, int]] = []
    provider = ScriptedProvider(
        {"small": [{"error": {"status": 500}}]},
        on_call=lambda key, request: heard.append((key, len(request.messages))),
    )

    with pytest.raises(ProviderError):
        ask(provider)

    assert heard == [("small", 1)]


def test_a_call_that_nobody_hears_of_because_the_process_dies_is_not_answered():
    def die(_key: str, _request: ModelRequest) -> None:
        raise KeyboardInterrupt

    provider = ScriptedProvider({"small": [{"text": "one"}]}, on_call=die)

    with pytest.raises(KeyboardInterrupt):
        ask(provider)

    assert len(provider.calls) == 1


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (429, "rate_limited", True),
        (503, "provider_unavailable", True),
        (400, "invalid_request", False),
        (0, "connection_failed", True),
    ],
)
def test_a_scripted_error_looks_like_a_providers(status: int, code: str, retryable: bool):
    script = {"error": {"status": status, "message": "no", "retry_after": 3}}

    with pytest.raises(ProviderError, match="no") as caught:
        ask(ScriptedProvider({"small": [script]}))

    error = caught.value
    assert (error.status, error.kind, error.retryable, error.sent) == (status, code, retryable, True)
    assert error.retry_after_seconds == 3
    assert error.usage is None


def test_usage_is_as_scripted_or_counted_from_the_text():
    scripted = {"text": "abc", "usage": {"input_tokens": 100, "output_tokens": 7, "cache_read_tokens": 60}}
    provider = ScriptedProvider({"small": [scripted, {"text": "abcdef"}]})

    assert ask(provider).usage == Usage("scripted", "small", 100, 7, 60)
    assert ask(provider).usage.output_tokens == estimate_text("abcdef", factor=1.0)


def test_a_failed_call_may_have_been_used_all_the_same():
    script = {"error": {"status": 500}, "usage": {"input_tokens": 10}}

    with pytest.raises(ProviderError) as caught:
        ask(ScriptedProvider({"small": [script]}))

    assert caught.value.usage == Usage("scripted", "small", 10, 0)


def test_tool_calls_are_answers_too():
    answer = ask(ScriptedProvider({"small": [{"tool_calls": [{"name": "add", "arguments": {"a": 1}}]}]}))

    assert answer.tool_calls == (ToolCall("call_0", "add", {"a": 1}),)
    assert answer.finish_reason == "ToolUse"


def test_a_stream_is_the_same_answer_in_pieces():
    provider = ScriptedProvider({"small": [{"text": "one  two three"}]})

    async def read() -> list[str | ModelAnswer]:
        request = ModelRequest(model="small", messages=(Message("user", "?"),))
        return [item async for item in provider.stream(request)]

    *texts, answer = asyncio.run(read())

    assert "".join(str(text) for text in texts) == "one  two three"
    assert len(texts) > 2
    assert isinstance(answer, ModelAnswer)
    assert answer.content == "one  two three"


def test_embeddings_are_scripted_one_vector_for_each_input():
    provider = ScriptedProvider({"vectors": [{"embeddings": [[1, 0], [0, 1]]}, {"embeddings": [[1, 0]]}]})

    answer = asyncio.run(provider.embed("vectors", ["a", "b"]))

    assert answer.embeddings == ((1.0, 0.0), (0.0, 1.0))
    with pytest.raises(ProviderError, match="asked for 2 embeddings, and answer 2 of its script holds 1"):
        asyncio.run(provider.embed("vectors", ["a", "b"]))


def test_a_delay_is_waited_before_the_answer():
    provider = ScriptedProvider({"small": [{"text": "late", "delay": 3600}, {"text": "now"}]})

    async def race() -> tuple[str, bool]:
        request = ModelRequest(model="small", messages=(Message("user", "?"),))
        late = asyncio.ensure_future(provider.request(request))
        await asyncio.sleep(0)
        now = await provider.request(request)
        waiting = not late.done()
        late.cancel()
        return now.content, waiting

    assert asyncio.run(race()) == ("now", True)


def test_a_script_reads_from_yaml_and_from_json_alike():
    yaml = b"models:\n  small:\n    - text: hi\nprices:\n  small: {input: 0.25, output: 2}\n"
    json = b'{"models": {"small": [{"text": "hi"}]}, "prices": {"small": {"input": 0.25, "output": "2"}}}'

    for text in (yaml, json):
        provider = ScriptedProvider.from_file(text)

        assert ask(provider).content == "hi"
        assert provider.price("small") == Price(input=250_000_000, output=2_000_000_000, id="scripted/small")
        assert provider.price("large").worst_case(10**6, 10**6) == 0


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (b"models: [", "YAML or JSON.*line 2"),
        (b"\xff\xfe\xff", "YAML or JSON"),
        (b"- a", "`models`.*object"),
        (b"model: {}", "models"),
        (b"models: {small: {text: hi}}", "models"),
        (b"models: {small: [hi]}", "models"),
        (b"models: {small: [{txt: hi}]}", r"models\.small\[0\].*txt"),
        (b"models: {small: [{text: a}, {text: no}]}", r"models\.small\[1\].*str"),
        (b"models: {small: [{}]}", r"models\.small\[0\].*got none"),
        (b"models: {small: [{text: a, json: 1}]}", r"text and json"),
        (b"models: {small: [{error: {status: 1000}}]}", r"error\.status"),
        (b"models: {small: [{text: a, delay: -1}]}", "delay"),
        (b"models: {small: [{text: a, usage: {input_tokens: -1}}]}", "input_tokens"),
        (b"models: {}\nprices: {small: {input: cheap}}", r"prices\.small.*dollars per million"),
        (b"models: {}\nprices: {small: {output: -1}}", r"prices\.small.*dollars per million"),
        (b"models: {}\nprices: {small: {output: .inf}}", r"prices\.small.*dollars per million"),
    ],
)
def test_a_script_that_cannot_be_read_says_where(script: bytes, said: str):
    with pytest.raises(Invalid, match=f"(?s){said}"):
        ScriptedProvider.from_file(script)


def test_the_registry_has_scripted_models_where_they_are_given():
    provider = ScriptedProvider({"small": [{"text": "hi"}]})

    providers = build_providers({}, scripted=provider, offline=True)

    assert set(providers) == {"demo", "scripted"}
    assert providers["scripted"] is provider
