"""What `headgate doctor` finds out about the providers of models: who is configured, who answers, what is missing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import msgspec

from headgate.cli.doctor_models import (
    Called,
    Door,
    Listing,
    call_models,
    cheapest,
    doors,
    list_models,
    nearest,
    worst_case,
)
from headgate.cli.words import first_line, money, plural
from headgate.core.errors import HeadgateError, Invalid

if TYPE_CHECKING:
    from pathlib import Path

    from headgate.ports import ModelProvider

__all__ = ["Asked", "Finding", "look_at_providers"]

Status = str


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. `status`: good, note (worth knowing) or bad (something will not work)."""

    name: str
    status: Status
    text: str
    problem: str = ""
    """A code of `headgate explain`, where something is missing, refused or not reachable."""
    missing: tuple[str, ...] = ()
    """Variables of the environment that would have to be set."""
    milliseconds: int | None = None
    """How long an answer took."""


class Asked(msgspec.Struct, frozen=True):
    """How providers are to be tried."""

    offline: bool
    call: bool
    models: tuple[str, ...]
    """Models ("provider/model") to look for, or to call."""
    seconds: float


def look_at_providers(asked: Asked, folder: Path) -> Iterator[Finding]:
    """Yield a finding for each provider, and one for each model that was called; `folder` is where prices are set.

    Raises `Invalid` for a model in `asked` that is none of a provider of this environment.
    """
    from headgate.llm.prices import open_prices
    from headgate.llm.registry import build_providers

    try:
        providers = build_providers(os.environ, prices=open_prices(os.environ, folder))
        known = doors(os.environ)
    except HeadgateError as error:
        yield Finding("providers", "bad", error.message)
        return
    _check_names(asked.models, providers)
    listings = {} if asked.offline else asyncio.run(list_models(_to_ask(known, asked), asked.seconds))
    called = _chosen(asked, known, listings, providers) if asked.call and not asked.offline else ()
    for name in sorted(providers):
        if name in known:
            yield from _of_door(known[name], listings.get(name), asked, providers[name])
        elif name == "demo":
            yield Finding(name, "good", "offline, simulated prices")
        elif name == "bedrock":
            yield _bedrock()
        else:
            yield Finding(name, "note", f"has no list to ask for; `--call --model {name}/…` tries one of its models")
    yield from _of_calls(called, providers, asked, known)


def _bedrock() -> Finding:
    """AWS has more places for credentials than the environment, and its list of models at another address."""
    named = [name for name in ("AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID", "AWS_PROFILE") if os.environ.get(name)]
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not named and not region:
        return Finding("bedrock", "note", "no region and no credentials in the environment: set AWS_REGION, and a key")
    further = "credentials of AWS’s files" + (" or chain" if find_spec("botocore") else " (its chain needs botocore)")
    text = f"{named[0] if named else further} in {region or 'the region of its profile'}"
    return Finding("bedrock", "note", f"{text}; has no list to ask for: `--call --model bedrock/…` tries a model")


def _check_names(models: Sequence[str], providers: Mapping[str, ModelProvider]) -> None:
    for name in models:
        provider, _, model = name.partition("/")
        if not model or provider not in providers:
            raise Invalid(
                f"--model: expected provider/model with one of the providers here ({', '.join(sorted(providers))}), "
                f"got {name!r}."
            )


def _to_ask(known: Mapping[str, Door], asked: Asked) -> list[Door]:
    """Return whom to ask: those that are configured and complete; Ollama always, for it may be there unsaid."""
    named = {name.partition("/")[0] for name in asked.models}
    wanted = (door for door in known.values() if door.configured or door.name == "ollama" or door.name in named)
    return [door for door in wanted if not door.missing]


# --- What a list of models says ------------------------------------------------------------------------------------


def _of_door(door: Door, listing: Listing | None, asked: Asked, provider: ModelProvider) -> Iterator[Finding]:
    if door.missing:
        yield _incomplete(door)
    elif asked.offline:
        yield Finding(door.name, "good" if door.configured else "note", _untried(door))
    elif listing is not None:
        yield _answered(door, listing, asked, provider)
        yield from _sought(door, listing, asked)


def _incomplete(door: Door) -> Finding:
    needed = " and ".join(door.missing)
    if not door.configured:
        return Finding(door.name, "note", f"no key: set {needed}", "", door.missing)
    problem = "missing_key" if door.missing == (door.key_variable,) else "missing_address"
    what = "key" if problem == "missing_key" else "address"
    return Finding(door.name, "bad", f"has no {what}: set {needed}", problem, door.missing)


def _untried(door: Door) -> str:
    return (
        "configured, not tried (--offline)" if door.configured else f"not tried (--offline); {door.host} if it is there"
    )


