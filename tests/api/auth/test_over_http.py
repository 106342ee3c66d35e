"""Over HTTP nobody gets past the door who is not known, whatever route they ask for."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec
import pytest

from headgate.api.caller import Caller
from headgate.api.http import HttpApplication, HttpServer
from headgate.api.http.application import BODY_BYTES_MAX
from headgate.api.http.openapi import document_of
from headgate.api.http.route import Route
from headgate.api.http.table import ROUTES
from headgate.app import App
from headgate.core.errors import Unavailable
from headgate.stores.memory import MemoryLog

PASSWORD = "correct horse battery"
GUARDED = [pytest.param(route, id=f"{route.method} {route.address}") for route in ROUTES if route.scope]
FORM = {"grant_type": "client_credentials", "client_id": "billing"}


class Door:
    """A server that wants to know who asks, and a client of it that says nothing by itself."""

    def __init__(self, app: App, client: httpx2.AsyncClient) -> None:
        self.auth = app.doors.auth
        self._client = client

    async def ask(self, method: str, path: str, token: str = "", **rest: Any) -> httpx2.Response:
        headers = {**({"authorization": f"Bearer {token}"} if token else {}), **rest.pop("headers", {})}
        self._client.cookies.clear()
        return await self._client.request(method, path, headers=headers, **rest)

    async def secret(self, *scopes: str, name: str = "billing") -> str:
        return (await self.auth.clients.create("default", name, scopes or ("runs:read",), by="test")).secret

    async def token(self, *scopes: str, name: str = "billing") -> str:
        secret = await self.secret(*scopes, name=name)
        return (await self.auth.token_for_client(name, secret)).access_token


@asynccontextmanager
async def opened() -> AsyncGenerator[Door]:
    async with App(MemoryLog(), environment={}, work=False) as app:
        doors = msgspec.structs.replace(app.doors, mode="serve")
        application = HttpApplication(ROUTES, doors, identify=app.auth.identify)
        async with (
            HttpServer(application, "127.0.0.1", 0) as server,
            httpx2.AsyncClient(base_url=server.url, timeout=30) as client,
        ):
            yield Door(app, client)


def play(scene: Callable[[Door], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with opened() as door, asyncio.timeout(60):
            await scene(door)

    asyncio.run(whole())


def address_of(route: Route, run: str = "another-run") -> str:
    """The route's path, of a run where it is a run's."""
    path = route.address
    while "{" in path:
        before, _, rest = path.partition("{")
        name, _, after = rest.partition("}")
        path = before + (run if name == "id" else "x") + after
    return path


# --- Every route ---------------------------------------------------------------------------------------------------


def test_no_route_but_the_open_ones_answers_nobody():
    async def scene(door: Door) -> None:
        for route in (param.values[0] for param in GUARDED):
            answer = await door.ask(route.method, address_of(route))

            assert answer.status_code == 401, route.address
            assert answer.json()["error"]["code"] == "UNAUTHORIZED"
            assert answer.headers["www-authenticate"] == "Bearer"

    play(scene)


def test_what_is_open_is_what_must_be():
    assert {(route.method, route.address) for route in ROUTES if not route.scope} == {
        ("GET", "/api/v1/health"),
        ("GET", "/api/v1/health/live"),
        ("GET", "/api/v1/health/ready"),
        ("GET", "/api/v1/openapi.json"),
        ("GET", "/api/v1/docs"),
        ("POST", "/oauth/token"),
        ("POST", "/api/v1/oauth/token"),
        ("POST", "/api/v1/oauth/revoke"),
        ("POST", "/api/v1/login"),
        ("GET", "/api/v1/login/oidc"),
        ("GET", "/api/v1/login/oidc/callback"),
        ("POST", "/api/v1/hooks/{name}"),  # a request is signed with the hook's secret
        ("POST", "/api/v1/hooks/{tenant}/{name}"),
        ("GET", "/api/v1/approval_links/{token}"),  # the token is signed, and is the right to decide
        ("POST", "/api/v1/approval_links/{token}"),
    }


def test_a_scope_that_is_missing_is_named():
    async def scene(door: Door) -> None:
        token = await door.token("runs:read")

        answer = await door.ask("GET", "/api/v1/clients", token)

        assert answer.status_code == 403
        assert answer.json()["error"]["message"] == "This needs the scope admin; client:billing has runs:read."

    play(scene)


def test_who_may_only_decide_approvals_sees_what_there_is_to_decide_and_no_other_route():
    decider, stranger = (Caller(scopes=frozenset({scope})) for scope in ("approvals", "workers"))

    opened = {f"{route.method} {route.path}" for route in ROUTES if route.scope and admits(route, decider, {})}

    assert opened == {"GET /approvals", "POST /approvals/{id}"}
    assert not any(admits(route, stranger, {}) for route in ROUTES if f"{route.method} {route.path}" in opened)


def test_a_client_for_approvals_lists_and_decides():
    async def scene(door: Door) -> None:
        asking = "name: asking\nactivities: {ask: {use: approval, with: {title: 'Go on?'}}}"
        operator = await door.token("runs:write", "definitions:write", "runs:read", name="operator")
        await door.ask("POST", "/api/v1/workflow_definitions", operator, content=asking)
        started = await door.ask("POST", "/api/v1/workflows", operator, json={"definition_name": "asking"})
        run = f"/api/v1/workflows/{started.json()['workflow_id']}"
        approver = await door.token("approvals", name="approver")

        while not (listed := (await door.ask("GET", "/api/v1/approvals", approver)).json()["approvals"]):
            pass  # it asks a moment after the start is durable
        (asked,) = listed
        looked = await door.ask("GET", run, approver)
        decided = await door.ask(
            "POST", f"/api/v1/approvals/{asked['id']}", approver, json={"approved": True, "by": "ann"}
        )

        assert (asked["title"], looked.status_code, decided.status_code) == ("Go on?", 403, 200)
        refused = await door.ask("GET", "/api/v1/approvals", await door.token("workers", name="worker"))
        assert refused.json()["error"]["message"] == (
            "This needs the scope runs:read or approvals; client:worker has workers."
        )

    play(scene)


@pytest.mark.parametrize("route", GUARDED)
def test_a_ticket_opens_what_its_run_shows_and_no_other_route(route: Route):
    ticket = Caller(scopes=frozenset({"runs:read"}), run="mine")
    may_do_all = Caller(scopes=frozenset({"admin"}), run="mine")
    reads_a_run = route.method == "GET" and route.path.startswith(
        ("/workflows/{id}", "/runs/{id}", "/activities/{activity}")
    )
    names = re.findall(r"\{(\w+)\}", route.path)
    path = dict.fromkeys(names, "mine")

    assert admits(route, ticket, path) == (reads_a_run and route.scope == "runs:read")
    assert admits(route, may_do_all, path) == reads_a_run, "whatever its scopes"
    for other in ("mine2", "min", "", "theirs~mine"):  # not by a shortened id either
        assert not admits(route, ticket, dict.fromkeys(names, other))


def admits(route: Route, caller: Caller, path: dict[str, str]) -> bool:
    from headgate.api.caller import Forbidden

    try:
        route.admit(caller, path)
    except Forbidden:
        return False
    return True


def test_over_http_a_ticket_opens_its_own_run_only():
    async def scene(door: Door) -> None:
        await door.token()
        ticket = await door.auth.issue_ticket(Caller(actor="client:billing"), "mine")
        for route in (param.values[0] for param in GUARDED):
            answer = await door.ask(route.method, address_of(route), ticket)
            assert answer.status_code == 403, route.address

        for path in ("/workflows/mine", "/workflows/mine/events", "/workflows/mine/cost"):
            answer = await door.ask("GET", f"/api/v1{path}", ticket)
            assert answer.status_code == 404, "it gets in, and there is no such run"

    play(scene)


# --- Tickets -------------------------------------------------------------------------------------------------------


def test_a_ticket_ends_with_whoever_it_was_issued_to():
    async def scene(door: Door) -> None:
        await door.token()
        ticket = await door.auth.issue_ticket(Caller(actor="client:billing"), "mine")
        assert await door.auth.identify_token(ticket) == Caller(
            actor="client:billing", scopes=frozenset({"runs:read"}), run="mine"
        )

        await door.auth.clients.revoke("default", "billing", by="test")

        answer = await door.ask("GET", "/api/v1/workflows/mine", ticket)
        assert answer.status_code == 401

    play(scene)


def test_a_user_and_a_server_without_a_login_can_have_tickets_too():
    async def scene(door: Door) -> None:
        await door.auth.users.create("default", "ann", "viewer", PASSWORD, by="test")
        for actor in ("user:ann", "client"):
            ticket = await door.auth.issue_ticket(Caller(actor=actor), "mine")
            assert (await door.auth.identify_token(ticket)).actor == actor

    play(scene)


# --- Tokens for clients --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/oauth/token", "/api/v1/oauth/token"])
@pytest.mark.parametrize("way", ["json", "form", "basic"])
def test_a_client_gets_a_token_and_gets_in_with_it(path: str, way: str):
    async def scene(door: Door) -> None:
        secret = await door.secret("runs:read", "runs:write")
        given: dict[str, Any] = {
            "json": {"json": FORM | {"client_secret": secret, "scope": "runs:read"}},
            "form": {"data": FORM | {"client_secret": secret, "scope": "runs:read"}},
            "basic": {
                "data": {"grant_type": "client_credentials", "scope": "runs:read"},
                "headers": {"authorization": f"Basic {base64.b64encode(f'billing:{secret}'.encode()).decode()}"},
            },
        }[way]

        answer = await door.ask("POST", path, **given)

        granted = answer.json()
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert granted | {"access_token": ""} == {
            "access_token": "",
            "token_type": "Bearer",
            "expires_in": 3600,
            "scope": "runs:read",
        }
        me = await door.ask("GET", "/api/v1/me", granted["access_token"])
        assert me.json() == {"actor": "client:billing", "tenant": "default", "scopes": ["runs:read"]}

    play(scene)


@pytest.mark.parametrize(
    ("given", "status", "error"),
    [
        ({"data": FORM | {"client_secret": "wrong"}}, 401, "invalid_client"),
        ({"data": {"grant_type": "password"}}, 400, "unsupported_grant_type"),
        ({"data": {}}, 400, "unsupported_grant_type"),
        ({"data": FORM | {"client_secret": "$", "scope": "admin"}}, 400, "invalid_scope"),
        ({"data": FORM, "headers": {"authorization": "Basic !"}}, 400, "invalid_request"),
    ],
)
def test_a_refusal_is_in_the_words_of_the_standard_at_the_root_and_in_the_envelope_below(
    given: dict[str, Any], status: int, error: str
):
    async def scene(door: Door) -> None:
        secret = await door.secret()
        if given["data"].get("client_secret") == "$":
            given["data"]["client_secret"] = secret

        by_standard = await door.ask("POST", "/oauth/token", **given)
        by_us = await door.ask("POST", "/api/v1/oauth/token", **given)

        assert (by_standard.status_code, by_standard.json()["error"]) == (status, error)
        assert by_standard.json()["error_description"] == by_us.json()["error"]["message"]
        assert by_us.json()["error"]["details"]["reason"] in (error, "bad_request")
        if status == 401:
            assert by_standard.headers["www-authenticate"].startswith("Basic ")

    play(scene)


def test_too_many_failures_are_answered_with_when_to_try_again():
    async def scene(door: Door) -> None:
        secret = await door.secret()
        for path in ("/oauth/token", "/api/v1/oauth/token", "/oauth/token", "/oauth/token", "/oauth/token"):
            assert (await door.ask("POST", path, data=FORM)).status_code == 401

        answer = await door.ask("POST", "/oauth/token", data=FORM | {"client_secret": secret})

        assert (answer.status_code, answer.json()["error"]) == (429, "temporarily_unavailable")
        assert 1 <= int(answer.headers["retry-after"]) <= 60

    play(scene)


@pytest.mark.parametrize(
    ("kind", "data", "status"),
    [
        ("x-www-form-urlencoded", b"a", 400),
        ("x-www-form-urlencoded", b"\xff=1", 400),
        ("x-www-form-urlencoded", b"&".join(b"a=1" for _ in range(200)), 400),
        ("x-www-form-urlencoded", b"grant_type=" + b"x" * 5_000, 400),
        ("json", b"{", 400),
        ("json", b"[]", 400),
        ("json", b'{"grant_type": 7}', 400),
        ("json", b'{"grant_type": "\\"\\\\\xc3\xa9"}', 400),
        ("json", b" " * (BODY_BYTES_MAX + 1), 413),
    ],
)
def test_a_body_that_asks_for_no_token_is_refused_in_the_words_of_the_standard(kind: str, data: bytes, status: int):
    async def scene(door: Door) -> None:
        answer = await door.ask("POST", "/oauth/token", content=data, headers={"content-type": f"application/{kind}"})

        said = answer.json()
        assert (answer.status_code, set(said)) == (status, {"error", "error_description"})
        assert said["error"] in ("invalid_request", "unsupported_grant_type")
        assert re.fullmatch(r"[\x20\x21\x23-\x5b\x5d-\x7e]+", said["error_description"])
        assert answer.headers["cache-control"] == "no-store"

    play(scene)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(Unavailable("The database is away."), 503, "temporarily_unavailable"), (ValueError("x"), 500, "server_error")],
)
def test_a_server_that_cannot_give_a_token_says_so_in_the_words_of_the_standard(
    error: Exception, status: int, code: str, monkeypatch: pytest.MonkeyPatch
):
    async def breaks(*_: object, **__: object) -> None:
        raise error

    async def scene(door: Door) -> None:
        monkeypatch.setattr(door.auth, "token_for_client", breaks)

        answer = await door.ask("POST", "/oauth/token", data=FORM | {"client_secret": "x"})

        assert (answer.status_code, answer.json()["error"]) == (status, code)
        assert ("retry-after" in answer.headers) == (status == 503)

    play(scene)


def test_the_document_says_in_whose_words_a_token_is_refused():
    paths = document_of(ROUTES, version="test")["paths"]
    for path, schema in (("/oauth/token", "TokenRefused"), ("/api/v1/oauth/token", "ErrorEnvelope")):
        answers = paths[path]["post"]["responses"]
        refusals = {status: answer["content"] for status, answer in answers.items() if status != "200"}

        assert {body["application/json"]["schema"]["$ref"].rpartition("/")[2] for body in refusals.values()} == {schema}
        assert ("422" in refusals) == (schema == "ErrorEnvelope")


def test_a_token_is_revoked_by_whoever_has_it():
    async def scene(door: Door) -> None:
        token = await door.token()

        answer = await door.ask("POST", "/api/v1/oauth/revoke", data={"token": token})
        again = await door.ask("POST", "/api/v1/oauth/revoke", data={"token": token})

        assert (answer.status_code, again.status_code) == (200, 200)
        assert (await door.ask("GET", "/api/v1/me", token)).status_code == 401

    play(scene)


# --- Users ---------------------------------------------------------------------------------------------------------


async def logged_in(door: Door, role: str = "admin", **rest: Any) -> httpx2.Response:
    await door.auth.users.create("default", "ann", role, PASSWORD, by="test")
    return await door.ask("POST", "/api/v1/login", json={"name": "ann", "password": PASSWORD, **rest})


def test_a_user_logs_in_and_out():
    async def scene(door: Door) -> None:
        token = (await logged_in(door)).json()["access_token"]
        assert (await door.ask("GET", "/api/v1/me", token)).json()["actor"] == "user:ann"

        assert (await door.ask("POST", "/api/v1/logout", token)).status_code == 200

        assert (await door.ask("GET", "/api/v1/me", token)).status_code == 401
        wrong = await door.ask("POST", "/api/v1/login", json={"name": "ann", "password": "wrong"})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "UNAUTHORIZED")

    play(scene)


def test_a_browser_gets_a_cookie_that_no_script_reads_and_no_other_site_uses():
    async def scene(door: Door) -> None:
        answer = await logged_in(door, cookie=True)

        assert "access_token" not in answer.json()
        text = answer.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=28800"} <= set(text.split("; "))
        cookie = {"cookie": "other=1; " + text.partition(";")[0]}
        own = {"origin": str(door._client.base_url).rstrip("/")}
        assert (await door.ask("GET", "/api/v1/me", headers=cookie)).status_code == 200
        assert (await door.ask("GET", "/api/v1/me", headers=cookie | own)).status_code == 200
        for other in (
            {"origin": "https://evil.example"},
            {"origin": "null"},
            {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
        ):
            refused = await door.ask("POST", "/api/v1/logout", headers=cookie | other)
            assert refused.status_code == 403, other
        assert (await door.ask("GET", "/api/v1/me", headers=cookie)).status_code == 200, "nobody has logged out"
        out = await door.ask("POST", "/api/v1/logout", headers=cookie | own)
        assert "Max-Age=0" in out.headers["set-cookie"]
        assert (await door.ask("GET", "/api/v1/me", headers=cookie)).status_code == 401

    play(scene)


def test_a_page_of_another_site_cannot_log_a_browser_in():
    async def scene(door: Door) -> None:
        await door.auth.users.create("default", "ann", "admin", PASSWORD, by="test")

        answer = await door.ask(
            "POST",
            "/api/v1/login",
            json={"name": "ann", "password": PASSWORD, "cookie": True},
            headers={"origin": "https://evil.example"},
        )

        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers

    play(scene)


# --- Those who may do all ------------------------------------------------------------------------------------------


def test_an_admin_makes_changes_and_ends_clients_and_users_and_it_is_on_record():
    async def scene(door: Door) -> None:
        admin = await door.token("admin", name="first")

        made = await door.ask("POST", "/api/v1/clients", admin, json={"name": "billing", "scopes": ["runs:read"]})
        rotated = await door.ask("POST", "/api/v1/clients/billing/rotate", admin)
        token = (await door.auth.token_for_client("billing", rotated.json()["client_secret"])).access_token
        listed = await door.ask("GET", "/api/v1/clients", admin)
        ended = await door.ask("DELETE", "/api/v1/clients/billing", admin)
        user = await door.ask(
            "POST", "/api/v1/users", admin, json={"name": "ann", "role": "viewer", "password": PASSWORD}
        )
        for change in ({"role": "operator"}, {"disabled": True}, {"disabled": False}, {"password": PASSWORD * 2}):
            changed = await door.ask("PATCH", "/api/v1/users/ann", admin, json=change)
            assert changed.status_code == 200, changed.text
        acts = (await door.ask("GET", "/api/v1/admin/acts?limit=3", admin)).json()

        assert (made.status_code, user.status_code) == (201, 201)
        assert made.json()["client_secret"] != rotated.json()["client_secret"]
        assert [one["client_id"] for one in listed.json()["clients"]] == ["billing", "first"]
        assert "secret" not in listed.text
        assert ended.json()["revoked_at"] is not None
        assert (await door.ask("GET", "/api/v1/me", token)).status_code == 401
        assert PASSWORD not in (await door.ask("GET", "/api/v1/users", admin)).text
        assert [act["act"] for act in acts["acts"]] == ["user.password", "user.enable", "user.disable"]
        assert {act["actor"] for act in acts["acts"]} == {"client:first"}
        assert acts["cursor"]

    play(scene)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/clients", {"name": "first", "scopes": ["runs:read"]}, 409),
        ("POST", "/clients", {"name": "x", "scopes": ["everything"]}, 422),
        ("POST", "/clients/nobody/rotate", {}, 404),
        ("DELETE", "/clients/nobody", None, 404),
        ("PATCH", "/users/nobody", {"role": "admin"}, 404),
        ("PATCH", "/users/nobody", {}, 422),
        ("PATCH", "/users/nobody", {"role": "admin", "disabled": True}, 422),
        ("GET", "/admin/acts?limit=0", None, 422),
    ],
)
def test_what_cannot_be_done_is_refused_in_the_envelope(method: str, path: str, body: Any, status: int):
    async def scene(door: Door) -> None:
        admin = await door.token("admin", name="first")

        answer = await door.ask(method, f"/api/v1{path}", admin, **({} if body is None else {"json": body}))

        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["message"]

    play(scene)
