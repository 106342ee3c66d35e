"""What `headgate doctor` finds, with providers that are ours."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from headgate.cli.program import run_program

KEY = "sk-very-secret-7261"
MODELS = {"data": [{"id": "gpt-5"}, {"id": "gpt-5-nano"}, {"id": "text-embedding-3-small"}, {"id": "unpriced-x"}]}
ANSWER = {
    "model": "gpt-5-nano",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22},
}


class Provider(ThreadingHTTPServer):
    """A provider of models on loopback: `answers` by the end of the path; it takes `key`, if that is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.key = ""
        self.answers: dict[str, tuple[int, Any]] = {"/models": (200, MODELS), "/chat/completions": (200, ANSWER)}
        self.asked: list[str] = []
        self.keys: list[str] = []
        self.bodies: list[Any] = []
        self.barrier: threading.Barrier | None = None
        self.silent = threading.Event()
        self.silent.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        """Whoever asked has hung up: that is what some tests are about."""


class _Exchange(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        self.server.silent.wait(20)
        if self.server.barrier is not None:
            self.server.barrier.wait(20)
        given = " ".join(
            f"{name}: {self.headers[name]}"
            for name in ("Authorization", "api-key", "x-api-key", "x-goog-api-key", "x-team")
            if name in self.headers
        )
        self.server.keys.append(given)
        if self.server.key and not given.endswith(
            (f"Authorization: Bearer {self.server.key}", f"api-key: {self.server.key}")
        ):
            self.answer(401, {"error": {"message": f"Incorrect API key provided: {given}"}})
            return
        path = self.path.partition("?")[0]
        found = [answer for end, answer in self.server.answers.items() if path.endswith(end)]
        self.answer(*(found[0] if found else (404, {"error": {"message": "no such page"}})))

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.do_GET()

    def answer(self, status: int, body: Any) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Doctor:
    """Runs the verb; what it printed is kept, for no test may find the key in it."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.capsys = capsys
        self.monkeypatch = monkeypatch
        self.code = -1
        self.printed = ""

    def __call__(self, *words: str, **variables: str) -> dict[str, dict[str, Any]]:
        """Return the findings by name."""
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)
        self.code = self.exit_code("doctor", "--json", *words)
        said = self.capsys.readouterr()
        self.printed = said.out + said.err
        return {finding["name"]: finding for finding in json.loads(said.out)}

    @staticmethod
    def exit_code(*words: str) -> int:
        with pytest.raises(SystemExit) as ended:
            run_program(list(words))
        assert isinstance(ended.value.code, int)
        return ended.value.code
