"""Headgate inside a web application: an engine that starts and stops with it.

uvicorn app:app          (or any other ASGI server, with one worker process)
curl localhost:8000/runs -d '{"name": "Ada"}'
"""

from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import headgate


async def start(request: Request) -> JSONResponse:
    run = await request.state.headgate.start("welcome", await request.json())
    return JSONResponse({"id": run.id}, status_code=202)


async def show(request: Request) -> JSONResponse:
    result = await request.state.headgate.handle(request.path_params["id"]).result()
    return JSONResponse({"status": result.status, "outputs": result.outputs})


app = Starlette(
    lifespan=headgate.lifespan(workflows=[Path(__file__).with_name("welcome.yaml")]),
    routes=[Route("/runs", start, methods=["POST"]), Route("/runs/{id}", show)],
)
