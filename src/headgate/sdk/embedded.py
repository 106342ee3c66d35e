"""A program's way to a database: the owner's socket where there is an owner, else an engine of its own.

An engine of its own means: the lock is taken, the log opened, the engine begun, the control socket opened; and closed
again in the opposite order. PostgreSQL has neither lock nor socket: whoever comes is one more node. The command line
goes the same way.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from headgate.client.address import parse_address
from headgate.client.frames import OwnerGone
from headgate.client.socket import SocketClient
from headgate.core.errors import Refused, Unavailable
from headgate.ports import Changed, Client, Documents, Update
from headgate.stores.ownership import STATE_FOLDER, Owned, Ownership, owner_of
from headgate.stores.places import Address, Place, folder_of, open_log, place_of

if TYPE_CHECKING:
    from headgate.api.socket import SocketServer
    from headgate.app import App

__all__ = [
    "MEMORY",
    "STATE_FOLDER",
    "Engine",
    "Session",
    "connect",
    "database_path",
    "finish_handed",
    "make_state_folder",
    "open_session",
    "owned_by_this_loop",
    "refuse_handing_over",
]

MEMORY = ":memory:"
"""The database that is none: nothing on disk, gone with the program."""

CONNECT_SECONDS_MAX = 5.0
CONNECT_PAUSE_SECONDS = 0.05
"""An owner that has the lock but does not answer yet (or any more) is asked again so often, and so long."""

_loops: dict[Path, asyncio.AbstractEventLoop] = {}
"""The loops of this process that have an engine, by its database."""


class Engine(msgspec.Struct, frozen=True):
    """What an engine of this process is made with. `work` False: nothing is handed to a worker."""

    work: bool = True
    activities: Mapping[str, Any] = {}
    policies: Mapping[str, Any] = {}
    scripted: Any = None
    offline: bool = False
    pace_seconds: float = 0.0
    reuse: bool = True
    """False: no earlier results are taken; what is made anew is kept all the same."""
    run_schedules: bool = False
    """Start the runs of schedules when their time comes."""
    demo: bool = True
    """Whether runs may use `demo/…` models."""
    private_addresses: tuple[str, ...] | None = None
    """What `http_request` may reach beside the public internet; None: everything."""


class Session:
    """What a program acts through. `app` is there only where this process owns the database, `server` where others can
    reach it."""

    def __init__(
        self, client: Client, app: App | None = None, server: SocketServer | None = None, owner_pid: int = 0
    ) -> None:
        self.client = client
        self.app = app
        self.server = server
        self.owner_pid = owner_pid

    @property
    def documents(self) -> Documents:
        """What is kept beside the runs, in this process or with the owner."""
        if self.app is not None:
            return self.app.documents
        return cast("SocketClient", self.client).documents


@asynccontextmanager
async def open_session(
    database: Place, engine: Engine, *, on_owning: Callable[[], None] | None = None
) -> AsyncGenerator[Session]:
    """Yield a session; `on_owning` is called before an engine of this process begins.

    Raises `Unavailable` when an owner neither answers nor leaves, or nothing can be written.
    """
    if str(database) == MEMORY:
        async with _in_memory(engine) as session:
            yield session
        return
    if isinstance(database, Address):
        if on_owning is not None:
            on_owning()
        async with _join(database, engine) as session:
            yield session
        return
    door = await _take_or_connect(database)
    if isinstance(door, SocketClient):
        owner = owner_of(database)
        yield Session(door, owner_pid=owner.pid if owner else 0)
        return
    with door as ownership:
        if on_owning is not None:
            on_owning()
        async with _own(database, ownership, engine) as session:
            yield session


async def _take_or_connect(database: Path) -> Ownership | SocketClient:
    until = time.monotonic() + CONNECT_SECONDS_MAX
    while True:
        try:
            return Ownership.take(database)
        except Owned as error:
            owned = error
        if (client := await connect(database)) is not None:
            return client
        if time.monotonic() > until:
            raise Unavailable(f"{owned.message} It does not answer at its control socket.") from owned
        await asyncio.sleep(CONNECT_PAUSE_SECONDS)


async def connect(database: Place) -> SocketClient | None:
    """Return a client of the process that owns the database; None: none does, or it is not to be reached now. Nobody
    owns PostgreSQL: any node takes any command."""
    owner = owner_of(database) if isinstance(database, Path) else None
    address = parse_address(owner.address) if owner else None
    if address is not None:
        with suppress(OwnerGone):
            client = SocketClient(address)
            await client.ping()
            return client
    return None


@asynccontextmanager
async def _own(database: Path, ownership: Ownership, engine: Engine) -> AsyncGenerator[Session]:
    from headgate.api.socket import SocketServer
    from headgate.api.worker_door import WorkerDoor
    from headgate.app import App
    from headgate.client.address import choose_address

    app = App(open_log(database), folder=folder_of(database), **_settings(engine))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(app.engine.log.close)  # once more is harmless; the app may fail to open
        await stack.enter_async_context(app)
        address = choose_address(database)
        stack.callback(_remove_folder, database, address.path)
        workers = WorkerDoor(app.protocol, lose=app.protocol.lose, keep=app.worker.accept)
        server = await stack.enter_async_context(SocketServer(app.desk, address, workers, app.documents))
        ownership.announce(str(server.address))
        stack.enter_context(_noted(database))
        yield Session(app.desk, app, server)


@asynccontextmanager
async def _join(place: Address, engine: Engine) -> AsyncGenerator[Session]:
    """Yield a node of its own on a database that others may be at work on, too."""
    from headgate.app import App

    app = App(open_log(place), folder=folder_of(place), **_settings(engine))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(app.engine.log.close)
        await stack.enter_async_context(app)
        yield Session(app.desk, app)


@contextmanager
def _noted(database: Path) -> Generator[None]:
    resolved = database.resolve()
    _loops[resolved] = asyncio.get_running_loop()
    try:
        yield
    finally:
        del _loops[resolved]


def owned_by_this_loop(database: Place) -> bool:
    """Whether the engine of the database runs on the running loop, and is the only one that may work on it: whoever
    blocks this loop blocks that engine."""
    return isinstance(database, Path) and _loops.get(database.resolve()) is asyncio.get_running_loop()


@asynccontextmanager
async def _in_memory(engine: Engine) -> AsyncGenerator[Session]:
    from headgate.app import App
    from headgate.stores.memory import MemoryLog

    async with App(MemoryLog(), **_settings(engine)) as app:
        yield Session(app.desk, app)


def _settings(engine: Engine) -> dict[str, Any]:
    return {
        "activities": engine.activities,
        "policies": engine.policies,
        "scripted": engine.scripted,
        "offline": engine.offline,
        "demo_pace_seconds": engine.pace_seconds,
        "work": engine.work,
        "reuse": engine.reuse,
        "run_schedules": engine.run_schedules,
        "demo": engine.demo,
        "private_addresses": engine.private_addresses,
    }


def _remove_folder(database: Path, socket_path: str) -> None:
    """Remove the folder that was made for a socket whose path beside the database would have been too long."""
    if socket_path and Path(socket_path).parent != database.resolve().parent:
        with suppress(OSError):
            Path(socket_path).parent.rmdir()


def refuse_handing_over(session: Session, what: list[str], *, instead: str = "another database") -> None:
    """Raise `Refused` where another process owns the database, for what is this process's own means nothing to it.

    `instead` is what the message says one may use.
    """
    if what and session.app is None:
        verb = "is" if len(what) == 1 else "are"
        raise Refused(
            f"Process {session.owner_pid} owns the database and would work on this run with its own models and "
            f"activities; {' and '.join(what)} {verb} of this process and cannot be handed over. Leave that out, "
            f"wait for that process to end, or use {instead}."
        )


async def finish_handed(session: Session) -> None:
    """Return when the runs that other processes handed over have nothing to do now.

    What they are in the middle of would otherwise be done, and paid for, twice.
    """
    for run_id in list(session.server.handed) if session.server else []:
        async with aclosing(cast("AsyncGenerator[Update]", session.client.watch(run_id))) as updates:
            async for update in updates:
                if isinstance(update, Changed) and update.run.status != "running":
                    break


# --- Which database ------------------------------------------------------------------------------------------------


def database_path(named: str | Path | None) -> Place:
    """Return the database that is meant: the one named, else that of `HEADGATE_DB`, else the one in this folder's state
    folder."""
    named = named or os.environ.get("HEADGATE_DB") or None
    return Path(STATE_FOLDER) / "headgate.db" if named is None else place_of(named)


def make_state_folder(*, named_how: str) -> None:
    """Make `./.headgate/` with a `.gitignore` of its own. Raises `Unavailable`."""
    folder = Path(STATE_FOLDER)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)  # what runs are given and come to is nobody else's
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise Unavailable(
            f"The folder {folder} cannot be made here: {error.strerror or error}. Go to a folder that you may write "
            f"to, or name a database with {named_how}."
        ) from None
