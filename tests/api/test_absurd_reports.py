"""Workers that say anything: right, stale, foreign and malformed claims and bodies, in any order. Afterwards the log is
what was recorded, each attempt has one outcome, and no budget holds what nobody has reserved."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx2
import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headgate.api.http import HttpApplication
from headgate.api.http.table import ROUTES
from headgate.app import App
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.codec import decode
from headgate.core.definition import Definition
from headgate.core.fold import apply
from headgate.core.plan import load_plan
from headgate.core.run import Run
from headgate.engine.audit import verify
from headgate.stores.memory import MemoryLog

LIMIT = 1_000
TURNS_MAX = 300
"""Of the loop: whatever needs more waits for others."""
FLOW = f"""
name: far
budget: {LIMIT / 1e9:.9f}
activities:
  one: {{use: work, queue: gpu, for_each: "{{{{ range(6) }}}}", on_failure: continue, with: {{n: 1}}}}
  two: {{use: work, queue: gpu, depends_on: [one], with: {{n: 2}}}}
"""
OUTCOMES = (e.ActivityCompleted, e.AttemptFailed, e.AttemptLost, e.AttemptTimedOut)
AMOUNTS = st.one_of(st.integers(0, LIMIT), st.integers(0, LIMIT // 4), st.sampled_from([-1, -LIMIT, 10**15, 2**80]))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=4,
)
USAGE = st.fixed_dictionaries({}, optional={"input_tokens": AMOUNTS, "cost_nano": AMOUNTS, "model": st.just("m")})
ABSURD = 10
"""One body in so many is any JSON value."""
BODIES: dict[str, st.SearchStrategy[Any]] = {
    "complete": st.fixed_dictionaries(
        {"output": JSON}, optional={"cost_usd": AMOUNTS, "usage": st.lists(JSON, max_size=1)}
    ),
    "fail": st.fixed_dictionaries(
        {"error": st.fixed_dictionaries({"message": st.text(max_size=3), "retryable": st.booleans()})},
        optional={"cost_usd": AMOUNTS},
    ),
    "heartbeat": st.just({"worker_id": "w"}),
    "ws/token": st.fixed_dictionaries({"token": st.text(max_size=5)}),
    "calls": st.fixed_dictionaries(
        {
            "call_id": st.sampled_from(["c1", "c2", "c3", ""]),
            "request_hash": st.just("h"),
            "candidates": st.lists(
                st.fixed_dictionaries({"model": st.just("lab/m"), "worst_case": AMOUNTS}), max_size=2
            ),
        }
    ),
    "calls/c1/settle": st.fixed_dictionaries(
        {"outcome": st.sampled_from(["used", "never_sent", "lost", "?"])}, optional={"usage": USAGE}
    ),
    "calls/c2/settle": st.fixed_dictionaries({"outcome": st.just("used"), "usage": USAGE}),
}
CLAIMS = (*["right"] * 6, "stale", "stale", "foreign", "malformed")
VERBS = (*["calls", "calls/c1/settle"] * 3, *BODIES)


@st.composite
def says(draw: st.DrawFn) -> tuple[str, str, Any]:
    """Draw whose claim it is about, the verb, and a body; now and then one that is no such body."""
    verb = draw(st.sampled_from(VERBS))
    body = draw(BODIES[verb]) if draw(st.integers(0, ABSURD - 1)) else draw(JSON)
    return draw(st.sampled_from(CLAIMS)), verb, body


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
@given(st.lists(says(), min_size=5, max_size=25))
def test_whatever_workers_say_the_log_stays_whole_and_every_reservation_is_somebodys(story: list[tuple[str, str, Any]]):
    asyncio.run(_played(story))


async def _played(story: list[tuple[str, str, Any]]) -> None:
    log = MemoryLog()
    async with App(log, environment={}, work=False) as app:
        application = HttpApplication(ROUTES, app.doors)
        transport = httpx2.ASGITransport(application)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost/api/v1") as client:
            assert (await client.post("/workflow_definitions", content=FLOW)).status_code == 201
            run_id = (await client.post("/workflows", json={"definition_name": "far"})).json()["workflow_id"]
            application.close()  # so that no poll is held back
            claims = {"right": "", "stale": "", "foreign": f"{'x' * 20}~one~1~abc", "malformed": "~~~"}
            asked: list[asyncio.Task[httpx2.Response]] = []
            for whose, verb, body in story:
                await _poll(client, claims)
                path = f"/activities/{claims[whose] or 'nothing'}/{verb}"
                asked.append(asyncio.create_task(client.post(path, json=body)))
                for _ in range(TURNS_MAX):
                    await asyncio.sleep(0)
                    if asked[-1].done():
                        break
            for answer in asked:
                if answer.done():
                    assert answer.result().status_code < 500, answer.result().text
                answer.cancel()  # a call that waits for money
            await asyncio.gather(*asked, return_exceptions=True)
        assert app.engine.failures == []
        await _look(log, run_id)


async def _poll(client: httpx2.AsyncClient, claims: dict[str, str]) -> None:
    """Take the next attempt, if there is one; the one before is stale then."""
    polled = (await client.post("/workers/poll", json={"worker": "gpu", "worker_id": "w", "lease": True})).json()
    for task in polled["activities"]:
        claims["stale"], claims["right"] = claims["right"], task["activity_id"]


async def _look(log: MemoryLog, run_id: str) -> None:
    row = await log.run(run_id)
    assert row is not None
    assert await verify(log) == []
    found = await log.definition(row.workflow, row.definition)
    assert found is not None
    run = Run(run_id, load_plan(msgspec.json.decode(found[1], type=Definition)))
    outcomes: Counter[tuple[str, int]] = Counter()
    for stored in await log.events(row.key, limit=10_000):
        event = decode(stored.data)[0]
        apply(run, event)
        assert run.reserved >= 0
        assert run.total_cost >= 0
        if isinstance(event, g.CallAdmitted):
            assert run.total_cost + run.reserved <= LIMIT
        if isinstance(event, OUTCOMES):
            outcomes[event.place, event.attempt] += 1
    assert set(outcomes.values()) <= {1}
    assert not run.finished or run.reserved == 0
