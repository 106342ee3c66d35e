"""An engine in a web application: four lines, a connection in each request, and nothing lost when the server stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

import headgate

ASK = "name: ask\nactivities:\n  agree: {use: approval, with: {title: ok}}\noutputs: {said: '{{ agree.approved }}'}\n"


@headgate.activity
def shout(text: str) -> str:
    return text.upper()


def flow() -> headgate.Workflow:
    found = headgate.Workflow("shouting", inputs={"text": "string"})
    found.outputs = {"text": found.add("a", shout, with_={"text": found.input.text}).result}
    return found


async def start(request: Request) -> JSONResponse:
    connection: headgate.Connection = request.state.headgate
    handle = await connection.start(request.path_params["name"], await request.json())
    return JSONResponse({"id": handle.id})


async def result(request: Request) -> JSONResponse:
    found = await request.state.headgate.handle(request.path_params["id"]).result()
    return JSONResponse({"status": found.status, "outputs": found.outputs})


async def approve(request: Request) -> JSONResponse:
    await request.state.headgate.handle(request.path_params["id"]).approve(by="web")
    return JSONResponse({})


async def statuses(request: Request) -> StreamingResponse:
    async def lines() -> Any:
        async for update in request.state.headgate.handle(request.path_params["id"]).stream():
            if isinstance(update, headgate.Changed):
                yield f"{update.run.status}\n"

    return StreamingResponse(lines())


def application(database: Path) -> Starlette:
    return Starlette(
        lifespan=headgate.lifespan(database, workflows=[flow(), ASK], offline=True),
        routes=[
            Route("/start/{name}", start, methods=["POST"]),
            Route("/result/{id}", result),
            Route("/approve/{id}", approve, methods=["POST"]),
            Route("/stream/{id}", statuses),
        ],
    )


def test_a_request_starts_a_run_by_name_and_gets_its_result_and_its_news(tmp_path: Path):
    with TestClient(application(tmp_path / "runs.db")) as web:
        run_id = web.post("/start/shouting", json={"text": "hello"}).json()["id"]

        assert web.get(f"/result/{run_id}").json() == {"status": "completed", "outputs": {"text": "HELLO"}}
        assert web.get(f"/stream/{run_id}").text.splitlines()[-1] == "completed"


def test_a_run_survives_the_server_and_goes_on_with_the_next(tmp_path: Path):
    with TestClient(application(tmp_path / "runs.db")) as web:
        run_id = web.post("/start/ask", json={}).json()["id"]

    with TestClient(application(tmp_path / "runs.db")) as web:
        web.post(f"/approve/{run_id}")
        assert web.get(f"/result/{run_id}").json() == {"status": "completed", "outputs": {"said": True}}


def test_an_application_with_a_workflow_that_cannot_work_does_not_start(tmp_path: Path):
    app = Starlette(lifespan=headgate.lifespan(tmp_path / "runs.db", workflows=["name: x\nactivities: {}\n"]))

    with pytest.raises(headgate.Invalid, match="at least one activity"), TestClient(app):
        pass

    assert not (tmp_path / "runs.db").exists()
