"""What Anthropic, Google and AWS answer, where the suite of promises has no word for it: ends, errors, odd forms."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.llm.fakes import anthropic, bedrock, google
from tests.llm.fakes.rigs import KINDS, rig_of
from tests.llm.fakes.server import Reply, json_reply

from headgate.core.values import RateReport, Usage
from headgate.llm.event_streams import Frame
from headgate.llm.vectors import joined
from headgate.ports import EmbeddingAnswer, ModelAnswer, ProviderError
from headgate.testing.provider_rig import Said, collect, failed, request_of, streamed

pytestmark = pytest.mark.slow  # each talks to a server of its own


def answered(name: str, *replies: Any, by_stream: bool = False) -> ModelAnswer:
    async def ask() -> ModelAnswer:
        async with rig_of(KINDS[name]) as rig:
            rig.server.will(*replies)
            asked = request_of(rig)
            return (await streamed(rig, asked))[1] if by_stream else await rig.provider.request(asked)

    return asyncio.run(ask())


def broken(name: str, *replies: Any, by_stream: bool = False) -> tuple[str, ProviderError]:
    async def ask() -> tuple[str, ProviderError]:
        async with rig_of(KINDS[name]) as rig:
            rig.server.will(*replies)
            if by_stream:
                return await collect(rig, request_of(rig))
            return "", await failed(rig, rig.provider.request(request_of(rig)))

    return asyncio.run(ask())


def embedded(name: str, model: str, *replies: Any) -> tuple[EmbeddingAnswer | ProviderError, list[Any]]:
    async def ask() -> tuple[EmbeddingAnswer | ProviderError, list[Any]]:
        async with rig_of(KINDS[name]) as rig:
            rig.server.will(*replies)
            try:
                found: EmbeddingAnswer | ProviderError = await rig.provider.embed(model, ["first text", "second text"])
            except ProviderError as error:
                found = error
            return found, [seen.body for seen in rig.server.requests]

    return asyncio.run(ask())


# --- Anthropic -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("overloaded_error", "provider_unavailable"),
        ("api_error", "provider_unavailable"),
        ("rate_limit_error", "rate_limited"),
        ("timeout_error", "timed_out"),
        ("invalid_request_error", "invalid_request"),
        ("billing_error", "quota_exhausted"),
    ],
)
@pytest.mark.parametrize("said", [True, False])
def test_an_error_in_a_stream_of_anthropics_is_named_by_what_it_calls_itself(kind: str, code: str, said: bool):
    texts = anthropic.texts(Said(texts=("Well", ".") if said else ()))
    error = anthropic.event("error", error={"type": kind, "message": "no"})

    text, found = broken("anthropic", Reply([*texts, error], headers=anthropic.STREAM), by_stream=True)

    assert (text, found.kind) == ("Well." if said else "", code)
    assert (found.status == 0) is said, "after text nobody knows what was billed"
    assert found.usage is not None
    assert found.usage.estimated


def test_what_anthropic_wrote_to_its_cache_is_known_from_where_a_stream_begins():
    used = Usage(input_tokens=1_000, output_tokens=9, cache_write_tokens=300, cache_write_1h_tokens=200)
    whole = anthropic.texts(Said(usage=used))

    _, cut = broken("anthropic", Reply(whole, headers=anthropic.STREAM, cut=True), by_stream=True)

    assert cut.usage is not None
    assert (cut.usage.input_tokens, cut.usage.cache_write_tokens, cut.usage.cache_write_1h_tokens) == (1_000, 300, 200)
    assert cut.usage.output_tokens > 1
    assert cut.usage.estimated


def test_rates_and_waits_of_anthropics_headers_are_told():
    rates = {
        "anthropic-ratelimit-requests-remaining": "12",
        "anthropic-ratelimit-input-tokens-remaining": "900",
        "anthropic-ratelimit-output-tokens-remaining": "800",
    }

    answer = answered("anthropic", json_reply(anthropic.message(Said()), headers=rates))
    _, error = broken(
        "anthropic",
        json_reply(
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            status=529,
            headers={**rates, "retry-after": "3"},
        ),
    )

    assert answer.rates == error.rates == RateReport(12, None, 800, None)
    assert (error.status, error.kind, error.retryable) == (529, "provider_unavailable", True)
    assert error.retry_after_seconds == 3


def test_a_version_of_anthropics_that_the_environment_names_is_the_only_one_that_is_sent():
    async def versions() -> list[str]:
        sent: list[str] = []
        for more in ({}, {"HEADGATE_PROVIDER_ANTHROPIC_HEADERS": '{"Anthropic-Version": "2026-10-21"}'}):
            async with rig_of(KINDS["anthropic"], **more) as rig:
                rig.will_say(Said(), streamed=False)
                await rig.provider.request(request_of(rig))
                sent.append(rig.server.requests[0].headers["anthropic-version"])
        return sent

    assert asyncio.run(versions()) == ["2023-06-01", "2026-10-21"]


def test_what_anthropics_own_tools_did_is_passed_over():
    body = anthropic.message(Said())
    body["content"].insert(0, {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "moon"}})
    body["content"].insert(1, {"type": "web_search_tool_result", "tool_use_id": "s", "content": []})

    answer = answered("anthropic", json_reply(body))

    assert (answer.content, answer.tool_calls) == ("384,400 km", ())


def test_arguments_of_a_call_that_are_no_object_are_malformed_and_the_usage_is_kept():
    begun = anthropic.event(
        "content_block_start", index=0, content_block={"type": "tool_use", "id": "a", "name": "add", "input": {}}
    )
    cut = anthropic.event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": '{"a":'})
    said = Said(texts=(), finish="ToolUse")

    _, error = broken(
        "anthropic",
        Reply([*anthropic.texts(said), begun, cut, *anthropic.ending(said)], headers=anthropic.STREAM),
        by_stream=True,
    )

    assert error.kind == "malformed_response"
    assert error.usage == Usage(input_tokens=20, output_tokens=9)


# --- Google ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_stream", [False, True])
def test_a_prompt_that_google_blocks_is_an_answer_that_was_filtered(by_stream: bool):
    body = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": google.usage_of(Usage(20, 0))}
    body["usageMetadata"] = {"promptTokenCount": 20, "totalTokenCount": 20}
    reply = Reply([google.event(body)], headers=google.STREAM) if by_stream else json_reply(body)

    answer = answered("google", reply, by_stream=by_stream)

    assert (answer.finish_reason, answer.content) == ("ContentFilter", "")
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.estimated) == (20, 0, False)


def test_a_stream_of_google_that_fails_says_how_long_to_wait_and_whether_it_is_the_day():
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "13s"}]
    minute = {"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED", "details": details}}
    quota = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProject"}]}
    day = {"error": {**minute["error"], "details": [*details, quota]}}

    _, soon = broken("google", Reply([google.event(minute)], headers=google.STREAM), by_stream=True)
    _, later = broken("google", Reply([google.event(day)], headers=google.STREAM), by_stream=True)

    assert (soon.kind, soon.status, soon.retry_after_seconds) == ("rate_limited", 429, 13)
    assert (later.kind, later.retryable) == ("quota_exhausted", False)


def test_calls_of_google_that_bring_no_ids_get_some():
    parts = [{"functionCall": {"name": "add"}}, {"functionCall": {"name": "add", "args": {"a": 1}}}]

    answer = answered("google", json_reply(google.chunk(parts, Usage(input_tokens=1, output_tokens=1), "STOP")))

    assert [(call.id, call.arguments) for call in answer.tool_calls] == [("call_0", {}), ("call_1", {"a": 1})]
    assert answer.finish_reason == "ToolUse"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gemini-embedding-001", {"content": {"parts": [{"text": "first text"}]}, "taskType": "RETRIEVAL_DOCUMENT"}),
        ("gemini-embedding-2", {"content": {"parts": [{"text": "title: none | text: first text"}]}}),
    ],
)
def test_google_is_told_what_vectors_are_for(model: str, expected: dict[str, Any]):
    found, bodies = embedded("google", model, *google.embeddings([[0.5], [1.0]], 3))

    assert isinstance(found, EmbeddingAnswer)
    assert bodies[0]["requests"][0] == {"model": f"models/{model}", **expected}


@pytest.mark.parametrize("body", [{}, {"embeddings": []}, {"embeddings": [{"values": [1]}]}, {"embeddings": [{}, {}]}])
def test_vectors_that_google_leaves_out_are_missed(body: dict[str, Any]):
    found, _ = embedded("google", "gemini-embedding-001", json_reply(body))

    assert isinstance(found, ProviderError)
    assert found.kind == "malformed_response"


# --- AWS -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("throttlingException", "rate_limited", 429),
        ("modelStreamErrorException", "provider_unavailable", 424),
        ("internalServerException", "provider_unavailable", 500),
        ("serviceUnavailableException", "provider_unavailable", 503),
        ("validationException", "invalid_request", 400),
    ],
)
def test_an_exception_in_a_stream_of_amazons_is_named_by_its_kind(kind: str, code: str, status: int):
    frame = bedrock.frame(kind, {"message": "no"}, message_type="exception")

    _, error = broken("bedrock", Reply([frame], headers=bedrock.STREAM), by_stream=True)

    assert (error.kind, error.status) == (code, status)


def test_an_error_that_stands_in_a_frames_headers_is_told():
    from headgate.llm.bedrock import Bedrock
    from headgate.llm.provider_settings import read_settings

    vendor = Bedrock(read_settings("bedrock", {}), {})
    parts = vendor.parts("model")
    headers = {"message-type": "error", "error-code": "InternalFailure", "error-message": "it broke"}

    vendor.read_event(Frame(headers, b"{}"), parts)

    assert parts.error is not None
    assert parts.error.said == {"message": "it broke", "type": "InternalFailure"}


def test_a_frame_that_was_changed_on_the_way_is_malformed():
    frames = bytearray(b"".join([*bedrock.texts(Said()), *bedrock.ending(Said())]))
    frames[-40] ^= 1

    text, error = broken("bedrock", Reply([bytes(frames)], headers=bedrock.STREAM), by_stream=True)

    assert (error.kind, error.retryable) == ("malformed_response", True)
    assert "sum of a frame is wrong" in str(error)
    assert text == "", "what came in one piece with it is not trusted"


@pytest.mark.parametrize(
    ("end", "expected"), [("guardrail_intervened", "ContentFilter"), ("malformed_tool_use", "Error")]
)
def test_ends_of_amazons_have_ours(end: str, expected: str):
    body = bedrock.message(Said()) | {"stopReason": end}

    assert answered("bedrock", json_reply(body)).finish_reason == expected


def test_the_tier_that_amazon_answers_with_is_told():
    body = bedrock.message(Said()) | {"serviceTier": {"type": "priority"}}

    assert answered("bedrock", json_reply(body)).usage.tier == "priority"


def test_nova_and_cohere_are_asked_for_vectors_in_their_own_forms():
    nova = {"embeddings": [{"embeddingType": "TEXT", "embedding": [0.5, 1.0]}]}
    counted = {"x-amzn-bedrock-input-token-count": "6"}

    by_nova, nova_bodies = embedded("bedrock", "us.amazon.nova-2-multimodal-embeddings-v1:0", json_reply(nova))
    by_cohere, cohere_bodies = embedded(
        "bedrock", "cohere.embed-v4:0", json_reply({"embeddings": {"float": [[0.5], [1.0]]}}, headers=counted)
    )

    assert isinstance(by_nova, EmbeddingAnswer)
    assert isinstance(by_cohere, EmbeddingAnswer)
    assert by_nova.embeddings == ((0.5, 1.0), (0.5, 1.0))
    assert by_nova.usage.estimated
    assert {body["singleEmbeddingParams"]["text"]["value"] for body in nova_bodies} == {"first text", "second text"}
    assert (by_cohere.embeddings, by_cohere.usage.input_tokens) == (((0.5,), (1.0,)), 6)
    assert cohere_bodies == [
        {"texts": ["first text", "second text"], "input_type": "search_document", "truncate": "NONE"}
    ]


def test_a_text_that_cannot_be_embedded_fails_the_call():
    def answer(seen: Any) -> Reply:
        if seen.body["inputText"] == "second text":
            return json_reply({"message": "no"}, status=400, headers={"x-amzn-errortype": "ValidationException"})
        return json_reply({"embedding": [0.5], "inputTextTokenCount": 7})

    found, bodies = embedded("bedrock", "amazon.titan-embed-text-v2:0", answer)

    assert isinstance(found, ProviderError)
    assert (found.kind, len(bodies)) == ("invalid_request", 2)


def test_vectors_that_were_made_are_paid_for_when_one_is_not():
    made = EmbeddingAnswer(embeddings=((0.5,),), model="m", usage=Usage(input_tokens=7))
    failure = ProviderError("no", usage=Usage(input_tokens=5))

    with pytest.raises(ProviderError) as caught:
        joined("m", [made, failure, made])

    assert caught.value.usage == Usage(input_tokens=19)
    assert joined("m", [made, made]).usage == Usage(model="m", input_tokens=14)


@pytest.mark.parametrize("model", ["amazon.rerank-v1:0", "anthropic.claude-haiku-4-5-20251001-v1:0"])
def test_a_model_of_amazons_that_makes_no_vectors_is_not_asked(model: str):
    found, bodies = embedded("bedrock", model, json_reply({}))

    assert isinstance(found, ProviderError)
    assert (found.kind, found.sent, bodies) == ("missing_capability", False, [])
