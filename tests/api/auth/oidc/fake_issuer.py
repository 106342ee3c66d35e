"""An issuer through which people log in."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key

from headgate.api.auth.oidc_settings import oidc_settings

NOON = 1_800_000_000
KEY = generate_private_key(65_537, 2_048)
CLIENT_ID, CLIENT_SECRET = "headgate", "s3cret"


class FakeIssuer:
    """`authorize` is its login page, where everybody is let in who comes; the rest is asked for over HTTP."""

    def __init__(self) -> None:
        self.url = ""
        self.key: RSAPrivateKey = KEY
        self.key_id = "k1"
        self.now = NOON
        self.claims: dict[str, Any] = {"sub": "u-1", "preferred_username": "Ann", "groups": ["staff", "hg-ops"]}
        self.lies: dict[str, Any] = {}
        self.algorithm = "RS256"
        self.asked: list[str] = []
        self.codes: dict[str, dict[str, str]] = {}

    def authorize(self, url: str) -> dict[str, str]:
        """Let a browser in; return what it brings back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert asked["code_challenge_method"] == "S256"
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked
        return {"code": code, "state": asked["state"]}

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
        path = first.split()[1]
        self.asked.append(path)
        status, answer = self._answer(path, body, headers)
        text = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status} x\r\ncontent-length: {len(text)}\r\nconnection: close\r\n\r\n"
        writer.write(head.encode() + text)
        await writer.drain()
        writer.close()

    def _answer(self, path: str, body: str, headers: dict[str, str]) -> tuple[int, Any]:
        match path:
            case "/.well-known/openid-configuration":
                ends = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/jwks"}
                return 200, {"issuer": self.url, **{name: self.url + end for name, end in ends.items()}} | self.lies
            case "/jwks":
                jwk = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
                useless = {"kty": "oct", "k": "AAAA", "kid": "shared"}
                return 200, {"keys": [useless, {"kty": "no"}, {**jwk, "kid": self.key_id, "use": "sig"}]}
            case _:
                return self._trade({name: values[0] for name, values in parse_qs(body).items()}, headers)

    def _trade(self, form: dict[str, str], headers: dict[str, str]) -> tuple[int, Any]:
        asked = self.codes.pop(form.get("code", ""), None)
        pair = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        right = asked is not None and (
            headers.get("authorization") == f"Basic {pair}"
            and asked["code_challenge"] == challenge.decode()
            and asked["redirect_uri"] == form["redirect_uri"]
        )
        if asked is None or not right:
            return 400, {"error": "invalid_grant"}
        said = {"iss": self.url, "aud": CLIENT_ID, "iat": self.now, "exp": self.now + 300, "nonce": asked["nonce"]}
        said = {name: value for name, value in (said | self.claims).items() if value is not None}
        key: Any = CLIENT_SECRET * 8 if self.algorithm == "HS256" else self.key
        return 200, {"id_token": jwt.encode(said, key, algorithm=self.algorithm, headers={"kid": self.key_id})}


def settings_of(issuer: FakeIssuer, **more: str) -> Any:
    given = {
        "HEADGATE_PUBLIC_URL": "https://headgate.example",
        "HEADGATE_OIDC_ISSUER": issuer.url,
        "HEADGATE_OIDC_CLIENT_ID": CLIENT_ID,
        "HEADGATE_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "HEADGATE_OIDC_ROLE_CLAIM": "groups",
        "HEADGATE_OIDC_ROLES": "hg-ops=operator,hg-admins=admin,staff=viewer",
    }
    return oidc_settings(given | more)


async def come_back(house: Any, by: FakeIssuer, then: str = "/", address: str = "", **changed: str) -> Any:
    begun = await house.auth.issuer_login().begin(then)
    back = by.authorize(begun.url) | changed
    return await house.auth.log_in_by_issuer(back.pop("cookie", begun.cookie), **back, address=address)
