"""What vendors that speak OpenAI's API are asked, and what they say was used."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.llm.fake_openai import DONE, FakeOpenAI, completion, event, stream_reply
from tests.llm.fakes.server import json_reply
from tests.llm.openai_vendor import ASKED, KEY, SCHEMA, talk

from headgate.core.values import Usage
from headgate.llm.openai_compatible import OpenAICompatibleProvider
from headgate.llm.openai_messages import read_usage
from headgate.llm.openai_requests import Dialect
from headgate.llm.registry import build_providers, close_providers
from headgate.ports import Message, ModelAnswer, ModelRequest

pytestmark = pytest.mark.slow  # each talks to a server of its own
PIXEL = "data:image/png;base64,iVBORw0KGgo="


# --- What is asked ----------------------------------------------------------------------------------------------------


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


# --- What was used ----------------------------------------------------------------------------------------------------


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


# --- Azure ------------------------------------------------------------------------------------------------------------


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


# --- Connections ------------------------------------------------------------------------------------------------------


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
