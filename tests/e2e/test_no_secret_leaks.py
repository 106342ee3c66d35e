"""No secret anywhere: activities of every kind are given secrets, fail with them, print them and return them; then
every byte that was written or shown is searched, for the secrets and for the forms in which programs write texts."""

from __future__ import annotations

import base64
import binascii
import http.server
import json
import os
import signal
import socketserver
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, quote_plus

import pytest

from headgate.authoring import load_definition
from headgate.authoring.problems import InvalidDefinition

pytestmark = pytest.mark.slow

SECONDS_MAX = 120
PART = 14
"""So many characters of a secret in a row are too many: of one that is cut in two, one part has at least half."""
SECRETS = {
    "header": "hdr-Q7vX2mK9pL4wZ8nB5tR3-yJ6",
    "query": "qry/T5+kW8=mN2&vX9?pL4 zB7",
    "path": "pth-H3jK6nM9qS2tV5wY8zC1-fG4",
    "body": 'bdy"D2gJ5\\kN8qT1<wZ4>cF7-hL0',
    "prompt": "prm-R4uX7aD0gJ3mP6sV9yB2-eH5",
    "script": "scr-L8oR1uX4aD7gJ0mP3sV6-yB9\nsecond-line-F2iL5oR8uX1aD4gJ7mP0",
    "sql": "sql-W6zC9fI2lO5rU8xA1dG4-jM7",
    "password": "pwd-E1hK4nQ7tW0zC3fI6lO9-rU2",
    "mail": "eml-N5qT8wZ1cF4iL7oR0uX3-aD6",
    "item": "itm-S0vY3bE6hK9nQ2tW5zC8-fI1",
    "file": "fil-B7eH0kN3qT6wZ9cF2iL5-oR8",
    "unicode": "üñî-P4sV7yB0eH3kN6qT9wZ2-☃cF5",
}
OPENAI_KEY = "key-J2mP5sV8yB1eH4kN7qT0wZ3cF6iL9"
FLOW = (Path(__file__).parent / "flows" / "leaks.yaml").read_text()
HELD = "  hold: {use: wait, join: all, with: {duration: 1h}, after: [ALL]}\n"
EDGE = "{activity_key: KEY, condition: \"{{ KEY.status != 'skipped' }}\"}"
NAMES = [line.partition(":")[0].strip() for line in FLOW.splitlines() if line.startswith("  ")]


