"""A model's thinking goes back with the results of its tools: unchanged, where it stood, and to its own vendor only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.llm.fakes import google
from tests.llm.fakes.rigs import KINDS, rig_of
from tests.llm.fakes.server import FakeServer, Reply, Seen, json_reply

from headgate.app import App
from headgate.core.values import Usage
from headgate.llm.anthropic import Anthropic
from headgate.llm.bedrock import Bedrock
from headgate.llm.event_streams import Frame
from headgate.llm.google import Google
from headgate.llm.provider_settings import read_settings
from headgate.llm.registry import build_providers, close_providers
from headgate.ports import Message, ModelAnswer, ModelRequest, ProviderError, StartRequest, Thought, ToolCall
from headgate.stores.memory import MemoryLog
from headgate.testing.provider_rig import TOOL, Said, request_of, streamed

SEAL = "c2lnbmVk"
CALLS = (ToolCall("call_1", "measure_distance", {"target": "moon"}), ToolCall("call_2", "measure_distance", {}))
THINKS = Said(reasoning="It is round.", texts=("Well.",), calls=CALLS, finish="ToolUse")


# --- Vendors that refuse a result without the thinking before it -----------------------------------------------------


def anthropic_wants(body: Any) -> str:
    asked = next(message["content"] for message in body["messages"] if message["role"] == "assistant")
    wanted = {"type": "thinking", "thinking": "It is round.", "signature": SEAL}
    return "" if asked[0] == wanted else f"messages.1.content.0.type: Expected `thinking`, but found {asked[0]}"


def bedrock_wants(body: Any) -> str:
    asked = next(message["content"] for message in body["messages"] if message["role"] == "assistant")
    wanted = {"reasoningContent": {"reasoningText": {"text": "It is round.", "signature": SEAL}}}
    return "" if asked[0] == wanted else f"Expected thinking before the tools, but found {asked[0]}"


def google_wants(body: Any) -> str:
    asked = next(content["parts"] for content in body["contents"] if content["role"] == "model")
    seals = [part.get("thoughtSignature") for part in asked if "functionCall" in part]
    return "" if seals == [SEAL, None] else f"Function call is missing a thought_signature: {seals}"


def google_says(said: Said) -> list[dict[str, Any]]:
    """Google seals a call, and the first only of those that are made side by side."""
    first, *rest = google.called(said)
    return [*google.thought(said), {"text": "Well."}, {**first, "thoughtSignature": SEAL}, *rest]


def answer_of(name: str, *, by_stream: bool) -> Reply:
    if name == "google":
        parts = google_says(THINKS)
        if not by_stream:
            return json_reply(google.chunk(parts, THINKS.usage, "STOP"))
        events = [google.event(google.chunk([part], THINKS.usage)) for part in parts]
        return Reply([*events, google.event(google.chunk([], THINKS.usage, "STOP"))], headers=google.STREAM)
    fake = KINDS[name].fake
    return Reply([*fake.texts(THINKS), *fake.ending(THINKS)], headers=fake.STREAM) if by_stream else fake.whole(THINKS)


WANTS: dict[str, Callable[[Any], str]] = {
    "anthropic": anthropic_wants,
    "bedrock": bedrock_wants,
    "google": google_wants,
}
EACH = pytest.mark.parametrize("name", WANTS)
slow = pytest.mark.slow


def strict(name: str, *, by_stream: bool = False) -> Callable[[Seen], Reply]:
    """Return what answers with thinking and calls, and then with text, if the thinking came back."""

    def answer(seen: Seen) -> Reply:
        if "384400 and a bit" not in json.dumps(seen.body):
            return answer_of(name, by_stream=by_stream)
        wrong = WANTS[name](seen.body)
        return json_reply({"error": {"message": wrong}, "message": wrong}, status=400) if wrong else plain(name)

    return answer


def plain(name: str) -> Reply:
    return KINDS[name].fake.whole(Said())


def back(answer: ModelAnswer, *, thoughts: bool = True) -> tuple[Message, ...]:
    told = Message("assistant", answer.content, answer.tool_calls, thoughts=answer.thoughts if thoughts else ())
    results = [Message("tool", "384400 and a bit", tool_call_id=call.id) for call in answer.tool_calls]
    return (Message("user", "How far?"), told, *results)


@slow
@EACH
@pytest.mark.parametrize("by_stream", [False, True], ids=["whole", "streamed"])
def test_thinking_goes_back_with_the_results_of_tools(name: str, by_stream: bool):
    async def talked() -> tuple[ModelAnswer, ModelAnswer]:
        async with rig_of(KINDS[name]) as rig:
            rig.server.will(strict(name, by_stream=by_stream))
            asked = request_of(rig, tools=(TOOL,))
            first = (await streamed(rig, asked))[1] if by_stream else await rig.provider.request(asked)
            with pytest.raises(ProviderError) as caught:
                await rig.provider.request(request_of(rig, messages=back(first, thoughts=False), tools=(TOOL,)))
            assert (caught.value.status, caught.value.kind) == (400, "invalid_request")
            return first, await rig.provider.request(request_of(rig, messages=back(first), tools=(TOOL,)))

    first, last = asyncio.run(talked())

    assert [call.arguments for call in first.tool_calls] == [call.arguments for call in CALLS]
    assert first.reasoning == "It is round."
    assert {thought.provider for thought in first.thoughts} == {name}
    assert last.content == "384,400 km"
    assert last.thoughts == ()


@slow
@EACH
def test_a_workflow_passes_thinking_on_as_it_passes_calls(name: str):
    named = f"{name}/{KINDS[name].model}"
    flow = f"""
