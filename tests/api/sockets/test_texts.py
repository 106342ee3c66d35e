"""Texts at a socket, while models write them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.api.sockets.watchers import ASKING, TALKING, frames, refused, say, taken, watching

MANY = """
name: many
activities:
  say: {use: say, queue: outside, streaming: true, for_each: "{{ [1, 2] }}"}
"""


def test_a_text_comes_as_it_is_made_and_then_what_the_activity_came_to(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(TALKING)
        run = (await desk.start("talking"))["workflow_id"]
        task = await taken(desk)
        assert (await say(desk, task, "It was "))["subscribers"] == 0
        async with (
            watching(desk, f"/workflows/{run}/activities/say/ws") as first,
            watching(desk, f"{task}/ws") as second,
        ):
            heard = [await frames(one, until="token") for one in (first, second)]
            assert (await desk.get(f"{task}/ws/subscribers")).json() == {"count": 2}
            assert (await say(desk, task, "märchenhaft."))["subscribers"] == 2
            await desk.post(f"{task}/complete", {"worker_id": "w", "output": "It was märchenhaft."})
            for told, one in zip(heard, (first, second), strict=True):
                told += await frames(one)
                assert one.close_code == 1000

        for told in heard:
            tokens = [frame for frame in told if frame["type"] == "token"]
            assert "".join(frame["text"] for frame in tokens) == "It was märchenhaft."
            assert [frame["offset"] for frame in tokens] == [0, 7]
            assert [frame["type"] for frame in told[-2:]] == ["end", "complete"]
            assert (told[-1]["result"], told[-1]["activity_key"]) == (
                "It was märchenhaft.",
                heard[0][-1]["activity_key"],
            )
        assert (await desk.get(f"{task}/ws/subscribers")).json() == {"count": 0}
        assert (await desk.get("/activities/none~say~1~x/ws/subscribers")).status_code == 404
        late = await desk.get(f"/workflows/{run}/activities/say/stream")
        assert "".join(data["text"] for kind, data in events(late.text) if kind == "token") == "It was märchenhaft."

    play(scene)


def events(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of an event stream."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], msgspec.json.decode(lines["data"])))
    return found


def test_a_reader_goes_on_behind_its_last_frame_over_either_door(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(TALKING)
        run = (await desk.start("talking"))["workflow_id"]
        task, path = await taken(desk), f"/workflows/{run}/activities/say"
        await say(desk, task, "one two ")
        async with watching(desk, f"{path}/ws") as connection:
            (had,) = await frames(connection, until="token")
        await say(desk, task, "three")
        async with watching(desk, f"{path}/ws?offset={had['id']}") as connection:
            (next_,) = await frames(connection, until="token")
        async with desk.client.stream("GET", f"{path}/stream", headers={"Last-Event-ID": had["id"]}) as stream:
            lines = aiter(stream.aiter_lines())
            while not (line := await anext(lines)).startswith("data: "):
                pass
            assert msgspec.json.decode(line.removeprefix("data: ")) == next_

        assert (had["text"], next_["text"], next_["offset"]) == ("one two ", "three", 8)
        assert await refused(desk, f"{path}/ws?offset=8") == (422, "VALIDATION_ERROR")
        beyond = had["id"].replace(":8:", ":99:")
        async with watching(desk, f"{path}/ws?offset={beyond}") as connection:
            (fault,) = await frames(connection)
        assert (fault["type"], connection.close_code) == ("error", 1011)
        assert events((await desk.get(f"{path}/stream?offset={beyond}")).text) == [("error", fault)]

    play(scene)


def test_a_piece_that_comes_again_is_told_once_and_a_text_that_lacks_one_is_void(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(TALKING)
        run = (await desk.start("talking"))["workflow_id"]
        task = await taken(desk)

        async def tell(*pieces: tuple[int, str]) -> None:
            for offset, text in pieces:
                assert (await desk.post(f"{task}/ws/token", {"text": text, "offset": offset})).status_code == 200

        async with watching(desk, f"/workflows/{run}/activities/say/ws") as connection:
            await tell((0, "zwölf "), (0, "zwölf "), (7, "Eulen"), (4, "lf Eulen."))
            told = await frames(connection, until="token")
            while not told[-1]["text"].endswith("."):
                told += await frames(connection, until="token")
            assert "".join(frame["text"] for frame in told) == "zwölf Eulen."

            await tell((20, " Alle"), (25, " schlafen."))  # and what stands before 20 does not come
            assert [frame["type"] for frame in await frames(connection, until="restart")] == ["restart"]
            await desk.post(f"{task}/ws/restart", {"offset": 35})
            await tell((36, "Keine."))
            await desk.post(f"{task}/ws/restart", {"offset": 35})
            assert (await frames(connection, until="token"))[-1]["text"] == "Keine."
            await desk.post(f"{task}/complete", {"worker_id": "w", "output": "Keine."})
            assert [frame["type"] for frame in await frames(connection)] == ["end", "complete"]

        assert (await desk.post(f"{task}/ws/token", {"text": "x", "offset": -1})).status_code == 422

    play(scene)


def test_a_text_that_is_void_begins_again_and_a_failure_is_the_last_frame(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(TALKING)
        run = (await desk.start("talking"))["workflow_id"]
        task = await taken(desk)
        async with watching(desk, f"/workflows/{run}/activities/say/ws") as connection:
            await say(desk, task, "wrong")
            told = await frames(connection, until="token")
            await desk.post(f"{task}/ws/error", {"error": "rate limit"})
            await say(desk, task, "right")
            told += await frames(connection, until="token")
            assert [(frame["type"], frame["epoch"]) for frame in told] == [("token", 1), ("restart", 2), ("token", 2)]
            await desk.post(f"{task}/ws/complete", {"result": "right"})
            error = {"message": "it is broken", "code": "broken", "retryable": False}
            await desk.post(f"{task}/fail", {"worker_id": "w", "error": error})
            last = (await frames(connection))[-1]

        assert (last["type"], last["error"], last["code"]) == ("error", "it is broken", "broken")
        assert (await desk.post(f"{task}/ws/complete", {})).status_code == 409

    play(scene)


def test_of_a_fan_out_each_item_resumes_by_its_own_id_and_the_others_begin_again(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(MANY)
        run = (await desk.start("many"))["workflow_id"]
        tasks = [await taken(desk), await taken(desk)]
        for number, task in enumerate(tasks):
            await say(desk, task, f"text {number}")
        path = f"/workflows/{run}/activities/say/ws"
        async with watching(desk, path) as connection:
            had = [*await frames(connection, until="token"), *await frames(connection, until="token")]
        assert sorted(frame["place"] for frame in had) == ["say[0]", "say[1]"]

        async with watching(desk, f"{path}?offset={had[0]['id']},{had[1]['id']}") as both:
            await say(desk, tasks[1], "!")
            assert [(frame["text"], frame["offset"]) for frame in await frames(both, until="token")] == [("!", 6)]
        async with watching(desk, f"{path}?offset={had[0]['id']}") as one:
            rest = await frames(one, until="token")
        assert [(frame["type"], frame["place"]) for frame in rest] == [
            ("restart", had[1]["place"]),
            ("token", had[1]["place"]),
        ]
        for number, task in enumerate(tasks):
            await desk.post(f"{task}/complete", {"worker_id": "w", "output": f"done {number}"})
        async with watching(desk, path) as late:
            assert (await frames(late))[-1]["result"] == ["done 0", "done 1"]
        async with watching(desk, f"{path.removesuffix('/ws')}[1]/ws") as late:
            assert (await frames(late))[-1]["result"] == "done 1"

    play(scene)


def test_many_who_come_while_a_text_is_made_hear_the_same(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(TALKING)
        run = (await desk.start("talking"))["workflow_id"]
        task, path = await taken(desk), f"/workflows/{run}/activities/say/ws"
        words = [f"w{number} " for number in range(200)]

        async def hear(number: int) -> str:
            for _ in range(number):
                await asyncio.sleep(0)
            async with watching(desk, path) as connection:
                told = await frames(connection)
            assert told[-1]["type"] == "complete"
            return "".join(frame["text"] for frame in told if frame["type"] == "token")

        hearing = [asyncio.create_task(hear(number * 31)) for number in range(30)]
        for word in words:
            await say(desk, task, word)
        await desk.post(f"{task}/complete", {"worker_id": "w", "output": "".join(words)})

        assert set(await asyncio.gather(*hearing)) == {"".join(words)}
        assert desk.app.doors.hub.find(("text", run, "say")) is None, "its last listener has taken the topic along"

    play(scene)


def test_what_does_not_stream_is_watched_to_its_end_as_well(play: Any):
    async def scene(desk: Any) -> None:
        await desk.deploy(ASKING)
        run = (await desk.start("asking"))["workflow_id"]
        async with watching(desk, f"/workflow_events/ws?workflow_id={run}") as connection:
            await frames(connection, until="activity_suspended")
        async with watching(desk, f"/workflows/{run}/activities/begin/ws") as connection:
            assert [frame["type"] for frame in await frames(connection)] == ["complete"], "while the run goes on"
        async with watching(desk, f"/workflows/{run}/activities/then/ws") as connection:
            await desk.post(f"/approvals/{run}~ask", {"approved": True, "by": "ann"})
            assert [frame["type"] for frame in await frames(connection)] == ["complete"]
        async with watching(desk, f"/workflows/{run}/activities/then/ws") as connection:
            (late,) = await frames(connection)
        assert (late["result"], late["status"]) == ({"by": "ann"}, "completed")

    play(scene)


def test_an_event_stream_has_its_pings_and_ends_with_the_outcome(play: Any, monkeypatch: pytest.MonkeyPatch):
    from headgate.api.http import event_stream, texts

    for module in (event_stream, texts):
        monkeypatch.setattr(module, "PING_SECONDS", 0.001)

    async def scene(desk: Any) -> None:
        await desk.deploy(TALKING)
        run = (await desk.start("talking"))["workflow_id"]
        task = await taken(desk)
        for path in ("events", "activities/say/stream"):
            headers = {"Accept": "text/event-stream"}
            async with desk.client.stream("GET", f"/workflows/{run}/{path}", headers=headers) as stream:
                async for line in stream.aiter_lines():
                    if line == ": ping":
                        break
        await desk.post(f"{task}/complete", {"worker_id": "w", "output": "done"})
        told = events((await desk.get(f"{task}/stream")).text)
        assert [kind for kind, _ in told] == ["token", "end", "complete"]
        assert (told[-1][1]["result"], told[-1][1]["status"]) == ("done", "completed")

    play(scene)
