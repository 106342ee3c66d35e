"""AWS Bedrock's Converse API: its clients, what it takes, and what it reports of its usage.

AWS's SDK signs, writes and reads, and waits in threads, which nobody can call back. So what it would send goes over our
wire instead (its `before-send` event lets somebody else answer a request): on the loop, by the call's deadline, and
given up when the call is.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import anyio.to_thread
import boto3
import httpx2
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.loaders import Loader, create_loader
from botocore.session import Session
from botocore.tokens import FrozenAuthToken
from pydantic_ai.embeddings.bedrock import BedrockEmbeddingModel
from pydantic_ai.models.bedrock import BedrockConverseModel
from pydantic_ai.providers.bedrock import BedrockProvider

from headgate.core.values import Usage
from headgate.llm.direct.messages import Offer
from headgate.llm.direct.reports import is_sound
from headgate.llm.direct.usage import detail, tokens
from headgate.llm.direct.wire import CALL, Call
from headgate.llm.provider_errors import refused_here
from headgate.ports import FinishReason

if TYPE_CHECKING:
    from pydantic_ai.embeddings import EmbeddingModel
    from pydantic_ai.models import Model

    from headgate.llm.direct.provider import Connection
    from headgate.llm.direct.wire import WatchedClient

__all__ = ["BedrockVendor"]

THREADS_MAX = 256
"""How many calls may wait at a time, in a loop: each holds a thread of the SDK while it does."""
ONE_BY_ONE = re.compile(r"(?:[a-z]+\.)?amazon\.(?:titan-embed|nova)")
"""Models that embed one text per request."""
HOP_BY_HOP = frozenset({"transfer-encoding", "content-length", "connection"})


class BedrockVendor:
    """Bedrock in the region, and with the credentials, that AWS's own chain finds."""

    name = "bedrock"
    host = "bedrock-runtime"
    offer = Offer(timeouts=False, extra="bedrock_additional_model_requests_fields")
    reasons: Mapping[str, FinishReason] = {
        "end_turn": "Stop",
        "stop_sequence": "Stop",
        "max_tokens": "MaxTokens",
        "model_context_window_exceeded": "MaxTokens",
        "tool_use": "ToolUse",
        "content_filtered": "ContentFilter",
        "guardrail_intervened": "ContentFilter",
    }

    def missing(self, connection: Connection) -> str:
        return ""  # AWS's chain has more places than the environment; `open` says what it has not found

    async def open(self, connection: Connection, http: WatchedClient) -> _Opened:
        limiter = anyio.to_thread.current_default_thread_limiter()
        limiter.total_tokens = max(limiter.total_tokens, THREADS_MAX)
        client = await asyncio.to_thread(_client, connection)
        client.meta.events.register("before-send.bedrock-runtime", _Sender(http, dict(connection.headers)).send)
        return _Opened(BedrockProvider(bedrock_client=client))

    def usage(self, reported: Mapping[str, object]) -> Usage | None:
        """Bedrock counts what a cache read and wrote beside the input; we count it among it."""
        fresh, made = tokens(reported, "inputTokens"), tokens(reported, "outputTokens")
        if fresh is None or made is None:
            return None
        read, written = detail(reported, "cacheReadInputTokens"), detail(reported, "cacheWriteInputTokens")
        hour = min(_written_for_an_hour(reported), written)
        return Usage(
            input_tokens=fresh + read + written,
            output_tokens=made,
            cache_read_tokens=read,
            cache_write_tokens=written - hour,
            cache_write_1h_tokens=hour,
        )

    def mend(self, said: dict[str, Any]) -> bool:
        """The SDK takes it that a usage is there, and is one. In a stream, one that is not is left out."""
        if said.get("start") == {}:  # so others begin a text who imitate Bedrock; the SDK refuses it, and needs none
            return True
        holds_one = "output" in said or "usage" in said
        if not holds_one or (is_sound(said.get("usage")) and self.usage(said["usage"]) is not None):
            return False
        said["usage"] = {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}
        return True

    def embedding_requests(self, model: str, inputs: Sequence[str]) -> int:
        return len(inputs) if ONE_BY_ONE.match(model) else 1


def _written_for_an_hour(reported: Mapping[str, object]) -> int:
    details = reported.get("cacheDetails")
    listed = cast("list[object]", details) if isinstance(details, list) else []
    parts = [cast("dict[str, object]", part) for part in listed if isinstance(part, dict)]
    return sum(tokens(part, "inputTokens") or 0 for part in parts if part.get("ttl") == "1h")


