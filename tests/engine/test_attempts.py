"""One owner for retries: a failing call is made as often as the definition says, and not once more.

Each kind of provider has a way to fail in each way; a kind that joins has its line in `PROVIDERS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.llm.fake_openai import FakeOpenAI, completion
from tests.llm.fakes.server import Reply, json_reply

from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.engine.breaker import FAILURES
from headgate.llm.openai_compatible import OpenAICompatibleProvider
from headgate.ports import ModelProvider, RateLimit

pytestmark = pytest.mark.slow  # each talks to a server of its own


Replies = Callable[[str], Any]
"""What is answered, by the name of the model that was asked."""


class Server(FakeOpenAI):
    """Answers each request by the model that it names."""

    def __init__(self, replies: Replies) -> None:
        super().__init__(lambda request: replies(request.body["model"]))

    @property
    def models(self) -> list[str]:
        return [request.body["model"] for request in self.requests]


def refused(status: int, code: str = "", headers: dict[str, str] | None = None) -> Any:
    return json_reply({"error": {"message": f"no: {status}", "code": code}}, status=status, headers=headers)


PASSING: dict[str, Any] = {
    "429 that names no time": refused(429),
    "429 that asks for seven seconds": refused(429, headers={"retry-after": "7"}),
    "500": refused(500),
    "503 that asks for two seconds": refused(503, headers={"retry-after": "2"}),
    "timeout": Reply([], silent=True),
    "cut": Reply([b'{"id": "c1", "cho'], headers={"content-type": "application/json"}, cut=True),
    "unreadable": json_reply("<html>"),
}
LASTING: dict[str, Any] = {
    "context too long": refused(400, "context_length_exceeded"),
    "content filter": refused(400, "content_filter"),
}
PROVIDERS: dict[str, Callable[[Server], ModelProvider]] = {
    "openai-compatible": lambda server: OpenAICompatibleProvider("lab", server.base_url, "sk-key-of-the-lab"),
}
FLOW = """
name: t
activities:
  a:
    use: llm_prompt
    with:
      model: [{model: lab/one, attempts: 2}, {model: lab/two, attempts: 3}]
      prompt: x
      max_tokens: 5
    retry: {max_attempts: 2, base_seconds: 1}
    timeout: TIMEOUT
