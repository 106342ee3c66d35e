"""What sets providers up: variables, libraries, loops, models."""

from __future__ import annotations

import asyncio
import gc
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.llm.every_provider import EVERY, QUESTION, slow
from tests.llm.fakes.rigs import KINDS, Kind, rig_of
from tests.llm.fakes.server import json_reply

from headgate.activities.targets import targets
from headgate.core.errors import Invalid
from headgate.llm.provider_settings import TIMEOUT_SECONDS, VENDORS, own_names, read_settings
from headgate.llm.registry import build_providers
from headgate.llm.token_factors import TokenFactors
from headgate.ports import ModelRequest, ProviderError
from headgate.testing.provider_rig import Said, request_of

SDKS = ("pydantic_ai", "openai", "anthropic", "google.genai", "boto3", "botocore", "mistralai")


# --- Variables --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VENDORS)
def test_a_vendors_own_variables_are_read_and_headgates_win(name: str):
    vendor = VENDORS[name]
    own = dict.fromkeys(vendor.base_url[:1], "http://own") | {
        variable: f"key-{number}" for number, variable in enumerate(vendor.api_key)
    }
    stem = f"HEADGATE_PROVIDER_{name.upper()}"

    theirs = read_settings(name, own)
    ours = read_settings(name, own | {f"{stem}_BASE_URL": "http://ours", f"{stem}_API_KEY": "our-key"})
    none = read_settings(name, {})

    assert theirs.base_url == "http://own"
    assert theirs.api_key == ("key-0" if vendor.api_key else "")
    assert (ours.base_url, ours.api_key, ours.key_variable) == ("http://ours", "our-key", f"{stem}_API_KEY")
    assert (none.base_url, none.api_key, none.timeout_seconds) == (vendor.default, "", TIMEOUT_SECONDS)


def test_a_key_has_a_name_that_is_its_own_and_says_nothing_of_it():
    first, again, other = (
        read_settings("openai", {variable: key})
        for variable, key in (
            ("OPENAI_API_KEY", "sk-1"),
            ("HEADGATE_PROVIDER_OPENAI_API_KEY", "sk-1"),
            ("OPENAI_API_KEY", "sk-2"),
        )
    )

    assert first.account == again.account != other.account
    assert re.fullmatch("[0-9a-f]{8}", first.account)
    assert read_settings("openai", {}).account == ""


@pytest.mark.parametrize("name", ["openai", "azure", "mistral", "anthropic", "google", "bedrock", "own"])
def test_a_provider_says_which_key_it_uses(name: str):
    stem = f"HEADGATE_PROVIDER_{name.upper()}"
    environment = {f"{stem}_BASE_URL": "http://there", f"{stem}_API_KEY": "k"}
    providers = build_providers(environment, factors=TokenFactors())

    assert targets([f"{name}/m"], providers, "a")[0].account == read_settings(name, environment).account != ""
    assert targets(["demo/large"], providers, "a")[0].account == ""


def test_what_a_provider_foresees_is_known_where_its_estimates_are_learnt():
    providers = build_providers({"MISTRAL_API_KEY": "k"}, factors=TokenFactors())
    asked = ModelRequest(model="m", messages=QUESTION.messages, reasoning="low", drop_unsupported=False)

    assert providers["mistral"].cannot(asked) == providers["mistral"].inner.cannot(asked) != ""
    assert providers["mistral"].cannot(QUESTION) == ""


def test_google_takes_either_name_of_its_key():
    assert read_settings("google", {"GEMINI_API_KEY": "a"}).api_key == "a"
    assert read_settings("google", {"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": "b"}).api_key == "b"
    assert read_settings("google", {}).key_variable == "GOOGLE_API_KEY or GEMINI_API_KEY"


def test_a_provider_of_ones_own_is_found_by_its_address_or_its_key():
    environment = {
        "HEADGATE_PROVIDER_MY_LAB_BASE_URL": "http://x",
        "HEADGATE_PROVIDER_OTHER_API_KEY": "k",
        "HEADGATE_PROVIDER_ANTHROPIC_API_KEY": "k",
        "HEADGATE_PROVIDER_LAST_TIMEOUT": "3",
    }

    assert own_names(environment) == ["my_lab", "other"]


@pytest.mark.parametrize(
    "value", ["X-Team: blue", "[]", '{"X": 1}', '{"bad name": "x"}', '{"X": "a\\nb"}', '{"X": "é"}', "{'X'"]
)
def test_headers_that_are_none_are_refused_without_showing_them(value: str):
    with pytest.raises(Invalid, match="HEADGATE_PROVIDER_ACME_HEADERS: expected a JSON object") as caught:
        read_settings("acme", {"HEADGATE_PROVIDER_ACME_HEADERS": value})

    assert value not in str(caught.value)


@pytest.mark.parametrize("value", ["soon", "0", "-1", "1e9", "nan", "inf"])
def test_a_timeout_that_is_none_is_refused(value: str):
    with pytest.raises(Invalid, match=r"HEADGATE_PROVIDER_ACME_TIMEOUT: expected seconds, above 0"):
        read_settings("acme", {"HEADGATE_PROVIDER_ACME_TIMEOUT": value})


