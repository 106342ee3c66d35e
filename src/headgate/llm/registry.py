"""The model providers of a process, from its environment: which names there are, where they lead, whose key.

Building the registry costs nothing: a provider is made when its name is first looked up, and what it needs is
imported then, or with its first call. A provider without its key is there all the same, and its calls say which
variable to set.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from headgate.core.values import Price
from headgate.llm.prices import FREE
from headgate.llm.provider_settings import VENDORS, ProviderSettings, own_names, read_settings
from headgate.ports import EmbeddingAnswer, ModelAnswer, ModelProvider, ModelRequest, ProviderError

if TYPE_CHECKING:
    from headgate.llm.scripted import ScriptedProvider
    from headgate.llm.token_factors import TokenFactors

__all__ = ["build_providers", "close_providers", "configured"]

KEYED_MAX = 1_000
"""Providers with keys of tenants that are kept ready; the one used longest ago is let go."""
KEYLESS = frozenset({"demo", "scripted"})

_Build = Callable[[], ModelProvider]


def build_providers(
    environment: Mapping[str, str],
    *,
    scripted: ScriptedProvider | None = None,
    base_urls: Mapping[str, str] | None = None,
    demo_pace_seconds: float = 0.0,
    offline: bool = False,
    demo: bool = True,
    prices: Mapping[str, Price] | None = None,
    factors: TokenFactors | None = None,
) -> Mapping[str, ModelProvider]:
    """Return the providers by name; with `factors`, those of vendors estimate by them, and teach them.

    `demo` unless it is left out, `scripted` where given, and unless `offline` the vendors and every
    `HEADGATE_PROVIDER_<NAME>_BASE_URL` (with `…_API_KEY`) of `environment`, under its name in lower case.
    `base_urls` (by provider) win over the environment, `prices` (by "provider/model") over the table. Raises
    `Invalid` for an environment that names a provider `demo` or `scripted`, or sets headers or a timeout that are none.
    """
    settings = {name: value.strip() for name, value in environment.items() if value.strip()}
    own = {} if prices is None else prices  # an empty price book still has its list

    def make(known: ProviderSettings) -> ModelProvider:
        made = _MAKERS.get(known.name, _compatible)(known, own, settings)
        return made if factors is None else _learning(made, factors)

    vendors = () if offline else (*VENDORS, *own_names(settings))
    known = {name: read_settings(name, settings, base_url=(base_urls or {}).get(name, "")) for name in vendors}
    builds: dict[str, _Build] = {name: partial(make, one) for name, one in known.items()}
    if demo:
        builds["demo"] = partial(_demo, demo_pace_seconds)
    if scripted is not None:
        builds["scripted"] = lambda: scripted
    return _Providers(builds, known, make)


def configured(providers: Mapping[str, ModelProvider]) -> list[str]:
    """Return the providers that can be asked with what the environment says: those that take no key, or have one."""
    lacks_key = providers.lacks_key if isinstance(providers, _Providers) else lambda _: False
    return sorted(name for name in providers if not lacks_key(name))


async def close_providers(providers: Mapping[str, ModelProvider]) -> None:
    """Close the running loop's connections of every provider that was used. Harmless when repeated."""
    made = providers.made() if isinstance(providers, _Providers) else list(providers.values())
    for provider in made:
        close = getattr(provider, "close", None)
        if close is not None:
            await close()


