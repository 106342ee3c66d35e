"""Over HTTP nobody gets past the door who is not known, whatever route they ask for."""

from __future__ import annotations

import re

import pytest
from tests.api.auth.door import PASSWORD, Door, play

from headgate.api.caller import Caller
from headgate.api.http.route import Route
from headgate.api.http.table import ROUTES

GUARDED = [pytest.param(route, id=f"{route.method} {route.address}") for route in ROUTES if route.scope]


def address_of(route: Route, run: str = "another-run") -> str:
    """The route's path, of a run where it is a run's."""
    path = route.address
    while "{" in path:
        before, _, rest = path.partition("{")
        name, _, after = rest.partition("}")
        path = before + (run if name == "id" else "x") + after
    return path


# --- Every route ------------------------------------------------------------------------------------------------------


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


# --- Tickets ----------------------------------------------------------------------------------------------------------


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
