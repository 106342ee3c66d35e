"""Examples as a reader runs them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from headgate.app import App
from headgate.core.view import PlaceView, RunView
from headgate.llm.demo import DemoProvider
from headgate.ports import EmbeddingAnswer, EventView, ModelAnswer, ModelRequest, StartRequest
from headgate.stores.sqlite import SqliteLog

EXAMPLES = Path(__file__).parents[2] / "examples"


class CountedDemo(DemoProvider):
    """The demo models, and a list of what they were asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[ModelRequest] = []

    async def request(self, request: ModelRequest) -> ModelAnswer:
        self.asked.append(request)
        return await super().request(request)

    async def stream(self, request: ModelRequest) -> AsyncIterator[str | ModelAnswer]:
        self.asked.append(request)
        async for item in super().stream(request):
            yield item

    async def embed(self, model: str, inputs: Sequence[str]) -> EmbeddingAnswer:
        raise AssertionError("no example makes embeddings")


class Ran:
    """What a run of an example came to."""

    def __init__(self, view: RunView, events: list[EventView], asked: list[ModelRequest]) -> None:
        self.view = view
        self.events = events
        self.asked = asked
        self.outputs = view.outputs or {}

    def activity(self, key: str) -> PlaceView:
        return next(activity for activity in self.view.activities if activity.key == key)

    def statuses(self) -> dict[str, str]:
        return {activity.key: activity.status for activity in self.view.activities}

    def places(self, type_: str) -> list[str]:
        return [event.place for event in self.events if event.type == type_]

    def assert_paid_calls(self, count: int) -> None:
        """So many calls reached the model, each was settled in the log, and the run's cost is their sum."""
        settled = [event for event in self.events if event.type == "call_settled"]
        assert len(self.asked) == len(settled) == count
        assert self.view.cost == sum(event.fields["cost"] for event in settled) > 0
        assert self.view.simulated
        assert self.view.reserved == 0
        assert self.view.limit is not None
        assert self.view.cost <= self.view.limit


def text_of(example: str, name: str) -> str:
    return (EXAMPLES / example / name).read_text(encoding="utf-8")


def run_example(
    folder: Path,
    example: str,
    inputs: dict[str, object],
    *,
    change: tuple[str, str] = ("", ""),
    limit: int | None = None,
    decision: tuple[bool, str] | None = None,
) -> Ran:
    """Run an example to its end, or to where it waits; `decision` (approved, comment) answers an approval."""
    definition = text_of(example, "flow.yaml")
    if change[0]:
        assert change[0] in definition
        definition = definition.replace(*change)
    return asyncio.run(_run(folder / "runs.db", definition, inputs, limit, decision))


async def _run(
    database: Path,
    definition: str,
    inputs: dict[str, object],
    limit: int | None,
    decision: tuple[bool, str] | None,
) -> Ran:
    demo = CountedDemo()
    async with App(SqliteLog(database), providers={"demo": demo}, environment={}) as app:
        started = await app.desk.start(StartRequest(definition=definition, input=inputs, limit=limit))
        await app.desk.settled()
        if decision is not None:
            waiting = await app.desk.show(started.id)
            assert waiting.status == "waiting"
            await app.desk.decide(started.id, approved=decision[0], by="ada", comment=decision[1])
            await app.desk.settled()
        return Ran(await app.desk.show(started.id), await app.desk.events(started.id), demo.asked)