class _Providers(Mapping[str, ModelProvider]):
    """Providers that are made when they are first looked up, and then stay. `ports.HasKeys`."""

    def __init__(
        self,
        builds: dict[str, _Build],
        known: Mapping[str, ProviderSettings],
        make: Callable[[ProviderSettings], ModelProvider],
    ) -> None:
        self._builds = builds
        self._known = known
        self._make = make
        self._made: dict[str, ModelProvider] = {}
        self._keyed: OrderedDict[tuple[str, str, str], ModelProvider] = OrderedDict()
        """By name, account and a digest of the key."""

    def keyed(self, keys: Mapping[str, str], *, account: str, only: bool) -> Mapping[str, ModelProvider]:
        return _Keyed(self, keys, account, only=only)

    def with_key(self, name: str, key: str, account: str) -> ModelProvider:
        """Return the provider with another key. Raises `KeyError` for one that takes none."""
        kept = (name, account, hashlib.sha256(key.encode()).hexdigest())
        made = self._keyed.get(kept)
        if made is None:
            known = msgspec.structs.replace(self._known[name], api_key=key, account=account)
            made = self._keyed[kept] = self._make(known)
            if len(self._keyed) > KEYED_MAX:
                self._keyed.popitem(last=False)
        self._keyed.move_to_end(kept)
        return made

    def lacks_key(self, name: str) -> bool:
        """Whether calls of this provider would fail for want of a key of this process."""
        known = self._known.get(name)
        return known is not None and bool(known.key_variable) and not known.api_key

    def needs_key(self, name: str) -> bool:
        known = self._known.get(name)
        return known is not None and bool(known.key_variable or known.api_key)

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
        return [*self._made.values(), *self._keyed.values()]


class _Keyed(Mapping[str, ModelProvider]):
    """The providers of a process as one account calls them."""

    def __init__(self, inner: _Providers, keys: Mapping[str, str], account: str, *, only: bool) -> None:
        self._inner = inner
        self._keys = keys
        self._account = account
        self._only = only

    def __getitem__(self, name: str) -> ModelProvider:
        key = self._keys.get(name)
        if key is not None and name in self._inner and name not in KEYLESS:
            return self._inner.with_key(name, key, self._account)
        if self._only and self._inner.needs_key(name):
            return _Refusing(name, "missing_key", _no_own_key(name, self._account))
        return self._inner[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._inner)

    def __len__(self) -> int:
        return len(self._inner)

    def __contains__(self, name: object) -> bool:
        return name in self._inner


# --- How each is made: imports stand inside, for most processes use one provider or none ----------------


def _learning(made: ModelProvider, factors: TokenFactors) -> ModelProvider:
    from headgate.llm.learning import LearningProvider

    return LearningProvider(made, factors)


def _demo(pace_seconds: float) -> ModelProvider:
    from headgate.llm.demo import DemoProvider

    return DemoProvider(pace_seconds=pace_seconds)


def _openai(known: ProviderSettings, prices: Mapping[str, Price], _: Mapping[str, str]) -> ModelProvider:
    from headgate.llm.openai_compatible import OpenAICompatibleProvider
    from headgate.llm.openai_requests import Dialect
    from headgate.llm.token_estimate import FACTOR_MEASURED

    # OpenAI's reasoning models refuse `max_tokens`; servers that imitate it may know nothing else.
    limit = "max_completion_tokens" if known.base_url.startswith("https://api.openai.com/") else "max_tokens"
    return OpenAICompatibleProvider(
        "openai",
        known.base_url,
        known.api_key,
        key_variable=known.key_variable,
        headers=known.headers,
        timeout_seconds=known.timeout_seconds,
        prices=prices,
        account=known.account,
        token_factor=FACTOR_MEASURED,
        dialect=Dialect(output_limit=limit),
    )


def _azure(known: ProviderSettings, prices: Mapping[str, Price], settings: Mapping[str, str]) -> ModelProvider:
    """Azure's v1 API, or a dated one; the model is the name of the deployment, so its price must be set."""
    from headgate.llm.openai_compatible import OpenAICompatibleProvider
    from headgate.llm.openai_requests import Dialect
    from headgate.llm.token_estimate import FACTOR_MEASURED

    endpoint = known.base_url.rstrip("/")
    if not endpoint:
        return _Refusing("azure", "missing_address", _no_address("azure", "AZURE_OPENAI_ENDPOINT"))
    version = settings.get("AZURE_OPENAI_API_VERSION", "")
    version = "" if version in ("v1", "preview") else version
    v1 = endpoint if endpoint.endswith("/v1") else f"{endpoint}/openai/v1"
    return OpenAICompatibleProvider(
        "azure",
        f"{endpoint}/openai" if version else v1,
        known.api_key,
        key_variable=known.key_variable,
        key_header="api-key",
        headers=known.headers,
        timeout_seconds=known.timeout_seconds,
        prices=prices,
        account=known.account,
        token_factor=FACTOR_MEASURED,
        dialect=Dialect(output_limit="max_completion_tokens"),
        api_version=version,
    )


