"""Workers of Kruxia Flow's own Python SDK, unchanged, at a real `headgate serve`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.e2e.served import SECONDS_MAX, client_of, served, verb

from headgate.core.run_ids import uuid_of

pytestmark = pytest.mark.slow

WORKER = Path(__file__).parent / "kruxia_worker.py"
ALL = """
name: all-of-it
activities:
  - key: doubled
    worker: python
    activity_name: double
    parameters: {n: "{{INPUT.n}}"}
    outputs: [n]
  - key: stumbled
    worker: python
    activity_name: stumble
    parameters: {mark: "{{INPUT.folder}}/been-here"}
    settings: {retry: {max_attempts: 3, strategy: fixed, base_seconds: 0.01}}
    depends_on: [doubled]
  - key: written
    worker: python
    activity_name: write
    parameters: {folder: "{{INPUT.folder}}", text: "twice is {{doubled.n}}"}
    outputs: [url]
    depends_on: [stumbled]
  - key: read
    worker: python
    activity_name: read
    parameters: {url: "{{written.url}}"}
    depends_on: [written]
  - key: declared
    worker: python
    activity_name: declare
    parameters: {folder: "{{INPUT.folder}}", text: "length,{{read.result.characters}}"}
    outputs: [{name: chart, type: file}]
    depends_on: [read]
"""
PATIENT = """
name: patient
activities:
  - key: hears
    worker: python
    activity_name: patient
    settings: {timeout_seconds: 61.5, wait_for_signal: {event_name: go}}
"""
REFUSED = """
name: refused
activities:
  - {key: pay, worker: python, activity_name: refuse, settings: {retry: {max_attempts: 3}}}
"""
SCRIPT = """
name: script
activities:
  - key: sum
    worker: py-data
    activity_name: script
    parameters:
      script: "OUTPUT = {'total': sum(INPUT['prices']), 'run': workflow_id}"
      inputs: {prices: [2.5, 4.0]}
  - {key: said, activity_name: echo, parameters: {of: "{{sum.result.total}} {{sum.total}}"}, depends_on: [sum]}
"""

Scene = Callable[[httpx2.AsyncClient], Awaitable[None]]


@contextmanager
def working(url: str, secret: str, *program: str, worker: str) -> Generator[None]:
    """Run a worker as its operators do: all that it is told is in its environment."""
    environment = {
        **os.environ,
        "KRUXIAFLOW_API_URL": url,
        "KRUXIAFLOW_CLIENT_ID": "their-worker",
        "KRUXIAFLOW_CLIENT_SECRET": secret,
        "KRUXIAFLOW_WORKER": worker,
        "KRUXIAFLOW_WORKER_POLL_INTERVAL": "0.02",
    }
    with subprocess.Popen([sys.executable, *program], env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=SECONDS_MAX)
            print(said)


def play(folder: Path, scene: Scene, *program: str, worker: str = "python") -> None:
    async def whole(url: str) -> None:
        async with client_of(url, folder) as client, asyncio.timeout(SECONDS_MAX):
            await scene(client)

    with served(folder) as (url, _):
        secret = verb(folder, "client", "create", "their-worker", "--scopes", "workers,runs:read").stdout.strip()
        with working(url, secret, *(program or [str(WORKER)]), worker=worker):
            asyncio.run(whole(url))


async def started(client: httpx2.AsyncClient, text: str, **input_: Any) -> str:
    definition = await client.post("/workflow_definitions", content=text)
    assert definition.status_code == 201, definition.text
    body = {"definition_name": definition.json()["name"], "input": input_}
    answer = await client.post("/workflows", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["workflow_id"]


async def ended(client: httpx2.AsyncClient, run: str) -> dict[str, dict[str, Any]]:
    answer = (await client.get(f"/workflows/{run}?wait=50")).json()
    return {"run": answer, **{one["activity_key"]: one for one in answer["activities"]}}


def test_it_completes_retries_costs_and_passes_files_on(tmp_path: Path):
    async def scene(client: httpx2.AsyncClient) -> None:
        run = await started(client, ALL, n=21, folder=str(tmp_path))

        view = await ended(client, run)

        assert view["run"]["status"] == "completed", view["run"]["error_message"]
        assert [view[key]["attempt"] for key in ("doubled", "stumbled", "written", "read")] == [1, 2, 1, 1]
        output = (await client.get(f"/workflows/{run}/output")).json()["outputs"]
        assert output["written"]["output"] == {"url": f"postgres://{uuid_of(run)}/written/report.txt"}
        assert output["read"]["output"] == {"result": {"text": "twice is 42", "characters": 11}}
        assert output["declared"]["output"]["chart"]["name"] == "chart.csv"
        assert (await client.get(f"/workflows/{run}/activities/declared/files/chart")).text == "length,11"
        assert view["run"]["total_cost_usd"] == pytest.approx(0.0125)

    play(tmp_path, scene)


def test_it_fails_for_good_with_the_code_that_it_says(tmp_path: Path):
    async def scene(client: httpx2.AsyncClient) -> None:
        view = await ended(client, await started(client, REFUSED))

        assert view["run"]["status"] == "failed"
        assert (view["pay"]["error_code"], view["pay"]["attempt"]) == ("PAYMENT_DECLINED", 1)
        assert "no such card" in view["pay"]["error"]

    play(tmp_path, scene)


def test_it_beats_and_reads_what_a_signal_brought(tmp_path: Path):
    async def scene(client: httpx2.AsyncClient) -> None:
        run = await started(client, PATIENT)
        signal_ = {"activity_key": "hears", "event_name": "go", "data": {"approved": True}}
        answer = await client.post(f"/workflows/{uuid_of(run)}/signal", json=signal_)
        assert answer.json()["signaled"] is True

        view = await ended(client, run)

        assert view["run"]["status"] == "completed", view["run"]["error_message"]
        assert view["run"]["outputs"]["hears"] == {"run": uuid_of(run), "told": {"approved": True}}

    play(tmp_path, scene)


def test_their_standard_worker_runs_scripts(tmp_path: Path):
    async def scene(client: httpx2.AsyncClient) -> None:
        run = await started(client, SCRIPT)

        view = await ended(client, run)

        assert view["run"]["status"] == "completed", view["run"]["error_message"]
        output = (await client.get(f"/workflows/{run}/output")).json()["outputs"]
        assert output["sum"]["output"] == {"total": 6.5, "run": uuid_of(run)}
        assert output["said"]["output"] == {"of": "6.5 6.5"}

    play(tmp_path, scene, "-m", "kruxiaflow.workers", worker="py-data")
