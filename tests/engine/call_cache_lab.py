"""Runs whose model calls are kept."""

from __future__ import annotations

from typing import Any

from headgate.core import gate_events as g
from headgate.core.values import Price
from headgate.llm.scripted import ScriptedProvider

ASK = """
name: NAME
activities:
  KEY:
    use: llm_prompt
    with: {model: MODEL, prompt: "Explain {{INPUT.what}}."}
    cache: {ttl: TTL}
"""
ANSWERS = [
    {"text": f"Answer {number}.", "usage": {"input_tokens": 100, "output_tokens": 50, "reasoning_tokens": 7}}
    for number in range(9)
]
PRICE = Price(input=1_000_000_000, output=2_000_000_000)
PRICES = {"m": PRICE, "n": PRICE, "e": PRICE}
COST = 100 * 1_000 + 50 * 2_000
TIDES = {"what": "tides"}


def asks(name: str = "asks", key: str = "ask", model: str = "scripted/m", ttl: str = "1h") -> str:
    return ASK.replace("NAME", name).replace("KEY", key).replace("MODEL", model).replace("TTL", ttl)


def scripted(**answers: Any) -> ScriptedProvider:
    return ScriptedProvider({"m": ANSWERS, "n": ANSWERS, **answers}, PRICES)


async def ran(bench: Any, definition: str, given: Any = None, **fields: Any) -> str:
    run_id = await bench.start(definition, given if given is not None else TIDES, **fields)
    row = await bench.finished(run_id)
    assert row.head.status == "completed", row.head.error
    return run_id


async def reused(bench: Any, run_id: str) -> list[g.CallReused]:
    return [event for event in await bench.events(run_id) if isinstance(event, g.CallReused)]