def _answered(door: Door, listing: Listing, asked: Asked, provider: ModelProvider) -> Finding:
    took = listing.milliseconds
    if not listing.problem:
        offer = "" if asked.call else _offer(provider, door, listing)
        text = f"{door.host} answers in {took} ms with {plural(len(listing.models), 'model')}{offer}"
        return Finding(door.name, "good", text, milliseconds=took)
    if listing.problem == "not_found":
        return _without_list(door, listing, asked, provider)
    if not door.configured and listing.problem in ("connection_failed", "timed_out"):
        return Finding(door.name, "note", f"not running at {door.host}; OLLAMA_BASE_URL names another address")
    problem, text = listing.problem, _trouble(door, listing)
    missing = _missing_key(door) if problem == "authentication" else ()
    status = "note" if problem == "rate_limited" else "bad"
    return Finding(door.name, status, text, problem, missing, took)


def _offer(provider: ModelProvider, door: Door, listing: Listing) -> str:
    model = cheapest(provider, listing.models) if door.lists_deployments else ""
    if not model:
        return f"; `--call --model {door.name}/…` asks one"
    return f"; `--call` asks {model} for {_at_most(provider, model)}"


def _at_most(provider: ModelProvider, model: str) -> str:
    most = worst_case(provider, model)
    return "a price that is not known" if most is None else f"{money(most)} at most"


def _without_list(door: Door, listing: Listing, asked: Asked, provider: ModelProvider) -> Finding:
    """The address answers and has no list: that proves neither the key nor the address."""
    models = [name.partition("/")[2] for name in asked.models if name.partition("/")[0] == door.name]
    costs = f" for {_at_most(provider, models[0])}" if models else ""
    text = (
        f"{door.host} has no list of models ({listing.status}): if its base URL is right (it ends before "
        f"/chat/completions), `--call --model {door.name}/{models[0] if models else '…'}` tries one{costs}"
    )
    return Finding(door.name, "note", text, "not_found", milliseconds=listing.milliseconds)


def _trouble(door: Door, listing: Listing) -> str:
    host, status = door.host, listing.status
    match listing.problem:
        case "authentication" if door.key:
            return f"{host} refuses the key ({status}): is {door.key_variable} right, and of this address?"
        case "authentication":
            wanted = " and ".join(_missing_key(door))
            return f"{host} wants a key ({status})" + (f": set {wanted}" if wanted else "")
        case "rate_limited" | "quota_exhausted":
            return f"{host} answers, and lets nobody through now ({status}: too many calls, or none left)"
        case "provider_unavailable":
            return f"{host} is in trouble itself ({status}); try again later"
        case "misconfigured" if status:
            return f"{host} leads elsewhere ({status}): is its base URL right? It ends before /chat/completions"
        case _ if status >= 300:
            return f"{host} refuses to list its models ({status})"
        case _:
            return f"{host}: {listing.detail}"


def _missing_key(door: Door) -> tuple[str, ...]:
    if door.key or door.name == "ollama":
        return ()
    return (door.key_variable or f"HEADGATE_PROVIDER_{door.name.upper()}_API_KEY",)


def _sought(door: Door, listing: Listing, asked: Asked) -> Iterator[Finding]:
    """Say of each model that was named whether the provider lists it."""
    if listing.problem or not door.lists_deployments:
        return
    for name in asked.models:
        provider, _, model = name.partition("/")
        if provider != door.name:
            continue
        if model in listing.models:
            yield Finding(name, "good", "is listed")
        else:
            near = nearest(model, listing.models)
            hint = f"; did you mean {door.name}/{near}?" if near else ""
            yield Finding(
                name,
                "bad",
                f"is not among the {plural(len(listing.models), 'model')} of {door.host}{hint}",
                "not_found",
            )


# --- What a call says ----------------------------------------------------------------------------------------------


def _chosen(
    asked: Asked, known: Mapping[str, Door], listings: Mapping[str, Listing], providers: Mapping[str, ModelProvider]
) -> list[str]:
    """Return the models to call: those that were named, else the cheapest of each provider that listed its own."""
    if asked.models:
        return list(dict.fromkeys(asked.models))
    return [
        f"{name}/{model}"
        for name, listing in listings.items()
        if not listing.problem
        and known[name].lists_deployments
        and (model := cheapest(providers[name], listing.models))
    ]


def _of_calls(
    names: Sequence[str], providers: Mapping[str, ModelProvider], asked: Asked, known: Mapping[str, Door]
) -> Iterator[Finding]:
    if not names:
        return
    for name, called in asyncio.run(call_models(names, providers, asked.seconds)).items():
        took = called.milliseconds
        if not called.problem:
            yield Finding(name, "good", f"answered in {took} ms for {money(called.cost)}", milliseconds=took)
        else:
            door = known.get(name.partition("/")[0])
            yield Finding(name, "bad", _refused(called, door), called.problem, milliseconds=took)


def _refused(called: Called, door: Door | None) -> str:
    """Return why a call failed; where the key was refused, in our words, for theirs may repeat it."""
    if called.problem == "authentication" and door is not None:
        return _trouble(door, Listing("authentication", 401))
    return first_line(called.detail)
