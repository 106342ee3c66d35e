"""The scenario: a model answers the first activity and fails at the second, the process ends, another one finishes.

Run as a program, this file is either process: `test_scenario.py DATABASE CALLS SCRIPT start|retry`.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from headgate.app import App
from headgate.llm.scripted import ScriptedProvider
from headgate.ports import ModelRequest, StartRequest
from headgate.stores.sqlite import SqliteLog

FLOW = """
name: scenario
inputs: {topic: {type: string}}
activities:
  research: {use: llm_prompt, with: {model: scripted/writer, prompt: "Research {{ INPUT.topic }}"}}
  report: {use: llm_prompt, with: {model: scripted/writer, prompt: "Report on {{ research.content }}"}}
"""
BROKEN = """
models:
  research: [{text: three findings}]
  report: [{error: {status: 400, message: the request is malformed}}]
"""
CORRECTED = """
models:
  research: []
  report: [{text: a report on three findings}]
"""


def main(database: str, calls: str, script: str, verb: str) -> None:
    def called(key: str, request: ModelRequest) -> None:
        with Path(calls).open("a") as file:
            print(key, file=file)

    async def live() -> None:
        provider = ScriptedProvider.from_file(script.encode(), on_call=called)
        async with App(SqliteLog(Path(database)), providers={"scripted": provider}, environment={}) as app:
            if verb == "start":
                await app.desk.start(StartRequest(definition=FLOW, input={"topic": "fish"}))
            else:
                await app.desk.retry("-")
            await app.desk.settled()
            view = await app.desk.show("-")
            print(msgspec.json.encode(view).decode())

    asyncio.run(live())


def process(folder: Path, script: str, verb: str) -> dict[str, object]:
    """Run this file as a program of its own; return the run as it showed it at its end."""
    command = [sys.executable, __file__, str(folder / "runs.db"), str(folder / "calls"), script, verb]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return msgspec.json.decode(ended.stdout)


@pytest.mark.slow
def test_a_second_process_with_a_corrected_script_finishes_and_the_first_activity_is_called_once(
    tmp_path: Path,
) -> None:
    first = process(tmp_path, BROKEN, "start")
    second = process(tmp_path, CORRECTED, "retry")

    assert first["status"] == "failed"
    assert [activity["status"] for activity in first["activities"]] == ["completed", "failed"]
    assert "the request is malformed" in first["error"]
    assert second["id"] == first["id"]
    assert second["status"] == "completed"
    assert [activity["status"] for activity in second["activities"]] == ["completed", "completed"]
    assert second["outputs"]["report"]["content"] == "a report on three findings"
    assert (tmp_path / "calls").read_text().split() == ["research", "report", "report"]


if __name__ == "__main__":
    main(*sys.argv[1:])
