"""The demo is true: what it prints comes from real processes and their log, offline, and it fails if anything fails."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from headgate.ports import EventView

EXAMPLES = Path(__file__).parents[2] / "examples"
LETTERS = """Dear lending library, the projector that I borrowed on 4 April 2026 has a broken lamp. It went dark in the
middle of the film. I have ordered a new lamp for 62.50 euros, and I ask you to pay for it.
----
Your Saturday course on bookbinding was a joy. The teacher had a kind word for everybody. I have told all my neighbours
about it, and two of them will come on 18 April 2026.
----
On 9 April 2026 I paid 15 euros for a reading room that was locked when I came. Nobody answered the bell. Please refund
the fee to my account.
"""
GUARD = """
import os, pathlib, socket
record = pathlib.Path(os.environ["GUARD_RECORD"])
def note(what):
    with record.open("a") as file:
        file.write(f"{os.getpid()} {what}\\n")
note("guarded")
class Guarded(socket.socket):
    def _must_be_local(self, address):
        if self.family != socket.AF_UNIX:
            note(f"connection to {address}")
            raise OSError(f"no connections here, not even to {address}")
    def connect(self, address):
        self._must_be_local(address)
        return super().connect(address)
    def connect_ex(self, address):
        self._must_be_local(address)
        return super().connect_ex(address)
    def sendto(self, *arguments):
        self._must_be_local(arguments[-1])
        return super().sendto(*arguments)
def getaddrinfo(host, *rest, **more):
    note(f"connection to {host}")
    raise OSError(f"no names are looked up here, not even {host}")
