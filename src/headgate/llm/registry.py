"""The model providers of a process, from its environment: which names there are, where they lead, whose key.

Building the registry costs nothing: a provider is made when its name is first looked up, and what it needs is
imported then. A provider without its key is there all the same, and its calls say which variable to set; one
that is not built yet says what to use instead.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from headgate.core.errors import Invalid
from headgate.core.values import Price
from headgate.llm.prices import FREE
from headgate.ports import EmbeddingAnswer, ModelAnswer, ModelProvider, ModelRequest, ProviderError

if TYPE_CHECKING:
    from headgate.llm.scripted import ScriptedProvider
    from headgate.llm.token_factors import TokenFactors

__all__ = ["NOT_BUILT", "build_providers", "close_providers"]

OPENAI_URL = "https://api.openai.com/v1"
MISTRAL_URL = "https://api.mistral.ai/v1"
OLLAMA_URL = "http://localhost:11434"
NOT_BUILT = ("anthropic", "google", "bedrock")
_CUSTOM = re.compile(r"HEADGATE_PROVIDER_([A-Z0-9_]+?)_(BASE_URL|API_KEY)")

_Build = Callable[[], ModelProvider]


def build_providers(
    environment: Mapping[str, str],
    *,
    scripted: ScriptedProvider | None = None,
    base_urls: Mapping[str, str] | None = None,
    demo_pace_seconds: float = 0.0,
    offline: bool = False,
    prices: Mapping[str, Price] | None = None,
    factors: TokenFactors | None = None,
) -> Mapping[str, ModelProvider]:
    """Return the providers by name; with `factors`, those of vendors estimate by them, and teach them.

    `demo` always, `scripted` where given, and unless `offline` the vendors and every
    `HEADGATE_PROVIDER_<NAME>_BASE_URL` (with `…_API_KEY`) of `environment`, under its name in lower case.
    `base_urls` (by provider) win over the environment, `prices` (by "provider/model") over the table. Raises
    `Invalid` for an environment that names a provider `demo` or `scripted`.
    """
    settings = {name: value.strip() for name, value in environment.items() if value.strip()}
    builds: dict[str, _Build] = {}
    if not offline:
        own = {} if prices is None else prices  # an empty price book still has its list
        builds |= _vendors(settings, base_urls or {}, own)
        builds |= _custom(settings, base_urls or {}, own)
        if factors is not None:
            builds = {name: partial(_learning, build, factors) for name, build in builds.items()}
    builds["demo"] = partial(_demo, demo_pace_seconds)
    if scripted is not None:
        builds["scripted"] = lambda: scripted
    return _Providers(builds)


async def close_providers(providers: Mapping[str, ModelProvider]) -> None:
    """Close the running loop's connections of every provider that was used. Harmless when repeated."""
    made = providers.made() if isinstance(providers, _Providers) else list(providers.values())
    for provider in made:
        close = getattr(provider, "close", None)
        if close is not None:
            await close()


class _Providers(Mapping[str, ModelProvider]):
    """Providers that are made when they are first looked up, and then stay."""

    def __init__(self, builds: dict[str, _Build]) -> None:
        self._builds = builds
        self._made: dict[str, ModelProvider] = {}

    def __getitem__(self, name: str) -> ModelProvider:
        if name not in self._made:
            self._made[name] = self._builds[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._builds)

    def __len__(self) -> int:
        return len(self._builds)

    def __contains__(self, name: object) -> bool:
        return name in self._builds

    def made(self) -> list[ModelProvider]:
        return list(self._made.values())


# --- Who there is --------------------------------------------------------------------------------------


def _vendors(
    settings: Mapping[str, str], base_urls: Mapping[str, str], prices: Mapping[str, Price]
) -> dict[str, _Build]:
    def url(name: str, variable: str, default: str) -> str:
        return base_urls.get(name) or settings.get(variable) or default

    builds: dict[str, _Build] = {name: partial(_NotBuilt, name) for name in NOT_BUILT}
    builds["openai"] = partial(
        _openai, url("openai", "OPENAI_BASE_URL", OPENAI_URL), settings.get("OPENAI_API_KEY"), prices
    )
    builds["azure"] = partial(
        _azure, url("azure", "AZURE_OPENAI_ENDPOINT", ""), settings.get("AZURE_OPENAI_API_KEY"), prices,
        settings.get("AZURE_OPENAI_API_VERSION", ""),
    )  # fmt: skip
    builds["mistral"] = partial(
        _mistral, url("mistral", "MISTRAL_BASE_URL", MISTRAL_URL), settings.get("MISTRAL_API_KEY"), prices
    )
    builds["ollama"] = partial(_compatible, "ollama", url("ollama", "OLLAMA_BASE_URL", OLLAMA_URL), None, prices)
    return builds


