"""`headgate doctor` asks providers: who takes the key, and what is missing."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from tests.cli.doctor.doctoring import KEY, Doctor, Provider

from headgate.cli import exit_codes
from headgate.cli.doctor_models import ADDRESSES

# --- The list: free, and enough to know address and key ---------------------------------------------------------------


def test_a_provider_that_takes_the_key_is_good_and_nothing_is_called(doctor: Doctor, provider: Provider):
    provider.key = KEY

    findings = doctor(OPENAI_BASE_URL=f"{provider.url}/v1", OPENAI_API_KEY=KEY)

    openai = findings["openai"]
    assert (openai["status"], openai["problem"], doctor.code) == ("good", "", 0)
    assert "with 4 models" in openai["text"]
    assert openai["milliseconds"] >= 0
    assert provider.asked == ["GET /v1/models"]


def test_before_it_calls_it_says_which_model_and_for_how_much(doctor: Doctor, provider: Provider):
    findings = doctor(OPENAI_BASE_URL=f"{provider.url}/v1", OPENAI_API_KEY=KEY)

    assert "`--call` asks gpt-5-nano for $0.0000" in findings["openai"]["text"]
    assert provider.bodies == []


def test_a_key_that_is_refused_is_bad_and_its_variable_is_named(doctor: Doctor, provider: Provider):
    provider.key = "another"

    findings = doctor(OPENAI_BASE_URL=f"{provider.url}/v1", OPENAI_API_KEY=KEY)

    openai = findings["openai"]
    assert (openai["status"], openai["problem"]) == ("bad", "authentication")
    assert "refuses the key (401): is OPENAI_API_KEY right" in openai["text"]
    assert doctor.code == exit_codes.UNAVAILABLE


def test_where_nobody_listens_the_address_is_named(doctor: Doctor, closed: str):
    findings = doctor(MISTRAL_BASE_URL=f"{closed}/v1", MISTRAL_API_KEY=KEY)

    assert (findings["mistral"]["status"], findings["mistral"]["problem"]) == ("bad", "connection_failed")
    assert closed.removeprefix("http://") in findings["mistral"]["text"]
    assert doctor.code == exit_codes.UNAVAILABLE


def test_who_is_silent_is_given_up_in_time(doctor: Doctor, provider: Provider):
    provider.silent.clear()

    findings = doctor("--timeout", "0.1", OPENAI_BASE_URL=provider.url, OPENAI_API_KEY=KEY)

    assert (findings["openai"]["status"], findings["openai"]["problem"]) == ("bad", "timed_out")
    assert "no answer within 0.1 s" in findings["openai"]["text"]


def test_providers_are_asked_side_by_side(doctor: Doctor, provider: Provider):
    provider.barrier = threading.Barrier(3)  # nobody is answered before all three have asked

    findings = doctor(
        "--timeout",
        "15",
        OPENAI_BASE_URL=f"{provider.url}/a",
        OPENAI_API_KEY=KEY,
        MISTRAL_BASE_URL=f"{provider.url}/b",
        MISTRAL_API_KEY=KEY,
        HEADGATE_PROVIDER_ACME_BASE_URL=f"{provider.url}/c",
    )

    assert [findings[name]["status"] for name in ("openai", "mistral", "acme")] == ["good"] * 3
    assert sorted(provider.asked) == ["GET /a/models", "GET /b/models", "GET /c/models"]


@pytest.mark.parametrize(
    ("status", "body", "verdict", "problem", "said"),
    [
        (429, {}, "note", "rate_limited", "lets nobody through now"),
        (503, {}, "bad", "provider_unavailable", "in trouble itself (503)"),
        (302, {}, "bad", "misconfigured", "is its base URL right?"),
        (200, b"<html>Welcome</html>", "bad", "malformed_response", "no list of models"),
        (200, {"data": "none"}, "bad", "malformed_response", "no list of models"),
        (404, {}, "note", "not_found", "has no list of models (404)"),
    ],
)
def test_each_other_answer_has_its_name(
    status: int, body: Any, verdict: str, problem: str, said: str, doctor: Doctor, provider: Provider
):
    provider.answers["/models"] = (status, body)

    acme = doctor(HEADGATE_PROVIDER_ACME_BASE_URL=provider.url)["acme"]

    assert (acme["status"], acme["problem"]) == (verdict, problem)
    assert said in acme["text"]


def test_a_key_that_no_header_can_carry_is_not_sent(doctor: Doctor, provider: Provider):
    findings = doctor(OPENAI_BASE_URL=provider.url, OPENAI_API_KEY=f"{KEY}\u2026")

    assert findings["openai"]["problem"] == "missing_key"
    assert provider.asked == []


def test_a_password_in_an_address_is_not_shown(doctor: Doctor, provider: Provider, closed: str):
    with_password = f"http://me:{KEY}@127.0.0.1:"

    findings = doctor(
        HEADGATE_PROVIDER_ACME_BASE_URL=f"{with_password}{provider.server_port}",
        HEADGATE_PROVIDER_GONE_BASE_URL=f"{with_password}{closed.rpartition(':')[2]}",
        HEADGATE_PROVIDER_ODD_BASE_URL=f"{with_password}port",
    )

    assert [findings[name]["problem"] for name in ("acme", "gone", "odd")] == ["", "connection_failed", "misconfigured"]


# --- What is missing --------------------------------------------------------------------------------------------------


def test_who_is_not_configured_is_only_noted_with_the_variables_to_set(doctor: Doctor):
    findings = doctor()

    assert [findings[name]["status"] for name in ("openai", "mistral", "azure", "ollama")] == ["note"] * 4
    assert findings["openai"]["missing"] == ["OPENAI_API_KEY"]
    assert findings["azure"]["missing"] == ["AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"]
    assert doctor.code == 0


def test_half_a_configuration_is_bad_and_the_other_half_is_named(doctor: Doctor):
    findings = doctor(AZURE_OPENAI_API_KEY=KEY, HEADGATE_PROVIDER_ACME_API_KEY=KEY)

    assert (findings["azure"]["problem"], findings["azure"]["missing"]) == (
        "missing_address",
        ["AZURE_OPENAI_ENDPOINT"],
    )
    assert findings["acme"]["missing"] == ["HEADGATE_PROVIDER_ACME_BASE_URL"]
    assert doctor.code == exit_codes.UNAVAILABLE


def test_one_of_your_own_that_wants_a_key_has_its_variable_named(doctor: Doctor, provider: Provider):
    provider.key = "wanted"

    acme = doctor(HEADGATE_PROVIDER_ACME_BASE_URL=provider.url)["acme"]

    assert (acme["problem"], acme["missing"]) == ("authentication", ["HEADGATE_PROVIDER_ACME_API_KEY"])


def test_ollama_is_found_where_it_usually_is(doctor: Doctor, provider: Provider, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(ADDRESSES, "ollama", provider.url)

    findings = doctor()

    assert findings["ollama"]["status"] == "good"
    assert provider.asked == ["GET /v1/models"]


def test_ollama_is_missed_only_where_somebody_named_its_address(doctor: Doctor, closed: str):
    assert doctor()["ollama"]["status"] == "note"
    assert doctor(OLLAMA_BASE_URL=closed)["ollama"]["status"] == "bad"


def test_offline_nobody_is_asked(doctor: Doctor, provider: Provider, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(ADDRESSES, "ollama", provider.url)

    findings = doctor("--offline", "--call", OPENAI_BASE_URL=provider.url, OPENAI_API_KEY=KEY)

    assert findings["openai"]["text"] == "configured, not tried (--offline)"
    assert provider.asked == []
