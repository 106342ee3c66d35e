"""`headgate run` is killed in the middle by SIGKILL; `headgate work` finishes the run, and `headgate show` tells it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytestmark = pytest.mark.slow

FLOW = """
name: letter
inputs: {topic: {type: string}}
budget: 0.10
activities:
  draft: {use: llm_prompt, with: {model: scripted/writer, prompt: "Write about {{ INPUT.topic }}", max_tokens: 20}}
  stamp: {use: stamp, with: {text: "{{ draft.content }}"}}
  close: {use: llm_prompt, with: {model: scripted/writer, prompt: "End {{ stamp.text }}", max_tokens: 20}}
outputs: {letter: "{{ stamp.text }} {{ close.content }}"}
"""
BEFORE = "models: {draft: [{text: dear fish}]}"
AFTER = "models: {draft: [], close: [{text: yours}]}"
ACTIVITIES = '''
import os, threading
from pathlib import Path

def stamp(parameters, ctx):
    """In the first process: say that it is under way, and never end."""
    with Path("stamps").open("a") as file:
        print(ctx.task.attempt, file=file)
    if os.environ.get("UNDER_WAY"):
        Path(os.environ["UNDER_WAY"]).write_text("under way")
        threading.Event().wait()
    return {"text": parameters["text"] + ", stamped."}

ACTIVITIES = {"stamp": stamp}
'''


class Terminal:
    """A folder with the flow in it, where `headgate` is called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in (
            ("flow.yaml", FLOW),
            ("before.yaml", BEFORE),
            ("after.yaml", AFTER),
            ("stamps.py", ACTIVITIES),
        ):
            (folder / name).write_text(text)

    def begin(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADGATE", "OPENAI"))}
        return subprocess.Popen(
            [sys.executable, "-m", "headgate", *words],
            cwd=self.folder,
            env={**kept, "PYTHONPATH": os.pathsep.join((str(self.folder), kept.get("PYTHONPATH", ""))), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(self, *words: str) -> tuple[int, str, str]:
        program = self.begin(*words)
        out, err = program.communicate(timeout=60)
        return program.returncode, out, err

    def shown(self) -> dict[str, Any]:
        code, out, err = self.call("show", "-", "--json")
        assert code == 0, err
        return msgspec.json.decode(out)


def heard(pipe: Path) -> bytes:
    """Return what is written to a named pipe; nothing, if that takes longer than a minute."""
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(reading, 100) if select.select([reading], [], [], 60)[0] else b""
    finally:
        os.close(reading)


def test_a_run_whose_process_was_killed_is_finished_by_work_and_told_by_show(tmp_path: Path):
    terminal = Terminal(tmp_path)
    under_way = tmp_path / "under_way"
    os.mkfifo(under_way)
    given = ("--offline", "--activities", "stamps")

    program = terminal.begin(
        *("run", "flow.yaml", "--input", "topic=fish", "--models", "before.yaml", *given), UNDER_WAY=str(under_way)
    )
    assert heard(under_way) == b"under way"
    program.send_signal(signal.SIGKILL)
    program.communicate(timeout=60)
    left = terminal.shown()
    worked, _, said = terminal.call("work", "--models", "after.yaml", *given)
    told, out, _ = terminal.call("show", "-")

    assert program.returncode == -signal.SIGKILL
    assert [(activity["key"], activity["status"]) for activity in left["activities"][:2]] == [
        ("draft", "completed"),
        ("stamp", "running"),
    ]
    assert worked == 0, said
    final = terminal.shown()
    assert final["id"] == left["id"]
    assert final["status"] == "completed"
    assert final["outputs"] == {"letter": "dear fish, stamped. yours"}
    assert told == 0
    assert all(word in out for word in ("letter", "completed", "draft", "stamp", "close"))
    assert (tmp_path / "stamps").read_text().split() == ["1", "1"]
