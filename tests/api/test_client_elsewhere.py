"""The Python client at servers of a few lines: busy, refusing, or none of ours."""

from __future__ import annotations

import asyncio

import pytest

import headgate
from headgate.api.http import HttpServer
from headgate.client.http_line import ServerAway
from headgate.process import run_serving


def test_a_server_that_is_busy_is_asked_again_as_it_says():
    """503 and 429 with Retry-After, by a server of ours that refuses at first."""
    asked: list[str] = []

    async def application(scope, receive, send):
        asked.append(scope["path"])
        refused = len(asked) <= 2
        status = (503, 429)[len(asked) - 1] if refused else 200
        body = b'{"error": {"code": "SERVICE_UNAVAILABLE", "message": "later"}}' if refused else b"[]"
        headers = [(b"retry-after", b"0")] if refused else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def whole() -> None:
        async with HttpServer(application, "127.0.0.1", 0) as there, headgate.AsyncClient(there.url) as server:
            assert await server.runs() == []
        assert asked == ["/api/v1/runs"] * 3

    asyncio.run(whole())


def test_a_client_asks_on_whatever_loop_its_program_runs():
    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"[]"})

    async def whole() -> None:
        async with HttpServer(application, "127.0.0.1", 0) as there, headgate.AsyncClient(there.url) as server:
            assert await server.runs() == []

    for run in (asyncio.run, run_serving):
        run(whole())


def test_tokens_are_got_for_a_client_and_got_anew_when_they_are_over():
    given: list[str] = []

    async def application(scope, receive, send):
        headers = dict(scope["headers"])
        if scope["path"] == "/api/v1/oauth/token":
            assert headers[b"authorization"] == b"Basic YTpi"
            given.append(f"t{len(given)}")
            status, body = (
                200,
                b'{"access_token": "%s", "expires_in": 3600, "token_type": "Bearer"}' % given[-1].encode(),
            )
        elif headers.get(b"authorization") == b"Bearer t1":
            status, body = 200, b"[]"
        else:
            status, body = (
                401,
                b'{"error": {"code": "UNAUTHORIZED", "message": "over", "details": {"reason": "unauthorized"}}}',
            )
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    async def whole() -> None:
        async with HttpServer(application, "127.0.0.1", 0) as there:
            async with headgate.AsyncClient(there.url, client_id="a", client_secret="b") as server:
                assert await server.runs() == []
                assert await server.runs() == []
            assert given == ["t0", "t1"]
            async with headgate.AsyncClient(there.url, token="other") as server:
                with pytest.raises(headgate.Refused, match="over") as caught:
                    await server.runs()
                assert caught.value.code == "unauthorized"

    asyncio.run(whole())


def test_a_login_that_is_refused_for_now_is_tried_again():
    asked: list[str] = []

    async def application(scope, receive, send):
        asked.append(scope["path"].rpartition("/")[2])
        status, body = 200, b"[]"
        if asked == ["token"]:
            status, body = 429, b'{"error": {"code": "RATE_LIMIT_EXCEEDED", "message": "too many at this moment"}}'
        elif asked[-1] == "token":
            body = b'{"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}'
        await send({"type": "http.response.start", "status": status, "headers": [(b"retry-after", b"0")]})
        await send({"type": "http.response.body", "body": body})

    async def whole() -> None:
        async with (
            HttpServer(application, "127.0.0.1", 0) as there,
            headgate.AsyncClient(there.url, client_id="a", client_secret="b") as server,
        ):
            assert await server.runs() == []
        assert asked == ["token", "token", "runs"]

    asyncio.run(whole())


def test_an_answer_that_is_not_headgates_is_called_so():
    async def application(scope, receive, send):
        await send({"type": "http.response.start", "status": 502, "headers": []})
        await send({"type": "http.response.body", "body": b"<html>bad gateway</html>"})

    async def whole() -> None:
        async with (
            HttpServer(application, "127.0.0.1", 0) as there,
            headgate.AsyncClient(there.url, patience_seconds=0.1) as server,
        ):
            with pytest.raises(ServerAway, match="502 is not Headgate's; it said: <html>bad gateway"):
                await server.runs()

    asyncio.run(whole())
