"""The activity http_request against real sockets: a small server of our own on the loopback interface."""

from __future__ import annotations

import asyncio
import base64
import gzip
import ipaddress
import json
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import msgspec
import pytest

from headgate.activities.echo import echo
from headgate.activities.http_request import HttpSettings, http_request
from headgate.activities.private_addresses import close_clients, is_public
from headgate.core.errors import Invalid
from headgate.core.values import Assignment, Failure
from headgate.ports import Attempt

pytestmark = pytest.mark.slow  # each talks to a server of its own

OPEN = HttpSettings(private_addresses="all")
CLOSED = HttpSettings(private_addresses="none")
TRACE = "0af7651916cd43dd8448eb211c80319c"
TASK = Assignment(
    activity_id="claim-1",
    workflow_id="run-1",
    activity_key="call",
    place="call",
    activity_name="http_request",
    trace_id=TRACE,
)


@dataclass
class Context:
    """The context of an attempt, as far as http_request uses it."""

    task: Assignment
    begun: list[str] = field(default_factory=list)

    async def begin_effect(self, what: str) -> None:
        self.begun.append(what)


@dataclass
class Request:
    """A request as the server saw it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int


@dataclass
class Outcome:
    """What came of an attempt: a value or a failure, and what the server saw."""

    value: Any = None
    failure: Failure | None = None
    requests: list[Request] = field(default_factory=list)


HANG_UP = b"\0hang up"
Answer = Callable[[Request], bytes | Awaitable[bytes | None] | None]


class Server:
    """An HTTP/1.1 server whose answers are bytes. None: it hangs up without a word."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.connections = 0
        self.talks: set[asyncio.Task[None]] = set()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.talks.add(asyncio.current_task())
        self.connections += 1
        connection = self.connections
        try:
            while request := await self._request(reader, connection):
                self.requests.append(request)
                answer = self.answer(request)
                content = await answer if asyncio.iscoroutine(answer) else answer
                if content is None:
                    return
                writer.write(content.removesuffix(HANG_UP))
                await writer.drain()
                if content.endswith(HANG_UP):
                    return
        except (ConnectionError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, connection: int) -> Request | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("utf-8").splitlines()
        except asyncio.IncompleteReadError:
            return None
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Request(method, target, headers, body, connection)


def respond(status: int = 200, body: bytes | str = b"", *headers: str) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Some Phrase", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


def say_hello(_request: Request) -> bytes:
    return respond(200, '{"hello": [1, 2.5, null]}', "Content-Type: application/json; charset=utf-8")


def attempt(
    parameters: dict[str, Any],
    answer: Answer = say_hello,
    *,
    settings: HttpSettings = OPEN,
    task: Assignment = TASK,
    resolve: Callable[[str, int], Awaitable[list[str]]] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Outcome:
    """Run one attempt; `{port}` in the URL is the server's."""
    return attempts([parameters], answer, settings=settings, task=task, resolve=resolve, tls=tls)[0]


def attempts(
    each: list[dict[str, Any]],
    answer: Answer = say_hello,
    *,
    settings: HttpSettings = OPEN,
    task: Assignment = TASK,
    resolve: Callable[[str, int], Awaitable[list[str]]] | None = None,
    tls: ssl.SSLContext | None = None,
) -> list[Outcome]:
    async def story() -> list[Outcome]:
        server = Server(answer)
        listening = await asyncio.start_server(server.talk, "127.0.0.1", 0, ssl=tls)
        port = listening.sockets[0].getsockname()[1]
        request = http_request(settings, resolve=resolve)
        try:
            return [await one(request, server, parameters, port) for parameters in each]
        finally:
            await close_clients()
            listening.close()
            for talk in server.talks:
                talk.cancel()
            await asyncio.gather(*server.talks)

    async def one(request: Any, server: Server, parameters: dict[str, Any], port: int) -> Outcome:
        filled = {"url": "http://127.0.0.1:{port}/things", **parameters}
        if isinstance(filled["url"], str):
            filled["url"] = filled["url"].replace("{port}", str(port))
        try:
            return Outcome(await request(filled, Context(task)), None, server.requests)
        except Attempt as failed:
            return Outcome(None, failed.failure, server.requests)

    return asyncio.run(story())


def answers_by_name(*addresses: str) -> Callable[[str, int], Awaitable[list[str]]]:
    async def resolve(_host: str, _port: int) -> list[str]:
        return list(addresses)

    return resolve


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


# --- What may be repeated ------------------------------------------------------------------------------


def hang_up(_request: Request) -> None:
    return None


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


# --- Private addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "0.0.0.0",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "ff0e::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "2002:7f00:1::",
        "2002:a00:1::",
        "64:ff9b::7f00:1",
        "64:ff9b:1::8.8.8.8",
        "2001:0:4136:e378:8000:63bf:f5ff:fffe",
        "2001:db8::1",
    ],
)
def test_an_address_that_is_not_of_the_public_internet_is_private(address: str):
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_an_address_of_the_public_internet_is_public(address: str):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::ffff:7f00:1]"])
def test_a_private_address_is_refused_however_it_is_written(host: str):
    outcome = attempt({"url": f"http://{host}:{{port}}/"}, settings=CLOSED)

    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.retryable) == ("address_refused", False)
    assert outcome.requests == []


