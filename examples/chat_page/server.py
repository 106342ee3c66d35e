"""The back end of the chat page: it starts runs, and gives the browser a ticket to watch each of them.

headgate dev                                (in one terminal)
cd examples/chat_page && uvicorn server:app (in another; then open http://127.0.0.1:8000)

The browser never has more than the ticket: one run, five minutes, read only. The answer goes to it from Headgate
directly. HEADGATE_URL and HEADGATE_TOKEN say where Headgate is, and who this back end is to it.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Route

HERE = Path(__file__).parent
MESSAGE_CHARACTERS_MAX = 4_000


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, httpx2.AsyncClient]]:
    """Deploy the workflow; deploying what is there already changes nothing."""
    url = os.environ.get("HEADGATE_URL", "http://127.0.0.1:8720")
    token = os.environ.get("HEADGATE_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx2.AsyncClient(base_url=f"{url}/api/v1", headers=headers) as headgate:
        deployed = await headgate.post("/workflow_definitions", content=(HERE / "flow.yaml").read_bytes())
        deployed.raise_for_status()
        yield {"headgate": headgate}


async def ask(request: Request) -> JSONResponse:
    message = str((await request.json()).get("message", ""))[:MESSAGE_CHARACTERS_MAX]
    headgate: httpx2.AsyncClient = request.state.headgate
    started = await headgate.post("/workflows", json={"definition_name": "chat_page", "input": {"message": message}})
    started.raise_for_status()
    run = started.json()["workflow_id"]
    ticket = (await headgate.post(f"/workflows/{run}/tickets")).raise_for_status().json()["ticket"]
    socket = str(headgate.base_url.copy_with(scheme="ws")).rstrip("/")
    return JSONResponse({"socket": f"{socket}/workflows/{run}/activities/answer/ws", "ticket": ticket})


async def page(request: Request) -> FileResponse:
    return FileResponse(HERE / "index.html")


app = Starlette(lifespan=lifespan, routes=[Route("/", page), Route("/ask", ask, methods=["POST"])])
