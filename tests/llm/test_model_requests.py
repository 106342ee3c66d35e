"""What single models take, and are asked otherwise."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.llm.vendor_requests import CLAUDES, HELLO, MODELS, VENDORS, body

from headgate.ports import Message, ModelRequest, ProviderError, ToolCall
from headgate.testing.provider_rig import SCHEMA, TOOL


def refused(name: str, model: str, **fields: Any) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        body(name, model, **fields)
    assert caught.value.sent is False
    return caught.value


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("claude-haiku-4-5", "low", {"thinking": {"type": "enabled", "budget_tokens": 2_048}}),
        ("claude-haiku-4-5", "max", {"thinking": {"type": "enabled", "budget_tokens": 7_976}}),  # room for the answer
        (
            "claude-opus-4-5",
            "max",
            {"thinking": {"type": "enabled", "budget_tokens": 7_976}, "output_config": {"effort": "high"}},
        ),
        ("claude-sonnet-4-6", "xhigh", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}),
        ("claude-opus-4-7", "xhigh", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}),
        ("claude-opus-9", "minimal", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
    ],
)
def test_claude_is_told_how_much_to_think_in_the_words_of_its_generation(
    model: str, effort: str, expected: dict[str, Any]
):
    written = body("anthropic", model, reasoning=effort)

    assert {name: written.get(name) for name in ("thinking", "output_config") if name in written} == expected


def test_amazon_takes_what_claude_is_told_beside_its_own():
    old = body("bedrock", "us.anthropic.claude-opus-4-5-20251101-v1:0", reasoning="low", extra={"top_k": 5})
    new = body("bedrock", "anthropic.claude-opus-4-6-v1", reasoning="low")

    assert old["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 2_048}, "top_k": 5}
    assert new["additionalModelRequestFields"]["output_config"] == {"effort": "low"}


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("qwen.qwen3-32b-v1:0", "medium", {"reasoning_config": "high"}),
        ("openai.gpt-oss-120b-1:0", "max", {"reasoning_effort": "high"}),
        ("openai.gpt-6-sol", "max", {"reasoning": {"effort": "xhigh"}}),
        ("zai.glm-5", "low", {"reasoning_effort": "high"}),
        ("zai.glm-5.3", "low", {"reasoning_effort": "low"}),
        ("xai.grok-4.6", "minimal", {"reasoning": {"effort": "low"}}),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.deepseek.v3.2",
            "low",
            {"reasoning_effort": "high"},
        ),
    ],
)
def test_other_makers_are_told_in_their_own_words_how_much_to_think(model: str, effort: str, expected: dict[str, Any]):
    assert body("bedrock", model, reasoning=effort)["additionalModelRequestFields"] == expected


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("gemini-2.5-pro", "medium", {"thinkingBudget": 8_192}),
        ("gemini-3.1-flash-lite", "minimal", {"thinkingLevel": "MINIMAL"}),
        ("gemini-3.8-flash", "minimal", {"thinkingLevel": "LOW"}),
        ("gemini-3-pro-preview", "medium", {"thinkingLevel": "LOW"}),
        ("gemini-flash-latest", "max", {"thinkingLevel": "HIGH"}),
    ],
)
def test_gemini_is_told_how_much_to_think_by_a_budget_or_a_level(model: str, effort: str, expected: dict[str, Any]):
    assert body("google", model, reasoning=effort)["generationConfig"]["thinkingConfig"] == {
        "includeThoughts": True,
        **expected,
    }


@pytest.mark.parametrize(
    ("name", "model", "fields", "what"),
    [
        ("anthropic", "claude-3-5-haiku-latest", {"reasoning": "low"}, "reasoning"),
        ("anthropic", "claude-haiku-4-5", {"reasoning": "low", "max_tokens": 2_047}, "max_tokens of at least 2,048"),
        ("anthropic", "claude-opus-4-7", {"temperature": 0.5}, "temperature"),
        ("anthropic", "claude-opus-4-7", {"top_p": 0.5}, "top_p"),
        ("anthropic", "claude-sonnet-5-5", {"tools": (TOOL,), "tool_choice": "required"}, "tool_choice"),
        ("anthropic", "claude-haiku-4-5", {"seed": 1}, "seed"),
        (
            "anthropic",
            "claude-haiku-4-5",
            {"tools": (TOOL,), "tool_choice": "any", "reasoning": "low"},
            "cannot be forced while it thinks",
        ),
        ("google", "gemini-2.5-flash", {"tools": (TOOL,), "response_schema": SCHEMA}, "no schema beside tools"),
        ("google", "gemma-3-27b-it", {"reasoning": "low"}, "reasoning"),
        ("bedrock", "mistral.mistral-large-2407-v1:0", {"tools": (TOOL,), "tool_choice": "any"}, "tool_choice"),
        ("bedrock", "openai.gpt-6-sol", {"temperature": 0.1}, "temperature"),
        ("bedrock", "amazon.nova-pro-v1:0", {"reasoning": "low"}, "reasoning"),
        (
            "bedrock",
            "anthropic.claude-haiku-4-5",
            {"messages": (Message("user", "", images=("https://x/y",)),)},
            "https",
        ),
    ],
)
def test_what_a_model_does_not_take_is_refused_before_it_is_asked(
    name: str, model: str, fields: dict[str, Any], what: str
):
    error = refused(name, model, **fields)

    assert (error.kind, error.retryable) == ("missing_capability", False)
    assert what in str(error)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"reasoning": "banana"}, "minimal, low, medium, high, xhigh, max"),
        ({"tools": ({"description": "nameless"},)}, "a tool to have a name"),
        ({"tools": (TOOL,), "tool_choice": "perhaps"}, "auto, none, required"),
        ({"messages": (Message("user", "", images=("data:image/png;base64,@@",)),)}, "cannot be read"),
        ({"messages": (Message("user", "", images=("data:image/png,abc",)),)}, "not in base64"),
        ({"extra": {"max_tokens": 5}}, "max_tokens"),
        ({"extra": {"generationConfig": {"maxOutputTokens": 5}}}, "generationConfig.maxOutputTokens"),
    ],
)
@pytest.mark.parametrize("name", VENDORS)
def test_what_nobody_could_read_is_invalid(name: str, fields: dict[str, Any], what: str):
    error = refused(name, MODELS[name][0], **fields)

    assert (error.kind, error.retryable) == ("invalid_request", False)
    assert what in str(error)


@pytest.mark.parametrize(
    ("name", "model", "native"),
    [
        ("anthropic", "claude-haiku-4-5", True),
        ("anthropic", "claude-opus-4-1", True),
        ("anthropic", "claude-sonnet-4-20250514", False),
        ("bedrock", "global.anthropic.claude-haiku-4-5-20251001-v1:0", True),
        ("bedrock", "anthropic.claude-opus-4-1-20250805-v1:0", False),
        ("bedrock", "amazon.nova-pro-v1:0", False),
        ("bedrock", "mistral.mistral-large-3-675b-instruct", True),
    ],
)
def test_a_schema_stands_in_the_request_or_in_the_prompt(name: str, model: str, native: bool):
    asked_of = ModelRequest(model=model, messages=HELLO, response_schema=SCHEMA)
    found = VENDORS[name].ask(asked_of, streamed=False)
    prompt = msgspec.json.encode(found.body["messages"]).decode()

    assert ("kilometres" in prompt) is not native
    assert bool(found.notes) is not native
    assert ("output_config" in found.body or "outputConfig" in found.body) is native


def test_no_tool_is_called_where_none_may_be_and_calls_that_were_made_stay_declared():
    calls = (Message("user", "?"), Message("assistant", "", (ToolCall("a", "measure_distance", {}),)))
    told = (*calls, Message("tool", "1", tool_call_id="a"))
    none = {"tools": (TOOL,), "tool_choice": "none"}
    claude, nova = "anthropic.claude-haiku-4-5-20251001-v1:0", "amazon.nova-pro-v1:0"

    assert "toolConfig" not in body("bedrock", claude, **none)
    assert body("bedrock", claude, messages=told, **none)["additionalModelRequestFields"] == {
        "tool_choice": {"type": "none"}
    }
    assert "toolChoice" not in body("bedrock", nova, messages=told, **none)["toolConfig"]
    assert body("anthropic", "claude-haiku-4-5", **none)["tool_choice"] == {"type": "none"}
    assert body("google", "gemini-2.5-flash", **none)["toolConfig"]["functionCallingConfig"] == {"mode": "NONE"}


def test_results_of_tools_stand_alone_where_a_maker_wants_it():
    calls = (Message("user", "?"), Message("assistant", "", (ToolCall("a", "measure_distance", {}),)))
    told = (*calls, Message("tool", "1", tool_call_id="a"), Message("user", "And now?"))

    alone = body("bedrock", "meta.llama3-3-70b-instruct-v1:0", messages=told)["messages"][2:]
    together = body("bedrock", "amazon.nova-pro-v1:0", messages=told)["messages"][2:]

    assert [message["role"] for message in alone] == ["user", "assistant", "user"]
    assert [list(part) for part in together[0]["content"]] == [["toolResult"], ["text"]]
    assert alone[0]["content"][0]["toolResult"]["status"] == "success"
    writer = body("bedrock", "writer.palmyra-x5-v1:0", messages=told)["messages"]
    assert "status" not in writer[2]["content"][0]["toolResult"]


def test_an_answer_without_a_limit_gets_the_models_own_from_anthropic_who_wants_one():
    limits = [body("anthropic", model, max_tokens=None)["max_tokens"] for model in CLAUDES[:4]]

    assert limits == [64_000, 4_096, 64_000, 128_000]
    assert "inferenceConfig" not in body("bedrock", "amazon.nova-pro-v1:0", max_tokens=None)


def test_a_field_that_was_refused_is_left_out_and_said_and_a_schema_goes_into_the_prompt():
    asked_of = ModelRequest(model="claude-haiku-4-5", messages=HELLO, response_schema=SCHEMA, top_p=0.5, max_tokens=9)

    found = VENDORS["anthropic"].ask(asked_of, streamed=False, without=frozenset({"top_p", "output_config"}))

    assert "top_p" not in found.body
    assert found.notes == (
        "The schema was put into the prompt, for the model takes none.",
        "top_p was left out, for the model refuses it.",
    )


def test_a_tool_of_anthropics_own_goes_as_it_is():
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 5}
    cached = {**TOOL, "cache_control": {"type": "ephemeral", "ttl": "1h"}}

    tools = body("anthropic", "claude-haiku-4-5", tools=(search, cached))["tools"]

    assert tools[0] == search
    assert tools[1]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}


@pytest.mark.parametrize(
    ("name", "model", "streamed", "url"),
    [
        ("anthropic", "claude", True, "https://api.anthropic.com/v1/messages"),
        (
            "google",
            "gemini-2.5-flash",
            True,
            "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
        ),
        (
            "bedrock",
            "anthropic.claude-haiku-4-5-20251001-v1:0",
            False,
            "https://bedrock-runtime.eu-central-1.amazonaws.com/model/anthropic.claude-haiku-4-5-20251001-v1%3A0/converse",
        ),
    ],
)
def test_the_vendors_own_address_is_asked_where_nobody_says_another(name: str, model: str, streamed: bool, url: str):
    assert VENDORS[name].url(model, streamed=streamed) == url
