"""The activity script with real child processes."""

from __future__ import annotations

import asyncio
import os
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from headgate.activities.script import ScriptSettings, script
from headgate.core.values import Assignment, Failure
from headgate.ports import Attempt

TASK = Assignment(
    activity_id="claim-1",
    workflow_id="run-1",
    activity_key="calc",
    place="calc",
    activity_name="script",
    attempt=2,
    iteration=4,
    trace_id="trace-1",
)


@dataclass
class Context:
    """The context of an attempt, as far as script uses it. `heard` is set at each line of the log."""

    task: Assignment = TASK
    lines: list[tuple[str, str]] = field(default_factory=list)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def log(self, message: str, **fields: Any) -> None:
        self.lines.append((fields["stream"], message))
        self.heard.set()


def run(source: str, *, ctx: Context | None = None, settings: ScriptSettings | None = None, **parameters: Any) -> Any:
    activity = script(settings or ScriptSettings())
    asked = {"script": textwrap.dedent(source), **parameters}
    return asyncio.run(activity(asked, ctx or Context()))


def failure_of(source: str, **rest: Any) -> Failure:
    with pytest.raises(Attempt) as raised:
        run(source, **rest)
    return raised.value.failure


async def first_line(ctx: Context) -> str:
    await asyncio.wait_for(ctx.heard.wait(), 10)
    return ctx.lines[0][1]


def ends(pid: int) -> bool:
    """Whether the process is gone within ten seconds (or is only waiting for its parent to notice)."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        os.sched_yield()
    return False
