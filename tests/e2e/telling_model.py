"""A model that tells its answers word by word, as far as a test lets it, and each call's in other words."""

from __future__ import annotations

import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple

from tests.e2e.model_server import ModelServer

__all__ = ["WORDS", "Call", "TellingModel"]

WORDS = 240
PAUSE_SECONDS_MAX = 0.02


class Call(NamedTuple):
    """Who has asked, for what, and the answer in full; no two begin with the same word."""

    key: str
    prompt: str
    text: str


class TellingModel(ModelServer):
    """Every answer stands still where it has as many words as `let` has allowed last."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, lambda *_: None)
        self.calls: list[Call] = []
        self._pauses = random.Random(seed)
        self._allowed = 0
        self._changed = threading.Condition()

    def let(self, words: int) -> None:
        with self._changed:
            self._allowed = words
            self._changed.notify_all()

    def of(self, prompt: str) -> list[Call]:
        return [call for call in self.calls if call.prompt == prompt]

    def __exit__(self, *_: object) -> None:
        self.let(WORDS)
        super().__exit__()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        with self._changed:
            words = [f"{len(self.calls)}🦉{number} " for number in range(WORDS)]
            key = handler.headers["authorization"].removeprefix("Bearer ")
            self.calls.append(Call(key, body["messages"][-1]["content"], "".join(words)))
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("connection", "close")
        handler.end_headers()
        try:
            for number, word in enumerate(words):
                with self._changed:
                    self._changed.wait_for(lambda number=number: number < self._allowed)
                _tell(handler, {"choices": [{"index": 0, "delta": {"content": word}}]})
                time.sleep(self._pauses.uniform(0, PAUSE_SECONDS_MAX))
            _tell(handler, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            _tell(handler, {"choices": [], "usage": {"prompt_tokens": 6, "completion_tokens": 9, "total_tokens": 15}})
            handler.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            """Whoever has asked was killed."""


def _tell(handler: BaseHTTPRequestHandler, part: dict[str, object]) -> None:
    handler.wfile.write(f"data: {json.dumps({'id': 'c', 'model': 'm', **part})}\n\n".encode())
