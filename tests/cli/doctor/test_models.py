"""`headgate doctor` on models, and by which doors it asks of them."""

from __future__ import annotations

import pytest
from tests.cli.doctor.doctoring import KEY, Doctor, Provider

from headgate.cli import doctor_providers, exit_codes
from headgate.cli.doctor_models import ADDRESSES, doors
from headgate.llm import registry
from headgate.llm.provider_settings import VENDORS

# --- Models -----------------------------------------------------------------------------------------------------------


def test_a_model_that_is_not_listed_is_bad_and_the_nearest_is_named(doctor: Doctor, provider: Provider):
    findings = doctor(
        "--model", "openai/gpt-5-nono", "--model", "openai/gpt-5", OPENAI_BASE_URL=provider.url, OPENAI_API_KEY=KEY
    )

    assert findings["openai/gpt-5"]["status"] == "good"
    assert findings["openai/gpt-5-nono"]["problem"] == "not_found"
    assert "did you mean openai/gpt-5-nano?" in findings["openai/gpt-5-nono"]["text"]


def test_a_model_of_nobody_is_refused_before_anybody_is_asked(doctor: Doctor, provider: Provider):
    code = doctor.exit_code("doctor", "--model", "acmee/x")

    assert code == exit_codes.INVALID


def test_a_call_goes_to_the_cheapest_model_that_writes_and_says_what_it_cost(doctor: Doctor, provider: Provider):
    findings = doctor("--call", OPENAI_BASE_URL=f"{provider.url}/v1", OPENAI_API_KEY=KEY)

    called = findings["openai/gpt-5-nano"]
    assert called["status"] == "good"
    assert "for $0.0000018" in called["text"]  # 20 tokens at 0.05 and 2 at 0.40 dollars a million
    assert provider.asked == ["GET /v1/models", "POST /v1/chat/completions"]
    assert (provider.bodies[0]["model"], provider.bodies[0]["max_completion_tokens"]) == ("gpt-5-nano", 16)


@pytest.mark.parametrize(
    ("status", "problem"),
    [(404, "not_found"), (401, "authentication"), (400, "invalid_request"), (429, "rate_limited")],
)
def test_a_call_that_fails_says_why_and_is_made_once(status: int, problem: str, doctor: Doctor, provider: Provider):
    provider.answers["/chat/completions"] = (status, {"error": {"message": f"no, {KEY}"}})

    findings = doctor(
        "--call", "--model", "acme/m", HEADGATE_PROVIDER_ACME_BASE_URL=provider.url, HEADGATE_PROVIDER_ACME_API_KEY=KEY
    )

    assert (findings["acme/m"]["status"], len(provider.bodies)) == ("bad", 1)
    assert findings["acme/m"]["problem"] == problem
    assert doctor.code == exit_codes.UNAVAILABLE


def test_a_provider_without_a_list_is_called_when_a_model_of_it_is_named(doctor: Doctor, provider: Provider):
    provider.answers["/models"] = (404, {})

    noted = doctor("--model", "acme/m", HEADGATE_PROVIDER_ACME_BASE_URL=provider.url)
    called = doctor("--model", "acme/m", "--call")

    assert "`--call --model acme/m` tries one for a price that is not known" in noted["acme"]["text"]
    assert called["acme/m"]["status"] == "good"
    assert len(provider.bodies) == 1


