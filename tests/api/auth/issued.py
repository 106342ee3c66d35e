"""Tokens as they are issued."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    head, body, _ = token.split(".")
    return tuple(json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, body))


async def signed(house: Any, token: str, head: dict[str, Any] | None = None, **claims: Any) -> str:
    """The token with other claims, signed by the right key all the same."""
    key_id, key = await house.auth.keys.current()
    _, body = opened(token)
    kept = {name: value for name, value in (body | claims).items() if value is not None}
    return jwt.encode(kept, key, algorithm="EdDSA", headers={"kid": key_id, **(head or {})})


def _count(documents: Any, name: str, asked: list[str]) -> None:
    real = getattr(documents, name)

    async def counted(*arguments: Any, **rest: Any) -> Any:
        asked.append(name)
        return await real(*arguments, **rest)

    setattr(documents, name, counted)
