"""The gate: calls that wait for a rate, who goes first, and that whoever waits is let go."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from tests.engine.gate_lab import SECOND, Lab, asking, fan, most_in_a_minute

from headgate.authoring import load_definition
from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.errors import Invalid, NotFound, StaleAttempt
from headgate.core.values import Candidate, Price, Usage
from headgate.engine import lines
from headgate.ports import Admitted, CallRequest, Completed, RateLimit, Swap


def test_fifty_branches_at_once_keep_the_rate_and_all_come_to_their_end(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        await bench.app.desk.set_limit(RateLimit(scope="lab", requests=20))
        run_id = await bench.start(fan(), {"items": list(range(50))})

        await bench.live_until_done(run_id)

        times = [at for at, _, _ in lab.asked]
        assert len(times) == 50
        assert most_in_a_minute(times) <= 20
        assert times[-1] - times[0] < 160 * SECOND  # and no slower than it must be
        assert (await bench.log.run(run_id)).head.status == "completed"
        assert [prompt for _, _, prompt in lab.asked] == [
            str(number) for number in range(50)
        ]  # first come, first served

    gated(scene)


@pytest.mark.parametrize(
    ("limit", "seconds"),
    [
        (RateLimit(scope="lab/m", tokens=1_500), 7 * 150 / 1_351 * 60),
        (RateLimit(scope="lab", money=1_500_000), 7 * 150_000 / 1_350_001 * 60),
    ],
)
def test_tokens_and_money_have_rates_too_and_what_was_not_used_is_given_back(gated, limit: RateLimit, seconds: float):
    async def scene(bench: Any, lab: Lab) -> None:
        lab.usage = Usage(input_tokens=10, output_tokens=5)
        await bench.app.desk.set_limit(limit)
        run_id = await bench.start(fan(), {"items": list(range(8))})
        await bench.live_until_done(run_id)

        # Each is estimated at 150 tokens (150 µ$) and uses 15: what is given back lets the others go far earlier.
        took = (lab.asked[-1][0] - lab.asked[0][0]) / SECOND
        assert 0 <= took < seconds / 5

        lab.usage = Usage(input_tokens=1_000, output_tokens=500)
        before = lab.asked[-1][0]
        run_id = await bench.start(fan(), {"items": [1, 2, 3]})
        await bench.live_until_done(run_id)

        assert (lab.asked[-1][0] - before) / SECOND > 60  # and what was used above the estimate is waited for

    gated(scene)


def test_a_call_that_waits_says_why_and_holds_no_money(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        await bench.app.desk.set_limit(RateLimit(scope="lab", requests=1))
        first = await bench.start(asking())
        await bench.live_until_done(first)
        second = await bench.start(asking(budget=1))
        await bench.rest()

        view = await bench.app.desk.show(second)

        assert view.activities[0].waiting_for == "waits for the rate of lab: 1 request a minute, 60 s"
        assert view.waiting_for == view.activities[0].waiting_for
        assert (view.reserved, view.status) == (0, "running")
        assert bench.app.gate.waiting == 1
        await bench.live_until_done(second)
        view = await bench.app.desk.show(second)
        assert (view.waiting_for, view.activities[0].waiting_for) == ("", "")
        assert lab.asked[1][0] - lab.asked[0][0] == 60 * SECOND
        assert bench.app.gate.waiting == 0

    gated(scene)


def test_the_time_of_an_attempt_stands_still_while_it_waits_for_a_rate(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        await bench.app.desk.set_limit(RateLimit(scope="lab", requests=1))
        first, second = [await bench.start(asking(timeout="10s", retry=1)) for _ in range(2)]

        await bench.live_until_done(first, second)

        assert [(await bench.log.run(run)).head.status for run in (first, second)] == ["completed"] * 2

    gated(scene)


def test_tenants_take_turns_however_many_calls_one_of_them_has(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        await bench.app.desk.set_limit(RateLimit(scope="lab", requests=1))
        large, small = (load_definition(fan(name=name), providers=frozenset({"lab"})) for name in ("large", "small"))
        runs = [await bench.start(large, {"items": [f"large {n}" for n in range(12)]}, tenant="large")]
        await bench.rest()
        runs.append(await bench.start(small, {"items": [f"small {n}" for n in range(3)]}, tenant="small"))

        await bench.live_until_done(*runs)

        tenants = [prompt.split()[0] for _, _, prompt in lab.asked]
        # One of the large tenant's had gone, and its second was first in line.
        assert tenants[:8] == ["large", "large", "small", "large", "small", "large", "small", "large"]
        assert Counter(tenants) == {"large": 12, "small": 3}

    gated(scene)


def test_the_rate_of_one_model_keeps_no_other_one_waiting(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        await bench.app.desk.set_limit(RateLimit(scope="lab/slow", requests=1))
        slow = [await bench.start(asking("lab/slow")) for _ in range(3)]
        await bench.rest()
        quick = await bench.start(asking("lab/quick"))

        assert (await bench.finished(quick)).head.status == "completed"
        assert lab.models == ["slow", "quick"]
        await bench.live_until_done(*slow)

    gated(scene)


def test_a_model_that_hurries_is_passed_over_for_one_that_can_go_now_and_else_waits(gated):
    listed = "[{model: lab/first, when_limited: next}, lab/second]"

    async def scene(bench: Any, lab: Lab) -> None:
        for model in ("lab/first", "lab/second"):
            await bench.app.desk.set_limit(RateLimit(scope=model, requests=1))
        runs = [await bench.start(asking(listed)) for _ in range(2)]
        await bench.rest()
        assert lab.models == ["first", "second"]
        skipped = [event for event in await bench.events(runs[1]) if isinstance(event, g.ModelSkipped)]
        assert [(event.model, event.reason) for event in skipped] == [
            ("lab/first", "the rate of lab/first: 1 request a minute, 60 s")
        ]

        third = await bench.start(asking(listed))
        await bench.rest()
        assert bench.app.gate.waiting == 1
        await bench.live_until_done(third)

        assert lab.models == ["first", "second", "first"]

    gated(scene)


def test_a_list_that_does_not_hurry_waits_for_its_first_model(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        await bench.app.desk.set_limit(RateLimit(scope="lab/first", requests=1))
        runs = [await bench.start(asking("[lab/first, lab/second]")) for _ in range(2)]

        await bench.live_until_done(*runs)

        assert lab.models == ["first", "first"]

    gated(scene)


@pytest.mark.parametrize(("limited", "apart"), [("lab/cheap", 60), ("lab/dear", 0)])
def test_where_the_budget_takes_another_model_that_ones_rate_is_waited_for(gated, limited: str, apart: int):
    prices = {"dear": Price(output=10**15), "cheap": Price(output=1_000)}

    async def scene(bench: Any, lab: Lab) -> None:
        lab.price = prices.__getitem__
        await bench.app.desk.set_limit(RateLimit(scope=limited, requests=1))
        runs = [await bench.start(asking("[lab/dear, lab/cheap]", budget=0.01)) for _ in range(3)]

        await bench.live_until_done(*runs)

        assert lab.models == ["cheap"] * 3
        assert [later[0] - earlier[0] for earlier, later in pairwise(lab.asked)] == [apart * SECOND] * 2
        for run in runs:
            assert (await bench.app.desk.show(run)).reserved == 0

    gated(scene)


def test_a_call_that_is_denied_gives_back_what_was_taken_for_it(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        await bench.app.desk.set_limit(RateLimit(scope="lab", requests=1))
        denied = await bench.start(asking(budget=0.00001))
        assert (await bench.finished(denied)).head.status == "failed"

        assert (await bench.finished(await bench.start(asking()))).head.status == "completed"

    gated(scene)


def test_small_calls_of_another_model_do_not_go_past_a_large_one_that_waits_for_the_rate_of_both(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        lab.usage = Usage(input_tokens=100, output_tokens=50)
        await bench.app.desk.set_limit(RateLimit(scope="lab", tokens=2_000))  # of which 200 at once
        before = await bench.start(asking("lab/small"))
        await bench.live_until_done(before)
        large = await bench.start(asking("lab/large").replace("max_tokens: 50", "max_tokens: 900"))
        await bench.rest()
        small = [await bench.start(asking("lab/small").replace("max_tokens: 50", "max_tokens: 1")) for _ in range(3)]

        await bench.live_until_done(large, *small)

        assert lab.models == ["small", "large", "small", "small", "small"]

    gated(scene)


def test_a_rate_that_is_set_anew_begins_anew(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        await bench.app.desk.set_limit(RateLimit(scope="lab", requests=20))
        assert (await bench.finished(await bench.start(asking()))).head.status == "completed"
        await bench.app.desk.set_limit(RateLimit(scope="lab", requests=1))

        assert (await bench.finished(await bench.start(asking()))).head.status == "completed"

    gated(scene)


def test_a_worker_elsewhere_is_told_that_the_attempt_whose_call_waits_is_over(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        await bench.app.desk.set_limit(RateLimit(scope="lab", requests=1))
        run_id = await bench.start(asking())
        (task,) = await bench.app.protocol.poll(["std"], worker_id="elsewhere", count=1, wait_seconds=1)
        request = CallRequest("hash", (Candidate("lab/m", 1),))
        admit = bench.app.protocol.admit
        assert isinstance(await admit(task.activity_id, call_id="c1", request=request), Admitted)
        waiting = asyncio.ensure_future(admit(task.activity_id, call_id="c2", request=request))
        await bench.until(lambda: bench.app.gate.waiting)

        await bench.app.protocol.report([Completed(task.activity_id, "done")], worker_id="elsewhere")

        await bench.until(waiting.done)
        assert isinstance(waiting.exception(), StaleAttempt)
        assert bench.app.gate.waiting == 0
        assert bench.app.gate._open == {}  # nor is the call remembered that was never settled
        assert (await bench.finished(run_id)).head.status == "completed"

    gated(scene, work=False)


def test_a_probe_whose_attempt_is_over_makes_room_for_another(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        request = CallRequest("hash", (Candidate("lab/m", 1),))
        open_ = '{"since": 0, "failed": 5, "openings": 1, "until": 0}'
        await bench.app.limits.store.swap([Swap("circuit lab/m", None, open_)])
        for _ in range(2):  # each is the probe, and its worker never says what became of it
            await bench.start(asking())
            (task,) = await bench.app.protocol.poll(["std"], worker_id="elsewhere", count=1, wait_seconds=1)
            answer = await bench.app.protocol.admit(task.activity_id, call_id=task.activity_id, request=request)
            assert isinstance(answer, Admitted)
            await bench.app.protocol.report([Completed(task.activity_id, "done")], worker_id="elsewhere")
            await bench.rest()

    gated(scene, work=False)


@pytest.mark.parametrize("how", ["cancelled", "timed out", "paused"])
def test_whoever_waits_is_let_go_with_its_attempt(gated, how: str):
    async def scene(bench: Any, lab: Lab) -> None:
        await bench.app.desk.set_limit(RateLimit(scope="lab", requests=1))
        first = await bench.start(asking())
        await bench.live_until_done(first)
        waiting = [await bench.start(asking(retry=1)) for _ in range(3)]
        await bench.rest()
        assert bench.app.gate.waiting == 3

        if how == "cancelled":
            for run in waiting:
                await bench.app.desk.cancel(run)
        elif how == "paused":
            for run in waiting:
                await bench.app.desk.pause(run)
            for _ in range(3):  # what was handed out before the pause is finished, and recorded
                bench.clock.advance(seconds=60)
                await bench.rest()
        else:
            for run in waiting:
                (claim,) = await bench.app.queue.claims_of(run)
                bench.app.queue.set_deadline(claim.activity_id, bench.clock.now())
                bench.app.warden.notice(bench.clock.now())
        await bench.rest()

        assert bench.app.gate.waiting == 0
        cells = [cell.name for cell in await bench.app.limits.store.cells("wait ")]
        assert cells == []
        assert bench.app.gate._open == {}
        assert len(lab.asked) == (4 if how == "paused" else 1)

    gated(scene)


def test_a_line_that_is_full_denies_and_the_attempt_comes_again(gated, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lines, "WAITING_MAX", 2)

    async def scene(bench: Any, lab: Lab) -> None:
        await bench.app.desk.set_limit(RateLimit(scope="lab", requests=1))
        runs = [await bench.start(asking(retry="{max_attempts: 3}")) for _ in range(4)]
        await bench.rest()
        assert bench.app.gate.waiting == 2

        await bench.live_until_done(*runs)

        assert len(lab.asked) == 4
        events = [event for run in runs for event in await bench.events(run)]
        failed = [event.error.message for event in events if isinstance(event, e.AttemptFailed)]
        assert failed == ["The call was not made: 2 calls wait for a provider already."] * 2

    gated(scene)


def test_a_call_that_has_waited_for_an_hour_is_denied(gated, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(lines, "WAIT_SECONDS_MAX", 90)

    async def scene(bench: Any, lab: Lab) -> None:
        await bench.app.desk.set_limit(RateLimit(scope="lab", requests=1))
        runs = [await bench.start(asking(retry=1)) for _ in range(4)]

        await bench.live_until_done(*runs)

        ended = [(await bench.log.run(run)).head.status for run in runs]
        assert ended == ["completed", "completed", "failed", "failed"]
        assert bench.clock.now() - lab.asked[0][0] == 90 * SECOND
        assert "cannot be called for another" in (await bench.app.desk.show(runs[2])).error

    gated(scene)


def test_a_rate_is_changed_and_taken_out_while_calls_wait(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        await bench.app.desk.set_limit(RateLimit(scope="lab", requests=1))
        runs = [await bench.start(asking()) for _ in range(5)]
        await bench.rest()
        assert bench.app.gate.waiting == 4

        await bench.app.desk.set_limit(RateLimit(scope="lab", requests=20))
        await bench.rest()
        assert bench.app.gate.waiting == 2  # two at once are the burst of twenty
        removed = await bench.app.desk.remove_limit("lab")

        for run in runs:
            assert (await bench.finished(run)).head.status == "completed"
        assert removed == RateLimit(scope="lab", requests=20)
        assert lab.asked[-1][0] == lab.asked[0][0]
        with pytest.raises(NotFound, match="no rate limit for 'lab'"):
            await bench.app.desk.remove_limit("lab")

    gated(scene)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scope": "", "requests": 1}, "expected a provider"),
        ({"scope": "lab/", "requests": 1}, "expected a provider"),
        ({"scope": "a b", "requests": 1}, "expected a provider"),
        ({"scope": "lab"}, "needs requests, tokens or money"),
        ({"scope": "lab", "requests": -1}, "expected requests"),
        ({"scope": "lab", "requests": 1, "seconds": 0}, "expected seconds"),
    ],
)
def test_a_rate_that_cannot_be_held_is_refused(gated, wrong: dict[str, Any], said: str):
    async def scene(bench: Any, lab: Lab) -> None:
        with pytest.raises(Invalid, match=said):
            await bench.app.desk.set_limit(RateLimit(**wrong))

    gated(scene)
