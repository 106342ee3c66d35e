"""Over HTTP: which models there are, and results that are kept for reuse, taken out while the server runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import serving

from headgate.app import App
from headgate.stores.sqlite import SqliteLog

CACHED = """
name: {name}
activities:
  draw: {{use: script, cache: true, with: {{script: "import random; OUTPUT = random.random()  # {name}"}}}}
outputs: {{drawn: "{{{{ draw }}}}"}}
"""


def test_providers_are_listed_and_models_found_by_a_part_of_their_names(play: Any):
    async def scene(desk: Any) -> None:
        providers = (await desk.get("/llm/providers")).json()
        found = (await desk.post("/llm/models/search", {"query": "SMALL", "available": True})).json()
        elsewhere = (await desk.post("/llm/models/search", {"provider": "anthropic", "limit": 3})).json()

        assert "demo" in [one["name"] for one in providers["providers"]]
        assert all(model["available"] and "small" in model["model"] for model in found["models"])
        assert elsewhere["count"] == 3
        first, *_ = elsewhere["models"]
        assert (first["provider"], first["available"]) == ("anthropic", False)
        assert first["input_usd_per_million"] >= 0
        prices = [one["input_usd_per_million"] + one["output_usd_per_million"] for one in elsewhere["models"]]
        assert prices == sorted(prices)

    play(scene)


@pytest.mark.parametrize("limit", [0, 1_001])
def test_a_search_for_models_is_bounded(limit: int, play: Any):
    async def scene(desk: Any) -> None:
        assert (await desk.post("/llm/models/search", {"limit": limit})).status_code == 422

    play(scene)


def test_what_is_kept_of_one_workflow_is_taken_out_and_of_others_stays(tmp_path: Path):
    async def scene() -> None:
        app = App(SqliteLog(tmp_path / "runs.db"), folder=tmp_path, environment={})
        async with app, serving(app) as desk:
            for name in ("one", "two"):
                await desk.deploy(CACHED.format(name=name))

            async def drawn(name: str) -> Any:
                return (await desk.start(name, wait=30))["outputs"]["drawn"]

            one, two = await drawn("one"), await drawn("two")
            assert (await drawn("one"), await drawn("two")) == (one, two)

            gone = await desk.post("/cache/invalidate", {"definition_name": "one"})

            assert gone.json() == {"invalidated": 1}
            assert await drawn("one") != one
            assert await drawn("two") == two

    asyncio.run(scene())


@pytest.mark.parametrize("body", [{}, {"all": True, "definition_name": "one"}])
def test_nobody_takes_out_everything_without_saying_so(body: Any, tmp_path: Path):
    async def scene() -> None:
        app = App(SqliteLog(tmp_path / "runs.db"), folder=tmp_path, environment={})
        async with app, serving(app) as desk:
            assert (await desk.post("/cache/invalidate", body)).status_code == 422
            assert (await desk.client.delete("/cache/xyz")).status_code == 422
            assert (await desk.client.delete("/cache/abc")).status_code == 404

    asyncio.run(scene())


def test_of_a_log_in_memory_nothing_can_be_taken_out(play: Any):
    async def scene(desk: Any) -> None:
        assert (await desk.post("/cache/invalidate", {"all": True})).status_code == 409

    play(scene)


def test_of_another_tenant_nothing_is_taken_out(tmp_path: Path):
    async def scene() -> None:
        app = App(SqliteLog(tmp_path / "runs.db"), folder=tmp_path, environment={})
        async with app, serving(app) as desk:
            await desk.deploy(CACHED.format(name="one"))
            first = (await desk.start("one", wait=30))["outputs"]["drawn"]

            assert await app.doors.kept_results("acme").clear(workflow=None, activity=None, before=None) == 0
            assert (await desk.start("one", wait=30))["outputs"]["drawn"] == first

    asyncio.run(scene())
