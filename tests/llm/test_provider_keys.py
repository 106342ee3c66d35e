"""A provider's key reaches the provider, and no text, log line or error."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.llm.every_provider import EVERY, QUESTION, slow
from tests.llm.fakes.rigs import KEY, KINDS, Kind, rig_of
from tests.llm.fakes.server import json_reply
from tests.llm.fakes.tls import server_context

from headgate.llm.provider_settings import VENDORS
from headgate.llm.registry import build_providers, close_providers
from headgate.ports import ProviderError
from headgate.testing.provider_bad_input import unreachable
from headgate.testing.provider_rig import Said, request_of

TOLD = (
    "{key}",
    "Incorrect API key provided: {key}.",
    'Bearer {key}", "x',
    "https://host/v1?key={key}&x=1",
    "x{key}x{key}",
)


@slow
@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS.values() if KEY in str(kind.environment(""))], ids=lambda kind: kind.name
)
def test_a_key_is_nowhere_in_errors_or_logs(kind: Kind, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)

    async def kept() -> list[str]:
        shown: list[str] = []
        async with rig_of(kind) as rig:
            for told in TOLD:
                text = told.format(key=KEY)
                for status in (400, 401, 429, 500):
                    error = {"message": text, "type": text, "code": text, "status": text, "details": [{"reason": text}]}
                    headers = {"x-amzn-errortype": text.replace('"', "").replace("\n", "")}
                    rig.server.will(json_reply({"error": error, "message": text}, status=status, headers=headers))
                    shown.append(await shown_of(rig.provider.request(request_of(rig))))
                rig.server.will(json_reply(text))
                shown.append(await shown_of(rig.provider.request(request_of(rig))))
            rig.will_say(Said(), streamed=True)
            async for _ in rig.provider.stream(request_of(rig)):
                pass
            shown += [repr(rig.provider), str(rig.provider)]
        return shown

    shown = asyncio.run(kept())

    assert not [text for text in shown if KEY in text]
    assert not [record.getMessage()[:200] for record in caplog.records if KEY in record.getMessage()]


async def shown_of(call: Any) -> str:
    """Return everything that a failed call shows of itself."""
    with pytest.raises(ProviderError) as caught:
        await call
    error = caught.value
    return f"{error!r} {error} {vars(error)} {''.join(traceback.format_exception(error))}"


@slow
def test_amazons_token_is_sent_as_it_is_and_never_seen(
    caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    caplog.set_level(logging.DEBUG)
    tls = server_context(tmp_path)  # AWS's SDK sends a token by HTTPS only
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    with_token = KINDS["bedrock"]._replace(
        environment=lambda url: {
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": url,
            "AWS_REGION": "eu-central-1",
            "AWS_BEARER_TOKEN_BEDROCK": KEY,
        }
    )

    async def kept() -> tuple[str, str]:
        async with rig_of(with_token, tls) as rig:
            rig.will_say(Said(), streamed=False)
            answer = await rig.provider.request(request_of(rig))
            return rig.server.requests[0].headers["authorization"], answer.content

    sent, content = asyncio.run(kept())

    assert (sent, content) == (f"Bearer {KEY}", "384,400 km")
    assert not [record.getMessage()[:200] for record in caplog.records if KEY in record.getMessage()]


@slow
@EVERY
def test_a_certificate_that_nobody_has_signed_is_not_trusted(kind: Kind, tmp_path: Path):
    async def kept() -> tuple[ProviderError, int]:
        async with rig_of(kind, server_context(tmp_path)) as rig:
            error = await unreachable(rig, rig.server.url)
            return error, len(rig.asked)

    error, asked = asyncio.run(kept())

    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    assert asked == 0


def test_a_request_to_amazon_is_signed_by_its_own_rules():
    async def kept() -> str:
        async with rig_of(KINDS["bedrock"]) as rig:
            rig.will_say(Said(), streamed=False)
            await rig.provider.request(request_of(rig))
            return rig.server.requests[0].headers["authorization"]

    sent = asyncio.run(kept())

    assert sent.startswith(f"AWS4-HMAC-SHA256 Credential=ID{KEY}/")
    assert "/eu-central-1/bedrock/aws4_request" in sent
    assert "Signature=" in sent


def test_bedrock_without_a_region_says_so():
    files = {"AWS_CONFIG_FILE": "/nowhere", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere"}

    error = refused_by("bedrock", {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", **files})

    assert (error.kind, error.sent) == ("missing_address", False)
    assert "AWS_REGION" in str(error)


@pytest.mark.parametrize("name", ["openai", "anthropic", "google"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(name: str):
    error = refused_by(name, {VENDORS[name].api_key[0]: "sk-ключ-секрет"})

    assert (error.kind, error.sent) == ("missing_key", False)
    assert "ключ" not in str(error)


def refused_by(name: str, environment: Mapping[str, str]) -> ProviderError:
    async def call() -> ProviderError:
        providers = build_providers(environment)
        with pytest.raises(ProviderError) as caught:
            await providers[name].request(QUESTION)
        await close_providers(providers)
        return caught.value

    return asyncio.run(call())
