"""The activity script with real child processes."""

from __future__ import annotations

import asyncio
import textwrap
from dataclasses import dataclass, field
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
