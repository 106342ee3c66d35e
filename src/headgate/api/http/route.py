"""A route as a value: method, path, the types of query, body and answer, and the function that answers.

Everything else is made from these: the router, the checks, and the OpenAPI document. A function gets a `Call`, whose
query and body have been checked against their types, and returns the answer's value, or an `Answer` where the status or
the bytes are not the usual ones.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

import msgspec

from headgate.api.caller import Caller, Scope
from headgate.api.http.errors import ENVELOPED, Wording
from headgate.core.run_ids import uuid_parts

if TYPE_CHECKING:
    from headgate.api.desk import Desk
    from headgate.api.doors import Doors
    from headgate.api.library import Library
    from headgate.api.records import Records
    from headgate.ports import Files, KeptResults, WorkerHost

__all__ = [
    "BASE",
    "Answer",
    "Call",
    "Chunks",
    "NoBody",
    "NoQuery",
    "Raw",
    "Route",
    "Scope",
    "Streamed",
    "run_named",
    "summary_of",
]

BASE = "/api/v1"
OF_A_RUN = ("/workflows/{id}", "/runs/{id}", "/activities/{activity}")
"""Paths that name a run."""

Query = TypeVar("Query")
Body = TypeVar("Body")


class NoQuery(msgspec.Struct, frozen=True):
    """A route without parameters behind the question mark."""


class NoBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Nothing is told: no body, or an empty object."""


class Raw(msgspec.Struct, frozen=True):
    """A body that is taken as it comes: a definition's text, a file's bytes."""

    data: bytes
    content_type: str


class Chunks(msgspec.Struct, frozen=True):
    """A body that is taken piece by piece, as it comes: a file that never stands in memory as a whole."""

    pieces: AsyncIterator[bytes]
    content_type: str


class Answer(msgspec.Struct, frozen=True):
    """An answer that is not the route's usual one: another status, headers, or bytes that are no JSON."""

    value: Any = None
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    data: bytes | None = None
    content_type: str = "application/json"


class Streamed(msgspec.Struct, frozen=True):
    """An answer that comes in pieces until its source or its reader ends."""

    pieces: Any
    """An async iterator of bytes; it is closed when the reader goes."""
    content_type: str = "text/event-stream"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("cache-control", "no-cache"), ("x-accel-buffering", "no"))
    whole: bool = False
    """It has an end, like a file: nothing in it is waited for."""


async def as_it_is(work: Awaitable[Any]) -> Any:
    """Wait for something, whatever becomes of whoever asked."""
    return await work


class Call(msgspec.Struct, Generic[Query, Body], frozen=True):
    """One request, as far as a route's function needs to know."""

    doors: Doors
    path: dict[str, str]
    query: Query
    body: Body
    headers: dict[str, str]
    """Names in lower case."""
    caller: Caller
    held: Callable[[Awaitable[Any]], Awaitable[Any]] = as_it_is
    """Waits for something that may take long, and gives it up when whoever asked has gone."""
    address: str = ""
    """Where the request comes from, as far as the server knows."""
    secure: bool = False
    """It came over TLS."""
    fingerprint: str = ""
    """What tells this request from others under the same `Idempotency-Key`; empty where it has none."""

    @property
    def desk(self) -> Desk:
        """Every verb of a client, as far as the caller's tenant goes."""
        desk = self.doors.views.of(self.caller).desk
        return desk.asked(self.fingerprint) if self.fingerprint else desk

    @property
    def library(self) -> Library:
        """The definitions of the caller's tenant."""
        return self.doors.views.of(self.caller).library

    @property
    def records(self) -> Records:
        """The runs of the caller's tenant."""
        return self.doors.views.of(self.caller).records

    @property
    def workers(self) -> WorkerHost:
        """The worker protocol, as far as the caller's tenant goes."""
        return self.doors.views.of(self.caller).workers

    @property
    def files(self) -> Files:
        """The kept files of the caller's tenant."""
        return self.doors.files.of(self.caller.tenant)

    @property
    def kept_results(self) -> KeptResults:
        """What is kept for reuse of the caller's tenant."""
        return self.doors.kept_results(self.caller.tenant)

    @property
    def command_id(self) -> str:
        """What makes a repeat of this request known: its `Idempotency-Key`."""
        return self.headers.get("idempotency-key", "")


