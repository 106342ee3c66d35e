"""A small OpenAI-compatible server on the loopback interface, and what such a server answers."""

from __future__ import annotations

import json
from typing import Any

from tests.llm.fakes.server import FakeServer, Reply

__all__ = ["DONE", "FakeOpenAI", "completion", "event", "events", "stream_reply"]

DONE = b"data: [DONE]\n\n"


class FakeOpenAI(FakeServer):
    """The server, with the address that an OpenAI client is given."""

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"


def stream_reply(*chunks: bytes, cut: bool = False) -> Reply:
    """Return a reply as an event stream, sent in these chunks."""
    return Reply(list(chunks), headers={"content-type": "text/event-stream; charset=utf-8"}, cut=cut)


def completion(content: str | None, **fields: Any) -> dict[str, Any]:
    """Return the body of a chat completion; `usage` and `message` may be replaced, or left out with None."""
    message = {"role": "assistant", "content": content, **fields.pop("message", {})}
    choice = {"index": 0, "message": message, "finish_reason": fields.pop("finish_reason", "stop")}
    usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
    body = {"id": "c1", "model": "gpt-4o-2024-08-06", "choices": [choice], "usage": usage, **fields}
    return {name: value for name, value in body.items() if value is not None}


def event(delta: dict[str, Any] | None = None, *, finish: str | None = None, **fields: Any) -> bytes:
    """Return one event of a streamed completion; without `delta` and `finish` it has no choices."""
    choices = [] if delta is None and finish is None else [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    body = {"id": "c1", "model": "gpt-4o-2024-08-06", "choices": choices, **fields}
    return f"data: {json.dumps(body)}\n\n".encode()


def events(*texts: str, finish: str = "stop", usage: dict[str, Any] | None = None) -> bytes:
    """Return a whole stream that says `texts`; with usage if given, and with its end."""
    said = b"".join(event({"content": text}) for text in texts)
    return said + event(finish=finish) + (event(usage=usage) if usage else b"") + DONE
