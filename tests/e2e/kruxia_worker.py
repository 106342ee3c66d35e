"""A worker as its users write one: with Kruxia Flow's Python SDK, by its guide, and with nothing of Headgate."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

from kruxiaflow.worker import (
    Activity,
    ActivityContext,
    ActivityOutput,
    ActivityRegistry,
    ActivityResult,
    OutputType,
    WorkerConfig,
    WorkerManager,
    activity,
)


def been_here(mark: Path) -> int:
    """Return how often somebody has been here, this time included."""
    with mark.open("a") as file:
        file.write(".")
    return mark.stat().st_size


@activity()
async def double(params: dict[str, Any], ctx: ActivityContext) -> ActivityResult:
    return ActivityResult.value("n", 2 * params["n"]).with_cost(Decimal("0.0125"))


@activity()
async def stumble(params: dict[str, Any], ctx: ActivityContext) -> ActivityResult:
    """Fail the first time."""
    if been_here(Path(params["mark"])) == 1:
        raise ValueError("not yet")
    return ActivityResult.value("done", True)


@activity(name="refuse")
async def refused(params: dict[str, Any], ctx: ActivityContext) -> ActivityResult:
    return ActivityResult.error("no such card", code="PAYMENT_DECLINED", retryable=False)


class Patient(Activity):
    """Say that it is still at work, in whose name, and what it was told."""

    @property
    def name(self) -> str:
        return "patient"

    async def execute(self, params: dict[str, Any], ctx: ActivityContext) -> ActivityResult:
        await ctx.heartbeat()
        await ctx.heartbeat()
        return ActivityResult.values(
            [
                ActivityOutput(name="run", output_type=OutputType.VALUE, value=str(ctx.workflow_id)),
                ActivityOutput(name="told", output_type=OutputType.VALUE, value=ctx.signal),
            ]
        )


@activity()
async def write(params: dict[str, Any], ctx: ActivityContext) -> ActivityResult:
    path = Path(params["folder"]) / "draft.txt"
    path.write_text(params["text"])
    return ActivityResult.value("url", await ctx.upload_file(str(path), "report.txt"))


@activity()
async def read(params: dict[str, Any], ctx: ActivityContext) -> ActivityResult:
    path = await ctx.download_file(params["url"])
    text = await asyncio.to_thread(Path(path).read_text)
    return ActivityResult.value("result", {"text": text, "characters": len(text)})


@activity()
async def declare(params: dict[str, Any], ctx: ActivityContext) -> ActivityResult:
    """Send a file for an output that is declared as one; what is said of it here goes no further than this SDK."""
    path = Path(params["folder"]) / "chart.csv"
    path.write_text(params["text"])
    sent = await ctx.upload_file(str(path), "chart.csv")
    return ActivityResult.values([ActivityOutput(name="chart", output_type=OutputType.FILE, value=sent)])


async def main() -> None:
    config = WorkerConfig()
    registry = ActivityRegistry()
    for one in (double, stumble, refused, Patient(), write, read, declare):
        registry.register(one, config.worker)
    await WorkerManager(config, registry).run_until_shutdown()


if __name__ == "__main__":
    asyncio.run(main())
