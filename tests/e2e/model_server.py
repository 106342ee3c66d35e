"""A model behind HTTP that keeps a bill: who asked, and what each answer costs, from the moment a request is there."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

__all__ = ["INPUT_NANO", "OUTPUT_NANO", "ModelServer"]

INPUT_NANO, OUTPUT_NANO = 1_000, 2_000
"""What a token costs, in nano-dollars."""


class ModelServer:
    """`with ModelServer(...) as server:` answers at `server.url`. `on_request` is called with each request's number and
    the key that it came with, while it is open; then it is answered."""

    def __init__(self, seed: int, on_request: Callable[[int, str], None]) -> None:
        self.bill: list[int] = []
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._on_request = on_request

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(handler) -> None:  # noqa: N805 - the server's own `self` is needed in it
                self._answer(handler)

            def log_message(handler, *_: Any) -> None:  # noqa: N805 - as above
                """Nothing: pytest shows what is printed."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # a killed client hangs up
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
        with self._lock:
            used = self._random.randint(body["max_tokens"] // 2, body["max_tokens"])
            self.bill.append(6 * INPUT_NANO + used * OUTPUT_NANO)
            number = len(self.bill)
        self._on_request(number, handler.headers["authorization"].removeprefix("Bearer "))
        usage = {"prompt_tokens": 6, "completion_tokens": used, "total_tokens": 6 + used}
        said = {"id": "c", "model": body["model"], "choices": [{"index": 0, "delta": {"content": "Yes."}}]}
        ended = {**said, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        parts = [said, ended, {**said, "choices": [], "usage": usage}]
        sent = "".join(f"data: {json.dumps(part)}\n\n" for part in parts) + "data: [DONE]\n\n"
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("content-length", str(len(sent)))
        handler.end_headers()
        handler.wfile.write(sent.encode())
