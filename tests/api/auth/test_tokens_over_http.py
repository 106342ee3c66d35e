"""Tokens for clients, over HTTP."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from tests.api.auth.door import Door, play

from headgate.api.http.application import BODY_BYTES_MAX
from headgate.api.http.openapi import document_of
from headgate.api.http.table import ROUTES
from headgate.core.errors import Unavailable

FORM = {"grant_type": "client_credentials", "client_id": "billing"}


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