name: loop
activities:
  ask:
    use: llm_prompt
    cache: true
    with: {{model: "{named}", prompt: "How far?", max_tokens: 400, tools: [{{name: measure_distance}}]}}
  again:
    use: llm_prompt
    with:
      model: "{named}"
      max_tokens: 400
      tools: [{{name: measure_distance}}]
      messages:
        - {{role: user, content: "How far?"}}
        - role: assistant
          content: "{{{{ ask.content }}}}"
          tool_calls: "{{{{ ask.tool_calls }}}}"
          thoughts: "{{{{ ask.thoughts }}}}"
        - {{role: tool, tool_call_id: "{{{{ ask.tool_calls[0].id }}}}", content: "384400 and a bit"}}
        - {{role: tool, tool_call_id: "{{{{ ask.tool_calls[1].id }}}}", content: "384400 and a bit"}}
"""

    async def ran() -> list[Any]:
        async with FakeServer(strict(name)) as server:
            providers = build_providers(KINDS[name].environment(server.url))
            views: list[Any] = []
            async with App(MemoryLog(), providers=providers, environment={}) as app:
                for _ in range(2):  # the second time the first answer is one that was kept
                    started = await app.desk.start(StartRequest(definition=flow, input={}))
                    await app.desk.settled()
                    views.append(await app.desk.show(started.id))
            await close_providers(providers)
            assert len(server.requests) == 3
            return views

    for view in asyncio.run(ran()):
        assert view.status == "completed", view.error


# --- Where it stood --------------------------------------------------------------------------------------------------

SEALED = st.fixed_dictionaries({"type": st.just("thinking"), "thinking": st.text(), "signature": st.text(min_size=1)})
HIDDEN = st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": st.text(min_size=1)})
THOUGHT = SEALED | HIDDEN
TEXT = st.fixed_dictionaries({"type": st.just("text"), "text": st.text(min_size=1)})


@st.composite
def contents(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw an answer with thinking before its text, and between its calls."""
    blocks = [*draw(st.lists(THOUGHT, max_size=2)), draw(TEXT)]
    for number in range(draw(st.integers(1, 3))):
        blocks += draw(st.lists(THOUGHT, max_size=2))
        blocks.append({"type": "tool_use", "id": f"t{number}", "name": "add", "input": {"n": number}})
    return blocks


def for_amazon(block: dict[str, Any]) -> dict[str, Any]:
    match block["type"]:
        case "text":
            return {"text": block["text"]}
        case "thinking":
            told = {"text": block["thinking"], "signature": block["signature"]}
            return {"reasoningContent": {"reasoningText": told}}
        case "redacted_thinking":
            return {"reasoningContent": {"redactedContent": block["data"]}}
        case _:
            return {"toolUse": {"toolUseId": block["id"], "name": block["name"], "input": block["input"]}}


def told_again(vendor: Any, model: str, parts: Any) -> Any:
    """Return the content of the assistant as it goes back after what has come."""
    answer = parts.answer(model, lambda text, calls: Usage(input_tokens=1, output_tokens=1))
    thoughts = msgspec.convert(msgspec.to_builtins(answer.thoughts), tuple[Thought, ...])  # as outputs keep them
    message = Message("assistant", answer.content, answer.tool_calls, thoughts=thoughts)
    asked = ModelRequest(model=model, messages=(Message("user", "?"), message), max_tokens=9_000)
    return vendor.ask(asked, streamed=False).body["messages"][1]["content"]


@given(blocks=contents())
def test_each_thought_goes_back_to_anthropic_where_it_stood(blocks: list[dict[str, Any]]):
    vendor = Anthropic(read_settings("anthropic", {}))
    whole, events = vendor.parts("claude"), vendor.parts("claude")

    vendor.read(json.dumps({"content": blocks, "stop_reason": "tool_use"}).encode(), whole)
    for number, block in enumerate(blocks):
        for event in as_events(number, block):
            vendor.read_event(json.dumps(event).encode(), events)

    assert told_again(vendor, "claude-haiku-4-5", whole) == blocks
    assert told_again(vendor, "claude-haiku-4-5", events) == blocks


