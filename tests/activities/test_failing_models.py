"""What becomes of an attempt whose model fails: another is asked, the same again, or none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from tests.activities.lab import USED, Ledger, Models, Outcome, fails, failure, prompt, says, task

from headgate.core.values import CallError, Failure, PassedOver, RateReport
from headgate.ports import Admission, CallRequest, Denied, ModelAnswer, ModelRequest, ProviderError


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (fails(429, "rate_limited", retryable=True), "never_sent"),
        (fails(500, "provider_unavailable", retryable=True), "never_sent"),
        (fails(0, "timed_out", retryable=True), "lost"),
        (fails(0, "connection_failed", retryable=True), "lost"),
        (fails(0, "connection_failed", retryable=True, sent=False), "never_sent"),
        (fails(200, "malformed_response", retryable=True), "lost"),
        (fails(400, "context_too_long"), "never_sent"),
        (fails(400, "content_filter"), "never_sent"),
        (fails(0, "missing_address", sent=False), "never_sent"),
        (fails(422, "demo_cannot"), "never_sent"),
        (fails(0, "missing_key", sent=False), "never_sent"),
        (
            fails(503, "provider_unavailable", usage=USED),
            msgspec.structs.replace(USED, provider="lab", model="a"),
        ),
    ],
)
def test_a_model_that_cannot_serve_is_settled_and_the_next_one_admitted_anew(error: ProviderError, outcome: Any):
    ledger = Ledger()

    result = prompt(Models({"a": error, "b": says("y")}), ledger, model=["lab/a", "lab/b"])

    assert result["content"] == "y"
    assert [[candidate.model for candidate in asked] for _, asked in ledger.asked] == [
        ["lab/a", "lab/b"],
        ["lab/b"],
    ]
    assert ledger.settled == [
        ("call-1", outcome),
        ("call-2", msgspec.structs.replace(USED, provider="lab", model="b")),
    ]
    assert ledger.logged[0][1]["code"] == error.kind
    assert ledger.passed_over == [PassedOver("lab/a", str(error), error.kind)]
    assert ledger.settlements[0].error == CallError(error.kind, error.status, error.retry_after_seconds)


@pytest.mark.parametrize(
    "error", [fails(401, "authentication"), fails(400, "invalid_request"), fails(404, "not_found")]
)
def test_a_refusal_that_no_other_model_mends_ends_the_attempt(error: ProviderError):
    ledger, models = Ledger(), Models({"a": error, "b": says("y")})

    failed = failure(models, ledger, model=["lab/a", "lab/b"])

    assert (failed.code, failed.retryable) == (error.kind, False)
    assert len(models.requests) == 1
    assert ledger.settled == [("call-1", "never_sent")]


def test_when_all_models_fail_the_attempt_fails_and_any_hope_makes_it_retryable():
    limited = fails(429, "rate_limited", retryable=True, retry_after_seconds=7)
    outcomes: dict[str, Outcome] = {"a": limited, "b": fails(400, "context_too_long")}

    failed = failure(Models(outcomes), Ledger(), model=["lab/a", "lab/b"])

    assert failed == Failure("rate_limited", "lab said 429 (rate_limited). lab said 400 (context_too_long).", True, 7)


def test_a_denial_after_a_failed_model_says_both():
    denied = Denied(Failure("budget_exceeded", "Too dear.", retryable=False))
    ledger = Ledger(admissions=["first", denied])

    failed = failure(Models({"a": fails(500), "b": says("y")}), ledger, model=["lab/a", "lab/b"])

    assert (failed.code, failed.retryable) == ("budget_exceeded", False)
    assert "Too dear. Before that: lab said 500" in failed.message


def test_models_share_the_time_of_the_attempt():
    models = Models({"a": fails(0, "timed_out"), "b": says("y")})

    prompt(models, Ledger(task(timeout_seconds=100.0)), model=["lab/a", "lab/b"])

    first, second = (request.timeout_seconds or 0 for request in models.requests)
    assert 49 < first <= 50
    assert 98 < second <= 100


def test_a_model_is_asked_again_as_often_as_its_entry_says_after_a_pause_that_grows():
    models = Models({"a": fails(500, "provider_unavailable", retryable=True), "b": says("y")})
    ledger = Ledger()

    prompt(models, ledger, model=[{"model": "lab/a", "attempts": 4}, "lab/b"])

    assert [request.model for request in models.requests] == ["a", "a", "a", "a", "b"]
    assert ledger.pauses == [0.0, 0.5, 1.0, 2.0, 0.0]
    assert ledger.passed_over == [PassedOver("lab/a", "lab said 500 (provider_unavailable).", "provider_unavailable")]


def test_what_the_provider_asks_to_wait_is_the_pause_if_the_attempt_has_time_for_it():
    limited = fails(429, "rate_limited", retryable=True, retry_after_seconds=20.0)
    patient, hasty = Ledger(task(timeout_seconds=60.0)), Ledger(task(timeout_seconds=10.0))

    for ledger in (patient, hasty):
        models = Models({"a": limited, "b": says("y")})
        prompt(models, ledger, model=[{"model": "lab/a", "attempts": 2}, "lab/b"])

    assert (patient.pauses, hasty.pauses) == ([0.0, 20.0, 0.0], [0.0, 0.0])


def test_tries_share_the_time_of_the_attempt():
    models = Models({"a": fails(0, "timed_out", retryable=True), "b": says("y")})

    prompt(models, Ledger(task(timeout_seconds=100.0)), model=[{"model": "lab/a", "attempts": 3}, "lab/b"])

    seconds = [request.timeout_seconds or 0 for request in models.requests]
    assert [round(given) for given in seconds] == [25, 33, 50, 100]


def test_the_time_that_a_call_waits_is_not_the_attempts():
    class Crowded(Ledger):
        async def admit(self, request: CallRequest) -> tuple[str, Admission]:
            loop = asyncio.get_running_loop()
            later = loop.time() + 1_000
            loop.time = lambda: later
            return await super().admit(request)

    models = Models({"m": says("y")})

    prompt(models, Crowded(task(timeout_seconds=100.0)))

    assert 99 < (models.requests[0].timeout_seconds or 0) <= 100


FILTERED = says("", finish_reason="ContentFilter")


def test_an_answer_that_a_filter_took_is_paid_for_and_the_next_model_asked():
    ledger = Ledger()

    result = prompt(Models({"a": FILTERED, "b": says("y")}), ledger, model=["lab/a", "lab/b"])

    assert result["content"] == "y"
    assert [settlement.outcome for settlement in ledger.settlements] == ["used", "used"]
    assert [(one.model, one.code) for one in ledger.passed_over] == [("lab/a", "content_filter")]


@pytest.mark.parametrize("model", [["lab/a"], ["lab/b", "lab/a"]])
def test_the_last_models_answer_stands_also_where_a_filter_took_it(model: list[str]):
    result = prompt(Models({"a": FILTERED, "b": FILTERED}), Ledger(), model=model)

    assert (result["finish_reason"], result["content"]) == ("ContentFilter", "")


def test_an_answer_that_a_filter_cut_short_stands():
    cut = says("so far", finish_reason="ContentFilter")

    assert prompt(Models({"a": cut, "b": says("y")}), Ledger(), model=["lab/a", "lab/b"])["content"] == "so far"


class Limited(Models):
    """Models of which some are known to have no reasoning."""

    def cannot(self, request: ModelRequest) -> str:
        return f"{request.model} cannot reason" if request.reasoning and request.model.startswith("plain") else ""


def test_a_model_that_is_known_not_to_be_able_to_is_not_asked_unless_none_can():
    ledger, models = Ledger(), Limited({"plain": fails(0, "missing_capability", sent=False), "m": says("y")})

    prompt(models, ledger, model=["lab/plain", "lab/m"], reasoning="low")
    failed = failure(models, Ledger(), model="lab/plain", reasoning="low")

    assert [request.model for request in models.requests] == ["m", "plain"]
    assert ledger.passed_over == [PassedOver("lab/plain", "plain cannot reason", "missing_capability")]
    assert failed.code == "missing_capability"


class Restartable(Ledger):
    def restart_stream(self) -> None:
        self.streamed.append("|")


def test_a_try_after_text_went_out_begins_the_stream_anew_and_one_after_none_does_not():
    late, early = Restartable(task(streaming=True)), Restartable(task(streaming=True))

    prompt(Models({"a": fails(500), "b": says("y")}), late, model=["lab/a", "lab/b"])
    prompt(Silent({"a": fails(500), "b": says("y")}), early, model=["lab/a", "lab/b"])

    assert late.streamed == ["so ", "|", "so ", "y"]
    assert early.streamed == ["y"]


class Silent(Models):
    """Models that fail before they say anything."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        answer = await self.request(request)
        yield answer.content
        yield answer


def test_what_a_provider_says_of_its_rates_goes_with_the_settlement():
    rates = RateReport(requests_left=3)
    told, refused = Ledger(), Ledger()

    prompt(Models({"m": msgspec.structs.replace(says("x"), rates=rates)}), told)
    failure(Models({"m": fails(429, "rate_limited", retryable=True, rates=rates)}), refused)

    assert [ledger.settlements[0].rates for ledger in (told, refused)] == [rates, rates]
