"""The providers of models as `headgate doctor` tries them: is the key there, does the address answer, is the key taken.

Asking a provider for the list of its models proves address and key and costs nothing. Only a call proves that a model
answers; that costs something, so it is made on demand only, and as every other through the gate: in an engine over a
log in memory, which goes with it. What a provider says of itself is not shown, for some repeat the key in it.
"""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, urlsplit

import msgspec

if TYPE_CHECKING:
    import httpx2

    from headgate.core.values import Price
    from headgate.llm.provider_settings import ProviderSettings
    from headgate.ports import ModelProvider, ModelRequest

__all__ = [
    "ADDRESSES",
    "Called",
    "Door",
    "Listing",
    "call_models",
    "cheapest",
    "doors",
    "list_models",
    "nearest",
    "worst_case",
]

ADDRESSES = {
    "openai": "https://api.openai.com/v1",
    "mistral": "https://api.mistral.ai/v1",
    "ollama": "http://localhost:11434",
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
}
"""Where a vendor is asked when the environment does not say; a test keeps them those of calls."""
LIST_BYTES_MAX = 8 * 1024 * 1024
MODELS_MAX = 20_000
CALL_TOKENS_MAX = 16
"""Some models refuse a call that leaves them less."""
PROMPT = "Answer with the word: ok"
LISTLESS = frozenset({404, 405, 501})
CALL = """
name: doctor
inputs: {model: string, prompt: string, max_tokens: integer}
activities:
  ask:
    use: llm_prompt
    retry: 1
    timeout_seconds: %s
    with: {model: "{{ INPUT.model }}", prompt: "{{ INPUT.prompt }}", max_tokens: "{{ INPUT.max_tokens }}"}
"""


class Door(msgspec.Struct, frozen=True, kw_only=True):
    """Where a provider of the environment answers, and with whose key. A repr would show the key: do not print one."""

    name: str
    url: str = ""
    """The address of its list of models."""
    header: str = "Authorization"
    key: str = ""
    key_variable: str = ""
    """Empty: it needs no key."""
    configured: bool = False
    """Somebody set a variable of it."""
    headers: Mapping[str, str] = {}
    """What else goes with each request."""
    missing: tuple[str, ...] = ()
    """Variables without which no call can be made."""
    lists_deployments: bool = True
    """What it lists are the names that calls use (Azure lists models and not what you call your deployments)."""

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc.rpartition("@")[2] or "no address"


class Listing(msgspec.Struct, frozen=True):
    """What came of asking for the list. `problem` is one of the provider codes (`headgate explain`), or empty."""

    problem: str = ""
    status: int = 0
    detail: str = ""
    models: tuple[str, ...] = ()
    milliseconds: int = 0


class Called(msgspec.Struct, frozen=True):
    """What came of a call; `cost` is in nano-dollars."""

    problem: str
    detail: str
    cost: int
    milliseconds: int


# --- Whom the environment names ------------------------------------------------------------------------------------


def doors(environment: Mapping[str, str]) -> dict[str, Door]:
    """Return the doors by provider, as `build_providers` would lead through them; no network is used.

    Raises `Invalid` for headers or a timeout of a provider that are none.
    """
    from headgate.llm.provider_settings import own_names

    settings = {name: value.strip() for name, value in environment.items() if value.strip()}
    found = [
        _vendor("openai", settings, "/models"),
        _vendor("mistral", settings, "/models"),
        _vendor("anthropic", settings, "/v1/models?limit=1000", "x-api-key", {"anthropic-version": "2023-06-01"}),
        _vendor("google", settings, "/v1beta/models?pageSize=1000", "x-goog-api-key"),
        _azure(settings),
        _ollama(settings),
        *(_own(name, settings) for name in own_names(settings)),
    ]
    return {door.name: door for door in found}


