"""No outside connection: every example, and every template of `headgate init`, runs in guarded processes with a key for
every provider, and nothing looks a name up or connects to anything but loopback."""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from tests.servers import postgres_server
from tests.socket_guard import SocketGuard

from headgate.cli.init_verb import TEMPLATES

EXAMPLES = Path(__file__).parents[2] / "examples"
SECONDS_MAX = 120
ENDS = re.compile(r"#.*ends with (\d+)")
WEB_APP = """
import asyncio, app
async def serve():
    async with app.app.router.lifespan_context(app.app) as state:
        run = await state["headgate"].start("welcome", {"name": "Ada"})
        print((await run.result()).outputs)
asyncio.run(serve())
"""

FILL = """
import asyncio, asyncpg, sys
async def fill(url, tables):
    connection = await asyncpg.connect(url)
    await connection.execute(tables)
    await connection.close()
asyncio.run(fill(*sys.argv[1:]))
"""
LISTEN = "import socket; s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())"
SEND = "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.7', 53))"

pytestmark = pytest.mark.slow


@dataclass
class Guarded:
    """A folder with the examples in it, in which everything that is run is guarded."""

    folder: Path
    guard: SocketGuard
    more: dict[str, str] = field(default_factory=dict)

    def run(self, *command: str, ends: int = 0, folder: Path | None = None, **more: str) -> str:
        """Run a command to its end, and return what it printed."""
        program = {"headgate": [sys.executable, "-m", "headgate"], "python": [sys.executable]}[command[0]]
        done = subprocess.run(
            [*program, *command[1:]],
            cwd=folder or self.folder,
            env=self.guard.environment() | self.more | more,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == ends, (
            f"{shlex.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        return done.stdout


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__", ".headgate"))
    return Guarded(tmp_path, SocketGuard(tmp_path))


def commands_of_page() -> dict[str, list[tuple[list[str], int]]]:
    """Return the commands of the page of the examples with how they end, by example."""
    found: dict[str, list[tuple[list[str], int]]] = {}
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        for block in re.findall(r"```console\n(.*?)```", section, re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if line.startswith("$ headgate"):
                    ends = ENDS.search(line)
                    command = shlex.split(line.removeprefix("$ "), comments=True)
                    found.setdefault(section.split()[0], []).append((command, int(ends[1]) if ends else 0))
    return found


COMMANDS = commands_of_page()


# --- The examples -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", sorted(COMMANDS))
def test_an_example_asks_nobody_outside(example: str, guarded: Guarded):
    for command, ends in COMMANDS[example]:
        guarded.run(*command, ends=ends)

    assert guarded.guard.outside() == []
    assert len(guarded.guard.processes()) >= len(COMMANDS[example])


@pytest.fixture
def mail() -> Iterator[str]:
    """The address of a mail server that takes everything and keeps nothing."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(Sink(), hostname="127.0.0.1", port=port)
    controller.start()
    yield f"smtp://127.0.0.1:{port}?tls=none"
    controller.stop()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name in the standard library
        """Say nothing."""


@pytest.fixture
def warehouse() -> Iterator[str]:
    """The address of the warehouse that comes with the example."""
    handler = partial(Quiet, directory=str(EXAMPLES / "full_cycle" / "warehouse"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_full_cycle_asks_the_warehouse_and_the_mail_server_that_it_is_given_and_nobody_else(
    guarded: Guarded, mail: str, warehouse: str
):
    given = ["--input", "mail=@examples/full_cycle/mail.txt", "--input", f"warehouse={warehouse}"]

    guarded.run("headgate", "run", "examples/full_cycle/flow.yaml", *given, HEADGATE_SECRET_MAIL=mail)

    assert guarded.guard.outside() == []


def test_reconciliation_mails_to_the_server_that_it_is_given_and_to_nobody_else(guarded: Guarded, mail: str):
    ((command, ends), *_) = COMMANDS["reconciliation"]
    guarded.run(*command, ends=ends)

    data = '{"settled": [{"line": 4, "invoice": "R-1004"}]}'
    guarded.run("headgate", "approve", "-", "--data", data, "--work", HEADGATE_SECRET_MAIL=mail)

    assert guarded.guard.outside() == []


def test_orders_asks_the_database_that_it_is_given_and_nobody_else(guarded: Guarded):
    lines = '[{"sku": "TC-3", "units": 2}]'
    given = ["--input", "customer=Lindqvist", "--input", f"lines={lines}"]
    with postgres_server() as url:
        tables = (EXAMPLES / "orders" / "tables.sql").read_text(encoding="utf-8")
        guarded.run("python", "-c", FILL, url, tables)

        guarded.run("headgate", "run", "examples/orders/flow.yaml", *given, HEADGATE_SECRET_ORDERS_DB=url)

    assert guarded.guard.outside() == []


def test_the_workflow_in_python_asks_nobody_outside(guarded: Guarded):
    folder = "examples/python_workflow"

    guarded.run("python", f"{folder}/expenses.py", f"{folder}/expenses.csv")

    assert guarded.guard.outside() == []


def test_the_web_application_asks_nobody_outside(guarded: Guarded):
    said = guarded.run("python", "-c", WEB_APP, folder=guarded.folder / "examples" / "web_app")

    assert "Hello Ada" in said
    assert guarded.guard.outside() == []


def test_every_example_is_run_here():
    by_hand = {"full_cycle", "reconciliation", "orders", "python_workflow", "web_app"}
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir() and not path.name.startswith((".", "_"))}

    assert folders == set(COMMANDS) | by_hand, "run a new example here too, or show its command on the page"


# --- The templates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_a_template_asks_nobody_outside(name: str, guarded: Guarded):
    guarded.run("headgate", "init", "mine", "--template", name)
    folder = guarded.folder / "mine"

    for command in TEMPLATES[name].commands(name):
        waits = TEMPLATES[name].waits and " run " in command
        guarded.run(*shlex.split(command), ends=3 if waits else 0, folder=folder)

    assert guarded.guard.outside() == []


# --- The guard itself -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import socket; socket.create_connection(('192.0.2.7', 80))", "look-up of 192.0.2.7"),
        ("import socket; socket.socket().connect(('192.0.2.7', 80))", "connection to 192.0.2.7"),
        (
            "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.7', 53))",
            "connection to 192.0.2.7",
        ),
        ("import socket; socket.gethostbyname('models.example')", "look-up of models.example"),
        ("import asyncio; asyncio.run(asyncio.open_connection('models.example', 443))", "look-up of models.example"),
    ],
)
def test_the_guard_refuses_and_records_what_leads_outside(guarded: Guarded, code: str, told: str):
    guarded.run("python", "-c", code, ends=1)

    assert guarded.guard.outside() == [told]


def test_the_guard_lets_through_what_stays_here(guarded: Guarded):
    guarded.run("python", "-c", LISTEN)

    assert guarded.guard.outside() == []


def test_a_model_that_is_not_here_is_what_the_guard_catches(guarded: Guarded):
    """With the same keys and the same guard: the silence of the examples is theirs."""
    (guarded.folder / "ask.yaml").write_text(
        "name: ask\nactivities: {a: {use: llm_prompt, retry: 1, with: {model: lab/m, prompt: x, max_tokens: 5}}}"
    )

    guarded.run("headgate", "run", "ask.yaml", ends=1)

    assert guarded.guard.outside() == ["look-up of models.example"]