class Echo(http.server.BaseHTTPRequestHandler):
    """A server that says everything that it was told: the worst that a server may do with a secret."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name in the standard library
        """It has no log."""

    def do_GET(self) -> None:
        self._answer("")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("content-length", "0"))).decode())

    def _answer(self, body: str) -> None:
        cast("Any", self.server).seen.append((self.path, dict(self.headers), body))
        if self.path.startswith("/v1/"):
            self._answer_as_model(body)
        elif self.path.startswith("/redirect/"):
            self._send(302, b"", location=f"/echo/{self.path.removeprefix('/redirect/')}")
        elif self.path == "/text":
            self._send(200, f"you said {body}".encode(), kind="text/plain")
        elif self.path == "/base64":
            self._send(200, base64.b64encode(f"Basic {body}".encode()), kind="text/plain")
        else:
            said = {"path": self.path, "headers": dict(self.headers), "body": body, "again": json.dumps(body)}
            self._send(500 if self.path.startswith("/fail") else 200, json.dumps(said).encode())

    def _answer_as_model(self, body: str) -> None:
        request = json.loads(body)
        if "messages" not in request or "fail " in body:
            said = {
                "error": {"message": f"no: {body} with {self.headers.get('authorization')}", "type": "invalid_request"}
            }
            return self._send(400, json.dumps(said).encode())
        text, usage = (
            request["messages"][-1]["content"],
            {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
        )
        if not request.get("stream"):
            choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            said = {"id": "c", "model": "gpt-4o-mini", "choices": [choice], "usage": usage}
            return self._send(200, json.dumps(said).encode())
        pieces = [text[at : at + 3] for at in range(0, len(text), 3)]
        events: list[Any] = [
            {"model": "gpt-4o-mini", "choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
            for piece in pieces
        ]
        events.append({"model": "gpt-4o-mini", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        events.append({"model": "gpt-4o-mini", "choices": [], "usage": usage})
        data = b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in events) + b"data: [DONE]\n\n"
        return self._send(200, data, kind="text/event-stream")

    def _send(self, status: int, content: bytes, kind: str = "application/json", location: str = "") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        if location:
            self.send_header("location", location)
        self.end_headers()
        self.wfile.write(content)


class Threaded(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


class Planted:
    """A folder in which workflows with secrets have run, and all that was shown meanwhile, by where it was shown."""

    def __init__(self, folder: Path, base: str) -> None:
        self.folder = folder
        self.shown: dict[str, bytes] = {}
        self.alive: dict[str, bytes] = {}
        """The files as they were when the process was killed that held them: with the log in front of the database."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        self.environment = kept | {
            "PYTHONUTF8": "1",
            "OPENAI_API_KEY": OPENAI_KEY,
            "OPENAI_BASE_URL": f"{base}/v1",
            **{f"HEADGATE_SECRET_{name.upper()}": value for name, value in SECRETS.items()},
        }
        self.flow = FLOW.replace("BASE", base)

    def verb(self, name: str, *arguments: str, ends: tuple[int, ...] = (0,)) -> bytes:
        done = subprocess.run(
            [sys.executable, "-m", "headgate", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            timeout=SECONDS_MAX,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode in ends, (name, done.returncode, done.stderr[-2000:])
        self.shown[f"{name} (stdout)"] = done.stdout
        self.shown[f"{name} (stderr)"] = done.stderr
        return done.stdout

    def run_and_kill(self) -> None:
        """Run all of it with the log as JSON until only the wait is left, and end the process as kill -9 does."""
        (self.folder / "held.yaml").write_text(
            self.flow + HELD.replace("ALL", ", ".join(EDGE.replace("KEY", name) for name in NAMES))
        )
        command = [sys.executable, "-m", "headgate", "run", "held.yaml", "--log-level", "debug", "--log-json"]
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as process:
            assert process.stdout is not None
            lines: list[bytes] = []
            guard = threading.Timer(SECONDS_MAX, process.kill)
            guard.start()
            for line in process.stdout:
                lines.append(line)
                if b"hold" in line and b"waits" in line:
                    break
            process.send_signal(signal.SIGKILL)
            lines.append(process.stdout.read())
            guard.cancel()
        self.shown["run with a log as JSON"] = b"".join(lines)
        assert b"hold" in lines[-2], lines[-20:]
        self.alive = self.files()

    def files(self) -> dict[str, bytes]:
        own = {"held.yaml", "flow.yaml"}
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in self.folder.rglob("*")
            if path.is_file() and path.name not in own
        }


@pytest.fixture(scope="module")
def echo() -> Iterator[Threaded]:
    with Threaded(("127.0.0.1", 0), Echo) as server:
        cast("Any", server).seen = []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def planted(echo: Threaded, tmp_path_factory: pytest.TempPathFactory) -> Planted:
    planted = Planted(tmp_path_factory.mktemp("leaks"), f"http://127.0.0.1:{echo.server_address[1]}")
    planted.run_and_kill()
    (planted.folder / "flow.yaml").write_text(planted.flow)
    planted.verb("run with a log as text", "run", "flow.yaml", "--log-level", "debug")
    for verb in ("show", "events"):
        planted.verb(verb, verb, "-")
        planted.verb(f"{verb} --json", verb, "-", "--json")
    planted.verb("state --json", "state", "-", "--at", "40", "--json")
    planted.verb("runs --json", "runs", "--json")
    planted.verb("audit export", "audit", "export")
    planted.verb("costs", "costs", "--json")
    planted.verb("cache", "cache", "list", "--json")
    planted.verb("files", "files", "-", "--json")
    planted.verb("doctor", "doctor", "--json", ends=(0, 1, 75))
    planted.verb("record", "record", "-", "--workflow", "flow.yaml", "--out", "recorded.test.yaml", ends=(0, 1))
    planted.verb("backup", "backup", "copy.db")
    return planted


def statuses(planted: Planted) -> dict[str, str]:
    shown = json.loads(planted.shown["show --json (stdout)"])
    return {activity["key"]: activity["status"] for activity in shown["activities"]}


def forms(value: str) -> set[bytes]:
    """Return the value as programs write it, and both of its halves, as bytes."""
    found: set[bytes] = set()
    for text in (value, *value.split("\n")):
        for part in (text, text[:PART], text[-PART:]):
            data = part.encode()
            found |= {data, quote(part, safe="").encode(), quote(part).encode(), quote_plus(part).encode()}
            found |= {json.dumps(part)[1:-1].encode(), json.dumps(part, ensure_ascii=False)[1:-1].encode()}
            found |= {repr(part)[1:-1].encode(), binascii.hexlify(data), binascii.hexlify(data).upper()}
        for shift in range(3):
            whole = base64.b64encode(bytes(shift) + text.encode())
            found |= {whole[4:-4], whole[4:-4].replace(b"+", b"-").replace(b"/", b"_")}
            found |= {whole[4:24], whole[-24:-4]}
    return {form for form in found if len(form) >= PART - 2}


def leaks(places: dict[str, bytes]) -> list[str]:
    """Return where which secret stands."""
    found: list[str] = []
    for name, value in {**SECRETS, "OPENAI_API_KEY": OPENAI_KEY}.items():
        for form in sorted(forms(value)):
            for place, content in places.items():
                for how, searched in (
                    ("", content),
                    (", over lines", content.replace(b"\n", b"").replace(b"\\n", b"")),
                ):
                    at = searched.find(form)
                    if at >= 0:
                        around = searched[max(0, at - 160) : at + 60]
                        found.append(f"{name} as {form!r} in {place}{how}: {around!r}")
                        break
    return found


# --- What was written and shown ---------------------------------------------------------------------------------------


def test_no_file_of_a_process_that_was_killed_holds_a_secret(planted: Planted):
    names = set(planted.alive)

    assert any(name.endswith("-wal") for name in names), names
    assert leaks(planted.alive) == []


def test_no_file_holds_a_secret_in_the_end(planted: Planted):
    files = planted.files()

    assert {"copy.db", "recorded.test.yaml", "other.db"} <= files.keys()
    assert leaks(files) == []


def test_no_table_holds_a_secret_however_its_pages_are_laid_out(planted: Planted):
    cells: dict[str, bytes] = {}
    for path in planted.folder.rglob("*.db"):
        connection = sqlite3.connect(path)
        for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
            rows = connection.execute(f'select * from "{table}"').fetchall()
            cells[f"{path.name}: {table}"] = b"".join(
                cell if isinstance(cell, bytes) else str(cell).encode() for row in rows for cell in row
            )
        connection.close()

    assert sum(map(len, cells.values())) > 10_000
    assert leaks(cells) == []


def test_nothing_that_was_printed_or_logged_holds_a_secret(planted: Planted):
    json_log, text_log = planted.shown["run with a log as JSON"], planted.shown["run with a log as text (stderr)"]

    # The script's lines are there, and say that something is missing.
    assert json_log.count(b'"message":"[secret]') > 0
    assert text_log.count(b"INFO headgate") > 3
    assert text_log.count(b"[secret]") > 3
    assert leaks(planted.shown) == []


# --- That the search finds what there is ------------------------------------------------------------------------------


def test_every_secret_went_out_to_where_it_was_sent(planted: Planted, echo: Threaded):
    heard = repr([(path, headers, body) for path, headers, body in cast("Any", echo).seen])

    for name in ("header", "path", "prompt", "item"):
        assert SECRETS[name] in heard, name
    assert quote(SECRETS["query"], safe="") in heard or quote_plus(SECRETS["query"]) in heard
    assert OPENAI_KEY in heard


def test_activities_of_every_kind_completed_and_failed_with_secrets(planted: Planted):
    found = statuses(planted)

    well = ["header", "upper", "calculated", "query", "path", "redirected", "body", "raw", "unicode", "base64", "asked"]
    well += ["streamed", "returned", "printed", "encoded", "frame", "kept", "selected", "items", "failed_items"]
    badly = ["refused_path", "nowhere", "bad_url", "bad_host", "failed_body", "failed_model", "no_schema", "vectors"]
    badly += [
        "raised",
        "exited",
        "syntax",
        "wrong_sql",
        "no_file",
        "no_postgres",
        "bad_postgres",
        "no_mail",
        "bad_mail",
    ]
    badly += ["unrendered"]
    assert found == dict.fromkeys(well, "completed") | dict.fromkeys(badly, "failed")


def test_where_a_secret_stood_it_says_so(planted: Planted):
    shown = planted.shown["show --json (stdout)"]

    assert shown.count(b"[secret]") > 20


@pytest.mark.parametrize("form", sorted(forms(SECRETS["header"])))
def test_the_search_finds_a_secret_in_each_form(form: bytes):
    assert leaks({"a file": b"before " + form + b" after"}) != []
    assert leaks({"a file": b"before " + form[:8] + b"\n" + form[8:] + b" after"}) != []


@pytest.mark.parametrize(
    "activity",
    [
        "{use: echo, with: {x: '{{ SECRET.a }}'}}",
        "{use: transform, with: {x: '{{ SECRET.a }}'}}",
        "{use: approval, with: {title: '{{ SECRET.a }}'}}",
        "{workflow: other, with: {x: '{{ SECRET.a }}'}}",
        "{use: vector_index, with: {collection: c, model: demo/embed, texts: ['{{ SECRET.a }}']}}",
        "{use: conversation, with: {conversation: c, operation: add, content: '{{ SECRET.a }}'}}",
        "{use: file_write, with: {path: x, content: '{{ SECRET.a }}'}}",
        "{use: http_request, when: '{{ SECRET.a }}', with: {url: x}}",
    ],
)
def test_what_is_stored_may_not_name_a_secret(activity: str):
    with pytest.raises(InvalidDefinition, match="secret"):
        load_definition(f"name: w\nactivities: {{a: {activity}}}")