"""


def meeting(play: Any, kind: str, replies: Replies, scene: Any, **environment: str) -> None:
    """Play a scene with a provider of this kind, whose server answers so."""
    server = Server(replies)
    server.url = "http://127.0.0.1:9"
    providers: dict[str, ModelProvider] = {"lab": PROVIDERS[kind](server)}

    async def with_server(bench: Any) -> None:
        async with server:
            providers["lab"] = PROVIDERS[kind](server)
            try:
                await scene(bench, server)
            finally:
                await providers["lab"].close()

    play(with_server, providers=providers, environment=environment)


async def until_done(bench: Any, run_id: str) -> None:
    """Let virtual time pass whenever it is all that is waited for, until the run has ended."""
    async with asyncio.timeout(20):
        while not (await bench.log.run(run_id)).head.finished_at:
            await bench.rest()
            lane = bench.app.engine.loaded(run_id)
            if not bench.app.gate._open and (bench.app.gate.waiting or (lane and lane.run.timers)):
                bench.clock.advance(to=bench.clock.next_alarm)
            await asyncio.sleep(0.002)  # what is on the wire is not on the virtual clock


@pytest.mark.parametrize("kind", PROVIDERS)
@pytest.mark.parametrize("failure", PASSING)
def test_what_may_pass_is_asked_attempts_times_models_times_attempts_of_the_activity(play, kind: str, failure: str):
    async def scene(bench: Any, server: Server) -> None:
        run_id = await bench.start(FLOW.replace("TIMEOUT", "300ms" if failure == "timeout" else "60s"))

        await until_done(bench, run_id)

        events = await bench.events(run_id)
        admitted = [event.model for event in events if isinstance(event, g.CallAdmitted)]
        assert admitted == ["lab/one", "lab/one", "lab/two", "lab/two", "lab/two"] * 2
        if failure == "timeout":  # which may come before the request has
            assert len(server.models) <= 10
        else:
            assert [f"lab/{model}" for model in server.models] == admitted
        assert sum(isinstance(event, g.CallSettled) for event in events) == 10
        assert sum(isinstance(event, e.AttemptFailed) for event in events) == 2
        assert (await bench.log.run(run_id)).head.status == "failed"

    meeting(play, kind, lambda model: PASSING[failure], scene, HEADGATE_CIRCUIT_FAILURES="0")


@pytest.mark.parametrize("kind", PROVIDERS)
@pytest.mark.parametrize("failure", LASTING)
def test_what_lasts_is_asked_of_each_model_once(play, kind: str, failure: str):
    async def scene(bench: Any, server: Server) -> None:
        run_id = await bench.start(FLOW.replace("TIMEOUT", "60s"))
        await until_done(bench, run_id)

        assert server.models == ["one", "two"]
        (skipped,) = [event for event in await bench.events(run_id) if isinstance(event, g.ModelSkipped)]
        assert skipped.model == "lab/one"

    meeting(play, kind, lambda model: LASTING[failure], scene)


@pytest.mark.parametrize("kind", PROVIDERS)
def test_what_no_model_mends_is_asked_once(play, kind: str):
    async def scene(bench: Any, server: Server) -> None:
        run_id = await bench.start(FLOW.replace("TIMEOUT", "60s"))
        await until_done(bench, run_id)

        assert server.models == ["one"]

    meeting(play, kind, lambda model: refused(400, "invalid_value"), scene)


def test_a_429_with_retry_after_is_waited_for_then_the_same_model_answers(play):
    said = [refused(429, headers={"retry-after": "7"})]

    async def scene(bench: Any, server: Server) -> None:
        before = bench.clock.now()
        run_id = await bench.start(FLOW.replace("TIMEOUT", "60s"))
        await bench.until(lambda: bench.app.gate.waiting)
        view = await bench.app.desk.show(run_id)
        assert view.activities[0].waiting_for == "waits for a pause before lab/one is asked again, 7.0 s"

        await until_done(bench, run_id)

        assert server.models == ["one", "one"]
        assert (await bench.log.run(run_id)).head.status == "completed"
        assert bench.clock.now() - before == 7_000_000

    meeting(play, "openai-compatible", lambda model: said.pop() if said else json_reply(completion("yes")), scene)


def test_a_pause_longer_than_what_is_left_of_the_attempt_is_not_made(play):
    async def scene(bench: Any, server: Server) -> None:
        run_id = await bench.start(FLOW.replace("TIMEOUT", "60s"))
        await until_done(bench, run_id)

        assert server.models == ["one", "two"]

    meeting(
        play,
        "openai-compatible",
        lambda model: refused(429, headers={"retry-after": "61"}) if model == "one" else json_reply(completion("yes")),
        scene,
    )


def test_a_storm_of_500_opens_the_circuit_of_a_real_provider_and_its_probe_closes_it(play):
    weather = {"storm": True}
    flow = (
        FLOW.replace("TIMEOUT", "60s")
        .replace(", {model: lab/two, attempts: 3}", "")
        .replace("attempts: 2}", "attempts: 1}")
    )

    async def scene(bench: Any, server: Server) -> None:
        once = flow.replace("max_attempts: 2", "max_attempts: 1")
        for _ in range(FAILURES + 3):
            await until_done(bench, await bench.start(once))
        assert len(server.models) == FAILURES

        weather["storm"] = False
        run_id = await bench.start(flow)  # its first attempt is denied, and says when to come again
        await until_done(bench, run_id)

        assert (await bench.log.run(run_id)).head.status == "completed"
        assert len(server.models) == FAILURES + 1
        assert await bench.app.limits.store.cells("circuit ") == []

    meeting(
        play,
        "openai-compatible",
        lambda model: refused(500) if weather["storm"] else json_reply(completion("yes")),
        scene,
    )


def test_fifty_branches_keep_a_real_providers_rate(play):
    flow = """
name: fan
activities:
  a: {use: llm_prompt, for_each: "{{INPUT.n}}", with: {model: lab/m, prompt: "{{ITEM}}", max_tokens: 5}, retry: 1}
"""
    times: list[int] = []

    async def scene(bench: Any, server: Server) -> None:
        seen["now"] = bench.clock.now
        await bench.app.desk.set_limit(RateLimit(scope="lab", requests=30))
        run_id = await bench.start(flow, {"n": list(range(50))})

        await until_done(bench, run_id)

        assert (await bench.log.run(run_id)).head.status == "completed"
        assert len(times) == 50
        assert max(sum(begin <= at < begin + 60_000_000 for at in times) for begin in times) <= 30

    seen: dict[str, Callable[[], int]] = {}

    def answer(model: str) -> Any:
        times.append(seen["now"]())
        return json_reply(completion("yes"))

    meeting(play, "openai-compatible", answer, scene)
