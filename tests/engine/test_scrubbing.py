"""What leaves a run scrubbed, and comes back whole."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from tests.engine.policy_lab import ANSWERS, asks, ended, only

from headgate.core import events as e
from headgate.core import gate_events as g
from headgate.core.errors import Invalid
from headgate.llm.scripted import ScriptedProvider
from headgate.ports import (
    ModelAnswer,
    ModelRequest,
    ProviderError,
)


def echoing() -> ScriptedProvider:
    """A model that answers with what it was asked, and names somebody of its own."""

    class Echoes(ScriptedProvider):
        async def request(self, request: ModelRequest) -> ModelAnswer:
            answer = await super().request(request)
            said = f"{request.messages[-1].content} Or ask bob@elsewhere.example."
            return msgspec.structs.replace(answer, content=said)

    return Echoes({"m": ANSWERS})


PERSON = "ada@home.example, +44 131 496 0188"


def test_what_leaves_has_placeholders_and_what_comes_back_has_the_originals(play: Any):
    provider = echoing()

    async def scene(bench: Any) -> None:
        published: list[str] = []
        publish = bench.app.streams.publish
        bench.app.streams.publish = lambda *told: (published.append(told[-1]), publish(*told))
        run_id = await bench.start(asks("[pii]", "streaming: true"), {"what": PERSON})
        await bench.finished(run_id)

        asked = provider.calls[0].messages[0].content
        assert re.fullmatch(r"Explain <EMAIL_[0-9a-f]{12}>, <PHONE_[0-9a-f]{12}>\.", asked)
        whole = f"Explain {PERSON}. Or ask bob@elsewhere.example."
        assert (await bench.output(run_id, "ask"))["content"] == whole
        assert "".join(published) == whole
        events = await bench.events(run_id)
        assert only(events, g.CallRequested).verdicts[0].details == {"email": 1, "phone": 1}
        assert only(events, g.CallSettled).verdicts[0].of == "answer"

    play(scene, scripted=provider)


def test_equal_values_have_one_placeholder_in_all_calls_of_a_run_and_another_in_the_next_run(play: Any):
    provider = echoing()
    definition = asks("[pii]", "for_each: [1, 2]")

    async def scene(bench: Any) -> None:
        for _ in range(2):
            await ended(bench, definition, {"what": PERSON})

        first, second, third, _ = [call.messages[0].content for call in provider.calls]
        assert first == second != third

    play(scene, scripted=provider)


def test_errors_and_log_lines_say_nothing_of_what_is_scrubbed(play: Any, caplog: pytest.LogCaptureFixture):
    class Complains(ScriptedProvider):
        async def request(self, request: ModelRequest) -> ModelAnswer:
            raise ProviderError("no answer about ada@home.example", code="provider_unavailable", status=503)

    async def scene(bench: Any) -> None:
        caplog.set_level("DEBUG")
        for definition in (asks("[pii]", "retry: 1"), asks("[pii]", model='"x/{{INPUT.what}}"')):
            _, events = await ended(bench, definition, {"what": "ada@home.example"})
            failed = only(events, e.ActivityFailed)
            assert "ada@home" not in failed.message
            assert "<EMAIL_" in failed.message
        assert "ada@home" not in caplog.text

    play(scene, scripted=Complains({"m": ANSWERS}))


def test_an_input_can_be_scrubbed_before_anything_is_stored(play: Any):
    definition = asks("[{use: pii, restore: false}]") + "scrub: input\n"

    async def scene(bench: Any) -> None:
        run_id = await bench.start(definition, {"what": PERSON})
        await bench.finished(run_id)

        stored = await bench.stored(run_id)
        assert b"ada@home" not in stored
        assert b"496 0188" not in stored
        assert b"bob@elsewhere" not in stored
        with pytest.raises(Invalid, match="does not look into files"):
            await bench.start(definition, {"what": {"$file": "abc", "name": "a.txt"}})
        assert len(await bench.app.desk.runs()) == 1

    play(scene, scripted=echoing())
