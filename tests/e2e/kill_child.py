"""The program that is killed: one App on a SQLite file, models and activities that write down what is done with them.

Each child opens the database, starts the flow's run (or finds that it is started), gives the signal and the approval
that the flow asks for, and ends when the run has. It may die anywhere; the next one goes on.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from headgate.app import App
from headgate.authoring import load_definition
from headgate.core import commands as c
from headgate.core.codec import decode
from headgate.core.values import Failure, Price
from headgate.core.view import RunView
from headgate.engine.task_context import current_task
from headgate.llm.scripted import ScriptedProvider
from headgate.ports import Attempt, Changed, ModelRequest, StartRequest
from headgate.stores.sqlite import SqliteLog
from headgate.testing.crashes import CrashingLog, CrashingProtocol, Failpoints, Journal, noted, serve_children

FLOWS = Path(__file__).with_name("flows")
USAGE = {"input_tokens": 40, "output_tokens": 20}
CHEAP = Price(input=10_000_000_000, output=200_000_000_000, id="scripted/steady")
DEAR = Price(input=1_000_000_000_000, output=900_000_000_000_000, id="scripted/dear")
ANSWERS = 10_000

# The same answer each time: how far a script is used is forgotten when its process dies.
MODELS: dict[str, list[dict[str, Any]]] = {
    "steady": [{"text": "a steady answer", "usage": USAGE}] * ANSWERS,
    "dear": [{"text": "a dear answer", "usage": USAGE}] * ANSWERS,
    "overloaded": [{"error": {"status": 503, "message": "overloaded"}}] * ANSWERS,
}
PRICES = {"steady": CHEAP, "dear": DEAR, "overloaded": CHEAP}


class Witnessed:
    """The activities and the models of the flows, with a witness."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.models = ScriptedProvider(MODELS, PRICES, on_call=self._called)

    def activities(self) -> dict[str, Any]:
        return {"note": self._note, "stumble": self._stumble, "tally": self._tally}

    def _called(self, key: str, request: ModelRequest) -> None:
        """What the provider will charge, whether its answer is heard or not."""
        task = current_task.get()
        assert task is not None
        answered = "error" not in MODELS[request.model][0]
        bill = (USAGE["input_tokens"] * CHEAP.input + USAGE["output_tokens"] * CHEAP.output) // 1_000_000
        assert request.model != "dear", "no budget here has room for the dear model"
        self._write("called", task, model=request.model, bill=bill if answered else 0)

    def _write(self, kind: str, task: Any, **fields: Any) -> None:
        self._journal.write(
            kind,
            run=task.workflow_id,
            place=task.place,
            attempt=task.attempt,
            activity_id=task.activity_id,
            **fields,
        )

    async def _note(self, parameters: dict[str, Any], ctx: Any) -> Any:
        self._write("executed", ctx.task)
        return {"text": f"noted: {parameters['text']}"}

    def _stumble(self, parameters: dict[str, Any], ctx: Any) -> Any:
        """A plain function, in a thread; the second item fails at its first attempt."""
        self._write("executed", ctx.task)
        if parameters["number"] == 1 and ctx.task.attempt == 1:
            raise Attempt(Failure("stumbled", "this one stumbles at first"))
        return {"text": parameters["text"].upper()}

    async def _tally(self, parameters: dict[str, Any], ctx: Any) -> Any:
        self._write("executed", ctx.task)
        count = (parameters["before"] or 0) + 1
        return {"count": count, "text": f"{parameters['text']} ({count})"}


async def opened(log: SqliteLog, journal: Journal) -> None:
    """Write down all that is in the log before this process has done anything."""
    rows = await log.feed(0, 100_000)
    journal.write("opened", events=[noted(decode(row.data)[0]) for row in rows])


async def live(order: dict[str, Any]) -> None:
    journal = Journal(Path(order["journal"]))
    failpoints = Failpoints(order.get("moment"), order.get("occurrence", 1))
    log = SqliteLog(Path(order["database"]))
    await opened(log, journal)
    witnessed = Witnessed(journal)
    app = App(
        CrashingLog.around(log, failpoints, journal),
        activities=witnessed.activities(),
        providers={"scripted": witnessed.models},
        environment={},
    )
    app.worker._protocol = CrashingProtocol(app.protocol, failpoints, journal)
    async with app:
        await follow(app, order, journal)
        assert not app.engine.failures, app.engine.failures


async def follow(app: App, order: dict[str, Any], journal: Journal) -> None:
    """Start the run, or find it started, and see it to its end."""
    known = {"providers": frozenset({"scripted"}), "activities": frozenset({"note", "stumble", "tally"})}
    await app.engine.definitions.deploy(
        load_definition((FLOWS / "below.yaml").read_bytes(), source="below.yaml", **known)
    )
    text = (FLOWS / f"{order['flow']}.yaml").read_text()
    value = {} if order["flow"] == "tight" else {"text": "fish"}
    run = await app.desk.start(StartRequest(definition=text, input=value, command_id="start"))
    journal.write("told", run=run.id)
    if order["flow"] == "loop" and not run.finished_at:
        signal = c.Signal(at=app.clock.now(), command_id="signal", name="go", data={"by": "the child"})
        await app.engine.submit(run.id, signal)
    async for update in app.desk.watch(run.id):
        if isinstance(update, Changed):
            journal.write("shown", run=run.id, version=update.run.version)
            await answer(app, order["flow"], update.run)
    if order["flow"] == "cancelled":
        await app.desk.settled()  # the run below is to end as well


async def answer(app: App, flow: str, run: RunView) -> None:
    """Do what the flow's people would do at this point of the run."""
    if run.finished_at:
        return
    for place in run.activities:
        if flow == "cancelled" and place.key == "first" and place.status == "completed":
            await app.desk.cancel(run.id, reason="the flow is about this")
        elif flow != "cancelled" and place.name == "approval" and place.status == "waiting":
            approve = c.DecideApproval(at=app.clock.now(), command_id="approve", key=place.key, approved=True, by="kim")
            await app.engine.submit(run.id, approve)


if __name__ == "__main__":
    serve_children(lambda order: asyncio.run(live(order)))
