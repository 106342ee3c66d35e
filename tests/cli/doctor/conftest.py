"""A doctor in a folder of its own, and a provider that it can ask."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.doctor.doctoring import KEY, Doctor, Provider

from headgate.cli.doctor_models import ADDRESSES


@pytest.fixture
def provider() -> Iterator[Provider]:
    server = Provider()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.silent.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def closed() -> Iterator[str]:
    """An address of this machine where nobody listens, for as long as the test takes."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{kept.getsockname()[1]}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str) -> Path:
    """A folder and an environment of its own, in which no address but those of the test is named."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL", "_ENDPOINT")) or name.startswith("HEADGATE_"):
            monkeypatch.delenv(name)
    for name in ADDRESSES:
        monkeypatch.setitem(ADDRESSES, name, closed)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Doctor]:
    doctor = Doctor(capsys, monkeypatch)
    yield doctor
    assert KEY not in doctor.printed
