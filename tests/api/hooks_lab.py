"""Hooks, and requests of programs outside."""

from __future__ import annotations

import json
import time
from typing import Any

from headgate.core.signatures import secret_bytes, signed_headers

ISSUE = """
name: issue
inputs: {title: {type: string}, number: {type: integer}}
activities: {a: {use: echo, with: {title: "{{ INPUT.title }}"}}}
"""
ANY = "name: any\nactivities: {a: {use: echo, with: {got: '{{ INPUT }}'}}}"
CHAT = """
name: chat
inputs: {who: {type: string, default: nobody}}
activities:
  first: {use: echo, wait_for: said, with: {text: "{{ SIGNAL.text }}"}}
  second: {use: echo, after: [first], wait_for: said, with: {text: "{{ SIGNAL.text }}"}}
"""


async def made(desk: Any, **given: Any) -> dict[str, Any]:
    answer = await desk.post("/hooks", given)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def send(desk: Any, hook: dict[str, Any], value: Any, *, delivery: str = "m1", at: float | None = None) -> Any:
    body = json.dumps(value).encode()
    at_seconds = int(time.time() if at is None else at)
    headers = signed_headers(secret_bytes(hook["secret"]), body, message_id=delivery, at_seconds=at_seconds)
    return await desk.client.post(hook["path"].removeprefix("/api/v1"), content=body, headers=headers)


async def runs(desk: Any) -> int:
    return (await desk.get("/workflows")).json()["total"]