def _vendor(
    name: str,
    settings: Mapping[str, str],
    path: str,
    header: str = "Authorization",
    headers: Mapping[str, str] | None = None,
) -> Door:
    known, own, address = _settings(name, settings)
    key = known.key_variable.rpartition(" or ")[2]
    versioned = path.partition("/models")[0]
    return Door(
        name=name,
        url=f"{address.rstrip('/').removesuffix(versioned or '/')}{path}",
        header=header,
        headers={**(headers or {}), **known.headers},
        key=known.api_key,
        key_variable=key,
        configured=own or bool(known.api_key),
        missing=() if known.api_key else (key,),
    )


def _settings(name: str, settings: Mapping[str, str]) -> tuple[ProviderSettings, bool, str]:
    """Return what is set, whether the address is, and where to ask."""
    from headgate.llm.provider_settings import VENDORS, read_settings

    known = read_settings(name, settings)
    own = known.base_url != VENDORS[name].default
    return known, own, known.base_url if own else ADDRESSES.get(name, "")


def _azure(settings: Mapping[str, str]) -> Door:
    known, own, address = _settings("azure", settings)
    endpoint, version = address.rstrip("/"), settings.get("AZURE_OPENAI_API_VERSION", "")
    if version and version not in ("v1", "preview"):
        url = f"{endpoint}/openai/models?api-version={quote(version, safe='')}"
    else:
        url = f"{endpoint if endpoint.endswith('/v1') else f'{endpoint}/openai/v1'}/models"
    return Door(
        name="azure",
        url=url if endpoint else "",
        header="api-key",
        headers=known.headers,
        key=known.api_key,
        key_variable=known.key_variable,
        configured=own or bool(known.api_key),
        missing=(
            *(() if endpoint else ("AZURE_OPENAI_ENDPOINT",)),
            *(() if known.api_key else ("AZURE_OPENAI_API_KEY",)),
        ),
        lists_deployments=False,
    )


def _ollama(settings: Mapping[str, str]) -> Door:
    known, own, address = _settings("ollama", settings)
    return Door(name="ollama", url=_compatible("ollama", address), headers=known.headers, configured=own)


def _own(name: str, settings: Mapping[str, str]) -> Door:
    from headgate.llm.provider_settings import read_settings

    known = read_settings(name, settings)
    return Door(
        name=name,
        url=_compatible(name, known.base_url) if known.base_url else "",
        headers=known.headers,
        key=known.api_key,
        key_variable=known.key_variable,
        configured=True,
        missing=() if known.base_url else (f"HEADGATE_PROVIDER_{name.upper()}_BASE_URL",),
    )


def _compatible(name: str, url: str) -> str:
    url = url.rstrip("/")
    return f"{url}/models" if name != "ollama" or url.endswith("/v1") else f"{url}/v1/models"


# --- Asking for the list -------------------------------------------------------------------------------------------


async def list_models(asked: Sequence[Door], seconds: float) -> dict[str, Listing]:
    """Ask all of them side by side, each for `seconds` at most. Raises for nothing that they do; costs nothing."""
    import httpx2

    async with httpx2.AsyncClient(timeout=httpx2.Timeout(None), headers={"User-Agent": "headgate"}) as client:
        listings = await asyncio.gather(*(_list(door, client, seconds) for door in asked))
    return {door.name: listing for door, listing in zip(asked, listings, strict=True)}


async def _list(door: Door, client: httpx2.AsyncClient, seconds: float) -> Listing:
    import httpx2

    if not (door.key.isascii() and door.key.isprintable()):
        return Listing("missing_key", detail=f"{door.key_variable} holds characters that no HTTP header can carry")
    began = time.perf_counter()
    try:
        async with asyncio.timeout(seconds):
            listing = await _ask(door, client)
    except (TimeoutError, httpx2.TimeoutException):
        listing = Listing("timed_out", detail=f"no answer within {seconds:g} s")
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError):
        # Their texts quote what they dislike, which may be the key.
        listing = Listing("misconfigured", detail="its base URL is no address that HTTP can be spoken with")
    except httpx2.ConnectError as error:
        listing = Listing("connection_failed", detail=f"not reachable: {error}")
    except httpx2.HTTPError as error:
        listing = Listing("connection_failed", detail=f"broke off ({type(error).__name__})")
    return msgspec.structs.replace(listing, milliseconds=_since(began))


