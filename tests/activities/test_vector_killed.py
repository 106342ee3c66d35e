"""`vector_index` under `kill -9`: what was paid for is there afterwards, and nothing is there by half."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, os, signal, sys
from pathlib import Path
from headgate.activities.vector_index import vector_index
from headgate.activities.vector_search import vector_search
from headgate.core.values import Assignment
from headgate.llm.demo import DemoProvider
from headgate.ports import Admitted

folder, dies_at = Path(sys.argv[1]), int(sys.argv[2])
asked = 0

class Demo(DemoProvider):
    async def embed(self, model, inputs):
        global asked
        asked += 1
        if asked == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().embed(model, inputs)

class Context:
    task = Assignment(activity_id="c", workflow_id="r", activity_key="a", place="a", activity_name="x")
    async def admit(self, request):
        return request.request_hash, Admitted(request.candidates[0].model, 0)
    async def settle(self, call_id, outcome): pass

async def main():
    providers, texts = {"demo": Demo()}, [f"Note {n} is about the number {n}." for n in range(230)]
    asked_for = {"collection": "notes", "model": "demo/embed", "texts": texts}
    done = await vector_index(providers, folder)(asked_for, Context())
    query = {"collection": "notes", "query": "number 7", "mode": "text"}
    found = await vector_search(providers, folder)(query, Context())
    print(done["embedded"], done["indexed"], done["count"], found["matches"][0]["text"])

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_killed_call_leaves_what_it_paid_for_and_no_item(tmp_path: Path):
    def run(dies_at: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-c", PROGRAM, str(tmp_path), str(dies_at)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=dict(os.environ),
        )

    killed = run(3)
    then = run(0)
    again = run(0)

    assert killed.returncode == -signal.SIGKILL
    assert then.stdout == "30 230 230 Note 7 is about the number 7.\n", then.stderr
    assert again.stdout == "0 0 230 Note 7 is about the number 7.\n", again.stderr
