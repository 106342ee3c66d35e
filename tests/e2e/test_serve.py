"""`headgate serve` as a process: it answers nobody it does not know, and when it is told to end it loses nothing."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.e2e.served import SECONDS_MAX, client_of, served, verb

from headgate.sdk.embedded import Engine, open_session

pytestmark = pytest.mark.slow

ECHO = "name: hello\nactivities: {greet: {use: echo, with: {text: hello}}}\n"
SLOW = "name: slow\nactivities: {work: {use: anything, queue: nobody}}\n"
DEMO = """
name: demo
activities:
  ask: {use: llm_prompt, with: {model: demo/small, prompt: "Summarise: The log tells what happened. All else follows."}}
"""
INSIDE = "name: inside\nactivities: {ask: {use: http_request, with: {method: GET, url: 'http://127.0.0.1:1/'}}}\n"
STARTS = 200


def test_told_to_end_under_load_it_answers_what_it_has_and_loses_nothing(tmp_path: Path):
    async def scene(url: str, process: subprocess.Popen[str]) -> tuple[list[str], httpx2.Response]:
        started: list[str] = []
        enough = asyncio.Event()

        async def start_on_and_on(client: httpx2.AsyncClient) -> None:
            try:
                while True:
                    answer = await client.post("/workflows", json={"definition_name": "hello"})
                    assert answer.status_code == 201, answer.text
                    started.append(answer.json()["workflow_id"])
                    if len(started) >= STARTS:
                        enough.set()
            except httpx2.TransportError:
                return  # it takes no more

        async with client_of(url, tmp_path) as client:
            for text in (ECHO, SLOW):
                assert (await client.post("/workflow_definitions", content=text)).status_code == 201
            slow = (await client.post("/workflows", json={"definition_name": "slow"})).json()["workflow_id"]
            held = asyncio.ensure_future(client.get(f"/workflows/{slow}?wait=300"))
            load = [asyncio.ensure_future(start_on_and_on(client)) for _ in range(20)]
            await enough.wait()
            process.send_signal(signal.SIGTERM)
            answer = await held
            await asyncio.gather(*load)
        return started, answer

    with served(tmp_path) as (url, process):
        started, held = asyncio.run(asyncio.wait_for(scene(url, process), SECONDS_MAX))
        _, errors = process.communicate(timeout=SECONDS_MAX)

    assert (process.returncode, errors) == (0, "")
    assert (held.status_code, held.json()["status"]) == (200, "running")
    assert len(started) >= STARTS
    assert asyncio.run(statuses(tmp_path, started)) == {"completed"}


async def statuses(folder: Path, runs: list[str]) -> set[str]:
    """Finish what is left; return the statuses of the runs."""
    async with open_session(folder / ".headgate" / "headgate.db", Engine(activities={})) as session:
        shown = [await session.client.show(run, contents=False) for run in runs]
        while any(not run.finished_at for run in shown):
            await asyncio.sleep(0.05)
            shown = [await session.client.show(run, contents=False) for run in runs]
    return {run.status for run in shown}


def test_it_answers_nobody_it_does_not_know_and_no_page_of_another_site(tmp_path: Path):
    with served(tmp_path, "--cors-origin", "https://app.example") as (url, _):
        assert httpx2.get(f"{url}/api/v1/workflows").status_code == 401
        assert httpx2.get(f"{url}/api/v1/health").status_code == 200
        preflight = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        allowed = httpx2.options(f"{url}/api/v1/workflows", headers=preflight | {"origin": "https://app.example"})
        refused = httpx2.options(f"{url}/api/v1/workflows", headers=preflight | {"origin": "https://evil.example"})

    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-credentials" not in allowed.headers
    assert "access-control-allow-origin" not in refused.headers


def test_runs_reach_no_demo_model_and_no_private_address_unless_it_is_set(tmp_path: Path):
    async def scene(url: str, folder: Path) -> list[dict[str, Any]]:
        async with client_of(url, folder) as client:
            for text in (DEMO, INSIDE):
                await client.post("/workflow_definitions", content=text)
            ended = [await client.post("/workflows?wait=30", json={"definition_name": n}) for n in ("demo", "inside")]
            return [answer.json() for answer in ended]

    closed, opened = tmp_path / "closed", tmp_path / "opened"
    for folder in (closed, opened):
        folder.mkdir()
    (opened / "headgate.toml").write_text('[serve]\nallow_demo = true\nprivate_addresses = ["127.0.0.0/8"]\n')
    with served(closed) as (url, _):
        demo, inside = asyncio.run(asyncio.wait_for(scene(url, closed), SECONDS_MAX))
    with served(opened) as (url, _):
        demo_allowed, inside_allowed = asyncio.run(asyncio.wait_for(scene(url, opened), SECONDS_MAX))

    assert (demo["status"], demo_allowed["status"]) == ("failed", "completed")
    assert "demo" in demo["error_message"]
    assert (inside["status"], inside_allowed["status"]) == ("failed", "failed")
    assert "private addresses" in inside["error_message"]
    assert "private addresses" not in inside_allowed["error_message"], "it got as far as the port"


@pytest.mark.parametrize(
    ("arguments", "variables", "says"),
    [
        (("--models", "models.yaml"), {}, "--allow-demo if that is meant"),
        (("--tls-cert", "cert.pem"), {}, "go together"),
        (("--tls-cert", "cert.pem", "--tls-key", "key.pem"), {}, "no certificate and its key"),
        ((), {"HEADGATE_KEY": "short"}, "HEADGATE_KEY: expected 32 random bytes"),
        ((), {"HEADGATE_RETENTION": "soon", "HEADGATE_PUBLIC_URL": "x"}, "HEADGATE_RETENTION: expected"),
        (("--port", "70000"), {}, "--port"),
    ],
)
def test_it_does_not_begin_with_what_is_not_right(
    arguments: tuple[str, ...], variables: dict[str, str], says: str, tmp_path: Path
):
    ended = verb(tmp_path, "serve", *arguments, **variables)

    assert ended.returncode == 2
    assert says in ended.stderr


def test_with_another_key_than_its_signing_keys_were_sealed_with_it_does_not_begin(tmp_path: Path):
    with served(tmp_path):
        pass
    (tmp_path / ".headgate" / "key").unlink()

    ended = verb(tmp_path, "serve")

    assert ended.returncode == 75
    assert "was sealed with the key" in ended.stderr