def _mistral(known: ProviderSettings, prices: Mapping[str, Price], _: Mapping[str, str]) -> ModelProvider:
    from headgate.llm.openai_compatible import OpenAICompatibleProvider
    from headgate.llm.openai_requests import Dialect

    return OpenAICompatibleProvider(
        "mistral",
        known.base_url,
        known.api_key,
        key_variable=known.key_variable,
        headers=known.headers,
        timeout_seconds=known.timeout_seconds,
        prices=prices,
        account=known.account,
        # Mistral reports usage of streams unasked, and answers 422 to `stream_options` and `seed`.
        dialect=Dialect(seed="random_seed", asks_for_usage=False, reasoning=""),
    )


def _compatible(known: ProviderSettings, prices: Mapping[str, Price], _: Mapping[str, str]) -> ModelProvider:
    """Ollama, and every provider that only the environment knows."""
    from headgate.llm.openai_compatible import OpenAICompatibleProvider
    from headgate.llm.openai_requests import Dialect

    url = known.base_url
    if not url:
        variable = f"HEADGATE_PROVIDER_{known.name.upper()}_BASE_URL"
        return _Refusing(known.name, "missing_address", _no_address(known.name, variable))
    if known.name == "ollama" and not url.rstrip("/").endswith("/v1"):
        url = f"{url.rstrip('/')}/v1"
    return OpenAICompatibleProvider(
        known.name,
        url,
        known.api_key,
        headers=known.headers,
        timeout_seconds=known.timeout_seconds,
        prices=prices,
        account=known.account,
        # DeepSeek answers 400 to `json_schema`.
        dialect=Dialect(schema="json_object" if url.startswith("https://api.deepseek.com") else "json_schema"),
    )


def _anthropic(known: ProviderSettings, prices: Mapping[str, Price], _: Mapping[str, str]) -> ModelProvider:
    from headgate.llm.anthropic import Anthropic
    from headgate.llm.http_provider import HttpProvider

    return HttpProvider(Anthropic(known), prices=prices)


def _google(known: ProviderSettings, prices: Mapping[str, Price], _: Mapping[str, str]) -> ModelProvider:
    from headgate.llm.google import Google
    from headgate.llm.http_provider import HttpProvider

    return HttpProvider(Google(known), prices=prices)


def _bedrock(known: ProviderSettings, prices: Mapping[str, Price], settings: Mapping[str, str]) -> ModelProvider:
    from headgate.llm.bedrock import Bedrock
    from headgate.llm.http_provider import HttpProvider

    variables = {name: value for name, value in settings.items() if name.startswith("AWS_")}
    known = msgspec.structs.replace(known, key_variable="")  # without a token, requests are signed
    return HttpProvider(Bedrock(known, variables), prices=prices)


_MAKERS = {
    "openai": _openai,
    "azure": _azure,
    "mistral": _mistral,
    "anthropic": _anthropic,
    "google": _google,
    "bedrock": _bedrock,
}


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


def _no_address(name: str, variable: str) -> str:
    return f"{name} was not asked: there is no address for it. Set {variable} in the environment."


def _no_own_key(name: str, account: str) -> str:
    return (
        f"{name} was not asked: the tenant {account} may not use the keys of the server, and has none of its own. "
        f"Set one with `headgate secret set --tenant {account} provider:{name}`."
    )
