"""Runs started from a program, in an engine of its own or in that of the process that owns the database."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from headgate.client.frames import OwnerGone
from headgate.client.handle import Handle, Result
from headgate.core.errors import Invalid, Unavailable
from headgate.core.money import Amount
from headgate.core.values import Mode
from headgate.ports import Client
from headgate.sdk.activity import Function, collect_activities
from headgate.sdk.embedded import (
    STATE_FOLDER,
    Engine,
    Session,
    database_path,
    finish_handed,
    make_state_folder,
    open_session,
    refuse_handing_over,
)
from headgate.sdk.given import Models, Prepared, Runnable, given_models, prepare, start_request
from headgate.sdk.policy import collect_policies, is_policy
from headgate.sdk.workflow import Workflow
from headgate.stores.places import Place

__all__ = ["Connection", "Database", "arun", "astart", "open_connection"]

OWNERS_MAX = 100
"""So many owners of the database may end while one run is followed; then the caller is told instead."""

Database = str | Path


class Connection:
    """A program's way to its runs: an engine in this process, or the process that owns the database.

    Made by `headgate.open` and `headgate.lifespan`, and good until their block ends. To be used in their loop.
    """

    def __init__(self, session: Session, engine: Engine, workflows: Mapping[str, Prepared]) -> None:
        self._session = session
        self._engine = engine
        self._workflows = workflows

    @property
    def client(self) -> Client:
        """Every verb there is, as the command line has them."""
        return self._session.client

    @property
    def owner_pid(self) -> int:
        """The process that owns the database and does the work; 0: this one."""
        return self._session.owner_pid

    async def start(
        self,
        workflow: Runnable,
        input: Any = None,
        *,
        mode: Mode = "realtime",
        budget: Amount | None = None,
        labels: Mapping[str, str] | None = None,
        unique_key: str = "",
        command_id: str = "",
    ) -> Handle:
        """Start a run and return its handle, when its start is on disk.

        `workflow` is a `Workflow`, a path, YAML text, or the name of one that was given to `open` or is known to the
        database. A start that is repeated with the same `command_id` within a week starts once. Raises `Invalid` for a
        definition or an input that cannot be used, `Refused` while another run holds `unique_key`.
        """
        request = start_request(
            self._prepared(workflow),
            input,
            mode=mode,
            budget=budget,
            labels=labels,
            unique_key=unique_key,
            command_id=command_id,
        )
        return self.handle((await self.client.start(request)).id)

    def _prepared(self, workflow: Runnable) -> Prepared:
        if isinstance(workflow, str) and workflow in self._workflows:
            return self._workflows[workflow]
        if isinstance(workflow, Workflow):
            _expect_functions(workflow, self._engine)
        return _prepare(workflow, self._engine)

    async def run(self, workflow: Runnable, input: Any = None, **options: Any) -> Result:
        """Start a run (`start` has the options) and return what it came to, when it has ended."""
        return await (await self.start(workflow, input, **options)).result()

    def handle(self, run_id: str) -> Handle:
        """Return the handle of a run that was started before, by whomever; whether it exists shows at first use."""
        return Handle(self.client, run_id)


@asynccontextmanager
async def open_connection(
    db: Database | None = None,
    *,
    workflows: Iterable[Runnable] = (),
    activities: Iterable[Function] = (),
    models: Models | None = None,
    offline: bool = False,
) -> AsyncGenerator[Connection]:
    """Open a database for a program; at the end of the block the engine is closed, and unfinished runs stay as they
    are on disk: whoever opens the database next goes on with them.

    `db` is a file (default: `HEADGATE_DB`, else `./.headgate/headgate.db`), `postgresql://…` for one more node on that
    database, or ":memory:" for none on disk. Where this
    process is the first, it becomes the owner and does the work; otherwise the owner does, over its control socket.
    `workflows` can be started by name, and bring their functions with them; `activities` are further functions,
    policies among them.
    `models` answers for `scripted/…` models; `offline`: no provider but demo/… and scripted/….

    Raises `Invalid` for workflows and models that cannot be used, `Refused` where another process owns the database
    and `activities` or `models` would mean nothing to it, `Unavailable` where nothing can be opened. The same database
    may be opened again in the same process: that is a connection to the first.
    """
    given = list(workflows)
    engine, own = _engine_of(given, activities, models, offline=offline)
    prepared = {found.name: found for found in (_prepare(workflow, engine) for workflow in given)}
    async with open_session(_database(db), engine) as session:
        refuse_handing_over(session, own)
        yield Connection(session, engine, prepared)


async def arun(
    workflow: Runnable,
    input: Any = None,
    *,
    db: Database | None = None,
    models: Models | None = None,
    mode: Mode = "realtime",
    budget: Amount | None = None,
    labels: Mapping[str, str] | None = None,
    unique_key: str = "",
    activities: Iterable[Function] = (),
    offline: bool = False,
    command_id: str = "",
) -> Result:
    """Run a workflow to its end and return what it came to; `headgate.run` is the same for code that is not async.

    `open` has the meaning of `db`, `models`, `activities` and `offline`; `budget` (US dollars) is the most that the run
    may spend. A run that fails is no exception: look at `status`, or call `raise_for_status()`. A run that waits for a
    person is waited for. When the process that owns the database ends, this one takes its place and the run goes on.
    Cancelling this call stops the waiting (and the engine, where it is this process's); the run can be taken up again.

    Called twice it runs twice, unless `command_id` is the same, or `unique_key` forbids it. Raises what `open` and
    `Connection.start` raise.
    """
    engine, own = _engine_of([workflow], activities, models, offline=offline)
    request = start_request(
        _prepare(workflow, engine),
        input,
        mode=mode,
        budget=budget,
        labels=labels,
        unique_key=unique_key,
        command_id=command_id,
    )
    database, run_id = _database(db), ""
    for _ in range(OWNERS_MAX):
        try:
            async with open_session(database, engine) as session:
                refuse_handing_over(session, own)
                run_id = run_id or (await session.client.start(request)).id
                result = await Handle(session.client, run_id).result()
                await finish_handed(session)
                return result
        except OwnerGone:
            continue  # its log has the run: the next owner, perhaps this process, goes on with it
    raise Unavailable(f"{OWNERS_MAX} owners of {database} have ended during run {run_id}; it is in the database still.")


async def astart(
    workflow: Runnable,
    input: Any = None,
    *,
    db: Database | None = None,
    models: Models | None = None,
    activities: Iterable[Function] = (),
    offline: bool = False,
    **options: Any,
) -> Handle:
    """Start a run in a connection of its own and return its handle; `Connection.start` has the `options`.

    The connection, and with it the work where this process owns the database, lasts until `await handle.close()`, or
    the end of `async with handle:`. For more than one run use `headgate.open`. Raises what these two raise.
    """
    if isinstance(workflow, Workflow):
        activities = [*workflow.functions, *activities]
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(
            open_connection(db, activities=activities, models=models, offline=offline)
        )
        started = await connection.start(workflow, input, **options)
        return Handle(connection.client, started.id, stack.pop_all().aclose)


# --- What is given -------------------------------------------------------------------------------------------------


def _engine_of(
    workflows: Iterable[Runnable], activities: Iterable[Function], models: Models | None, *, offline: bool
) -> tuple[Engine, list[str]]:
    """Return what an engine of this process is made with, and what of it cannot be handed over to another."""
    functions = [*activities]
    for workflow in workflows:
        functions += workflow.functions if isinstance(workflow, Workflow) else ()
    engine = Engine(
        activities=collect_activities(function for function in functions if not is_policy(function)),
        policies=collect_policies(functions),
        scripted=given_models(models),
        offline=offline,
    )
    own = {"activities": bool(engine.activities or engine.policies), "models": models is not None, "offline": offline}
    return engine, [name for name, given in own.items() if given]


def _database(named: Database | None) -> Place:
    path = database_path(named)
    if not named and isinstance(path, Path) and path.parts[:1] == (STATE_FOLDER,):
        make_state_folder(named_how="db=")
    return path


def _prepare(workflow: Runnable, engine: Engine) -> Prepared:
    from headgate.llm.registry import build_providers

    providers = build_providers(os.environ, scripted=engine.scripted, offline=engine.offline)
    return prepare(workflow, activities=engine.activities, providers=providers)


def _expect_functions(workflow: Workflow, engine: Engine) -> None:
    names = [function.__name__ for name, function in workflow.named_functions.items() if name not in engine.activities]
    if names:
        raise Invalid(
            f"workflow {workflow.name} uses {', '.join(names)}, which this engine does not have: an engine gets its "
            "functions when it is opened. Give the workflow to open() or lifespan() under workflows=."
        )
