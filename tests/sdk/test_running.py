"""Runs started from Python: with and without a loop, with and without a database, here or at its owner's."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import headgate
from headgate.authoring import InvalidDefinition, InvalidInput
from headgate.core.errors import Invalid, Refused
from headgate.sdk.embedded import STATE_FOLDER, make_state_folder

ECHO = (
    "name: hello\ninputs: {name: string}\nactivities:\n  greet: {use: echo, with: {text: 'Hello {{ INPUT.name }}'}}\n"
)
ASK = "name: ask\nactivities:\n  agree: {use: approval, with: {title: ok}}\noutputs: {said: '{{ agree.approved }}'}\n"
SIGNAL = "name: wait\nactivities:\n  a: {wait_for: go}\noutputs: {got: '{{ a.result }}'}\n"
PATIENCE_SECONDS = 20.0


@pytest.fixture(autouse=True)
def a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEADGATE_DB", raising=False)


def patiently(scene: Any) -> Any:
    async def whole() -> Any:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await scene

    return asyncio.run(whole())


@headgate.activity(attempts=2)
async def double(n: int) -> int:
    return 2 * n


def doubling(name: str = "doubling") -> headgate.Workflow:
    flow = headgate.Workflow(name, inputs={"n": "any"})
    twice = flow.add("twice", double, with_={"n": flow.input.n})
    flow.outputs = {"n": twice.result}
    return flow


def test_a_run_leaves_its_log_in_the_state_folder():
    result = headgate.run(ECHO, {"name": "Ada"})

    assert (result.status, result.outputs) == ("completed", {"greet": {"text": "Hello Ada"}})
    assert (result.cost, result.cost_usd) == (0, Decimal(0))
    assert result.raise_for_status() is result
    assert Path(".headgate/headgate.db").is_file()
    assert Path(".headgate/.gitignore").read_text() == "*\n"


def test_a_run_in_memory_leaves_nothing_on_disk():
    result = headgate.run(doubling(), {"n": 21}, db=":memory:")

    assert result.outputs == {"n": 42}
    assert list(Path.cwd().iterdir()) == []


def test_a_workflow_is_a_path_a_text_a_builder_or_a_name_that_the_database_knows():
    Path("hello.yaml").write_text(ECHO)

    ran = [headgate.run(flow, {"name": "x"}).workflow for flow in (Path("hello.yaml"), "hello.yaml", ECHO, "hello")]

    assert ran == ["hello"] * 4


def test_a_run_inside_of_a_running_loop_has_a_thread_of_its_own():
    async def cell_of_a_notebook() -> headgate.Result:
        return headgate.run(doubling(), {"n": 4})

    result = asyncio.run(cell_of_a_notebook())

    assert result.outputs == {"n": 8}


def test_arun_is_awaited():
    results = patiently(asyncio.wait_for(headgate.arun(doubling(), {"n": 3}), PATIENCE_SECONDS))

    assert results.outputs == {"n": 6}


def test_a_run_that_blocks_the_loop_of_its_own_engine_is_refused():
    async def scene() -> None:
        async with headgate.open("runs.db") as connection:
            with pytest.raises(Refused, match=r"await headgate\.arun"):
                headgate.run(ECHO, {"name": "x"}, db="runs.db")
            assert (await headgate.arun(ECHO, {"name": "x"}, db="runs.db")).completed
            assert len(await connection.client.runs()) == 1

    patiently(scene())


def test_a_failed_run_is_a_result_until_its_status_is_asked_for():
    result = headgate.run(doubling(), {"n": "many"}, db=":memory:")

    assert (result.status, result.outputs, result.error_code) == ("failed", None, "invalid_parameters")
    with pytest.raises(headgate.RunFailed, match='double takes "n" as int: Expected `int`, got `str`') as caught:
        result.raise_for_status()
    assert caught.value.result is result


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (InvalidInput, {"workflow": ECHO, "input": {"name": 1}}),
        (InvalidDefinition, {"workflow": "name: x\nactivities: {}\n"}),
        (Invalid, {"workflow": ECHO, "input": {"name": "x"}, "budget": "much"}),
        (Invalid, {"workflow": ECHO, "input": {"name": object()}}),
        (Invalid, {"workflow": "missing.yaml"}),
        (Invalid, {"workflow": ECHO, "input": {"name": "x"}, "models": "missing.yaml"}),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_made(error: type[Exception], arguments: dict[str, Any]):
    with pytest.raises(error):
        headgate.run(**arguments)

    assert list(Path.cwd().iterdir()) == []


def test_scripted_models_budgets_and_labels_reach_the_run():
    flow = headgate.Workflow("asked")
    flow.add("a", "llm_prompt", with_={"model": "scripted/judge", "prompt": "?", "max_tokens": 5})
    models = {"judge": [{"text": "yes"}]}

    async def scene() -> Any:
        async with headgate.open(":memory:", models=models) as connection:
            handle = await connection.start(flow, budget="0.25", labels={"team": "a"})
            await handle.result()
            return await handle.show()

    view = patiently(scene())

    assert view.outputs["a"]["content"] == "yes"
    assert (view.limit, view.labels) == (250_000_000, {"team": "a"})


def test_a_start_that_is_repeated_with_its_command_id_starts_once():
    ids = {headgate.run(ECHO, {"name": "x"}, command_id="once").id for _ in range(2)}

    assert len(ids) == 1


# --- Handles -------------------------------------------------------------------------------------------------------


def test_a_handle_follows_a_run_and_acts_on_it():
    async def scene() -> None:
        async with headgate.open("runs.db") as connection:
            asked = await connection.start(ASK)
            statuses: list[str] = []
            async for update in asked.stream():
                if isinstance(update, headgate.Changed):
                    if update.run.status == "waiting" and "waiting" not in statuses:
                        await asked.approve(by="ann")
                    statuses.append(update.run.status)
            assert statuses[-1] == "completed"
            assert "waiting" in statuses
            assert (await asked.result()).outputs == {"said": True}
            assert await asked.status() == "completed"

            sent = await connection.start(SIGNAL)
            await sent.signal("go", {"n": 1})
            assert (await sent.result()).outputs == {"got": {"n": 1}}

            stopped = await connection.start(ASK)
            await stopped.cancel("enough")
            assert (await connection.handle(stopped.id).result()).status == "cancelled"

            rejected = await connection.start(ASK)
            await rejected.reject()
            assert not (await rejected.result()).raise_for_status().outputs["said"]

    patiently(scene())


def test_what_models_write_is_streamed():
    flow = headgate.Workflow("streamed")
    flow.add("a", "llm_prompt", with_={"model": "demo/small", "prompt": "Summarise: One. Two."}, streaming=True)

    async def scene() -> str:
        async with await headgate.astart(flow, db=":memory:") as handle:
            news = [update async for update in handle.stream()]
            content = (await handle.show()).activities[0].output["content"]
        assert content == "".join(update.text for update in news if isinstance(update, headgate.Tokens))
        return content

    assert patiently(scene())


def test_a_handle_without_a_loop_does_the_same():
    with headgate.start(ASK, db="runs.db") as handle:
        waiting = (one for one in handle.stream() if isinstance(one, headgate.Changed) and one.run.status == "waiting")
        next(waiting)
        handle.approve()
        assert handle.status() == "completed"
        assert handle.result().outputs == {"said": True}
        assert handle.show().id == handle.id

    handle.close()  # once more is harmless
    with pytest.raises(Refused, match="The handle is closed"):
        handle.status()
    assert headgate.run(ECHO, {"name": "x"}, db="runs.db").completed  # the database was given back


def test_a_start_that_is_refused_leaves_no_thread_behind():
    before = threading.active_count()

    with pytest.raises(Invalid):
        headgate.start("missing.yaml")

    assert threading.active_count() == before


def test_what_is_closed_in_the_middle_goes_on_with_the_next_opening():
    flow = headgate.Workflow("slow")
    begun, go_on = threading.Event(), threading.Event()

    def slowly() -> str:
        begun.set()
        assert go_on.wait(PATIENCE_SECONDS)
        return "done"

    flow.add("a", slowly)

    async def leave_it() -> str:
        async with headgate.open("runs.db", workflows=[flow]) as connection:
            handle = await connection.start("slow")
            await asyncio.to_thread(begun.wait)
            return handle.id

    async def take_it_up(run_id: str) -> headgate.Result:
        async with headgate.open("runs.db", workflows=[flow]) as connection:
            return await connection.handle(run_id).result()

    run_id = patiently(leave_it())
    go_on.set()
    result = patiently(take_it_up(run_id))

    assert (result.id, result.outputs) == (run_id, {"a": "done"})


# --- Two at one database -------------------------------------------------------------------------------------------


def test_a_second_program_hands_its_run_to_the_owner():
    program = f"import headgate\nprint(headgate.run({ECHO!r}, {{'name': 'Bo'}}, db='runs.db').outputs)"

    async def scene() -> None:
        async with headgate.open("runs.db") as connection:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
            printed, _ = await child.communicate()
            (run,) = await connection.client.runs()
        assert printed.decode().strip() == "{'greet': {'text': 'Hello Bo'}}"
        assert run.status == "completed"

    patiently(scene())


def test_what_an_owner_elsewhere_would_not_know_is_refused():
    async def scene() -> None:
        async with headgate.open("runs.db"):
            with pytest.raises(Refused, match=r"owns the database .* activities is of this process"):
                await headgate.arun(doubling(), {"n": 1}, db="runs.db")

    patiently(scene())


def test_a_workflow_whose_functions_the_engine_does_not_have_is_refused():
    async def scene() -> None:
        async with headgate.open(":memory:") as connection:
            with pytest.raises(Invalid, match="uses double, which this engine does not have"):
                await connection.start(doubling(), {"n": 1})

    patiently(scene())


def test_when_the_owner_ends_the_one_that_waits_takes_its_place():
    async def scene() -> headgate.Result:
        async with headgate.open("runs.db") as connection:
            waiting = asyncio.create_task(headgate.arun(ASK, db="runs.db"))
            while not (runs := await connection.client.runs(status="waiting")):  # noqa: ASYNC110 - the other's start
                await asyncio.sleep(0.001)
        async with headgate.open("runs.db") as connection:
            await connection.handle(runs[0].id).approve()
        return await waiting

    assert patiently(scene()).outputs == {"said": True}


INTERRUPTED = f"""
import asyncio, headgate

