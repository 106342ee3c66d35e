"""A provider of each kind beside a fake of its vendor's server: what the conformance suite is run on."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from types import ModuleType
from typing import NamedTuple

from tests.llm.fakes import anthropic, bedrock, google, mistral, openai
from tests.llm.fakes.server import FakeServer, Reply

from headgate.llm.registry import build_providers, close_providers
from headgate.ports import ModelProvider
from headgate.testing.provider_conformance import Said

KEY = "sk-test-very-secret-1234567"


class Kind(NamedTuple):
    """A provider of the environment: what it is called, and what its server speaks."""

    name: str
    fake: ModuleType
    environment: Callable[[str], dict[str, str]]
    """Its variables, from the address of the server."""
    model: str
    embedding_model: str = ""
    lacks: frozenset[str] = frozenset()
    key_variable: str = ""


class ServerRig:
    """A rig: `provider` asks `server`, which answers in the words of `kind.fake`."""

    def __init__(self, kind: Kind, server: FakeServer, providers: Mapping[str, ModelProvider]) -> None:
        self.kind = kind
        self.name = kind.name
        self.model = kind.model
        self.embedding_model = kind.embedding_model
        self.lacks = kind.lacks
        self.server = server
        self.provider = providers[kind.name]
        self.secrets = (KEY,)
        self._providers = providers

    @property
    def asked(self) -> list[str]:
        return [json.dumps(seen.body, ensure_ascii=False) for seen in self.server.requests]

    @property
    def open_connections(self) -> int:
        return self.server.open

    @property
    def received(self) -> asyncio.Event:
        return self.server.received

    @property
    def hung_up(self) -> asyncio.Event:
        return self.server.hung_up

    def stream(self, *chunks: bytes, cut: bool = False, silent: bool = False) -> Reply:
        return Reply(chunks, headers=self.kind.fake.STREAM, cut=cut, silent=silent)

    def will_say(self, said: Said, *, streamed: bool) -> None:
        fake = self.kind.fake
        self.server.will(self.stream(*fake.texts(said), *fake.ending(said)) if streamed else fake.whole(said))

    def will_break_off(self, said: Said, after: int, *, politely: bool) -> None:
        kept = Said(texts=said.texts[:after], usage=said.usage)
        self.server.will(self.stream(*self.kind.fake.texts(kept), cut=not politely))

    def will_fall_silent(self, said: Said | None) -> None:
        chunks = () if said is None else self.kind.fake.texts(said)
        self.server.will(self.stream(*chunks, silent=True))

    def will_fail_inside(self, said: Said) -> None:
        self.server.will(self.stream(*self.kind.fake.texts(said), *self.kind.fake.failure_inside()))

    def will_refuse(self, code: str) -> None:
        self.server.will(self.kind.fake.refusal(code))

    def will_embed(self, vectors: Sequence[Sequence[float]], tokens: int) -> None:
        self.server.will(*self.kind.fake.embeddings(vectors, tokens))

    def will_send(self, data: bytes, *, streamed: bool) -> None:
        kind = self.kind.fake.STREAM if streamed else {"content-type": "application/json"}
        self.server.will(Reply([data], headers=kind))

    def will_stream_for_ever(self) -> None:
        fake = self.kind.fake
        huge = Said(texts=("x" * (1024 * 1024),))
        opening, megabyte = fake.texts(Said(texts=())), fake.texts(huge)[-1:]
        begins = fake.texts(huge)[len(opening) : -1]
        self.server.will(Reply(_Endless([*opening, *begins], megabyte[0]), headers=fake.STREAM))

    def will_redirect(self, address: str) -> None:
        self.server.will(Reply([], 307, {"location": address}))

    @property
    def nonsense(self) -> Sequence[object]:
        return self.kind.fake.NONSENSE

    @property
    def key_variable(self) -> str:
        return self.kind.key_variable

    def elsewhere(self, base_url: str) -> ModelProvider:
        return build_providers(self.kind.environment(base_url))[self.name]

    def without_key(self) -> ModelProvider | None:
        if not self.kind.key_variable:
            return None
        environment = {
            name: value for name, value in self.kind.environment(self.server.url).items() if KEY not in value
        }
        return build_providers(environment)[self.name]

    async def close(self) -> None:
        await close_providers(self._providers)


class _Endless:
    """Chunks without end: these, and then the same for ever."""

    def __init__(self, first: Sequence[bytes], ever: bytes) -> None:
        self._first = first
        self._ever = ever

    def __iter__(self) -> Iterator[bytes]:
        yield from self._first
        while True:
            yield self._ever


@asynccontextmanager
async def rig_of(kind: Kind, tls: ssl.SSLContext | None = None, **more: str) -> AsyncGenerator[ServerRig]:
    """Yield a rig of this kind on the running loop; `more` are further variables of its environment."""
    async with FakeServer(tls=tls) as server:
        rig = ServerRig(kind, server, build_providers(kind.environment(server.url) | more))
        try:
            yield rig
        finally:
            await rig.close()


OPENAI_LACKS = frozenset({"cache_write", "cache_write_1h"})
KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "openai",
            openai,
            lambda url: {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": KEY},
            "gpt-4o",
            "text-embedding-3-small",
            OPENAI_LACKS,
            "OPENAI_API_KEY",
        ),
        Kind(
            "azure",
            openai,
            lambda url: {"AZURE_OPENAI_ENDPOINT": url, "AZURE_OPENAI_API_KEY": KEY},
            "gpt-4o",
            "text-embedding-3-small",
            OPENAI_LACKS | {"names"},  # they are deployments
            "AZURE_OPENAI_API_KEY",
        ),
        Kind(
            "mistral",
            mistral,
            lambda url: {"MISTRAL_BASE_URL": f"{url}/v1", "MISTRAL_API_KEY": KEY},
            "mistral-large-latest",
            "mistral-embed",
            OPENAI_LACKS | {"audio", "filtered", "reasoning_usage"},
            "MISTRAL_API_KEY",
        ),
        Kind(
            "ollama",
            openai,
            lambda url: {"OLLAMA_BASE_URL": url},
            "qwen3",
            "nomic-embed-text",
            OPENAI_LACKS | {"names"},
        ),
        Kind(
            "lab",
            openai,
            lambda url: {"HEADGATE_PROVIDER_LAB_BASE_URL": f"{url}/v1", "HEADGATE_PROVIDER_LAB_API_KEY": KEY},
            "any-model",
            "any-embedder",
            OPENAI_LACKS | {"names"},
        ),
        Kind(
            "anthropic",
            anthropic,
            lambda url: {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": KEY},
            "claude-haiku-4-5",
            "claude-haiku-4-5",
            frozenset({"audio", "embeddings", "seed"}),
            "ANTHROPIC_API_KEY",
        ),
        Kind(
            "google",
            google,
            lambda url: {"GOOGLE_BASE_URL": url, "GEMINI_API_KEY": KEY},
            "gemini-2.5-flash",
            "gemini-embedding-001",
            frozenset({"cache_write", "cache_write_1h", "extra", "image_urls"}),
            "GEMINI_API_KEY",
        ),
        Kind(
            "bedrock",
            bedrock,
            lambda url: {
                "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url,
                "AWS_REGION": "eu-central-1",
                "AWS_ACCESS_KEY_ID": f"ID{KEY}",
                "AWS_SECRET_ACCESS_KEY": KEY,
            },
            "anthropic.claude-haiku-4-5-20251001-v1:0",
            "amazon.titan-embed-text-v2:0",
            frozenset({"audio", "image_urls", "reasoning_usage", "seed"}),
            "AWS_ACCESS_KEY_ID",
        ),
    )
}
