"""The program that is killed while it spends: one App on a SQLite file, and a run of many calls to a vendor by HTTP.

    killed_engine.py DATABASE URL CALLS LIMIT

Each process takes up the run where the last one died; the first to see its end prints its id and ends.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from headgate.app import App
from headgate.core.values import Price
from headgate.llm.openai_compatible import OpenAICompatibleProvider
from headgate.ports import StartRequest
from headgate.stores.sqlite import SqliteLog

MODEL = "vendor/m"
PRICE = Price(1_234_567_891, 7_654_321_987, 345_678_912, reasoning=9_876_543_211, request=1_003, id="list:vendor/m")
MAX_TOKENS = 300
FLOW = f"""
name: spends
activities:
  whole:
    use: llm_prompt
    for_each: "{{{{ INPUT.numbers }}}}"
    max_parallel: 12
    retry: 8
    on_failure: continue
    with: {{model: {MODEL}, prompt: "{{{{ INPUT.text }}}} {{{{ ITEM }}}}", max_tokens: {MAX_TOKENS}}}
  streamed:
    use: llm_prompt
    for_each: "{{{{ INPUT.numbers }}}}"
    max_parallel: 12
    retry: 8
    on_failure: continue
    streaming: true
    with: {{model: {MODEL}, prompt: "{{{{ INPUT.text }}}} {{{{ ITEM }}}}", max_tokens: {MAX_TOKENS}}}
"""
TEXT = "The river rose in the night, and by the morning the lower road was gone. " * 30
"""So long that it is estimated at more than the vendor ever charges for."""


async def main(database: Path, url: str, calls: int, limit: int) -> None:
    provider = OpenAICompatibleProvider("vendor", url, "sk-test", prices={MODEL: PRICE}, timeout_seconds=20)
    settings = {"HEADGATE_CIRCUIT_FAILURES": "0"}  # the vendor fails so often that it would be left alone
    async with App(SqliteLog(database), environment=settings, providers={"vendor": provider}) as app:
        given = {"numbers": list(range(calls // 2)), "text": TEXT}
        request = StartRequest(definition=FLOW, input=given, limit=limit, unique_key="only", command_id="start")
        started = await app.desk.start(request)
        await app.engine.finished(started.id)
        assert app.engine.failures == []
    print(started.id, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