class _Opened:
    def __init__(self, provider: BedrockProvider) -> None:
        self._provider = provider

    def model(self, name: str) -> Model[Any]:
        return BedrockConverseModel(name, provider=self._provider)

    def embedding_model(self, name: str) -> EmbeddingModel | None:
        return BedrockEmbeddingModel(name, provider=self._provider)


# --- The SDK's client --------------------------------------------------------------------------------------------


def _client(connection: Connection) -> Any:
    """Return a client. Takes half a second, and may look for credentials on the network: not for the loop."""
    amazon = connection.amazon
    session = _session(connection)
    region = amazon.get("AWS_REGION") or amazon.get("AWS_DEFAULT_REGION") or session.region_name
    if not region:
        raise refused_here(
            "missing_address",
            "bedrock was not asked: it is not known in which region. Set AWS_REGION in the environment.",
        )
    try:
        known = connection.api_key or session.get_credentials() is not None
    except BotoCoreError as error:
        raise refused_here(
            "missing_key", f"bedrock was not asked: AWS's credentials cannot be read ({error})."
        ) from None
    if not known:
        raise refused_here(
            "missing_key",
            "bedrock was not asked: AWS's chain has found no credentials. Set AWS_BEARER_TOKEN_BEDROCK, or "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, in the environment of the process that makes "
            "model calls.",
        )
    seconds = connection.timeout_seconds + 60.0
    config = Config(
        retries={"total_max_attempts": 1, "mode": "standard"},
        read_timeout=seconds,
        signature_version="bearer" if connection.api_key else None,
    )
    return session.client(
        "bedrock-runtime", region_name=region, endpoint_url=connection.base_url or None, config=config
    )


def _session(connection: Connection) -> Any:
    amazon = connection.amazon
    beneath = _WithToken(connection.api_key) if connection.api_key else Session()
    beneath.register_component("data_loader", _loader())
    if connection.api_key:
        return boto3.Session(botocore_session=beneath)
    return boto3.Session(
        botocore_session=beneath,
        aws_access_key_id=amazon.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=amazon.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=amazon.get("AWS_SESSION_TOKEN"),
        profile_name=amazon.get("AWS_PROFILE"),
    )


@cache
def _loader() -> Loader:
    """What reads the SDK's descriptions of services, once for all loops."""
    return create_loader()


class _WithToken(Session):
    """A session that signs with a token (`AWS_BEARER_TOKEN_BEDROCK`) and looks for no credentials."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._token = token

    def get_auth_token(self, **_: Any) -> FrozenAuthToken:
        return FrozenAuthToken(self._token)

    def get_credentials(self) -> None:
        return None


class _Sender:
    """Answers what the SDK would send, from its thread, over the wire of the loop."""

    def __init__(self, http: WatchedClient, headers: Mapping[str, str]) -> None:
        self._http = http
        self._headers = headers

    def send(self, request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        call = CALL.get()
        response = call.from_a_thread(self._send(call, request))
        headers = {name: value for name, value in response.headers.items() if name not in HOP_BY_HOP}
        streamed = "eventstream" in headers.get("content-type", "")
        # What is no stream is read here: the SDK may read it on the loop, which cannot wait for itself.
        raw = _Raw(_chunks(call, response) if streamed else iter([call.from_a_thread(response.aread())]))
        return AWSResponse(request.url, response.status_code, headers, raw)

    async def _send(self, call: Call, request: AWSPreparedRequest) -> httpx2.Response:
        token = CALL.set(call)
        try:
            headers = {name: _text(value) for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
            asked = httpx2.Request(
                request.method, request.url, headers={**headers, **self._headers}, content=request.body
            )
            return await self._http.send(asked, stream=True)
        finally:
            CALL.reset(token)


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


class _Raw:
    """The body of an answer as the SDK reads it."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        return self._chunks

    def read(self, *_: object, **__: object) -> bytes:
        return b"".join(self._chunks)

    def close(self) -> None:
        """The call closes what it opened."""


def _chunks(call: Call, response: httpx2.Response) -> Iterator[bytes]:
    """Yield what comes, in a thread that may wait for it."""
    chunks = aiter(response.aiter_bytes())

    async def following() -> bytes | None:
        return await anext(chunks, None)

    while (chunk := call.from_a_thread(following())) is not None:
        yield chunk