async def _ask(door: Door, client: httpx2.AsyncClient) -> Listing:
    from headgate.llm.refusals import code_of_status

    value = f"Bearer {door.key}" if door.header == "Authorization" else door.key
    headers = {**door.headers, **({door.header: value} if door.key else {})}
    async with client.stream("GET", door.url, headers=headers) as response:
        if response.status_code in LISTLESS:
            return Listing("not_found", response.status_code)
        if not response.is_success:
            return Listing(code_of_status(response.status_code), response.status_code)
        content = bytearray()
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > LIST_BYTES_MAX:
                return Listing("malformed_response", 200, f"answered with more than {LIST_BYTES_MAX:,} bytes")
    names = _names(bytes(content))
    if names is None:
        return Listing("malformed_response", 200, "answered with something that is no list of models")
    return Listing(models=names)


def _names(content: bytes) -> tuple[str, ...] | None:
    """Return the ids of `{"data": [{"id": …}]}`, of a bare list, or of Google's `{"models": [{"name": …}]}`; None for
    anything else."""
    try:
        said: Any = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return None
    fields = cast("dict[str, object]", said) if isinstance(said, dict) else {}
    entries: object = fields.get("data", fields.get("models")) if fields else said
    if not isinstance(entries, list):
        return None
    told = [cast("dict[str, object]", entry) for entry in entries[:MODELS_MAX] if isinstance(entry, dict)]
    ids = [entry.get("id", entry.get("name")) for entry in told]
    return tuple(name.removeprefix("models/") for name in ids if isinstance(name, str))


# --- Calling -------------------------------------------------------------------------------------------------------


def cheapest(provider: ModelProvider, models: Sequence[str]) -> str:
    """Return the model whose smallest call costs least, of those that are priced and write; else nothing."""
    priced = [
        (price.worst_case(100, CALL_TOKENS_MAX), model)
        for model in models
        if (price := provider.price(model)) is not None and _writes(price, model)
    ]
    return min(priced)[1] if priced else ""


def _writes(price: Price, model: str) -> bool:
    """Models that make vectors have no price for output; those of one's own machine have none at all."""
    return price.output > 0 or (price.id == "free" and "embed" not in model)


def worst_case(provider: ModelProvider, model: str) -> int | None:
    """Return the most that the smallest call can cost, in nano-dollars; None where the model's price is not known."""
    price = provider.price(model)
    return None if price is None else price.worst_case(provider.count(_request(model)), CALL_TOKENS_MAX)


def nearest(model: str, models: Sequence[str]) -> str:
    """Return the name that `model` may have been meant to be, or nothing."""
    return next(iter(difflib.get_close_matches(model, models, n=1, cutoff=0.5)), "")


def _request(model: str) -> ModelRequest:
    from headgate.ports import Message, ModelRequest

    return ModelRequest(model=model, messages=(Message("user", PROMPT),), max_tokens=CALL_TOKENS_MAX)


async def call_models(
    names: Sequence[str], providers: Mapping[str, ModelProvider], seconds: float
) -> dict[str, Called]:
    """Make one call to each of the models ("provider/model"), side by side, and wait `seconds` for each at most."""
    from headgate.app import App
    from headgate.stores.memory import MemoryLog

    async with App(MemoryLog(), providers=providers, environment={}) as app:
        called = await asyncio.gather(*(_call(app, name, seconds) for name in names))
    return dict(zip(names, called, strict=True))


async def _call(app: Any, name: str, seconds: float) -> Called:
    from headgate.ports import StartRequest

    asked = {"model": name, "prompt": PROMPT, "max_tokens": CALL_TOKENS_MAX}
    began = time.perf_counter()
    run = await app.desk.start(StartRequest(definition=CALL % f"{seconds:g}", input=asked))
    async for _ in app.desk.watch(run.id):
        pass  # until it has ended
    view = await app.desk.show(run.id)
    return Called(view.error_code, view.error, view.cost, _since(began))


def _since(began: float) -> int:
    return round((time.perf_counter() - began) * 1_000)
