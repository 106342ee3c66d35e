"""What our fake servers send is what the vendors' own SDKs take: each body and event is held to their types, strictly.

The SDKs are lenient with what they get. Here they are not: every field must be one that the SDK knows, of its type.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.llm.fakes import anthropic, bedrock, google, mistral, openai
from tests.llm.fakes.rigs import KEY
from tests.llm.fakes.server import FakeServer, Reply

from headgate.core.values import Usage
from headgate.ports import ToolCall
from headgate.testing.provider_rig import Said

pytestmark = pytest.mark.slow  # SDKs take seconds to import

USED = Usage(
    input_tokens=1000,
    output_tokens=300,
    cache_read_tokens=400,
    cache_write_tokens=100,
    cache_write_1h_tokens=50,
    reasoning_tokens=20,
    audio_input_tokens=30,
)
CALLS = (ToolCall("call_1", "measure", {"target": "moon"}), ToolCall("call_2", "measure", {}))
SAYINGS = [
    pytest.param(Said(usage=USED), id="text"),
    pytest.param(Said(reasoning="It is round.", usage=USED), id="thinking"),
    pytest.param(Said(texts=(), calls=CALLS, finish="ToolUse"), id="tools"),
    pytest.param(Said(texts=("Well.",), calls=CALLS, finish="ToolUse"), id="text and tools"),
    pytest.param(Said(finish="MaxTokens"), id="cut short"),
    pytest.param(Said(finish="ContentFilter"), id="filtered"),
]
said = pytest.mark.parametrize("saying", SAYINGS)


def body_of(reply: Reply) -> Any:
    return json.loads(b"".join(reply.chunks))


def events_of(chunks: list[bytes]) -> Iterator[Any]:
    for line in b"".join(chunks).splitlines():
        if line.startswith(b"data: {"):
            yield json.loads(line[6:])


def unknown_fields(model: Any, path: str = "") -> list[str]:
    """Return the fields that a pydantic model of an SDK was given and has no name for."""
    from pydantic import BaseModel

    if isinstance(model, list):
        return [name for number, one in enumerate(model) for name in unknown_fields(one, f"{path}[{number}]")]
    if not isinstance(model, BaseModel):
        return []
    own = [f"{path}.{name}" for name in model.model_extra or {}]
    return own + [
        name for field in type(model).model_fields for name in unknown_fields(getattr(model, field), f"{path}.{field}")
    ]


@said
def test_openai_knows_what_its_fake_sends(saying: Said):
    from openai.types import CreateEmbeddingResponse
    from openai.types.chat import ChatCompletion, ChatCompletionChunk

    whole = ChatCompletion.model_validate(openai.message(saying), strict=True)
    chunks = [
        ChatCompletionChunk.model_validate(event, strict=True)
        for event in events_of([*openai.texts(saying), *openai.ending(saying)])
    ]
    vectors = CreateEmbeddingResponse.model_validate(body_of(openai.embeddings([[0.5]], 3)[0]), strict=True)

    # `reasoning_content` is not OpenAI's: others' servers that imitate it show their thinking so.
    found = [name for model in (whole, *chunks, vectors) for name in unknown_fields(model)]
    assert [name for name in found if not name.endswith(".reasoning_content")] == []
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "".join(saying.texts)


@said
def test_mistral_knows_what_its_fake_sends(saying: Said):
    from mistralai.client.models import ChatCompletionResponse, CompletionChunk, EmbeddingResponse

    if saying.finish == "ContentFilter":
        return  # Mistral has no such end

    whole = ChatCompletionResponse.model_validate(mistral.message(saying))
    chunks = [
        CompletionChunk.model_validate(event) for event in events_of([*mistral.texts(saying), *mistral.ending(saying)])
    ]
    vectors = EmbeddingResponse.model_validate(
        body_of(openai.embeddings([[0.5]], 3)[0])
        | {"id": "e1", "usage": {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}}
    )

    assert whole.usage.prompt_tokens == saying.usage.input_tokens
    assert chunks[-1].usage is not None
    assert vectors.data[0].embedding == [0.5]


@said
def test_anthropic_knows_what_its_fake_sends(saying: Said):
    from anthropic.types.beta import BetaMessage, BetaRawMessageStreamEvent
    from pydantic import TypeAdapter

    event_type: TypeAdapter[Any] = TypeAdapter(BetaRawMessageStreamEvent)

    whole = BetaMessage.model_validate(anthropic.message(saying), strict=True)
    told = list(events_of([*anthropic.texts(saying), *anthropic.ending(saying)]))
    events = [event_type.validate_python(event) for event in told if event["type"] != "ping"]

    assert [name for model in (whole, *events) for name in unknown_fields(model)] == []
    assert whole.usage.cache_creation is not None


@said
def test_google_knows_what_its_fake_sends(saying: Said):
    from google.genai.types import GenerateContentResponse

    told = [google.message(saying), *events_of([*google.texts(saying), *google.ending(saying)])]

    models = [GenerateContentResponse.model_validate(body) for body in told]  # they forbid what they do not know

    assert models[0].usage_metadata is not None
    assert models[0].usage_metadata.prompt_token_count == saying.usage.input_tokens


def test_google_knows_the_vectors_that_its_fake_sends():
    from google.genai import Client
    from google.genai.types import HttpOptions

    async def asked() -> Any:
        async with FakeServer(*google.embeddings([[0.5, 1.0]], 3)) as server:
            client = Client(api_key=KEY, http_options=HttpOptions(base_url=server.url))
            found = await client.aio.models.embed_content(model="gemini-embedding-001", contents=["first"])
            await client.aio.aclose()
            return found

    assert asyncio.run(asked()).embeddings[0].values == [0.5, 1.0]


# --- AWS: its SDK has no types, but a description of every shape ---------------------------------------------------


def shape_of(operation: str) -> Any:
    from botocore.session import Session

    return Session().get_service_model("bedrock-runtime").operation_model(operation).output_shape


def misfits(value: Any, shape: Any, path: str = "") -> list[str]:
    """Return where a value is not as the description of its shape says."""
    match shape.type_name:
        case "structure" if getattr(shape, "is_document_type", False):
            return []
        case "structure":
            known = shape.members
            unknown = [f"{path}.{name} is unknown" for name in value if name not in known]
            missing = [f"{path}.{name} is missing" for name in shape.required_members if name not in value]
            inner = [
                one for name in value if name in known for one in misfits(value[name], known[name], f"{path}.{name}")
            ]
            return unknown + missing + inner
        case "list":
            return [
                one for number, part in enumerate(value) for one in misfits(part, shape.member, f"{path}[{number}]")
            ]
        case "string":
            fits = isinstance(value, str) and (not shape.enum or value in shape.enum)
        case "integer" | "long":
            fits = isinstance(value, int)
        case _:
            fits = True
    return [] if fits else [f"{path}: {value!r} is no {shape.name}"]


@said
def test_amazons_sdk_knows_what_its_fake_sends(saying: Said):
    assert misfits(bedrock.message(saying), shape_of("Converse")) == []


@said
def test_amazons_sdk_reads_the_frames_that_its_fake_sends(saying: Said):
    from botocore.eventstream import EventStreamBuffer

    stream = shape_of("ConverseStream").members["stream"]
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join([*bedrock.texts(saying), *bedrock.ending(saying)]))  # it checks every sum

    events = [(event.headers[":event-type"], json.loads(event.payload)) for event in buffer]

    assert events[0][0] == "messageStart"
    assert events[-1][0] == "metadata"
    assert [one for kind, body in events for one in misfits(body, stream.members[kind], kind)] == []
