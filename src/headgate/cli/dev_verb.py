"""`headgate dev`: a server for a desk, at this machine only, without a login."""

from __future__ import annotations

import asyncio
from typing import Any

import click
import msgspec

from headgate.cli.engine_options import engine_options, make_engine
from headgate.cli.interrupts import run_loop
from headgate.cli.options import Common, common
from headgate.cli.session import Engine, make_state_folder, open_session
from headgate.core.errors import Unavailable

__all__ = ["dev"]

LOOPBACK = "127.0.0.1"
PORT = 8720


@click.command()
@common
@click.option("--port", metavar="N", type=click.IntRange(0, 65_535), default=PORT, help="The port; 0 takes a free one.")
@click.option("--no-worker", is_flag=True, help="Leave all activities to workers that ask over HTTP.")
@engine_options
def dev(common: Common, port: int, no_worker: bool, **rest: Any) -> int:
    """Serve the HTTP API to this machine, work on all runs and schedules, and go on until Ctrl-C.

    There is no login: only programs of this machine reach it, and pages of other sites are refused.
    """
    engine = msgspec.structs.replace(make_engine(**rest, work=not no_worker), run_schedules=True)
    make_state_folder(common)
    common.say_database()
    return run_loop(_serve(common, engine, port), serving=True)


async def _serve(common: Common, engine: Engine, port: int) -> int:
    async with open_session(common.database, engine) as session:
        if session.app is None:
            raise Unavailable(f"Process {session.owner_pid} owns the database; stop it, or name another with --db.")
        from headgate.api.http import HttpApplication, HttpServer
        from headgate.api.http.table import ROUTES, SOCKETS

        app = session.app
        application = HttpApplication(
            ROUTES, app.doors, loopback_only=True, identify=app.tickets.identify_request, sockets=SOCKETS
        )
        async with HttpServer(application, LOOPBACK, port) as server:
            texts = session.app.telling.texts
            texts.base_url = texts.base_url or server.url
            if common.output.json:
                common.output.data({"url": server.url})
            common.output.notice(f"Listening at {server.url}/api/v1 (list of routes: {server.url}/api/v1/docs)")
            common.output.notice("No login: for programs of this machine only. Ctrl-C ends it, and nothing is lost.")
            await asyncio.Event().wait()
    return 0
