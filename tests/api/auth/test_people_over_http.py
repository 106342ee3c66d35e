"""People who log in over HTTP, and what is recorded of those who may do all."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from tests.api.auth.door import PASSWORD, Door, play

# --- Users ------------------------------------------------------------------------------------------------------------


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


# --- Those who may do all ---------------------------------------------------------------------------------------------


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