def test_a_name_that_resolves_to_a_private_address_is_refused_and_the_error_says_what_to_set():
    outcome = attempt(
        {"url": "http://intranet.test:{port}/"},
        settings=CLOSED,
        resolve=answers_by_name("127.0.0.1", "10.0.0.1"),
    )

    assert outcome.failure is not None
    assert outcome.failure.code == "address_refused"
    assert "intranet.test" in outcome.failure.message
    assert "private_addresses" in outcome.failure.message
    assert outcome.requests == []


@pytest.mark.parametrize("allowed", [("127.0.0.0/8",), ("10.0.0.0/8", "127.0.0.1"), ("Intranet.test",)])
def test_a_private_address_that_the_settings_list_is_reached(allowed: tuple[str, ...]):
    outcome = attempt(
        {"url": "http://intranet.test:{port}/"},
        settings=HttpSettings(private_addresses=allowed),
        resolve=answers_by_name("127.0.0.1"),
    )

    assert outcome.value["status"] == 200
    assert outcome.requests[0].headers["host"].startswith("intranet.test:")


def test_a_network_that_is_misspelled_in_the_settings_is_not_taken_for_a_host_name():
    with pytest.raises(Invalid, match=r"10\.0\.0\.0/99"):
        attempt({}, settings=HttpSettings(private_addresses=("10.0.0.0/99",)))


def test_the_connection_goes_to_the_address_that_was_checked_and_the_name_is_not_looked_up_again():
    looked_up: list[str] = []

    async def resolve(host: str, _port: int) -> list[str]:
        looked_up.append(host)
        return ["127.0.0.1"] if len(looked_up) == 1 else ["10.255.255.1"]

    outcome = attempt(
        {"url": "http://rebinding.test:{port}/"},
        settings=HttpSettings(private_addresses=("127.0.0.0/8",)),
        resolve=resolve,
    )

    assert outcome.value["status"] == 200
    assert looked_up == ["rebinding.test"]


def test_of_several_addresses_only_the_allowed_ones_are_tried_and_a_dead_one_is_passed_over():
    outcome = attempt(
        {"url": "http://many.test:{port}/"},
        settings=HttpSettings(private_addresses=("127.0.0.1", "127.0.0.2")),
        resolve=answers_by_name("10.0.0.1", "127.0.0.2", "127.0.0.1"),
    )

    assert outcome.value["status"] == 200


def test_each_hop_of_a_redirect_is_checked_again():
    outcome = attempt(
        {"url": "http://outside.test:{port}/"},
        lambda _: respond(302, b"", "Location: http://169.254.169.254/latest/meta-data/"),
        settings=HttpSettings(private_addresses=("outside.test",)),
        resolve=lambda host, _port: answers_by_name("127.0.0.1" if host == "outside.test" else host)(host, 0),
    )

    assert outcome.failure is not None
    assert outcome.failure.code == "address_refused"
    assert "169.254.169.254" in outcome.failure.message


CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBaDCCAQ2gAwIBAgIBATAKBggqhkjOPQQDAjAWMRQwEgYDVQQDDAtwaW5uZWQu
dGVzdDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFjEUMBIGA1UE
AwwLcGlubmVkLnRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASLevPXMB3r
8E1yBtdFa8s7kd2Ikq9ikRcPMsrcZIdFRBqETsPqDpTyxLNa/3O1at2zdjRThkCO
awO1nCi6AvU4o0owSDAWBgNVHREEDzANggtwaW5uZWQudGVzdDAPBgNVHRMBAf8E
BTADAQH/MB0GA1UdDgQWBBTpoDiXjQRD7WcrIgHjARCrrr2ESjAKBggqhkjOPQQD
AgNJADBGAiEApOr1i4IYhLGVrZqszg2JnmJjUPLGE+rVhGJU37RugdICIQC6oP+W
b5dDa74y3aeEA9WSyuoMEAjW/IE+lkcdEXjxMA==
-----END CERTIFICATE-----
"""

KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgwflZo0Y9nL5b3AX+
RcqVJ+TRDRWeGaMOfeYxlVFNV6mhRANCAASLevPXMB3r8E1yBtdFa8s7kd2Ikq9i
kRcPMsrcZIdFRBqETsPqDpTyxLNa/3O1at2zdjRThkCOawO1nCi6AvU4
-----END PRIVATE KEY-----
"""


def test_over_tls_the_name_is_verified_although_the_socket_goes_to_an_address(tmp_path, monkeypatch):
    (tmp_path / "certificate.pem").write_text(CERTIFICATE)
    (tmp_path / "key.pem").write_text(KEY)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    names: list[str | None] = []
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    tls.sni_callback = lambda _socket, name, _context: names.append(name)
    settings = HttpSettings(private_addresses=("127.0.0.1",))
    urls = [{"url": f"https://{host}:{{port}}/", "method": "POST"} for host in ("pinned.test", "other.test")]

    right, wrong = attempts(urls, settings=settings, resolve=answers_by_name("127.0.0.1"), tls=tls)

    assert right.value["status"] == 200
    assert names == ["pinned.test", "other.test"]
    assert wrong.failure is not None
    assert (wrong.failure.code, wrong.failure.retryable) == ("connection_failed", True)
    assert "other.test" in wrong.failure.message


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
