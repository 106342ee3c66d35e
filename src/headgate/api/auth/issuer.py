"""What an OIDC issuer says of itself: its endpoints and its keys, asked for over HTTP and kept for a while."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from headgate.core.errors import Unavailable
from headgate.ports import Clock

if TYPE_CHECKING:
    import httpx2

__all__ = ["ANSWER_BYTES_MAX", "Endpoints", "Issuer"]

KEPT_SECONDS = 3_600
KEYS_AGAIN_SECONDS = 60
"""After a token whose key is unknown the keys are asked for again, at most so often."""
KEYS_MAX = 100
ANSWER_BYTES_MAX = 1_000_000
TIMEOUT_SECONDS = 10


class Endpoints(msgspec.Struct, frozen=True):
    """What is read of `/.well-known/openid-configuration`."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str


class Issuer:
    """All of it raises `Unavailable` where the issuer does not answer, or not as the standard has it."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._endpoints: Endpoints | None = None
        self._asked_at = 0
        self._keys: dict[str, Any] = {}
        self._keys_at = 0

    async def endpoints(self) -> Endpoints:
        if self._endpoints is None or self._clock.now() - self._asked_at > KEPT_SECONDS * 1_000_000:
            status, said = await self._get(f"{self._url}/.well-known/openid-configuration")
            try:
                found = msgspec.convert(said, Endpoints)
            except msgspec.ValidationError as error:
                raise self._odd(f"{status}, {error}") from None
            if found.issuer.rstrip("/") != self._url:
                raise self._odd(f"it calls itself {found.issuer!r}")
            if any(
                urlsplit(url).scheme != urlsplit(self._url).scheme for url in (found.token_endpoint, found.jwks_uri)
            ):
                raise self._odd("its endpoints are not https")
            self._endpoints, self._asked_at = found, self._clock.now()
        return self._endpoints

    async def key(self, key_id: str) -> Any:
        """Return the key of this id, for PyJWT; None: the issuer has none. One without an id is there for all."""
        age = self._clock.now() - self._keys_at
        stale = age > KEPT_SECONDS * 1_000_000
        if stale or (key_id not in self._keys and age > KEYS_AGAIN_SECONDS * 1_000_000):
            self._keys = await self._read_keys()
            self._keys_at = self._clock.now()
        return self._keys.get(key_id)

    async def _read_keys(self) -> dict[str, Any]:
        import jwt

        _, said = await self._get((await self.endpoints()).jwks_uri)
        listed = said.get("keys")
        if not isinstance(listed, list):
            raise self._odd("it lists no keys")
        found: dict[str, Any] = {}
        for one in listed[:KEYS_MAX]:
            try:
                key = jwt.PyJWK(one)
            except (jwt.PyJWTError, AttributeError, TypeError, ValueError):
                continue  # of a kind that nobody here signs with
            if key.public_key_use in (None, "sig"):
                found[key.key_id or ""] = key
        return found

    async def _get(self, url: str) -> tuple[int, dict[str, Any]]:
        return await self._ask("GET", url)

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        """Post a form; return status and answer."""
        return await self._ask("POST", url, data=dict(form), headers=dict(headers))

    async def _ask(self, method: str, url: str, **rest: Any) -> tuple[int, dict[str, Any]]:
        import httpx2

        try:
            async with (
                httpx2.AsyncClient(timeout=TIMEOUT_SECONDS, follow_redirects=False) as client,
                client.stream(method, url, **rest) as answer,
            ):
                data = await self._read(answer)
                return answer.status_code, msgspec.json.decode(data, type=dict[str, Any])
        except httpx2.HTTPError as error:
            raise Unavailable(f"The issuer {self._url} does not answer: {error}. Try again later.") from None
        except (msgspec.DecodeError, RecursionError):
            raise self._odd(f"{url} answers no JSON object") from None

    async def _read(self, answer: httpx2.Response) -> bytes:
        data = b""
        async for part in answer.aiter_bytes():
            data += part
            if len(data) > ANSWER_BYTES_MAX:
                raise self._odd(f"its answer has more than {ANSWER_BYTES_MAX} bytes")
        return data

    def _odd(self, why: str) -> Unavailable:
        return Unavailable(
            f"The issuer {self._url} does not answer as it should: {why}. Is HEADGATE_OIDC_ISSUER right?"
        )
