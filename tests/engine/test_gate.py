"""The gate: what is learnt of a provider, circuits before a call, and what is known after a restart."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.engine.gate_lab import SECOND, Lab, asking, broken, busy

from headgate.core import gate_events as g
from headgate.core.errors import Invalid
from headgate.core.values import CallError, Candidate, RateReport
from headgate.engine import limits
from headgate.engine.breaker import FAILURES, OPEN_MICROSECONDS
from headgate.engine.limit_view import view_limits
from headgate.ports import CallRequest, ProviderError, RateLimit, Settlement, Swap
from headgate.stores.sqlite import SqliteLog

# --- What is learnt ------------------------------------------------------------------------------------


def test_a_429_closes_the_model_for_all_runs_until_its_time_and_for_no_longer(gated):
    said = [busy(30.0)]

    async def scene(bench: Any, lab: Lab) -> None:
        first = await bench.start(asking())
        await bench.rest()
        others = [await bench.start(asking()) for _ in range(3)]
        another = await bench.start(asking("lab/other"))
        await bench.rest()

        assert lab.models == ["m", "other"]
        view = await bench.app.desk.show(others[0])
        assert view.waiting_for == "waits for 429 from the provider, which asked for a pause, 30 s"
        await bench.live_until_done(first, another, *others)

        assert len(lab.asked) == 6
        assert {at for at, _, _ in lab.asked[2:]} == {lab.asked[0][0] + 30 * SECOND}

    gated(scene, lambda request: said.pop() if request.model == "m" and said else "yes")


def test_a_429_and_a_rate_are_of_one_key_and_keep_no_other_waiting(gated):
    said = [busy(30.0)]

    async def scene(bench: Any, lab: Lab) -> None:
        await bench.app.desk.set_limit(RateLimit(scope="lab", requests=1, seconds=10))
        lab.account = "one"
        first = await bench.start(asking())
        await bench.rest()
        lab.account = "two"
        second = await bench.start(asking())
        assert (await bench.finished(second)).head.status == "completed"
        third = await bench.start(asking())
        await bench.rest()

        view = await bench.app.desk.show(third)
        assert view.waiting_for == "waits for the rate of lab: 1 request in 10 s, 10 s"
        await bench.live_until_done(first, second, third)

        begin = lab.asked[0][0]
        assert [(at - begin) // SECOND for at, _, _ in lab.asked] == [0, 0, 10, 30]

    gated(scene, lambda request: said.pop() if said else "yes")


def test_a_settlement_that_was_cut_off_is_learnt_from_when_it_is_repeated(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        await bench.start(asking())
        (task,) = await bench.app.protocol.poll(["std"], worker_id="elsewhere", count=1, wait_seconds=1)
        request = CallRequest("hash", (Candidate("lab/m", 1),))
        await bench.app.protocol.admit(task.activity_id, call_id="c1", request=request)
        settlement = Settlement("never_sent", error=CallError("rate_limited", 429, 30.0))
        settle = bench.app.protocol.settle

        first = asyncio.ensure_future(settle(task.activity_id, call_id="c1", settlement=settlement))
        await asyncio.sleep(0)
        first.cancel()
        await bench.rest()
        assert await bench.app.limits.store.cells("pause ") == []
        for _ in range(2):
            await settle(task.activity_id, call_id="c1", settlement=settlement)

        (pause,) = await bench.app.limits.store.cells("pause ")
        assert pause.name == "pause lab/m"

    gated(scene, work=False)


def test_a_rate_that_the_provider_says_is_used_up_is_waited_for(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        lab.rates = RateReport(requests_left=0, requests_reset_seconds=12.0, tokens_left=5, tokens_reset_seconds=90.0)
        first = await bench.start(asking())
        assert (await bench.finished(first)).head.status == "completed"
        lab.rates = RateReport(requests_left=3, requests_reset_seconds=50.0)

        second = await bench.start(asking())
        await bench.live_until_done(second)

        assert lab.asked[1][0] - lab.asked[0][0] == 12 * SECOND
        third = await bench.start(asking())
        assert (await bench.finished(third)).head.status == "completed"

    gated(scene)


def test_where_a_model_is_closed_for_long_the_next_one_is_asked(gated):
    said = [busy(3_000.0)]

    async def scene(bench: Any, lab: Lab) -> None:
        first = await bench.start(asking("[lab/m, lab/other]"))
        assert (await bench.finished(first)).head.status == "completed"
        second = await bench.start(asking("[lab/m, lab/other]"))
        assert (await bench.finished(second)).head.status == "completed"

        assert lab.models == ["m", "other", "other"]
        (skipped,) = [event for event in await bench.events(second) if isinstance(event, g.ModelSkipped)]
        assert "asked for a pause, 3000 s" in skipped.reason
        output = await bench.output(second, "a")
        assert output["budget_skipped_models"] == []

    gated(scene, lambda request: said.pop() if said else "yes")


# --- Circuits ------------------------------------------------------------------------------------------


def test_a_storm_of_errors_opens_the_circuit_and_one_probe_closes_it(gated):
    weather = {"storm": True}

    async def scene(bench: Any, lab: Lab) -> None:
        for _ in range(FAILURES):
            assert (await bench.finished(await bench.start(asking(retry=1)))).head.status == "failed"
        assert len(lab.asked) == FAILURES

        denied = await bench.start(asking(retry=1))
        assert (await bench.finished(denied)).head.status == "failed"
        view = await bench.app.desk.show(denied)
        assert view.activities[0].error_code == "circuit_open"
        assert "lab/m: its circuit is open since 08:00:00 UTC, the next probe is at 08:00:15 UTC" in view.error
        assert len(lab.asked) == FAILURES

        weather["storm"] = False
        bench.clock.advance(seconds=OPEN_MICROSECONDS / SECOND)
        runs = [await bench.start(asking(retry="{max_attempts: 9}")) for _ in range(3)]
        await bench.live_until_done(*runs)
        assert len(lab.asked) == FAILURES + 3
        assert await bench.app.limits.store.cells("circuit ") == []

    gated(scene, lambda request: broken() if weather["storm"] else "yes")


async def probed(bench: Any, lab: Lab) -> str:
    """Open the circuit by failures, let its pause go by, and return the run whose call tries it."""
    for _ in range(FAILURES):
        await bench.finished(await bench.start(asking(retry=1)))
    bench.clock.advance(seconds=15)
    probe = await bench.start(asking(retry=1))
    await bench.until(lambda: len(lab.asked) == FAILURES + 1)
    return probe


def test_while_a_probe_is_under_way_nobody_else_asks(gated):
    release, said = asyncio.Event(), [broken() for _ in range(FAILURES)]

    async def scene(bench: Any, lab: Lab) -> None:
        probe = await probed(bench, lab)

        denied = await bench.start(asking(retry=1))
        assert (await bench.finished(denied)).head.status == "failed"
        assert "another call is trying it" in (await bench.app.desk.show(denied)).error
        release.set()
        assert (await bench.finished(probe)).head.status == "completed"
        assert (await bench.finished(await bench.start(asking(retry=1)))).head.status == "completed"

    gated(scene, lambda request: said.pop() if said else release)


def test_a_probe_that_is_cancelled_makes_room_for_another(gated):
    hang, said = asyncio.Event(), [broken() for _ in range(FAILURES)]

    async def scene(bench: Any, lab: Lab) -> None:
        probe = await probed(bench, lab)
        await bench.app.desk.cancel(probe)
        await bench.finished(probe)
        await bench.rest()

        lab.answers = lambda request: "yes"
        assert (await bench.finished(await bench.start(asking(retry=1)))).head.status == "completed"

    gated(scene, lambda request: said.pop() if said else hang)


def test_the_list_goes_past_an_open_circuit_and_says_so(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        for _ in range(FAILURES):
            await bench.finished(await bench.start(asking("[lab/m, lab/other]")))
        run = await bench.start(asking("[lab/m, lab/other]"))
        assert (await bench.finished(run)).head.status == "completed"

        assert Counter(lab.models) == {"m": FAILURES, "other": FAILURES + 1}
        (skipped,) = [event for event in await bench.events(run) if isinstance(event, g.ModelSkipped)]
        assert skipped.reason.startswith("its circuit is open since")

    gated(scene, lambda request: broken() if request.model == "m" else "yes")


@pytest.mark.parametrize("answer", [busy(), ProviderError("no", status=400, code="invalid_request")])
def test_refusals_that_are_not_the_providers_fault_open_nothing(gated, answer: ProviderError):
    async def scene(bench: Any, lab: Lab) -> None:
        for _ in range(2 * FAILURES):
            await bench.finished(await bench.start(asking(retry=1)))

        assert len(lab.asked) == 2 * FAILURES
        assert bench.app.limits.store.idle

    gated(scene, lambda request: answer)


def test_where_circuits_are_turned_off_none_opens(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        for _ in range(2 * FAILURES):
            await bench.finished(await bench.start(asking(retry=1)))

        assert len(lab.asked) == 2 * FAILURES

    gated(scene, lambda request: broken(), environment={"HEADGATE_CIRCUIT_FAILURES": "0"})


def test_a_wrong_number_of_failures_is_refused(play):
    with pytest.raises(Invalid, match="HEADGATE_CIRCUIT_FAILURES"):
        play(lambda bench: asyncio.sleep(0), environment={"HEADGATE_CIRCUIT_FAILURES": "many"})


def test_of_more_models_than_a_maximum_nothing_is_known_until_others_are_forgotten(
    gated, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limits, "MODELS_MAX", 2)

    async def scene(bench: Any, lab: Lab) -> None:
        for model in ("one", "two", "three"):
            await bench.finished(await bench.start(asking(f"lab/{model}", retry=1)))
        known = [cell.name for cell in await bench.app.limits.store.cells("circuit ")]
        assert known == ["circuit lab/one", "circuit lab/two"]

        bench.clock.advance(seconds=61)
        await bench.finished(await bench.start(asking("lab/three", retry=1)))

        assert [cell.name for cell in await bench.app.limits.store.cells("circuit ")] == ["circuit lab/three"]

    gated(scene, lambda request: broken())


# --- Over a restart, and idle --------------------------------------------------------------------------


def test_after_a_restart_circuits_pauses_and_rates_are_known_and_nobody_waits(gated, tmp_path: Path):
    path = tmp_path / "log.db"

    async def before(bench: Any, lab: Lab) -> None:
        for _ in range(FAILURES):
            await bench.finished(await bench.start(asking(retry=1)))
        await bench.finished(await bench.start(asking("lab/busy", retry=1)))
        await bench.app.desk.set_limit(RateLimit(scope="lab/slow", requests=1))
        await bench.app.limits.store.swap(
            [Swap("wait r1 a r1/a/1/x/1", None, '{"why":"x","until":0,"since":0,"model":"m"}')]
        )

    async def after(bench: Any, lab: Lab) -> None:
        view = view_limits(await bench.app.limits.store.cells(""), bench.clock.now())
        assert [(line.model, line.state) for line in view.circuits] == [("lab/m", "open")]
        assert [line.model for line in view.pauses] == ["lab/busy"]
        assert view.limits == (RateLimit(scope="lab/slow", requests=1),)
        assert view.waits == ()
        assert (await bench.finished(await bench.start(asking(retry=1)))).head.status == "failed"
        assert lab.asked == []

    gated(before, lambda request: busy(100.0) if request.model == "busy" else broken(), log=SqliteLog(path))
    gated(after, log=SqliteLog(path))


def test_where_nothing_is_set_and_nothing_failed_the_store_is_not_looked_into(gated):
    async def scene(bench: Any, lab: Lab) -> None:
        def never(*_: Any) -> Any:
            raise AssertionError("somebody looked")

        store = bench.app.limits.store
        store.read = store.swap = store.cells = never
        for _ in range(3):
            assert (await bench.finished(await bench.start(asking()))).head.status == "completed"
        assert bench.app.gate._open == {}
        del store.read, store.swap, store.cells

    gated(scene)