def _custom(
    settings: Mapping[str, str], base_urls: Mapping[str, str], prices: Mapping[str, Price]
) -> dict[str, _Build]:
    """Return the providers that are named nowhere but in the settings; they win over vendors."""
    found = [match for name in settings if (match := _CUSTOM.fullmatch(name))]
    builds: dict[str, _Build] = {}
    for stem in sorted({match[1] for match in found}):
        name = stem.lower()
        if name in ("demo", "scripted"):
            raise Invalid(f"HEADGATE_PROVIDER_{stem}_… names a provider {name!r}, which has that name already.")
        url_variable = f"HEADGATE_PROVIDER_{stem}_BASE_URL"
        url = base_urls.get(name) or settings.get(url_variable, "")
        key = settings.get(f"HEADGATE_PROVIDER_{stem}_API_KEY")
        if url:
            builds[name] = partial(_compatible, name, url, key, prices)
        else:
            builds[name] = partial(_Refusing, name, "missing_address", _no_address(name, url_variable))
    return builds


# --- How each is made: imports stand inside, for most processes use one provider or none ----------------


def _learning(build: _Build, factors: TokenFactors) -> ModelProvider:
    from headgate.llm.learning import LearningProvider

    return LearningProvider(build(), factors)


def _demo(pace_seconds: float) -> ModelProvider:
    from headgate.llm.demo import DemoProvider

    return DemoProvider(pace_seconds=pace_seconds)


def _openai(url: str, key: str | None, prices: Mapping[str, Price]) -> ModelProvider:
    from headgate.llm.openai_compatible import OpenAICompatibleProvider
    from headgate.llm.openai_requests import Dialect
    from headgate.llm.token_estimate import FACTOR_MEASURED

    # OpenAI's reasoning models refuse `max_tokens`; servers that imitate it may know nothing else.
    limit = "max_completion_tokens" if url.startswith("https://api.openai.com/") else "max_tokens"
    return OpenAICompatibleProvider(
        "openai",
        url,
        key,
        key_variable="OPENAI_API_KEY",
        prices=prices,
        token_factor=FACTOR_MEASURED,
        dialect=Dialect(output_limit=limit),
    )


def _azure(endpoint: str, key: str | None, prices: Mapping[str, Price], version: str) -> ModelProvider:
    """Azure's v1 API, or a dated one; the model is the name of the deployment, so its price must be set."""
    from headgate.llm.openai_compatible import OpenAICompatibleProvider
    from headgate.llm.openai_requests import Dialect
    from headgate.llm.token_estimate import FACTOR_MEASURED

    if not endpoint:
        return _Refusing("azure", "missing_address", _no_address("azure", "AZURE_OPENAI_ENDPOINT"))
    endpoint = endpoint.rstrip("/")
    version = "" if version in ("v1", "preview") else version
    v1 = endpoint if endpoint.endswith("/v1") else f"{endpoint}/openai/v1"
    return OpenAICompatibleProvider(
        "azure",
        f"{endpoint}/openai" if version else v1,
        key,
        key_variable="AZURE_OPENAI_API_KEY",
        key_header="api-key",
        prices=prices,
        token_factor=FACTOR_MEASURED,
        dialect=Dialect(output_limit="max_completion_tokens"),
        api_version=version,
    )


def _mistral(url: str, key: str | None, prices: Mapping[str, Price]) -> ModelProvider:
    from headgate.llm.openai_compatible import OpenAICompatibleProvider
    from headgate.llm.openai_requests import Dialect

    # Mistral reports usage of streams unasked, and answers 422 to `stream_options` and `seed`.
    dialect = Dialect(seed="random_seed", asks_for_usage=False, reasoning="")
    return OpenAICompatibleProvider("mistral", url, key, key_variable="MISTRAL_API_KEY", prices=prices, dialect=dialect)


def _compatible(name: str, url: str, key: str | None, prices: Mapping[str, Price]) -> ModelProvider:
    from headgate.llm.openai_compatible import OpenAICompatibleProvider
    from headgate.llm.openai_requests import Dialect

    if name == "ollama" and not url.rstrip("/").endswith("/v1"):
        url = f"{url.rstrip('/')}/v1"
    # DeepSeek answers 400 to `json_schema`.
    dialect = Dialect(schema="json_object" if url.startswith("https://api.deepseek.com") else "json_schema")
    return OpenAICompatibleProvider(name, url, key, prices=prices, dialect=dialect)


# --- Providers that only say why not --------------------------------------------------------------------


class _Refusing:
    """A name that is known and cannot be called: every call says why, and costs nothing."""

    def __init__(self, name: str, code: str, message: str) -> None:
        self._name = name
        self._code = code
        self._message = message

    @property
    def name(self) -> str:
        return self._name

    async def request(self, request: ModelRequest) -> ModelAnswer:
        raise self._refusal()

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        raise self._refusal()
        yield ""  # makes it a generator, as the port has it

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
        raise self._refusal()

    def price(self, model: str) -> Price | None:
        return FREE

    def count(self, request: ModelRequest) -> int:
        return 0

    def _refusal(self) -> ProviderError:
        return ProviderError(self._message, code=self._code, retryable=False, sent=False)


class _NotBuilt(_Refusing):
    def __init__(self, name: str) -> None:
        super().__init__(
            name,
            "not_built",
            f"The provider {name!r} is not built yet. Use openai, azure, mistral or ollama, or set "
            f"HEADGATE_PROVIDER_{name.upper()}_BASE_URL (and …_API_KEY) to an address of it that speaks "
            "OpenAI's chat API.",
        )


def _no_address(name: str, variable: str) -> str:
    return f"{name} was not asked: there is no address for it. Set {variable} in the environment."
