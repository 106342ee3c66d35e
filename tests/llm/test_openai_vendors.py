"""What vendors do differently behind the same API, and what of a request they take: images, schemas, effort, limits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.llm.fake_openai import DONE, FakeOpenAI, completion, event, stream_reply
from tests.llm.fakes.server import json_reply

from headgate.core.values import RateReport, Usage
from headgate.llm import provider_errors
from headgate.llm.asking import DROPS_MAX
from headgate.llm.openai_compatible import OpenAICompatibleProvider
from headgate.llm.openai_messages import read_usage
from headgate.llm.openai_requests import Dialect
from headgate.llm.provider_errors import rate_report, wait_seconds
from headgate.llm.registry import build_providers, close_providers
from headgate.ports import Message, ModelAnswer, ModelRequest, ProviderError

pytestmark = pytest.mark.slow  # each talks to a server of its own


KEY = "sk-very-secret-123"
ASKED = (Message("user", "How far is the moon?"),)
SCHEMA = {"type": "object", "properties": {"km": {"type": "number"}}}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def talk(request: ModelRequest, *replies: Any, **options: Any) -> tuple[Any, list[Any]]:
    """Return the answer, or the error, and the bodies that the server was sent."""

    async def conversation() -> tuple[Any, list[Any]]:
        async with FakeOpenAI(*(replies or [json_reply(completion("x"))])) as server:
            provider = OpenAICompatibleProvider("openai", server.base_url, KEY, **options)
            outcome: Any
            try:
                outcome = await provider.request(request)
            except ProviderError as error:
                outcome = error
            finally:
                await provider.close()
            return outcome, [seen.body for seen in server.requests]

    return asyncio.run(conversation())


def refusal(parameter: str, *, status: int = 400, **fields: Any) -> Any:
    message = f"Unsupported parameter: '{parameter}' is not supported with this model."
    error = {"message": message, "param": parameter, "code": "unsupported_parameter"}
    return json_reply({"error": error, **fields}, status=status)


# --- What is asked ----------------------------------------------------------------------------------------


def test_images_go_with_their_message_as_parts():
    message = Message("user", "What is this?", images=("https://pictures.test/a.png", PIXEL))

    _, (body,) = talk(ModelRequest(model="gpt-4o", messages=(message,)))

    assert body["messages"][0]["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://pictures.test/a.png"}},
        {"type": "image_url", "image_url": {"url": PIXEL}},
    ]


def test_an_image_counts_towards_what_is_reserved():
    provider = OpenAICompatibleProvider("openai", "http://x/v1")
    plain = ModelRequest(model="gpt-4o", messages=ASKED)
    seeing = ModelRequest(model="gpt-4o", messages=(Message("user", ASKED[0].content, images=(PIXEL,)),))

    assert provider.count(seeing) - provider.count(plain) >= 1_445


def test_a_vendor_without_schemas_gets_them_in_the_prompt_and_the_answer_says_so():
    request = ModelRequest(model="m", messages=ASKED, response_schema=SCHEMA)

    answer, (body,) = talk(request, dialect=Dialect(schema="json_object"))

    assert body["response_format"] == {"type": "json_object"}
    assert '"km"' in body["messages"][0]["content"]
    assert body["messages"][0]["role"] == "system"
    assert body["messages"][1] == {"role": "user", "content": "How far is the moon?"}
    assert answer.notes == ("The schema was put into the prompt, for the model takes none.",)


def test_effort_is_asked_for_in_the_vendors_field():
    _, (body,) = talk(ModelRequest(model="gpt-5", messages=ASKED, reasoning="low"))

    assert body["reasoning_effort"] == "low"


def test_effort_is_refused_where_the_vendor_has_no_field_and_dropped_where_that_is_allowed():
    request = ModelRequest(model="m", messages=ASKED, reasoning="low")
    allowed = ModelRequest(model="m", messages=ASKED, reasoning="low", drop_unsupported=True)

    error, unsent = talk(request, dialect=Dialect(reasoning=""))
    answer, (body,) = talk(allowed, dialect=Dialect(reasoning=""))

    assert (error.kind, error.sent, unsent) == ("missing_capability", False, [])
    assert "reasoning" not in str(body)
    assert answer.notes == ("reasoning was left out, for the provider has no field for it.",)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o", "max_tokens"),
        ("gpt-5-chat-latest", "max_tokens"),
        ("gpt-5-mini", "max_completion_tokens"),
        ("o3", "max_completion_tokens"),
        ("openai/o4-mini", "max_completion_tokens"),
        ("olmo-2", "max_tokens"),
    ],
)
def test_models_that_reason_get_their_limit_under_the_name_that_they_know(model: str, name: str):
    _, (body,) = talk(ModelRequest(model=model, messages=ASKED, max_tokens=9))

    assert {field: value for field, value in body.items() if field.startswith("max_")} == {name: 9}


# --- What is refused --------------------------------------------------------------------------------------


def test_what_a_model_refuses_is_left_out_where_that_is_allowed_and_said():
    request = ModelRequest(model="o9", messages=ASKED, temperature=0.5, top_p=0.9, drop_unsupported=True)

    answer, bodies = talk(request, refusal("temperature"), refusal("top_p"), json_reply(completion("x")))

    assert [sorted(body.keys() & {"temperature", "top_p"}) for body in bodies] == [
        ["temperature", "top_p"],
        ["top_p"],
        [],
    ]
    assert answer.notes == (
        "temperature was left out, for the model refuses it.",
        "top_p was left out, for the model refuses it.",
    )


def test_without_leave_a_refusal_is_a_refusal_and_nothing_is_asked_again():
    request = ModelRequest(model="o9", messages=ASKED, temperature=0.5)

    error, bodies = talk(request, refusal("temperature"), json_reply(completion("x")))

    assert (error.kind, len(bodies)) == ("invalid_request", 1)


def test_what_was_refused_once_is_not_sent_to_that_model_again():
    async def conversation() -> list[bool]:
        replies = [refusal("temperature"), *(json_reply(completion("x")) for _ in range(3))]
        async with FakeOpenAI(*replies) as server:
            provider = OpenAICompatibleProvider("openai", server.base_url, KEY)
            for model in ("a", "a", "b"):
                asked = ModelRequest(model=model, messages=ASKED, temperature=0.5, drop_unsupported=True)
                await provider.request(asked)
            await provider.close()
            return ["temperature" in seen.body for seen in server.requests]

    assert asyncio.run(conversation()) == [True, False, False, True]


def test_a_refused_limit_is_renamed_and_never_dropped():
    request = ModelRequest(model="strange", messages=ASKED, max_tokens=9, drop_unsupported=True)

    answer, bodies = talk(request, refusal("max_tokens"), json_reply(completion("x")))

    assert [body.get("max_completion_tokens") for body in bodies] == [None, 9]
    assert "max_tokens" not in bodies[1]
    assert answer.content == "x"


def test_a_refused_schema_goes_into_the_prompt():
    request = ModelRequest(model="m", messages=ASKED, response_schema=SCHEMA, drop_unsupported=True)

    answer, bodies = talk(request, refusal("response_format"), json_reply(completion('{"km": 1}')))

    assert "response_format" not in bodies[1]
    assert '"km"' in bodies[1]["messages"][0]["content"]
    assert "The schema was put into the prompt" in answer.notes[0]


@pytest.mark.parametrize("parameter", ["tools", "messages", "model"])
def test_what_makes_the_question_is_never_left_out(parameter: str):
    request = ModelRequest(model="m", messages=ASKED, tools=({"name": "t"},), drop_unsupported=True)

    error, bodies = talk(request, refusal(parameter), json_reply(completion("x")))

    assert (error.kind, len(bodies)) == ("invalid_request", 1)


def test_a_field_is_found_in_the_words_of_a_422():
    body = {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}
    request = ModelRequest(model="m", messages=ASKED, seed=3, drop_unsupported=True)

    answer, bodies = talk(request, json_reply(body, status=422), json_reply(completion("x")))

    assert ["seed" in sent for sent in bodies] == [True, False]
    assert answer.notes == ("seed was left out, for the model refuses it.",)


def test_a_server_that_refuses_for_ever_is_asked_a_bounded_number_of_times():
    extra = {f"field_{number}": 1 for number in range(20)}
    request = ModelRequest(model="m", messages=ASKED, extra=extra, drop_unsupported=True)

    error, bodies = talk(request, *(refusal(f"field_{number}") for number in range(20)))

    assert error.kind == "invalid_request"
    assert len(bodies) == DROPS_MAX + 1


def test_a_refusal_that_was_billed_carries_its_usage_and_is_not_followed_by_another_request():
    billed = refusal("temperature", usage={"prompt_tokens": 12, "completion_tokens": 0})
    request = ModelRequest(model="m", messages=ASKED, temperature=1.0, drop_unsupported=True)

    error, bodies = talk(request, billed, json_reply(completion("x")))

    assert error.usage == Usage(input_tokens=12)
    assert len(bodies) == 1


@pytest.mark.parametrize(
    ("status", "error", "kind", "retryable"),
    [
        (400, {"message": "filtered", "code": "content_filter"}, "content_filter", False),
        (400, {"message": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}, "content_filter", False),
        (401, {"message": "Incorrect API key", "code": "invalid_api_key"}, "authentication", False),
        (402, {"message": "Insufficient Balance"}, "quota_exhausted", False),
        (529, {"message": "overloaded"}, "provider_unavailable", True),
    ],
)
def test_more_refusals_are_named(status: int, error: dict[str, Any], kind: str, retryable: bool):
    refused, _ = talk(ModelRequest(model="m", messages=ASKED), json_reply({"error": error}, status=status))

    assert (refused.kind, refused.retryable) == (kind, retryable)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "9"}, 9.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "1h2m3.5s",
            },
            3723.5,
        ),
        ({"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "6m0s"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "soon"}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait_is_read_from_what_the_refusal_says(headers: dict[str, str], seconds: float | None):
    assert wait_seconds(headers) == seconds


IN_AN_HOUR = "2100-01-01T01:00:00Z"


@pytest.mark.parametrize(
    ("headers", "report"),
    [
        (
            {
                "x-ratelimit-limit-requests": "60",
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            RateReport(59, 1.0, 0, 360.0),
        ),
        ({"x-ratelimit-remaining-tokens": "7"}, RateReport(tokens_left=7)),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": IN_AN_HOUR,
                "anthropic-ratelimit-input-tokens-remaining": "9",
                "anthropic-ratelimit-input-tokens-reset": IN_AN_HOUR,
                "anthropic-ratelimit-output-tokens-remaining": "4",
                "anthropic-ratelimit-output-tokens-reset": "nonsense",
            },
            RateReport(0, 3_600.0, 4, None),
        ),
        ({"x-ratelimit-remaining-requests": "soon"}, None),
        ({"retry-after": "9"}, None),
    ],
)
def test_rates_are_read_from_the_headers_of_any_answer(
    headers: dict[str, str], report: RateReport | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(provider_errors.time, "time", lambda: 4_102_444_800.0)

    assert rate_report(headers) == report


def test_only_what_is_used_up_is_waited_for():
    assert RateReport(3, 60.0, 9, 120.0).wait_seconds == 0
    assert RateReport(0, 60.0, 9, 120.0).wait_seconds == 60
    assert RateReport(0, 60.0, 0, 120.0).wait_seconds == 120
    assert RateReport(0, None).wait_seconds == 0


def test_answers_and_refusals_bring_the_rates_with_them():
    headers = {"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "20s"}
    question = ModelRequest(model="m", messages=ASKED)

    answer, _ = talk(question, json_reply(completion("yes"), headers=headers))
    refused, _ = talk(question, json_reply({"error": {"message": "no"}}, status=500, headers=headers))
    silent, _ = talk(question, json_reply(completion("yes")))

    assert answer.rates == refused.rates == RateReport(3, 20.0)
    assert silent.rates is None


# --- What was used ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reported", "usage"),
    [
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": None},  # vLLM
            Usage(input_tokens=10, output_tokens=5),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 8},  # DeepSeek
            Usage(input_tokens=10, output_tokens=5, cache_read_tokens=8),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "num_cached_tokens": 4},  # Mistral
            Usage(input_tokens=10, output_tokens=5, cache_read_tokens=4),
        ),
        (
            {  # reasoning counted beside the output
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 35,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(input_tokens=10, output_tokens=25, reasoning_tokens=20),
        ),
        (
            {  # reasoning counted among the output
                "prompt_tokens": 10,
                "completion_tokens": 25,
                "total_tokens": 35,
                "completion_tokens_details": {"reasoning_tokens": 20},
            },
            Usage(input_tokens=10, output_tokens=25, reasoning_tokens=20),
        ),
    ],
)
def test_each_vendors_usage_comes_to_the_same_form(reported: dict[str, Any], usage: Usage):
    assert read_usage(reported) == usage


def test_the_usage_of_a_stream_is_found_where_groq_puts_it():
    stream = event({"content": "a"}) + event(
        finish="stop", x_groq={"usage": {"prompt_tokens": 5, "completion_tokens": 2}}
    )

    async def read(server: Any) -> Any:
        provider = OpenAICompatibleProvider("groq", server.base_url)
        items = [item async for item in provider.stream(ModelRequest(model="m", messages=ASKED))]
        await provider.close()
        return items[-1]

    async def conversation() -> Any:
        async with FakeOpenAI(stream_reply(stream + DONE)) as server:
            return await read(server)

    assert asyncio.run(conversation()).usage == Usage(model="gpt-4o-2024-08-06", input_tokens=5, output_tokens=2)


# --- Azure ------------------------------------------------------------------------------------------------


def azure(version: str) -> Any:
    async def conversation() -> Any:
        async with FakeOpenAI(json_reply(completion("hello"))) as server:
            endpoint = server.base_url.removesuffix("/v1")
            settings = {"AZURE_OPENAI_ENDPOINT": endpoint, "AZURE_OPENAI_API_KEY": KEY}
            providers = build_providers({**settings, "AZURE_OPENAI_API_VERSION": version})
            await providers["azure"].request(ModelRequest(model="my gpt", messages=ASKED, max_tokens=5))
            await close_providers(providers)
            return server.requests[0]

    return asyncio.run(conversation())


def test_azure_has_the_deployment_and_the_version_in_its_address_and_the_key_in_its_own_header():
    seen = azure("2024-10-21")

    assert seen.path == "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21"
    assert seen.headers["api-key"] == KEY
    assert "authorization" not in seen.headers
    assert seen.body["max_completion_tokens"] == 5


@pytest.mark.parametrize("version", ["", "v1", "preview"])
def test_azures_v1_api_has_the_deployment_as_the_model(version: str):
    seen = azure(version)

    assert seen.path == "/openai/v1/chat/completions"
    assert seen.body["model"] == "my gpt"


# --- Connections ------------------------------------------------------------------------------------------


def test_a_thousand_calls_use_as_many_sockets_as_there_are_calls_at_a_time():
    async def conversation() -> tuple[int, int]:
        replies = [json_reply(completion(str(number))) for number in range(1_000)]
        async with FakeOpenAI(*replies) as server:
            provider = OpenAICompatibleProvider("openai", server.base_url, KEY)

            async def caller() -> None:
                for _ in range(100):
                    await provider.request(ModelRequest(model="m", messages=ASKED))

            await asyncio.gather(*(caller() for _ in range(10)))
            await provider.close()
            return len(server.requests), server.connections

    requests, connections = asyncio.run(conversation())

    assert requests == 1_000
    assert connections <= 10


@pytest.mark.parametrize("streamed", [False, True])
def test_a_call_that_is_cancelled_closes_its_connection(streamed: bool):
    async def conversation() -> None:
        received, hung_up = asyncio.Event(), asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            received.set()
            while await reader.read(65_536):
                pass
            hung_up.set()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        provider = OpenAICompatibleProvider("openai", url, KEY)
        request = ModelRequest(model="m", messages=ASKED)

        async def call() -> ModelAnswer | None:
            if not streamed:
                return await provider.request(request)
            return [item async for item in provider.stream(request)][-1]

        calling = asyncio.ensure_future(call())
        async with asyncio.timeout(10):
            await received.wait()
            calling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await calling
            await hung_up.wait()
        await provider.close()
        server.close()
        await server.wait_closed()

    asyncio.run(conversation())
