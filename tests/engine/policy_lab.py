"""Runs under policies."""

from __future__ import annotations

from typing import Any

from headgate.authoring import load_definition
from headgate.core import events as e
from headgate.core.codec import content_value
from headgate.core.plan import compile_plan
from headgate.core.replay import replay
from headgate.llm.scripted import ScriptedProvider

ANSWERS = [{"text": f"Answer {number}.", "usage": {"input_tokens": 10, "output_tokens": 5}} for number in range(99)]


def scripted(**models: Any) -> ScriptedProvider:
    return ScriptedProvider({"m": ANSWERS, "n": ANSWERS, **models})


def asks(policies: str = "", settings: str = "", model: str = "scripted/m") -> str:
    return f"""
name: asks
policies: {policies or "[]"}
activities:
  ask:
    use: llm_prompt
    with: {{model: {model}, prompt: "Explain {{{{INPUT.what}}}}."}}
    {settings}
"""


async def ended(bench: Any, definition: str, given: Any = None) -> tuple[Any, list[e.Event]]:
    run_id = await bench.start(definition, given or {"what": "tides"})
    row = await bench.finished(run_id)
    await expect_replay(bench, run_id, definition)
    return row, await bench.events(run_id)


async def expect_replay(bench: Any, run_id: str, definition: str) -> None:
    """See that the history explains itself: verdicts, refusals and approvals are decided again as they were."""
    row = await bench.log.run(run_id)
    events = await bench.events(run_id)
    found = await bench.log.contents(row.key, [event.version for event in events])
    contents = {version: content_value(data) for version, data in found.items()}
    assert replay(compile_plan(load_definition(definition)), events, contents) is None


def only(events: list[e.Event], kind: type[Any]) -> Any:
    (event,) = [event for event in events if isinstance(event, kind)]
    return event


async def waiting(bench: Any, definition: str, given: Any) -> str:
    run_id = await bench.start(definition, given)
    await bench.app.desk.settled()
    return run_id
