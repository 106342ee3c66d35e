"""`headgate serve` as a process of a test, the other verbs beside it, and a client of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx2

__all__ = ["SECONDS_MAX", "client_of", "client_with", "served", "verb"]

SECONDS_MAX = 60


def verb(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")}
    return subprocess.run(
        [sys.executable, "-m", "headgate", *arguments],
        cwd=folder,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


@contextmanager
def served(folder: Path, *arguments: str, **variables: str) -> Generator[tuple[str, subprocess.Popen[str]]]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")}
    with subprocess.Popen(
        [sys.executable, "-m", "headgate", "serve", "--port", "0", "--json", *arguments],
        cwd=folder,
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, process.communicate(timeout=SECONDS_MAX)[1]
            yield json.loads(line)["url"], process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=SECONDS_MAX)


def client_of(url: str, folder: Path) -> httpx2.AsyncClient:
    """A client with a token of a new client that may do all."""
    return client_with(url, verb(folder, "client", "create", "first", "--scopes", "admin").stdout.strip())


def client_with(url: str, secret: str) -> httpx2.AsyncClient:
    body = {"grant_type": "client_credentials", "client_id": "first", "client_secret": secret}
    token = httpx2.post(f"{url}/oauth/token", json=body).json()["access_token"]
    return httpx2.AsyncClient(base_url=f"{url}/api/v1", headers={"authorization": f"Bearer {token}"}, timeout=60)
