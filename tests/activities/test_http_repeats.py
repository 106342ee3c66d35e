"""Requests that break off, and those that are sent on: what is repeated, and what goes along."""

from __future__ import annotations

import asyncio
import socket

import pytest
from tests.activities.small_server import HANG_UP, Request, answers_by_name, attempt, hang_up, respond

from headgate.activities.http_request import HttpSettings

pytestmark = pytest.mark.slow  # each talks to a server of its own


# --- What may be repeated ------------------------------------------------------------------------------


async def never(_request: Request) -> bytes:
    await asyncio.Event().wait()
    return b""


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a_repeatable_request_whose_server_hangs_up_may_be_tried_again(method: str):
    outcome = attempt({"method": method}, hang_up)

    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retryable) == ("connection_failed", True)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_any_other_request_whose_server_hangs_up_ends_as_outcome_unknown(method: str):
    outcome = attempt({"method": method}, hang_up)

    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retryable) == ("outcome_unknown", False)
    assert "whether it was carried out is not known" in outcome.failure.message


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_request_that_never_left_may_be_tried_again_whatever_its_method(method: str):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound, but nobody listens

        outcome = attempt({"method": method, "url": f"http://127.0.0.1:{bound.getsockname()[1]}/"})

    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retryable) == ("connection_failed", True)


def test_a_name_that_does_not_resolve_is_a_connection_that_failed():
    async def resolve(_host: str, _port: int) -> list[str]:
        raise OSError("no such name")

    outcome = attempt({"method": "POST", "url": "http://nowhere.test/"}, resolve=resolve)

    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retryable) == ("connection_failed", True)
    assert "nowhere.test" in outcome.failure.message


def test_a_request_that_timed_out_before_it_left_may_be_tried_again_whatever_its_method():
    async def resolve(_host: str, _port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    outcome = attempt({"method": "POST", "url": "http://slow.test/", "timeout_seconds": 0.05}, resolve=resolve)

    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retryable) == ("timed_out", True)


@pytest.mark.parametrize(("method", "code"), [("GET", "timed_out"), ("POST", "outcome_unknown")])
def test_a_request_that_timed_out_after_it_left_is_repeated_only_if_that_is_safe(method: str, code: str):
    outcome = attempt({"method": method, "timeout_seconds": 0.1}, never)

    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retryable) == (code, method == "GET")
    assert "0.1 s" in outcome.failure.message


def test_the_time_of_the_settings_is_the_most_that_a_request_may_ask_for():
    settings = HttpSettings(private_addresses="all", timeout_seconds_max=0.1)

    outcome = attempt({"timeout_seconds": 60}, never, settings=settings)

    assert outcome.failure is not None
    assert outcome.failure.code == "timed_out"


def test_a_post_whose_redirect_breaks_off_is_not_repeated_although_the_last_hop_was_a_get():
    outcome = attempt(
        {"method": "POST"},
        lambda request: respond(303, b"", "Location: /done") if request.method == "POST" else None,
    )

    assert [request.method for request in outcome.requests] == ["POST", "GET"]
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retryable) == ("outcome_unknown", False)


def test_a_body_that_breaks_off_is_a_connection_that_failed():
    outcome = attempt({}, lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nab" + HANG_UP)

    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retryable) == ("connection_failed", True)


# --- Redirects -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "method", "body", "then", "content"),
    [
        (301, "POST", "x", "GET", b""),
        (302, "POST", "x", "GET", b""),
        (303, "PUT", "x", "GET", b""),
        (303, "HEAD", None, "HEAD", b""),
        (307, "POST", "x", "POST", b"x"),
        (308, "PUT", "x", "PUT", b"x"),
    ],
)
def test_a_redirect_keeps_or_changes_the_method_as_its_status_says(
    status: int, method: str, body: str | None, then: str, content: bytes
):
    parameters = {"method": method, "body": body, "headers": {"Authorization": "Bearer x"}}

    outcome = attempt(
        parameters,
        lambda request: respond(204) if request.target == "/other" else respond(status, b"", "Location: /other"),
    )

    assert outcome.value["status"] == 204
    assert (outcome.requests[1].method, outcome.requests[1].body) == (then, content)
    assert outcome.requests[1].headers["authorization"] == "Bearer x"


def test_what_may_be_a_key_does_not_follow_a_redirect_to_another_origin():
    headers = {"Authorization": "Bearer x", "X-Api-Key": "y", "Cookie": "z", "Accept": "text/plain"}

    outcome = attempt(
        {"headers": headers},
        lambda request: (
            respond(204)
            if request.target == "/other"
            else respond(302, b"", f"Location: http://localhost:{request.headers['host'].rpartition(':')[2]}/other")
        ),
        resolve=answers_by_name("127.0.0.1"),
    )

    sent = outcome.requests[1].headers
    assert outcome.value["status"] == 204
    assert sent["host"].startswith("localhost:")
    assert sent["accept"] == "text/plain"
    assert not {"authorization", "x-api-key", "cookie"} & set(sent)


def test_redirects_are_followed_up_to_their_maximum():
    settings = HttpSettings(private_addresses="all", redirects_max=2)

    outcome = attempt({}, lambda _: respond(302, b"", "Location: /again"), settings=settings)

    assert len(outcome.requests) == 3
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retryable) == ("too_many_redirects", False)