def as_events(number: int, block: dict[str, Any]) -> list[dict[str, Any]]:
    empty = {"text": {"text": ""}, "thinking": {"thinking": "", "signature": ""}, "tool_use": {"input": {}}}
    deltas = {
        "text": [{"type": "text_delta", "text": block.get("text")}],
        "thinking": [
            {"type": "thinking_delta", "thinking": block.get("thinking")},
            {"type": "signature_delta", "signature": block.get("signature")},
        ],
        "tool_use": [{"type": "input_json_delta", "partial_json": json.dumps(block.get("input"))}],
        "redacted_thinking": [],
    }[block["type"]]
    begun = {"type": "content_block_start", "index": number, "content_block": block | empty.get(block["type"], {})}
    return [begun, *({"type": "content_block_delta", "index": number, "delta": delta} for delta in deltas)]


@given(blocks=contents())
def test_each_thought_goes_back_to_amazon_where_it_stood(blocks: list[dict[str, Any]]):
    vendor = Bedrock(read_settings("bedrock", {}), {"AWS_REGION": "eu-central-1"})
    model = "anthropic.claude-haiku-4-5-20251001-v1:0"
    theirs = [for_amazon(block) for block in blocks]
    whole, frames = vendor.parts("claude"), vendor.parts("claude")

    vendor.read(json.dumps({"output": {"message": {"content": theirs}}}).encode(), whole)
    for number, block in enumerate(theirs):
        for kind, told in amazon_frames(block):
            payload = json.dumps({"contentBlockIndex": number, **told}).encode()
            vendor.read_event(Frame({"message-type": "event", "event-type": kind}, payload), frames)

    assert told_again(vendor, model, whole) == theirs
    assert told_again(vendor, model, frames) == theirs


def amazon_frames(block: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    if "toolUse" in block:
        start = {key: value for key, value in block["toolUse"].items() if key != "input"}
        pieces = json.dumps(block["toolUse"]["input"])
        told = [{"toolUse": {"input": pieces[:3]}}, {"toolUse": {"input": pieces[3:]}}]
        return [
            ("contentBlockStart", {"start": {"toolUse": start}}),
            *(("contentBlockDelta", {"delta": d}) for d in told),
        ]
    if "reasoningText" in block.get("reasoningContent", {}):
        told = block["reasoningContent"]["reasoningText"]
        pieces = [{"reasoningContent": {"text": told["text"]}}, {"reasoningContent": {"signature": told["signature"]}}]
        return [("contentBlockDelta", {"delta": piece}) for piece in pieces]
    return [("contentBlockDelta", {"delta": block})]


def test_google_gets_each_signature_where_it_stood_also_behind_the_text():
    vendor = Google(read_settings("google", {}))
    parts = vendor.parts("gemini")
    for part in (
        {"text": "I see", "thoughtSignature": "dGV4dA=="},
        {"functionCall": {"name": "add", "id": "a"}, "thoughtSignature": "YQ=="},
        {"functionCall": {"name": "add", "id": "b"}},
        {"functionCall": {"name": "add", "id": "c"}, "thoughtSignature": "Yw=="},
    ):
        vendor.read_event(json.dumps({"candidates": [{"content": {"parts": [part]}}]}).encode(), parts)

    answer = parts.answer("gemini", lambda text, calls: Usage(input_tokens=1))
    message = Message("assistant", answer.content, answer.tool_calls, thoughts=answer.thoughts)
    asked = ModelRequest(model="gemini-3-pro-preview", messages=(Message("user", "?"), message))
    told = vendor.ask(asked, streamed=False).body["contents"][1]["parts"]

    assert [part.get("thoughtSignature") for part in told] == ["dGV4dA==", "YQ==", None, "Yw=="]


# --- Whose it is -----------------------------------------------------------------------------------------------------


@EACH
def test_nobody_gets_the_thinking_of_another_vendor(name: str):
    vendor: Any = {
        "anthropic": Anthropic(read_settings("anthropic", {})),
        "bedrock": Bedrock(read_settings("bedrock", {}), {}),
        "google": Google(read_settings("google", {})),
    }[name]
    thoughts = tuple(Thought(provider=other, seal="c2VjcmV0", text="hm", call="t") for other in WANTS if other != name)
    message = Message("assistant", "", (ToolCall("t", "add", {}),), thoughts=thoughts)
    asked = ModelRequest(model=KINDS[name].model, messages=(Message("user", "?"), message))

    body = json.dumps(vendor.ask(asked, streamed=False).body)

    assert "c2VjcmV0" not in body
    assert '"hm"' not in body


def test_a_thought_whose_call_is_gone_stands_before_the_text():
    vendor = Anthropic(read_settings("anthropic", {}))
    thought = Thought(provider="anthropic", seal="s", text="hm", call="gone")
    message = Message("assistant", "Well.", thoughts=(thought,))
    asked = ModelRequest(model="claude-haiku-4-5", messages=(Message("user", "?"), message))

    content = vendor.ask(asked, streamed=False).body["messages"][1]["content"]

    assert [block["type"] for block in content] == ["thinking", "text"]
