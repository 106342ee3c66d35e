"""The activity http_request against real sockets: what it sends, what it reads, what it makes of a status."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import time
from email.utils import formatdate
from typing import Any

import msgspec
import pytest
from tests.activities.small_server import TASK, TRACE, Answer, Context, attempt, attempts, hang_up, respond

from headgate.activities.echo import echo
from headgate.activities.http_request import HttpSettings

pytestmark = pytest.mark.slow  # each talks to a server of its own


# --- What is sent and what comes back ------------------------------------------------------------------


def test_echo_returns_its_parameters_and_copies_nothing():
    parameters = {"a": [1]}

    assert echo(parameters, Context(TASK)) is parameters


def test_an_answer_is_status_success_parsed_body_and_headers():
    outcome = attempt({}, lambda _: respond(201, '{"id": 7}', "Content-Type: application/json", "X-A: 1", "X-A: 2"))

    assert outcome.value["status"] == 201
    assert outcome.value["success"] is True
    assert outcome.value["body"] == {"id": 7}
    assert outcome.value["headers"]["content-type"] == "application/json"
    assert outcome.value["headers"]["x-a"] == "1, 2"


@pytest.mark.parametrize(
    ("kind", "content", "body"),
    [
        ("application/problem+json", b'{"a":1}', {"a": 1}),
        ("application/json", b"not json", "not json"),
        ("application/json", b"", None),
        ("text/plain", b"", ""),
        ("text/plain; charset=latin-1", b"caf\xe9", "café"),
        ("text/plain; charset=nonsense", b"plain", "plain"),
        ("text/plain; charset=hex", b"plain", "plain"),
        ("image/svg+xml", b"<svg/>", "<svg/>"),
        ("image/png", b"\x89PNG\x00", {"$base64": base64.b64encode(b"\x89PNG\x00").decode()}),
        ("application/octet-stream", b"abc", {"$base64": "YWJj"}),
    ],
)
def test_a_body_is_read_by_its_content_type(kind: str, content: bytes, body: Any):
    outcome = attempt({}, lambda _: respond(200, content, f"Content-Type: {kind}"))

    assert outcome.value["body"] == body


def test_a_body_without_content_type_is_text_where_it_is_utf_8_and_bytes_elsewhere():
    bodies = iter(["tëxt".encode(), b"\xff\xfe\x00"])

    text, other = attempts([{}, {}], lambda _: respond(200, next(bodies)))

    assert text.value["body"] == "tëxt"
    assert other.value["body"] == {"$base64": "//4A"}


def test_a_compressed_body_is_unpacked():
    packed = gzip.compress(b'{"a": 1}')

    outcome = attempt({}, lambda _: respond(200, packed, "Content-Type: application/json", "Content-Encoding: gzip"))

    assert outcome.value["body"] == {"a": 1}


def test_query_parameters_join_those_of_the_url():
    query = {"tag": ["a b", "c&d"], "page": 2, "deep": True, "absent": None}

    outcome = attempt({"url": "http://127.0.0.1:{port}/things?x=1", "query": query})

    assert outcome.requests[0].target == "/things?x=1&tag=a+b&tag=c%26d&page=2&deep=true"


@pytest.mark.parametrize(
    ("body", "content", "kind"),
    [
        ({"body": {"a": [1, None]}}, b'{"a":[1,null]}', "application/json"),
        ({"body": 0}, b"0", "application/json"),
        ({"body": '{"already": "json"}'}, b'{"already": "json"}', "application/json"),
        ({"body": "plain wörds"}, "plain wörds".encode(), "text/plain; charset=utf-8"),
        ({"raw": '{"a":1}'}, b'{"a":1}', "text/plain; charset=utf-8"),
        ({"raw": {"$base64": "AAEC"}}, b"\x00\x01\x02", "application/octet-stream"),
        ({"form": {"a": "x y", "b": [1, 2]}}, b"a=x+y&b=1&b=2", "application/x-www-form-urlencoded"),
    ],
)
def test_a_body_goes_out_in_the_form_that_was_asked_for(body: dict[str, Any], content: bytes, kind: str):
    outcome = attempt({"method": "post", **body})

    assert outcome.requests[0].method == "POST"
    assert outcome.requests[0].body == content
    assert outcome.requests[0].headers["content-type"] == kind


def test_the_author_may_set_the_content_type():
    outcome = attempt({"method": "PUT", "body": {"a": 1}, "headers": {"Content-Type": "application/ld+json"}})

    assert outcome.requests[0].headers["content-type"] == "application/ld+json"


def test_a_multipart_body_holds_fields_and_files():
    upload = {"filename": "a.bin", "content": {"$base64": "AAEC"}, "content_type": "application/x-a"}

    outcome = attempt({"method": "POST", "multipart": {"note": "hi", "file": upload}})

    assert outcome.requests[0].headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="note"\r\n\r\nhi\r\n' in outcome.requests[0].body
    assert b'name="file"; filename="a.bin"\r\nContent-Type: application/x-a\r\n\r\n\x00\x01\x02\r\n' in (
        outcome.requests[0].body
    )


def test_header_values_may_be_numbers_booleans_null_and_not_ascii():
    outcome = attempt({"headers": {"X-Count": 3, "X-On": True, "X-None": None, "X-Name": "Zoë"}})

    sent = outcome.requests[0].headers
    assert (sent["x-count"], sent["x-on"], sent["x-name"]) == ("3", "true", "Zoë")
    assert "x-none" not in sent


def test_include_body_false_leaves_the_body_unread():
    outcome = attempt({"include_body": False}, settings=HttpSettings(private_addresses="all", response_bytes_max=3))

    assert outcome.value["status"] == 200
    assert outcome.value["body"] is None


def test_a_head_request_has_no_body_however_large_it_says_the_body_would_be():
    settings = HttpSettings(private_addresses="all", response_bytes_max=3)

    outcome = attempt(
        {"method": "HEAD"}, lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", settings=settings
    )

    assert outcome.value["body"] is None


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"url": 5}, "$.url"),
        ({"url": "things"}, "absolute http or https URL"),
        ({"url": "ftp://example.com/"}, "absolute http or https URL"),
        ({"method": "CONNECT"}, "method"),
        ({"method": "G T"}, "method"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
        ({"headrs": {}}, "headrs"),
        ({"body": 1, "form": {}}, "body and form"),
        ({"query": {"a": {"b": 1}}}, "query.a"),
        ({"raw": {"$base64": "?"}}, "raw"),
        ({"fail_on": [99]}, "99"),
        ({"fail_on": "alwas"}, "alwas"),
        ({"download_to_file": "a.bin"}, "not built yet"),
        ({"headers": {"X-A": "a\r\nX-B: secret"}}, "a header"),
    ],
)
def test_parameters_that_make_no_sense_are_refused_for_good(parameters: dict[str, Any], said: str):
    outcome = attempt(parameters)

    assert outcome.failure is not None
    assert outcome.failure.code == "invalid_parameters"
    assert outcome.failure.retryable is False
    assert said in outcome.failure.message
    assert "secret" not in outcome.failure.message
    assert outcome.requests == []


# --- Marks ---------------------------------------------------------------------------------------------


def test_every_attempt_of_a_place_sends_the_same_idempotency_key_and_another_place_another():
    again = msgspec.structs.replace(TASK, activity_id="claim-2", attempt=2)
    other = msgspec.structs.replace(TASK, place="call[1]")

    keys = [attempt({}, task=task).requests[0].headers["idempotency-key"] for task in (TASK, again, other)]

    assert keys[0] == keys[1]
    assert keys[0] != keys[2]
    assert len(keys[0]) == 32


def test_the_authors_own_idempotency_key_stays():
    outcome = attempt({"headers": {"Idempotency-KEY": "mine"}})

    assert outcome.requests[0].headers["idempotency-key"] == "mine"


def test_a_request_carries_the_trace():
    sent = attempt({}).requests[0].headers

    assert sent["x-trace-id"] == TRACE
    assert sent["traceparent"].startswith(f"00-{TRACE}-")
    assert len(sent["traceparent"]) == 55


def test_a_trace_id_of_another_form_goes_only_as_x_trace_id():
    sent = attempt({}, task=msgspec.structs.replace(TASK, trace_id="my-trace")).requests[0].headers

    assert sent["x-trace-id"] == "my-trace"
    assert "traceparent" not in sent


def test_connections_are_reused_and_cookies_are_not():
    first, second = attempts(
        [{}, {}], lambda _: respond(200, b"ok", "Set-Cookie: session=1", "Content-Type: text/plain")
    )

    assert first.value["headers"]["set-cookie"] == "session=1"
    assert [request.connection for request in second.requests] == [1, 1]
    assert "cookie" not in second.requests[1].headers


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    assert attempt({}).value["status"] == 200


# --- Statuses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "status", "fail_on", "retry_block", "retryable"),
    [
        ("GET", 429, None, False, True),
        ("GET", 503, None, False, True),
        ("GET", 500, None, False, True),
        ("POST", 429, None, False, True),
        ("POST", 503, None, False, True),
        ("POST", 500, None, False, False),  # it may have been carried out
        ("POST", 500, None, True, True),
        ("GET", 404, [404], False, False),
        ("GET", 404, ["4xx"], True, True),
        ("GET", 302, "302", False, False),
        ("GET", 502, ["default", 404], False, True),
    ],
)
def test_a_status_that_counts_as_a_failure_fails_with_its_code(
    method: str, status: int, fail_on: Any, retry_block: bool, retryable: bool
):
    parameters = {"method": method} if fail_on is None else {"method": method, "fail_on": fail_on}
    settings: dict[str, Any] = {"retry": {"max_attempts": 3}} if retry_block else {}

    outcome = attempt(parameters, lambda _: respond(status), task=msgspec.structs.replace(TASK, settings=settings))

    assert outcome.failure is not None
    assert outcome.failure.code == f"http_{status}"
    assert outcome.failure.retryable is retryable
    assert outcome.failure.details == {"status": status}


@pytest.mark.parametrize(
    ("status", "fail_on"), [(404, "default"), (503, "never"), (429, []), (500, ["4xx"]), (404, ["default"])]
)
def test_a_status_that_does_not_count_as_a_failure_is_data(status: int, fail_on: Any):
    outcome = attempt({"fail_on": fail_on}, lambda _: respond(status, "no", "Content-Type: text/plain"))

    assert outcome.value["status"] == status
    assert outcome.value["success"] is False
    assert outcome.value["body"] == "no"


def test_retry_after_is_honoured_in_both_forms_and_bounded():
    headers = iter(["7", formatdate(time.time() + 3600, usegmt=True), "soon", "99999999"])

    outcomes = attempts([{}] * 4, lambda _: respond(429, b"", f"Retry-After: {next(headers)}"))

    seconds = [outcome.failure.retry_after_seconds for outcome in outcomes if outcome.failure]
    assert seconds[0] == 7.0
    assert 3500 < seconds[1] <= 3600
    assert seconds[2] is None
    assert seconds[3] == 86_400


# --- Bounds --------------------------------------------------------------------------------------------


def test_a_body_above_the_bound_is_not_read_when_its_length_is_announced():
    settings = HttpSettings(private_addresses="all", response_bytes_max=100)

    outcome = attempt({}, lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n", settings=settings)

    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retryable) == ("response_too_large", False)
    assert "more than 100 bytes" in outcome.failure.message


def test_a_body_that_grows_above_the_bound_when_unpacked_is_stopped():
    settings = HttpSettings(private_addresses="all", response_bytes_max=10_000)
    bomb = gzip.compress(b"0" * 1_000_000)

    outcome = attempt({}, lambda _: respond(200, bomb, "Content-Encoding: gzip"), settings=settings)

    assert len(bomb) < 10_000
    assert outcome.failure is not None
    assert outcome.failure.code == "response_too_large"


def test_a_body_of_exactly_the_bound_is_read():
    settings = HttpSettings(private_addresses="all", response_bytes_max=100)

    outcome = attempt({}, lambda _: respond(200, "a" * 100), settings=settings)

    assert outcome.value["body"] == "a" * 100


# --- Secrets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [hang_up, lambda _: respond(500), lambda _: b"HTTP/1.1 nonsense s3cret\r\n\r\n"])
def test_errors_and_logs_name_method_host_and_path_and_no_secret(answer: Answer, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)

    outcome = attempt(
        {
            "method": "POST",
            "url": "http://user:s3cret@127.0.0.1:{port}/charge?token=s3cret",
            "query": {"key": "s3cret"},
            "headers": {"Authorization": "Bearer s3cret"},
            "body": {"card": "s3cret"},
        },
        answer,
    )

    assert outcome.failure is not None
    assert "POST 127.0.0.1:" in outcome.failure.message
    assert "/charge" in outcome.failure.message
    assert "s3cret" not in json.dumps(msgspec.to_builtins(outcome.failure))
    assert "s3cret" not in caplog.text
