"""`headgate worker`: work on tasks that another process hands out: the owner of a database here, or a server. It never
opens the database."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from headgate.cli.engine_options import engine_options, make_engine
from headgate.cli.interrupts import run_loop
from headgate.cli.options import Common, common
from headgate.cli.session import Engine
from headgate.settings import listed

if TYPE_CHECKING:
    from headgate.ports import ActivityFunction

__all__ = ["worker"]

Connect = Callable[[Sequence[str]], Any]
"""Makes a worker's protocol, given the activities that it has."""

SLOTS_MAX = 1_000
STD = ("std", "py-std")


@click.command()
@common
@click.argument("modules", metavar="[MODULE]...", nargs=-1)
@click.option("--queue", "queues", metavar="NAME", multiple=True, help="A queue to work on [default: std, py-std].")
@click.option(
    "--concurrency", type=click.IntRange(1, SLOTS_MAX), default=16, show_default=True, help="Tasks at a time."
)
@click.option(
    "--drain",
    metavar="SECONDS",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="At the end, wait so long for what is under way.",
)
@click.option(
    "--url",
    metavar="URL",
    envvar="HEADGATE_URL",
    show_envvar=True,
    help="Work for the server there, and not for a database of this machine.",
)
@click.option("--token", metavar="TEXT", envvar="HEADGATE_TOKEN", show_envvar=True, help="A bearer token for it.")
@click.option("--client-id", metavar="ID", envvar="HEADGATE_CLIENT_ID", show_envvar=True, help="Or a client's id,")
@click.option(
    "--client-secret",
    metavar="TEXT",
    envvar="HEADGATE_CLIENT_SECRET",
    show_envvar=True,
    help="and its secret: better in the environment, where no list of processes shows it.",
)
@click.option("--id", "name", metavar="NAME", help="What its reports are signed with [default: host and process].")
@engine_options
def worker(
    common: Common,
    modules: tuple[str, ...],
    queues: tuple[str, ...],
    concurrency: int,
    drain: float,
    url: str | None,
    token: str | None,
    client_id: str | None,
    client_secret: str | None,
    name: str | None,
    **rest: Any,
) -> None:
    """Work on tasks in a process of its own, for the process that owns the database, or for a server over HTTP.

    It runs activities of MODULEs, and built-in ones that need nothing of the owner's. Keys of providers are read here,
    where calls are made; budgets are kept by the owner. SIGTERM or Ctrl-C: take nothing new, finish, leave.
    """
    rest["activities"] = (*rest["activities"], *modules)
    engine = make_engine(**rest)
    worker_id = name or f"{socket.gethostname()}-{os.getpid()}"
    if url:
        engine = msgspec.structs.replace(engine, private_addresses=listed(os.environ, "HEADGATE_PRIVATE_ADDRESSES"))
        connect = _to_server(url, token or "", client_id or "", client_secret or "")
        common.output.notice(f"Working for the server at {url}.")
    else:
        connect = _to_owner(common, worker_id)
    run_loop(_work(common, engine, connect, worker_id, queues or STD, concurrency, drain), serving=True)


def _to_owner(common: Common, worker_id: str) -> Connect:
    """Return what makes the protocol of a worker for the owner of the database."""
    from headgate.client.address import Address, parse_address
    from headgate.client.worker import SocketProtocol
    from headgate.stores.ownership import owner_of

    database = common.file(
        "Workers of PostgreSQL ask a node over HTTP (--url); or start `headgate work --forever`, a node itself."
    )
    common.say_database()
    if not database.exists():
        common.output.notice("There is no such database yet; waiting for its owner, `headgate work --forever`.")

    def find() -> Address | None:
        owner = owner_of(database)
        return parse_address(owner.address) if owner else None

    return lambda activities: SocketProtocol(find, worker_id=worker_id, activities=activities)


def _to_server(url: str, token: str, client_id: str, client_secret: str) -> Connect:
    """Return what makes the protocol of a worker for a server."""
    from headgate.client.http_line import ClientLogin, HttpLine
    from headgate.client.http_worker import PATIENCE_SECONDS, HttpProtocol

    login = ClientLogin(client_id, client_secret) if client_id else token
    return lambda activities: HttpProtocol(
        HttpLine(url, login=login, patience_seconds=PATIENCE_SECONDS), activities=activities
    )


async def _work(
    common: Common,
    engine: Engine,
    connect: Connect,
    worker_id: str,
    queues: tuple[str, ...],
    concurrency: int,
    drain: float,
) -> None:
    from headgate.engine.worker import Worker

    async with AsyncExitStack() as stack:
        builtins = await _builtins(engine, common.folder, stack)
        protocol = connect([*builtins, *engine.activities])
        stack.push_async_callback(protocol.close)
        worker = Worker(
            protocol,
            builtins=builtins,
            activities=engine.activities,
            queues=queues,
            worker_id=worker_id,
            slots=concurrency,
        )
        stack.push_async_callback(worker.close)
        common.output.notice(f"Worker {worker_id} works on {', '.join(queues)}; Ctrl-C ends it.")
        await _until_asked_to_end(worker)
        if not await worker.drain(drain):
            common.output.notice(f"Not everything has ended within {drain:g} s; the rest is offered to others.")


async def _until_asked_to_end(worker: Any) -> None:
    """Work until SIGTERM or Ctrl-C, or until the owner will not have this worker: raises what it said."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows, or a test's own thread
            loop.add_signal_handler(number, ended.set)
    working, asked = loop.create_task(worker.run()), loop.create_task(ended.wait())
    await asyncio.wait((working, asked), return_when=asyncio.FIRST_COMPLETED)
    for task in (working, asked):
        task.cancel()
    outcomes = await asyncio.gather(working, asked, return_exceptions=True)
    if isinstance(outcomes[0], Exception):
        raise outcomes[0]


async def _builtins(engine: Engine, folder: Path, stack: AsyncExitStack) -> Mapping[str, ActivityFunction]:
    from headgate.app import stateless_activities

    return await stack.enter_async_context(
        stateless_activities(
            os.environ,
            prices_in=folder,
            scripted=engine.scripted,
            offline=engine.offline,
            demo_pace_seconds=engine.pace_seconds,
            policies=engine.policies,
            private_addresses=engine.private_addresses,
        )
    )
