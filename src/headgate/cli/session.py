"""A verb's way to a database: the owner's socket where there is an owner, else an engine of its own.

An engine of its own means: the lock is taken, the log opened, the engine begun, the control socket opened; and closed
again in the opposite order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from headgate.cli.options import STATE_FOLDER, Common
from headgate.client.address import parse_address
from headgate.client.frames import OwnerGone
from headgate.client.socket import SocketClient
from headgate.core.errors import NotFound, Unavailable
from headgate.ports import Client
from headgate.stores.ownership import Owned, Ownership, owner_of, state_folder

if TYPE_CHECKING:
    from headgate.api.socket import SocketServer
    from headgate.app import App
    from headgate.engine.reader import Reader
    from headgate.stores.sqlite import SqliteLog

__all__ = ["Engine", "Session", "make_state_folder", "open_reader", "open_session", "require_database"]

CONNECT_SECONDS_MAX = 5.0
CONNECT_PAUSE_SECONDS = 0.05
"""An owner that has the lock but does not answer yet (or any more) is asked again so often, and so long."""


class Engine(msgspec.Struct, frozen=True):
    """What an engine of this process is made with. `work` False: nothing is handed to a worker."""

    work: bool = True
    activities: Mapping[str, Any] = {}
    scripted: Any = None
    offline: bool = False
    pace_seconds: float = 0.0


class Session:
    """What a verb acts through. `app` and `server` are there only where this process owns the database."""

    def __init__(
        self, client: Client, app: App | None = None, server: SocketServer | None = None, owner_pid: int = 0
    ) -> None:
        self.client = client
        self.app = app
        self.server = server
        self.owner_pid = owner_pid


@asynccontextmanager
async def open_session(database: Path, engine: Engine) -> AsyncGenerator[Session]:
    """Yield a session. Raises `Unavailable` when an owner neither answers nor leaves, or nothing can be written."""
    door = await _take_or_connect(database)
    if isinstance(door, SocketClient):
        owner = owner_of(database)
        yield Session(door, owner_pid=owner.pid if owner else 0)
        return
    with door as ownership:
        async with _own(database, ownership, engine) as session:
            yield session


async def _take_or_connect(database: Path) -> Ownership | SocketClient:
    until = time.monotonic() + CONNECT_SECONDS_MAX
    while True:
        try:
            return Ownership.take(database)
        except Owned as error:
            owned = error
        owner = owner_of(database)
        address = parse_address(owner.address) if owner else None
        if address is not None:
            with suppress(OwnerGone):
                client = SocketClient(address)
                await client.ping()
                return client
        if time.monotonic() > until:
            raise Unavailable(f"{owned.message} It does not answer at its control socket.") from owned
        await asyncio.sleep(CONNECT_PAUSE_SECONDS)


@asynccontextmanager
async def _own(database: Path, ownership: Ownership, engine: Engine) -> AsyncGenerator[Session]:
    from headgate.api.socket import SocketServer
    from headgate.app import App, tune_process
    from headgate.client.address import choose_address
    from headgate.stores.sqlite import SqliteLog

    tune_process()
    app = App(
        SqliteLog(database),
        activities=engine.activities,
        scripted=engine.scripted,
        offline=engine.offline,
        demo_pace_seconds=engine.pace_seconds,
        work=engine.work,
        folder=state_folder(database),
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(app.engine.log.close)  # once more is harmless; the app may fail to open
        await stack.enter_async_context(app)
        address = choose_address(database)
        stack.callback(_remove_folder, database, address.path)
        server = await stack.enter_async_context(SocketServer(app.desk, address))
        ownership.announce(str(server.address))
        yield Session(app.desk, app, server)


def _remove_folder(database: Path, socket_path: str) -> None:
    """Remove the folder that was made for a socket whose path beside the database would have been too long."""
    if socket_path and Path(socket_path).parent != database.resolve().parent:
        with suppress(OSError):
            Path(socket_path).parent.rmdir()


# --- Reading -------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_reader(common: Common) -> AsyncGenerator[tuple[Reader, SqliteLog]]:
    """Yield a reader of the file itself: it needs no owner, and disturbs none."""
    from headgate.cli.words import now
    from headgate.engine.reader import Reader
    from headgate.stores.sqlite import SqliteLog

    require_database(common)
    log = SqliteLog(common.database, read_only=True)
    try:
        yield Reader(log, now), log
    finally:
        await log.close()


def require_database(common: Common) -> None:
    """Raise `NotFound` where there is no database yet: looking must not make one."""
    if not common.database.exists():
        how = "Is the path right?" if common.named else "`headgate run` makes one; --db names another."
        raise NotFound(f"There is no database {common.database} here. {how}")


def make_state_folder(common: Common) -> None:
    """Make `./.headgate/` with a `.gitignore` of its own, unless the database was named. Raises `Unavailable`."""
    if common.named:
        return
    folder = Path(STATE_FOLDER)
    try:
        folder.mkdir(exist_ok=True)
        ignore = folder / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise Unavailable(
            f"The folder {folder} cannot be made here: {error.strerror or error}. Go to a folder that you may write "
            "to, or name a database with --db."
        ) from None
