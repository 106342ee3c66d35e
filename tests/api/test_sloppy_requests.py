"""What careless and hostile clients send: it is refused in words that help, and nothing hangs."""

from __future__ import annotations

from typing import Any

import pytest

HELLO = "name: hello\ninputs: {name: {type: string, default: Ann}}\nactivities: {hi: {use: echo, with: {text: hi}}}"
FAR = "name: far\nactivities: {work: {use: anything, queue: nobody}}"


@pytest.mark.parametrize("wait", ["nan", "-1", "-inf", "soon"])
def test_a_wait_that_is_no_time_is_refused_at_once(wait: str, play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(FAR)
        run = (await desk.start("far"))["workflow_id"]

        for path in (f"/workflows/{run}", f"/runs/{run}"):
            answer = await desk.get(path, params={"wait": wait})

            assert answer.status_code == 422
            assert list(answer.json()["error"]["details"]["field_errors"]) == ["wait"]

    play(scene)


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("/workflows", "status", "finished"),
        ("/workflows", "offset", "-1"),
        ("/runs", "status", "finished"),
        ("/runs/{run}/events", "after", "-1"),
        ("/workflows/{run}/events", "after", "-1"),
        ("/workflow_definitions", "limit", "0"),
        ("/workflow_definitions", "limit", "1001"),
    ],
)
def test_a_parameter_out_of_its_bounds_is_refused_and_not_guessed_at(path: str, name: str, value: str, play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(HELLO)
        run = (await desk.start("hello", wait=20))["id"]

        answer = await desk.get(path.format(run=run), params={name: value})

        assert answer.status_code == 422
        assert name in answer.json()["error"]["message"]

    play(scene)
