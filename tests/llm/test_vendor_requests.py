"""Whatever is asked, each vendor's own SDK knows the request."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.llm.vendor_requests import MODELS, VENDORS, body

from headgate.ports import Message, ProviderError, Thought, ToolCall
from headgate.testing.provider_rig import PIXEL, SCHEMA, TOOL

slow = pytest.mark.slow  # SDKs take seconds to import


TEXTS = st.sampled_from(["", "Hello", "größer"])
CALLS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=2, unique=True).map(
    lambda ids: tuple(ToolCall(one, "measure_distance", {"target": one}) for one in ids)
)
THOUGHTS = st.lists(
    st.builds(
        Thought,
        provider=st.sampled_from(sorted(VENDORS)),
        seal=st.just("c2VhbA=="),
        text=TEXTS,
        kind=st.sampled_from(["", "redacted", "redacted_thinking"]),
        call=st.sampled_from(["", "a"]),
    ),
    max_size=2,
).map(tuple)
MESSAGES = st.one_of(
    st.builds(Message, st.just("system"), TEXTS),
    st.builds(Message, st.just("user"), TEXTS, images=st.sampled_from([(), (PIXEL,)])),
    st.builds(Message, st.just("assistant"), TEXTS, CALLS, thoughts=THOUGHTS),
    st.builds(Message, st.just("tool"), TEXTS, tool_call_id=st.sampled_from(["a", "b"])),
)
REQUESTS = st.fixed_dictionaries(
    {
        "messages": st.lists(MESSAGES, max_size=6).map(tuple),
        "max_tokens": st.sampled_from([None, 9_000, 100]),
        "temperature": st.sampled_from([None, 0.5]),
        "top_p": st.sampled_from([None, 0.5]),
        "stop_sequences": st.sampled_from([(), ("HALT",)]),
        "response_schema": st.sampled_from([None, SCHEMA, {"type": "array", "items": {"const": 1}, "minItems": 3}]),
        "tools": st.sampled_from([(), (TOOL,), (TOOL, {"type": "function", "function": {"name": "weigh"}})]),
        "tool_choice": st.sampled_from([None, "auto", "none", "required", {"name": "measure_distance"}]),
        "reasoning": st.sampled_from(["", "minimal", "high", "max"]),
        "seed": st.sampled_from([None, 7]),
    }
)


def asked(name: str, model: str, fields: dict[str, Any]) -> dict[str, Any] | None:
    """Return the body; None: the model does not take this, whatever is left out of it."""
    try:
        return body(name, model, **fields, drop_unsupported=True)
    except ProviderError as error:
        if error.kind != "missing_capability":
            raise
        return None


@slow
@given(model=st.sampled_from(MODELS["anthropic"]), fields=REQUESTS)
def test_anthropics_sdk_knows_whatever_is_asked(model: str, fields: dict[str, Any]):
    written = asked("anthropic", model, fields)

    assert written is not None
    for name in ("temperature", "top_p"):  # the SDK's version of the API has them for no model; ours has
        written.pop(name, None)
    assert listed(anthropics_form().validate_python(written)) == written  # a field that is not known is lost
    assert all(message["content"] for message in written["messages"])
    assert alternate(written["messages"])


@cache
def anthropics_form() -> Any:
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
    from pydantic import TypeAdapter

    return TypeAdapter(MessageCreateParamsNonStreaming)


def listed(value: Any) -> Any:
    """Return a value whose iterables, which pydantic reads as it is asked, are lists."""
    if isinstance(value, dict):
        return {name: listed(part) for name, part in value.items()}
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        return value
    return [listed(part) for part in value]


@slow
@given(model=st.sampled_from(MODELS["google"]), fields=REQUESTS)
def test_googles_sdk_knows_whatever_is_asked(model: str, fields: dict[str, Any]):
    from google.genai import types

    written = asked("google", model, fields)
    if written is None:
        assert fields["response_schema"] is not None
        assert fields["tools"]
        return

    contents = [types.Content.model_validate(content) for content in written["contents"]]  # they forbid what is unknown
    types.GenerationConfig.model_validate(written["generationConfig"])
    for form, name in ((types.Content, "systemInstruction"), (types.ToolConfig, "toolConfig")):
        if name in written:
            form.model_validate(written[name])
    for tool in written.get("tools", []):
        types.Tool.model_validate(tool)
    assert written.keys() <= {"contents", "generationConfig", "systemInstruction", "toolConfig", "tools"}
    assert all(content.parts for content in contents)
    assert contents[0].role == "user"


@slow
@given(model=st.sampled_from(MODELS["bedrock"]), fields=REQUESTS)
def test_amazons_sdk_knows_whatever_is_asked(model: str, fields: dict[str, Any]):
    from botocore.validate import ParamValidator

    written = asked("bedrock", model, fields)

    assert written is not None
    report = ParamValidator().validate(written | {"modelId": model}, amazons_form())
    assert not report.has_errors(), report.generate_report()
    assert all(message["content"] for message in written["messages"])
    assert alternate(written["messages"])


@cache
def amazons_form() -> Any:
    from botocore.session import Session

    return Session().get_service_model("bedrock-runtime").operation_model("Converse").input_shape


def alternate(messages: list[dict[str, Any]]) -> bool:
    roles = [message["role"] for message in messages]
    return all(one != other for one, other in pairwise(roles))