Function = Callable[[Any], Awaitable[Any]]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """`{name}` in a path is one segment of it. `body` None: there is none; `Raw`, `Chunks`: taken as it comes."""

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    function: Function
    answer: Any = None
    """Its type; a tuple where there are several; `bytes` where it is a file."""
    query: type[Any] = NoQuery
    body: Any = None
    body_bytes_max: int | None = None
    """Where a body may not be as long as others may."""
    status: int = 200
    scope: Scope = "runs:read"
    other_scopes: tuple[Scope, ...] = ()
    """Each of them does as well."""
    refusals: tuple[int, ...] = ()
    """Statuses of errors beside those of `words`, which any request may be answered with."""
    words: Wording = ENVELOPED
    """In which it refuses."""
    other_statuses: tuple[int, ...] = ()
    streams: bool = False
    """It also answers as an event stream, where `Accept` asks for it; without an `answer`, it does nothing else."""
    other_content_types: tuple[str, ...] = ()
    """Of what it also answers with, where it is asked to."""
    takes_any_query: bool = False
    """Parameters that it does not know are left alone: those who ask add some of their own."""
    answer_type: str = "text/html"
    """What an answer of type `str` is."""
    takes_form: bool = False
    """Its body may also come as a form does."""
    repeats: Literal["known", "kept", "sealed"] = "known"
    """What knows that it is asked again under an `Idempotency-Key`: `known`: what it does does (a command id), or a
    repeat does no harm; `kept`: the answer, which is kept; `sealed`: the same, and it holds a secret."""
    base: str = BASE

    @property
    def address(self) -> str:
        """Its path as it is asked for."""
        return self.base + self.path

    @property
    def reads(self) -> Any:
        """The type of the body that is read; None: none is. A POST that takes none refuses what somebody tells it:
        whoever does so means something that would not happen."""
        return NoBody if self.body is None and self.method == "POST" else self.body

    def admit(self, caller: Caller, path: Mapping[str, str]) -> None:
        """Raise `Forbidden` for whoever may not ask this. The one place where a ticket is held to its run: it reads
        what names that run in its path, and nothing else."""
        caller.require(self.scope, *self.other_scopes)
        if caller.run:
            reads_a_run = self.method == "GET" and self.path.startswith(OF_A_RUN)
            caller.require_run(run_named(path) if reads_a_run else "")

    @property
    def all_refusals(self) -> tuple[int, ...]:
        """With 409 where a run is named, for the beginning of several ids names none of them, and where an answer is
        kept, for how the first time ended may not be known."""
        conflicts = self.path.startswith(OF_A_RUN) or self.repeats != "known"
        return (*self.refusals, 409) if conflicts else self.refusals

    @property
    def answers(self) -> tuple[Any, ...]:
        return cast("tuple[Any, ...]", self.answer) if isinstance(self.answer, tuple) else (self.answer,)

    @property
    def summary(self) -> str:
        return summary_of(self.function)

    @property
    def name(self) -> str:
        return cast("Any", self.function).__name__


def run_named(path: Mapping[str, str]) -> str:
    """Return the run that the parameters of a path name; "" where they name none."""
    task = path.get("activity", "")
    parts = uuid_parts(task)
    return path.get("id") or (task.partition("~")[0] if parts is None else parts[0])


def summary_of(function: Function) -> str:
    """Return the first line of what a route's function says of itself, without its full stop."""
    return (function.__doc__ or "").strip().partition("\n")[0].removesuffix(".")
