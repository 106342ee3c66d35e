"""The cache of results when something goes wrong, and that it never changes what a run comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.cache_lab import ANSWERS, ASK, PRICES, completed, ran, scripted

from headgate.core import commands as c
from headgate.core.errors import Unavailable
from headgate.llm.scripted import ScriptedProvider
from headgate.stores.cache import MemoryCache
from headgate.stores.memory import MemoryLog
from headgate.stores.sqlite import SqliteLog

# --- What goes wrong --------------------------------------------------------------------------------------------------


def test_the_cache_survives_a_restart(play: Any, tmp_path: Path):
    provider = scripted()

    async def scene(bench: Any) -> None:
        await ran(bench, ASK, {"what": "tides"})

    play(scene, SqliteLog(tmp_path / "hg.db"), scripted=provider)
    play(scene, SqliteLog(tmp_path / "hg.db"), scripted=provider)

    assert len(provider.calls) == 1


def test_a_result_that_was_lost_between_the_log_and_the_cache_costs_one_call_more(play: Any):
    provider = scripted()

    class Forgetful(MemoryCache):
        def keep(self, kept: Any) -> None:
            """The process was killed here, as it were."""

    async def scene(bench: Any) -> None:
        await ran(bench, ASK, {"what": "tides"})
        second = await ran(bench, ASK, {"what": "tides"})
        assert completed(await bench.events(second))[0].cached is False

    play(scene, scripted=provider, cache=Forgetful())
    assert len(provider.calls) == 2


def test_a_result_is_kept_only_after_its_completion_is_in_the_log(play: Any):
    order: list[str] = []

    class Noting(MemoryCache):
        def keep(self, kept: Any) -> None:
            order.append("kept")
            super().keep(kept)

    class NotingLog(MemoryLog):
        async def commit(self, batch: Any) -> Any:
            outcomes = await super().commit(batch)
            names = [row[3] for item in batch for row in item.rows]
            order.extend(name for name in names if name == "activity_completed")
            return outcomes

    async def scene(bench: Any) -> None:
        await ran(bench, ASK, {"what": "tides"})

    play(scene, NotingLog(), scripted=scripted(), cache=Noting())
    assert order == ["activity_completed", "kept"]


def test_a_damaged_result_is_a_miss(play: Any, tmp_path: Path):
    provider = scripted()

    async def scene(bench: Any) -> None:
        await ran(bench, ASK, {"what": "tides"})
        await bench.app.cache.close()
        assert await bench.log.change("update cache set output = substr(output, 2)") == 1
        await ran(bench, ASK, {"what": "tides"})

    play(scene, SqliteLog(tmp_path / "hg.db"), scripted=provider)
    assert len(provider.calls) == 2


def test_a_hit_that_cannot_be_written_now_is_offered_again(play: Any):
    class Stumbling(MemoryLog):
        stumbles = 0
        """So many commits of a completion fail."""

        async def commit(self, batch: Any) -> Any:
            if self.stumbles and any(row[3] == "activity_completed" for item in batch for row in item.rows):
                self.stumbles -= 1
                raise Unavailable("the disk is full")
            return await super().commit(batch)

    log, provider = Stumbling(), scripted()

    async def scene(bench: Any) -> None:
        await ran(bench, ASK, {"what": "tides"})
        log.stumbles = 1
        second = await ran(bench, ASK, {"what": "tides"})
        assert completed(await bench.events(second))[0].cached is True

    play(scene, log, scripted=provider)
    assert len(provider.calls) == 1


def test_a_hit_for_which_there_is_no_room_now_is_offered_again(play: Any):
    provider = scripted()

    async def scene(bench: Any) -> None:
        await ran(bench, ASK, {"what": "tides"})
        engine, submit = bench.app.engine, bench.app.engine.submit_soon
        refused: list[str] = []

        def submit_but_once(run_id: str, command: Any) -> Any:
            if isinstance(command, c.CompleteActivity) and command.cached and not refused:
                refused.append(run_id)
                answer = engine.loop.create_future()
                answer.set_exception(Unavailable("too much is waiting"))
                return answer
            return submit(run_id, command)

        engine.submit_soon = submit_but_once
        second = await ran(bench, ASK, {"what": "tides"})

        assert refused == [second]
        assert completed(await bench.events(second))[0].cached is True

    play(scene, scripted=provider)
    assert len(provider.calls) == 1


# --- With and without -------------------------------------------------------------------------------------------------


TWO = """
name: two
activities:
  ask:
    use: llm_prompt
    with: {model: scripted/m, prompt: "Explain {{INPUT.what}}."}
    CACHE
  each:
    use: echo
    with: {item: "{{ITEM}}", said: "{{ask.content}}"}
    for_each: "{{INPUT.items}}"
    after: ask
    CACHE
outputs: {said: "{{ask.content}}", each: "{{each}}"}
"""


class Parrot(ScriptedProvider):
    """Answers every prompt, always the same."""

    async def request(self, request: Any) -> Any:
        self._answers["m"] = (*self._answers["m"],) * 2
        answer = await super().request(request)
        return msgspec.structs.replace(answer, content=request.messages[-1].content[::-1])


@given(st.lists(st.tuples(st.sampled_from("ab"), st.lists(st.integers(0, 3), max_size=4)), min_size=1, max_size=4))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_with_the_cache_and_without_it_runs_come_to_the_same(play: Any, inputs: list[tuple[str, list[int]]]):
    outputs: dict[str, list[Any]] = {"on": [], "off": []}

    for which, setting in (("on", "cache: true"), ("off", "cache: false")):

        async def scene(bench: Any, which: str = which, setting: str = setting) -> None:
            for what, items in inputs:
                run_id = await ran(bench, TWO.replace("CACHE", setting), {"what": what, "items": items})
                view = await bench.app.desk.show(run_id)
                asked = {**view.activities[0].output}
                asked.pop("cache_hit")
                asked.pop("cost_usd")
                outputs[which].append((view.outputs, asked))

        play(scene, scripted=Parrot({"m": ANSWERS}, PRICES))

    assert outputs["on"] == outputs["off"]