# --- The doors are those that calls go through ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "variables"),
    [
        ("openai", {"OPENAI_BASE_URL": "@/v1/", "OPENAI_API_KEY": KEY}),
        ("mistral", {"MISTRAL_BASE_URL": "@/v1", "MISTRAL_API_KEY": KEY}),
        ("azure", {"AZURE_OPENAI_ENDPOINT": "@/", "AZURE_OPENAI_API_KEY": KEY}),
        ("acme", {"HEADGATE_PROVIDER_ACME_BASE_URL": "@/api/v3/", "HEADGATE_PROVIDER_ACME_API_KEY": KEY}),
        ("ollama", {"OLLAMA_BASE_URL": "@"}),
        ("openai", {"HEADGATE_PROVIDER_OPENAI_BASE_URL": "@/mine", "OPENAI_API_KEY": "not this one"}),
    ],
)
def test_the_list_is_asked_for_where_and_as_calls_are_made(
    name: str, variables: dict[str, str], doctor: Doctor, provider: Provider
):
    provider.key = "" if name == "ollama" or "HEADGATE_PROVIDER_OPENAI_BASE_URL" in variables else KEY

    findings = doctor(
        "--call", "--model", f"{name}/m", **{key: value.replace("@", provider.url) for key, value in variables.items()}
    )

    listed, called = provider.asked
    assert findings[name]["status"] == "good"
    assert findings[f"{name}/m"]["status"] == "good"
    assert provider.keys[0] == provider.keys[1]
    assert listed.removeprefix("GET ").removesuffix("/models") == called.removeprefix("POST ").removesuffix(
        "/chat/completions"
    )


def test_anthropic_and_google_are_asked_for_their_lists_in_their_own_words(doctor: Doctor, provider: Provider):
    provider.answers = {
        "/v1/models": (200, {"data": [{"id": "claude-haiku-4-5", "type": "model"}]}),
        "/v1beta/models": (200, {"models": [{"name": "models/gemini-2.5-flash"}]}),
    }

    findings = doctor(
        "--model",
        "google/gemini-2.5-flash",
        "--model",
        "anthropic/claude-haiku-4-6",
        ANTHROPIC_BASE_URL=provider.url,
        ANTHROPIC_API_KEY=KEY,
        HEADGATE_PROVIDER_ANTHROPIC_HEADERS='{"x-team": "blue"}',
        GOOGLE_BASE_URL=f"{provider.url}/v1beta",
        GEMINI_API_KEY=KEY,
    )

    assert sorted(provider.asked) == ["GET /v1/models?limit=1000", "GET /v1beta/models?pageSize=1000"]
    assert sorted(provider.keys) == [f"x-api-key: {KEY} x-team: blue", f"x-goog-api-key: {KEY}"]
    assert (findings["anthropic"]["status"], findings["google"]["status"]) == ("good", "good")
    assert findings["google/gemini-2.5-flash"]["text"] == "is listed"
    assert "did you mean anthropic/claude-haiku-4-5?" in findings["anthropic/claude-haiku-4-6"]["text"]


def test_bedrock_says_whose_credentials_it_would_use(doctor: Doctor, monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    nobody = doctor("--offline")["bedrock"]["text"]
    monkeypatch.setattr(doctor_providers, "find_spec", lambda name: None)
    without_chain = doctor("--offline", AWS_REGION="eu-central-1")["bedrock"]["text"]
    somebody = doctor("--offline", AWS_REGION="eu-central-1", AWS_BEARER_TOKEN_BEDROCK=KEY)["bedrock"]["text"]

    assert "set AWS_REGION" in nobody
    assert without_chain.startswith("credentials of AWS’s files (its chain needs botocore) in eu-central-1")
    assert somebody.startswith("AWS_BEARER_TOKEN_BEDROCK in eu-central-1")


def test_a_dated_version_of_azure_stands_in_the_address():
    found = doors(
        {"AZURE_OPENAI_ENDPOINT": "https://x", "AZURE_OPENAI_API_KEY": "k", "AZURE_OPENAI_API_VERSION": "2024"}
    )

    assert found["azure"].url == "https://x/openai/models?api-version=2024"


def test_where_nothing_is_said_the_addresses_are_those_of_calls(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()

    assert {name: vendor.default for name, vendor in VENDORS.items() if vendor.default} == ADDRESSES


def test_each_vendor_that_can_be_called_has_a_door():
    vendors = set(registry.build_providers({})) - {"demo", "bedrock"}  # Bedrock has its list at another address

    assert vendors <= set(doors({}))
