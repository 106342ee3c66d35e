"""Runs whose results are kept."""

from __future__ import annotations

from typing import Any

from headgate.core import events as e
from headgate.core.values import Price
from headgate.llm.scripted import ScriptedProvider

ASK = """
name: asks
activities:
  ask:
    use: llm_prompt
    with: {model: scripted/m, prompt: "Explain {{INPUT.what}}."}
    cache: {ttl: 1h, key: ["{{parameters}}"]}
"""
ANSWERS = [{"text": f"Answer {number}.", "usage": {"input_tokens": 100, "output_tokens": 50}} for number in range(9)]
PRICES = {"m": Price(input=1_000_000_000, output=2_000_000_000)}  # 1 and 2 dollars a million tokens


def scripted() -> ScriptedProvider:
    return ScriptedProvider({"m": ANSWERS}, PRICES)


def completed(events: list[e.Event]) -> list[e.ActivityCompleted]:
    return [event for event in events if isinstance(event, e.ActivityCompleted)]


async def ran(bench: Any, definition: str, given_input: Any = None, **fields: Any) -> str:
    run_id = await bench.start(definition, given_input, **fields)
    row = await bench.finished(run_id)
    assert row.head.status == "completed", row.head.error
    return run_id
