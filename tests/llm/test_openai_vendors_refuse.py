"""What vendors that speak OpenAI's API refuse, each with a name of ours."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.llm.fake_openai import FakeOpenAI, completion
from tests.llm.fakes.server import json_reply
from tests.llm.openai_vendor import ASKED, KEY, SCHEMA, talk

from headgate.core.values import RateReport, Usage
from headgate.llm import provider_errors
from headgate.llm.asking import DROPS_MAX
from headgate.llm.openai_compatible import OpenAICompatibleProvider
from headgate.llm.provider_errors import rate_report, wait_seconds
from headgate.ports import ModelRequest

pytestmark = pytest.mark.slow  # each talks to a server of its own


def refusal(parameter: str, *, status: int = 400, **fields: Any) -> Any:
    message = f"Unsupported parameter: '{parameter}' is not supported with this model."
    error = {"message": message, "param": parameter, "code": "unsupported_parameter"}
    return json_reply({"error": error, **fields}, status=status)


def test_what_a_model_refuses_is_left_out_where_that_is_allowed_and_said():
    request = ModelRequest(model="o9", messages=ASKED, temperature=0.5, top_p=0.9, drop_unsupported=True)

    answer, bodies = talk(request, refusal("temperature"), refusal("top_p"), json_reply(completion("x")))

    assert [sorted(body.keys() & {"temperature", "top_p"}) for body in bodies] == [
        ["temperature", "top_p"],
        ["top_p"],
        [],
    ]
    assert answer.notes == (
        "temperature was left out, for the model refuses it.",
        "top_p was left out, for the model refuses it.",
    )


def test_without_leave_a_refusal_is_a_refusal_and_nothing_is_asked_again():
    request = ModelRequest(model="o9", messages=ASKED, temperature=0.5)

    error, bodies = talk(request, refusal("temperature"), json_reply(completion("x")))

    assert (error.kind, len(bodies)) == ("invalid_request", 1)


def test_what_was_refused_once_is_not_sent_to_that_model_again():
    async def conversation() -> list[bool]:
        replies = [refusal("temperature"), *(json_reply(completion("x")) for _ in range(3))]
        async with FakeOpenAI(*replies) as server:
            provider = OpenAICompatibleProvider("openai", server.base_url, KEY)
            for model in ("a", "a", "b"):
                asked = ModelRequest(model=model, messages=ASKED, temperature=0.5, drop_unsupported=True)
                await provider.request(asked)
            await provider.close()
            return ["temperature" in seen.body for seen in server.requests]

    assert asyncio.run(conversation()) == [True, False, False, True]


def test_a_refused_limit_is_renamed_and_never_dropped():
    request = ModelRequest(model="strange", messages=ASKED, max_tokens=9, drop_unsupported=True)

    answer, bodies = talk(request, refusal("max_tokens"), json_reply(completion("x")))

    assert [body.get("max_completion_tokens") for body in bodies] == [None, 9]
    assert "max_tokens" not in bodies[1]
    assert answer.content == "x"


def test_a_refused_schema_goes_into_the_prompt():
    request = ModelRequest(model="m", messages=ASKED, response_schema=SCHEMA, drop_unsupported=True)

    answer, bodies = talk(request, refusal("response_format"), json_reply(completion('{"km": 1}')))

    assert "response_format" not in bodies[1]
    assert '"km"' in bodies[1]["messages"][0]["content"]
    assert "The schema was put into the prompt" in answer.notes[0]


@pytest.mark.parametrize("parameter", ["tools", "messages", "model"])
def test_what_makes_the_question_is_never_left_out(parameter: str):
    request = ModelRequest(model="m", messages=ASKED, tools=({"name": "t"},), drop_unsupported=True)

    error, bodies = talk(request, refusal(parameter), json_reply(completion("x")))

    assert (error.kind, len(bodies)) == ("invalid_request", 1)


def test_a_field_is_found_in_the_words_of_a_422():
    body = {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}
    request = ModelRequest(model="m", messages=ASKED, seed=3, drop_unsupported=True)

    answer, bodies = talk(request, json_reply(body, status=422), json_reply(completion("x")))

    assert ["seed" in sent for sent in bodies] == [True, False]
    assert answer.notes == ("seed was left out, for the model refuses it.",)


def test_a_server_that_refuses_for_ever_is_asked_a_bounded_number_of_times():
    extra = {f"field_{number}": 1 for number in range(20)}
    request = ModelRequest(model="m", messages=ASKED, extra=extra, drop_unsupported=True)

    error, bodies = talk(request, *(refusal(f"field_{number}") for number in range(20)))

    assert error.kind == "invalid_request"
    assert len(bodies) == DROPS_MAX + 1


def test_a_refusal_that_was_billed_carries_its_usage_and_is_not_followed_by_another_request():
    billed = refusal("temperature", usage={"prompt_tokens": 12, "completion_tokens": 0})
    request = ModelRequest(model="m", messages=ASKED, temperature=1.0, drop_unsupported=True)

    error, bodies = talk(request, billed, json_reply(completion("x")))

    assert error.usage == Usage(input_tokens=12)
    assert len(bodies) == 1


@pytest.mark.parametrize(
    ("status", "error", "kind", "retryable"),
    [
        (400, {"message": "filtered", "code": "content_filter"}, "content_filter", False),
        (400, {"message": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}, "content_filter", False),
        (401, {"message": "Incorrect API key", "code": "invalid_api_key"}, "authentication", False),
        (402, {"message": "Insufficient Balance"}, "quota_exhausted", False),
        (529, {"message": "overloaded"}, "provider_unavailable", True),
    ],
)
def test_more_refusals_are_named(status: int, error: dict[str, Any], kind: str, retryable: bool):
    refused, _ = talk(ModelRequest(model="m", messages=ASKED), json_reply({"error": error}, status=status))

    assert (refused.kind, refused.retryable) == (kind, retryable)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "9"}, 9.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "1h2m3.5s",
            },
            3723.5,
        ),
        ({"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "6m0s"}, None),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "soon"}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait_is_read_from_what_the_refusal_says(headers: dict[str, str], seconds: float | None):
    assert wait_seconds(headers) == seconds


IN_AN_HOUR = "2100-01-01T01:00:00Z"


@pytest.mark.parametrize(
    ("headers", "report"),
    [
        (
            {
                "x-ratelimit-limit-requests": "60",
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            RateReport(59, 1.0, 0, 360.0),
        ),
        ({"x-ratelimit-remaining-tokens": "7"}, RateReport(tokens_left=7)),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": IN_AN_HOUR,
                "anthropic-ratelimit-input-tokens-remaining": "9",
                "anthropic-ratelimit-input-tokens-reset": IN_AN_HOUR,
                "anthropic-ratelimit-output-tokens-remaining": "4",
                "anthropic-ratelimit-output-tokens-reset": "nonsense",
            },
            RateReport(0, 3_600.0, 4, None),
        ),
        ({"x-ratelimit-remaining-requests": "soon"}, None),
        ({"retry-after": "9"}, None),
    ],
)
def test_rates_are_read_from_the_headers_of_any_answer(
    headers: dict[str, str], report: RateReport | None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(provider_errors.time, "time", lambda: 4_102_444_800.0)

    assert rate_report(headers) == report


def test_only_what_is_used_up_is_waited_for():
    assert RateReport(3, 60.0, 9, 120.0).wait_seconds == 0
    assert RateReport(0, 60.0, 9, 120.0).wait_seconds == 60
    assert RateReport(0, 60.0, 0, 120.0).wait_seconds == 120
    assert RateReport(0, None).wait_seconds == 0


def test_answers_and_refusals_bring_the_rates_with_them():
    headers = {"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "20s"}
    question = ModelRequest(model="m", messages=ASKED)

    answer, _ = talk(question, json_reply(completion("yes"), headers=headers))
    refused, _ = talk(question, json_reply({"error": {"message": "no"}}, status=500, headers=headers))
    silent, _ = talk(question, json_reply(completion("yes")))

    assert answer.rates == refused.rates == RateReport(3, 20.0)
    assert silent.rates is None
