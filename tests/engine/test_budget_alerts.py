"""Who wants to know of budgets: the log, listeners, and a command of the user's."""

from __future__ import annotations

import logging
import shlex
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headgate.core.errors import Invalid
from headgate.core.values import Candidate, Price, Usage
from headgate.ports import BudgetNews, CallRequest, Settlement

ALERTS = "name: p\nbudget: {limit: 0.00000005, action: alert}\nactivities: {a: {use: x, queue: mine}}"
ASKS = ALERTS.replace("alert", "ask")
REQUEST = CallRequest("h", (Candidate("acme/large", 60, Price(1, 1)),))


async def spend(bench: Any, text: str, cost: int = 60) -> str:
    run_id = await bench.start(text)
    (task,) = await bench.app.protocol.poll(["mine"], worker_id="w", count=1, wait_seconds=1)
    await bench.app.protocol.admit(task.activity_id, call_id="c/1", request=REQUEST)
    settlement = Settlement.used(Usage(cost_nano=cost))
    await bench.app.protocol.settle(task.activity_id, call_id="c/1", settlement=settlement)
    return run_id


def test_an_alert_is_logged_and_told_to_every_listener_even_where_one_fails(play: Any, caplog: Any):
    told: list[BudgetNews] = []

    def fails(news: BudgetNews) -> None:
        raise ValueError("not now")

    async def scene(bench: Any) -> None:
        bench.app.budget_alerts.listen(fails)
        bench.app.budget_alerts.listen(told.append)

        run_id = await spend(bench, ALERTS)

        (news,) = told
        assert (news.kind, news.run_id, news.budget, news.limit, news.spent) == (
            "alert",
            run_id,
            "the run's budget",
            50,
            0,
        )

    with caplog.at_level(logging.WARNING, "headgate.budgets"):
        play(scene, work=False)
    assert "the run's budget has $0 of $0.00000005 spent (100% was to be told)" in caplog.text
    assert "a listener to budgets failed" in caplog.text


def test_a_call_that_asks_and_an_overrun_are_told_too(play: Any):
    told: list[BudgetNews] = []

    async def scene(bench: Any) -> None:
        bench.app.budget_alerts.listen(told.append)
        await spend(bench, ALERTS.replace("alert", "abort").replace("5,", "6,"), cost=70)
        run_id = await bench.start(ASKS)
        (task,) = await bench.app.protocol.poll(["mine"], worker_id="w", count=1, wait_seconds=1)
        asking = bench.app.engine.loop.create_task(
            bench.app.protocol.admit(task.activity_id, call_id="c/1", request=REQUEST)
        )
        await bench.until(lambda: len(told) == 2)

        overrun, ask = told
        assert (overrun.kind, overrun.limit, overrun.spent) == ("overrun", 60, 70)
        assert (ask.kind, ask.run_id, ask.model, ask.needed, ask.limit) == ("ask", run_id, "acme/large", 60, 50)
        asking.cancel()

    play(scene, work=False)


def test_a_command_gets_each_news_as_json_on_its_stdin(play: Any, tmp_path: Path):
    script, heard = tmp_path / "hear.py", tmp_path / "heard"
    script.write_text(f"import sys, pathlib; pathlib.Path({str(heard)!r}).write_text(sys.stdin.read())")

    async def scene(bench: Any) -> None:
        run_id = await spend(bench, ALERTS)
        await bench.until(lambda: heard.exists() and heard.read_text())

        news = msgspec.json.decode(heard.read_bytes(), type=BudgetNews)
        assert (news.kind, news.run_id, news.workflow) == ("alert", run_id, "p")

    play(
        scene,
        work=False,
        environment={"HEADGATE_ON_BUDGET_ALERT": f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}"},
    )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/nowhere/at/all", "/nowhere/at/all cannot be run"),
        (f"{shlex.quote(sys.executable)} -c 'exit(3)'", "the command ended with 3"),
    ],
)
def test_a_command_that_fails_is_logged_and_harms_nobody(play: Any, caplog: Any, command: str, said: str):
    async def scene(bench: Any) -> None:
        await spend(bench, ALERTS)
        await bench.until(lambda: said in caplog.text)

    play(scene, work=False, environment={"HEADGATE_ON_BUDGET_ALERT": command})


def test_a_command_line_that_cannot_be_read_is_refused_at_the_start(play: Any):
    async def scene(bench: Any) -> None:
        pytest.fail("it was opened")

    with pytest.raises(Invalid, match="HEADGATE_ON_BUDGET_ALERT: expected a command"):
        play(scene, environment={"HEADGATE_ON_BUDGET_ALERT": "say 'it"})
