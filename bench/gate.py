"""What the gate costs a model call: `python -m bench.gate CALLS DATABASE`, JSON out.

The same calls to a model that answers at once: first through the adapter alone, then as items of a run under a budget,
each rendered, admitted, reserved, made by the same adapter, priced, settled and recorded with its output. Both in this
process, at 32 at a time; what is compared is the processor time of this process for each call.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from headgate.app import App
from headgate.ports import Message, ModelProvider, ModelRequest, StartRequest
from headgate.process import tune_process
from headgate.stores.sqlite import SqliteLog

__all__ = ["measure"]

AT_ONCE = 32
WARM_CALLS = 100
PROMPT = "What is {} plus one? Answer in a sentence."
MAX_TOKENS = 50
WORKFLOW = """
name: calls
budget: 1000
activities:
  ask:
    use: llm_prompt
    for_each: "{{{{ range({count}) | list }}}}"
    max_parallel: {at_once}
    with: {{model: openai/gpt-5-mini, prompt: "{prompt}", max_tokens: {max_tokens}}}
"""


def measure(calls: int, path: Path) -> dict[str, Any]:
    """Return the figures of one repetition; `faults` says what is not as it must be."""
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.fake_model"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    found = asyncio.run(_compare(calls, path, int(server.stdout.readline())))
    answered = int(server.communicate("")[0])
    if answered != 2 * (calls + WARM_CALLS):
        found["faults"].append(f"the model answered {answered} requests, not {2 * (calls + WARM_CALLS)}")
    return found


async def _compare(calls: int, path: Path, port: int) -> dict[str, Any]:
    environment = {"OPENAI_API_KEY": "none", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}
    log = SqliteLog(path)
    async with App(log, environment=environment, folder=path.parent) as app:
        tune_process()
        provider = app.providers["openai"]
        await _bare(provider, WARM_CALLS)
        await _gated(app, WARM_CALLS)
        bare = await _processor_us(lambda: _bare(provider, calls), calls)
        runs: list[str] = []
        gated = await _processor_us(lambda: _gated(app, calls, runs), calls)
        spend = await log.spend(runs[0])
        status = (await app.desk.show(runs[0], contents=False)).status
    faults = [] if status == "completed" else [f"the run is {status}"]
    if len(spend) != calls:
        faults.append(f"{len(spend)} spend rows for {calls} calls")
    return {
        "calls": calls,
        "bare_us": bare,
        "gated_us": gated,
        "ratio": gated / bare,
        "faults": faults,
    }


async def _bare(provider: ModelProvider, calls: int) -> None:
    room = asyncio.Semaphore(AT_ONCE)

    async def call(number: int) -> None:
        async with room:
            message = Message("user", PROMPT.format(number))
            await provider.request(ModelRequest(model="gpt-5-mini", messages=(message,), max_tokens=MAX_TOKENS))

    await asyncio.gather(*[call(number) for number in range(calls)])


async def _gated(app: App, calls: int, runs: list[str] | None = None) -> None:
    prompt = PROMPT.format("{{ ITEM }}")
    text = WORKFLOW.format(count=calls, at_once=AT_ONCE, prompt=prompt, max_tokens=MAX_TOKENS)
    started = await app.desk.start(StartRequest(definition=text))
    await app.engine.finished(started.id)
    if runs is not None:
        runs.append(started.id)


async def _processor_us(work: Callable[[], Awaitable[None]], calls: int) -> float:
    begin = time.process_time()
    await work()
    return (time.process_time() - begin) / calls * 1e6


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]), Path(sys.argv[2]))))
