"""A program that webhooks are sent to: a real HTTP server on loopback, which keeps what it gets and answers as told."""

from __future__ import annotations

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

__all__ = ["Received", "Receiver"]

SECONDS_MAX = 30


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """`with Receiver() as receiver:`. Answers 204, or what `answers` holds for the next requests: a status, `redirect`,
    or `hang` (until `go_on` is set)."""

    def __init__(self) -> None:
        self.got: list[Received] = []
        self.answers: deque[int | str] = deque()
        self.always: int | str = 204
        self.go_on = threading.Event()
        self.came = threading.Condition()

    def __enter__(self) -> Self:
        receiver = self

        class Answering(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                body = self.rfile.read(length)
                if len(body) < length:
                    return  # whoever sent it died in the middle
                headers = {name.lower(): value for name, value in self.headers.items()}
                with receiver.came:
                    receiver.got.append(Received(self.path, headers, body))
                    answer = receiver.answers.popleft() if receiver.answers else receiver.always
                    receiver.came.notify_all()
                if answer == "hang":
                    receiver.go_on.wait(SECONDS_MAX)
                    answer = 204
                self.send_response(307 if answer == "redirect" else int(answer))
                if answer == "redirect":
                    self.send_header("location", "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            do_GET = do_POST  # noqa: N815 - the library's name

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/news"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, count: int) -> None:
        """Return when so many requests have come."""
        with self.came:
            assert self.came.wait_for(lambda: len(self.got) >= count, SECONDS_MAX), f"{len(self.got)} of {count} came"
