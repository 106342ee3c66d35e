"""An engine inside a web application: it begins with the application, and ends with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from headgate.sdk.connection import Connection, Database, open_connection
from headgate.sdk.given import Models, Runnable

__all__ = ["lifespan"]


def lifespan(
    db: Database | None = None,
    *,
    workflows: Iterable[Runnable] = (),
    activities: Iterable[Callable[..., Any]] = (),
    models: Models | None = None,
    offline: bool = False,
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Connection]]]:
    """Return the `lifespan` of a Starlette or FastAPI application; `headgate.open` has the meaning of the arguments.

    In a request `request.state.headgate` is the connection: `await request.state.headgate.start("name", {...})`. When
    the server stops, the engine does: what is not finished is on disk, and goes on at the next start. Each start of
    the application opens the database anew. A server with several worker processes has one owner among them, and that
    works only without `activities`: what is refused at the start is said there.
    """
    given, functions = tuple(workflows), tuple(activities)

    @asynccontextmanager
    async def live(_: Any) -> AsyncGenerator[dict[str, Connection]]:
        async with open_connection(
            db, workflows=given, activities=functions, models=models, offline=offline
        ) as connection:
            yield {"headgate": connection}

    return live