async def whole():
    return headgate.run({ASK!r}, db="runs.db")

"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    [f'headgate.run({ASK!r}, db="runs.db")', "asyncio.new_event_loop().run_until_complete(whole())"],
    ids=["plain", "as in a notebook"],
)
def test_an_interrupt_ends_the_waiting_and_loses_nothing(call: str):
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED + call], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    async def when_it_waits() -> str:
        socket = Path("runs.db.sock")
        while not socket.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it; nobody else is on this loop
            await asyncio.sleep(0.005)
        async with headgate.open("runs.db") as connection:
            assert connection.owner_pid == child.pid
            while not (runs := await connection.client.runs(status="waiting")):  # noqa: ASYNC110 - the other's start
                await asyncio.sleep(0.005)
        return runs[0].id

    async def approve(run_id: str) -> headgate.Result:
        async with headgate.open("runs.db") as connection:
            assert connection.owner_pid == 0
            await connection.handle(run_id).approve()
            return await connection.handle(run_id).result()

    run_id = patiently(when_it_waits())
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=PATIENCE_SECONDS)

    assert "KeyboardInterrupt" in said
    assert patiently(approve(run_id)).outputs == {"said": True}


@pytest.mark.skipif(os.name == "nt", reason="there is no such mode")
def test_the_state_folder_is_for_whoever_made_it_alone():
    make_state_folder(named_how="--db")

    assert Path(STATE_FOLDER).stat().st_mode & 0o777 == 0o700