socket.socket = Guarded
socket.getaddrinfo = getaddrinfo
"""
KEYS = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
    "MISTRAL_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "HEADGATE_PROVIDER_DEMOS_API_KEY",
)

pytestmark = pytest.mark.slow


class Guarded:
    """A folder to run in, every provider's key, and a guard in each process that refuses and records connections."""

    def __init__(self, folder: Path) -> None:
        self.temporary = folder / "t"
        self.record = folder / "connections.txt"
        self.left: list[Path] = []
        site = folder / "site"
        for made in (self.temporary, site):
            made.mkdir()
        (site / "sitecustomize.py").write_text(GUARD)
        self.environment = os.environ | dict.fromkeys(KEYS, "sk-not-a-real-key")
        self.environment |= {
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(site),
            "GUARD_RECORD": str(self.record),
            "HEADGATE_PROVIDER_DEMOS_BASE_URL": "http://models.example/v1",
            "HEADGATE_DB": str(folder / "somebody-elses.db"),
        }

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.temporary,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )

    def demo(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.python(str(EXAMPLES / "demo.py"), "--pace", "0.02", *arguments)

    def connections(self) -> list[str]:
        return [line for line in self.record.read_text().splitlines() if "connection" in line]

    def processes(self) -> set[str]:
        return {line.split()[0] for line in self.record.read_text().splitlines()}


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    # A short path, as a temporary folder has on most systems: a socket's name must fit into a hundred characters.
    with tempfile.TemporaryDirectory(prefix="hg-") as folder:
        yield Guarded(Path(folder))


@pytest.fixture(scope="module")
def demo(guarded: Guarded) -> subprocess.CompletedProcess[str]:
    """The demo as `make demo` runs it, only quicker."""
    ended = guarded.demo()
    guarded.left = sorted(guarded.temporary.iterdir())
    return ended


def section(output: str, number: int) -> str:
    return output.split(f"\n{number}. ", 1)[1].split(f"\n{number + 1}. ", 1)[0]


def sentences_of(letters: str) -> set[str]:
    words = " ".join(letters.replace("----", ".").split())
    return {sentence.strip() for sentence in re.split(r"(?<=[.])\s", words)}


def digest_of(output: str) -> list[str]:
    """The bullet points of the digest, each on one line again."""
    lines = section(output, 5).split("\n\n")[1]
    return [" ".join(point.split()) for point in lines.strip().removeprefix("- ").split("\n   - ")]


Ended = subprocess.CompletedProcess[str]


def test_the_demo_goes_through_offline_whatever_keys_there_are(demo: Ended, guarded: Guarded):
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert guarded.connections() == []
    # The demo itself, check, run, work, approve: the guard was in each of them.
    assert len(guarded.processes()) >= 5
    assert "demo prices" in demo.stdout


def test_the_guard_of_the_test_before_does_catch_a_connection(guarded: Guarded):
    before = guarded.connections()

    tried = guarded.python("-c", "import socket; socket.create_connection(('127.0.0.1', 9))")
    sent = guarded.python("-c", "import socket; socket.socket().connect(('127.0.0.1', 9))")

    assert tried.returncode != 0
    assert sent.returncode != 0
    assert len(guarded.connections()) == len(before) + 2


def test_the_demo_shows_the_typo_the_kill_the_wait_and_the_end(demo: Ended):
    output = demo.stdout
    assert re.search(r'typo\.yaml:\d+:\d+: .*"leters".*Did\s+you mean "letters"', section(output, 1), re.DOTALL)
    killed = re.search(r"Process (\d+) was killed with SIGKILL", section(output, 2))
    assert killed is not None
    assert not Path(f"/proc/{killed[1]}").exists()
    assert f"process {killed[1]}:" in section(output, 2)
    assert "attempt 2" in section(output, 3)
    came = re.search(r"(\d+) activities completed", section(output, 2))
    assert came is not None
    assert f"{came[1]} activities came from the log; of these ran again: 0" in section(output, 3)
    assert "waits for approval 'agree'" in section(output, 4)
    assert "Approved in run" in section(output, 4)
    assert "It asks: Send this digest to the team?" in section(output, 4)
    assert "sent: yes, decided by you" in output


def test_the_demo_fits_eighty_columns_without_colour(demo: Ended, guarded: Guarded):
    shown = demo.stdout.replace(str(guarded.temporary), "/tmp").replace(f"{Path(sys.executable).parent}/", "")
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "\x1b" not in demo.stdout
    assert all(line == line.rstrip() for line in shown.splitlines())


def test_the_demo_leaves_one_folder_in_which_the_commands_that_it_proposes_work(demo: Ended, guarded: Guarded):
    (folder,) = guarded.left
    assert f"$ cd {folder}" in demo.stdout
    assert sorted(path.name for path in folder.iterdir()) == [".headgate", "flow.yaml", "letters.txt", "typo.yaml"]
    assert not any(path.is_socket() for path in folder.rglob("*"))
    proposed = re.findall(r"\$ \S*headgate (show|events|state) (-.*)", demo.stdout)
    assert [verb for verb, _ in proposed] == ["show", "events", "state"]
    for verb, rest in proposed:
        done = guarded.python("-m", "headgate", verb, *rest.split(), "--db", str(folder / ".headgate" / "headgate.db"))
        assert done.returncode == 0, done.stderr
        assert done.stdout


def test_other_letters_give_another_digest_and_other_records(demo: Ended, guarded: Guarded, tmp_path: Path):
    letters = tmp_path / "letters.txt"
    letters.write_text(LETTERS)

    mine = guarded.demo("--letters", str(letters))

    points = digest_of(mine.stdout)
    assert not set(points) & set(digest_of(demo.stdout))
    assert mine.returncode == 0, mine.stdout + mine.stderr
    assert points
    assert set(points) <= sentences_of(LETTERS)
    records = re.findall(r"date: (\S+)\s+amount: (\S+)\s+topic: (\S+)", mine.stdout)
    assert [(date, amount) for date, amount, _ in records] == [
        ("2026-04-04", "62.5"),
        ("2026-04-18", "none"),
        ("2026-04-09", "15"),
    ]
    assert "3 of 3 items done" in section(mine.stdout, 2) + section(mine.stdout, 3)


@pytest.mark.parametrize("data", [None, b"\xff is not UTF-8"], ids=["no letters", "letters that cannot be read"])
def test_the_demo_ends_with_1_and_says_why_when_something_fails(guarded: Guarded, tmp_path: Path, data: bytes | None):
    letters = tmp_path / "letters.txt"
    if data is not None:
        letters.write_bytes(data)

    failed = guarded.demo("--letters", str(letters))

    assert failed.returncode == 1
    assert "The demo failed: " in failed.stderr
    assert "Traceback" not in failed.stderr
    assert "What to try next" not in failed.stdout


def event(version: int, type_: str, place: str) -> EventView:
    return EventView(version=version, at=version, type=type_, place=place)


@pytest.fixture(scope="module")
def demo_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("headgate_demo", EXAMPLES / "demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("type_", ["activity_scheduled", "call_requested", "activity_completed"])
def test_whatever_ran_again_would_be_counted(demo_module: ModuleType, type_: str):
    before = [event(1, "activity_completed", "a"), event(2, "activity_completed", "b[0]")]

    assert demo_module.repeated(before, [event(3, type_, "c"), event(4, "attempt_lost", "a")]) == []
    assert demo_module.repeated(before, [event(3, type_, "b[0]")]) == ["b[0]"]