@slow
@EVERY
def test_headers_of_the_environment_go_with_every_call(kind: Kind):
    async def kept() -> Mapping[str, str]:
        headers = {f"HEADGATE_PROVIDER_{kind.name.upper()}_HEADERS": '{"X-Team": "blue", "X-Token": "secret-of-team"}'}
        async with rig_of(kind, **headers) as rig:
            rig.will_say(Said(), streamed=False)
            await rig.provider.request(request_of(rig))
            rig.server.will(json_reply({"error": {"message": "no secret-of-team"}}, status=400))
            with pytest.raises(ProviderError) as caught:
                await rig.provider.request(request_of(rig))
            assert "secret-of-team" not in str(caught.value)
            return rig.server.requests[0].headers

    seen = asyncio.run(kept())

    assert (seen["x-team"], seen["x-token"]) == ("blue", "secret-of-team")


@slow
@EVERY
def test_the_timeout_of_the_environment_bounds_a_call_that_brings_none(kind: Kind):
    async def kept() -> str:
        async with rig_of(kind, **{f"HEADGATE_PROVIDER_{kind.name.upper()}_TIMEOUT": "0.1"}) as rig:
            rig.will_fall_silent(None)
            with pytest.raises(ProviderError) as caught:
                await rig.provider.request(request_of(rig))
            assert caught.value.kind == "timed_out"
            return str(caught.value)

    assert "within 0.1 s" in asyncio.run(kept())


# --- Libraries --------------------------------------------------------------------------------------------------------


@slow
@EVERY
def test_a_call_imports_no_sdk(kind: Kind):
    program = f"""
import asyncio, sys
sys.modules |= dict.fromkeys({SDKS}, None)  # as if they were not there
from tests.llm.fakes.rigs import KINDS, rig_of
from headgate.testing.provider_rig import Said, request_of

async def ask():
    async with rig_of(KINDS[{kind.name!r}]) as rig:
        rig.will_say(Said(), streamed=False)
        return (await rig.provider.request(request_of(rig))).content

print(asyncio.run(ask()))
"""

    assert output_of(program) == "384,400 km\n"


@slow
@pytest.mark.parametrize("name", ["anthropic", "google", "bedrock"])
def test_looking_a_provider_up_imports_no_http_client(name: str):
    program = (
        "import sys; from headgate.llm.registry import build_providers; "
        f"providers = build_providers({{'{VENDORS[name].api_key[0]}': 'k'}}); providers['{name}'].name; "
        f"print([name for name in ('httpx2', *{SDKS}) if name in sys.modules])"
    )

    assert output_of(program) == "[]\n"


def output_of(program: str) -> str:
    async def run() -> bytes:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program), stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
        )
        return (await process.communicate())[0]

    return asyncio.run(run()).decode()


# --- Loops and models -------------------------------------------------------------------------------------------------


@slow
@pytest.mark.parametrize("name", ["anthropic", "google", "bedrock"])
def test_a_provider_keeps_no_loop_that_has_ended(name: str):
    kind = KINDS[name]
    kept: list[Any] = []

    async def ask() -> None:
        async with rig_of(kind) as rig:
            rig.will_say(Said(), streamed=False)
            provider: Any = kept[0] if kept else rig.provider
            kept[:] = [provider]
            rig.server.will(*[kind.fake.whole(Said())] * 2)
            await rig.provider.request(request_of(rig))
            assert len(rig.provider._loops) == 1  # one client for each

    asyncio.run(ask())
    gc.collect()

    assert len(kept[0]._loops) == 0


@slow
def test_what_a_model_does_not_take_together_is_a_missing_capability():
    tool = {"name": "t", "parameters": {"type": "object", "properties": {}}}

    async def kept() -> tuple[ProviderError, int]:
        async with rig_of(KINDS["google"]) as rig:
            rig.will_say(Said(), streamed=False)
            asked = request_of(rig, tools=(tool,), response_schema={"type": "object", "properties": {}})
            with pytest.raises(ProviderError) as caught:
                await rig.provider.request(asked)
            return caught.value, len(rig.asked)

    error, asked = asyncio.run(kept())

    assert (error.kind, error.sent, asked) == ("missing_capability", False, 0)
    assert "was not asked" in str(error)


@slow
@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("anthropic", "claude-haiku-4-5"),
        ("google", "gemini-2.5-flash"),
        ("bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ],
)
def test_effort_reaches_a_model_that_thinks(name: str, model: str):
    async def kept() -> str:
        async with rig_of(KINDS[name]) as rig:
            rig.will_say(Said(), streamed=False)
            await rig.provider.request(request_of(rig, model=model, reasoning="low", max_tokens=9_000))
            return rig.asked[0]

    body = asyncio.run(kept())

    told = re.search(r'"(?:budget_tokens|thinkingBudget|thinking_budget)": (\d+)', body)
    assert told is not None, body
    assert 0 < int(told[1]) <= 2_048


@slow
@pytest.mark.parametrize(
    ("name", "model"), [("google", "gemini-1.5-flash"), ("bedrock", "mistral.mistral-large-2407-v1:0")]
)
def test_effort_is_refused_by_a_model_that_does_not_think(name: str, model: str):
    async def kept() -> ProviderError:
        async with rig_of(KINDS[name]) as rig:
            rig.will_say(Said(), streamed=False)
            with pytest.raises(ProviderError) as caught:
                await rig.provider.request(request_of(rig, model=model, reasoning="low"))
            return caught.value

    error = asyncio.run(kept())

    assert (error.kind, error.sent) == ("missing_capability", False)
