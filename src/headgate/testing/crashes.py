"""Crashes on purpose: places to die at, a journal that outlives its process, and a nursery of children to kill.

A program that is to be killed wraps its log and its worker protocol (`CrashingLog`, `CrashingProtocol`) and hands its
main function to `serve_children`. A `Nursery` starts that program once, with everything imported, and has it fork a
child per order: a real process, killed by a real SIGKILL, a hundred times cheaper than a new interpreter.

Both wrappers write down what passes them, in the order in which it is true: an append after it was committed and
before anybody is told, an answer after it was given. So the journal shows not only what happened but also what was
known to be durable at the time (see `crash_evidence`). POSIX only.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

import msgspec

from headgate.core.codec import decode
from headgate.core.events import Event
from headgate.core.values import Assignment
from headgate.ports import (
    Acknowledged,
    Admission,
    Append,
    CallRequest,
    Log,
    Outcome,
    Report,
    Settlement,
    WorkerProtocol,
)

__all__ = [
    "MOMENTS",
    "CrashingLog",
    "CrashingProtocol",
    "Ending",
    "Failpoints",
    "Journal",
    "Moment",
    "Nursery",
    "noted",
    "serve_children",
]

Moment = Literal["before_append", "after_append", "before_effect", "after_effect"]
"""Around each append and each effect: before the append; after its commit, when nobody has been told; when a task or
a call's admission has been handed out, and nothing been done; when it has been done, and not reported."""

MOMENTS: tuple[Moment, ...] = ("before_append", "after_append", "before_effect", "after_effect")

START_SECONDS_MAX = 30.0


class Failpoints:
    """Where this process is to die: when `moment` comes for the `occurrence`th time (from 1). None: nowhere.

    `die` is for tests of the test; by default the process is killed by SIGKILL, from within.
    """

    def __init__(
        self, moment: Moment | None = None, occurrence: int = 1, *, die: Callable[[], None] | None = None
    ) -> None:
        self._moment = moment
        self._left = occurrence
        self._die = die or die_now
        self._lock = threading.Lock()

    def reach(self, moment: Moment) -> None:
        """Say that `moment` has come; from any thread."""
        if moment != self._moment:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                self._die()


def die_now() -> NoReturn:
    """Kill this process as a power cut would: no handler, no `finally`, no flush."""
    os.kill(os.getpid(), signal.SIGKILL)
    while True:  # the signal is on its way; this thread does nothing more
        threading.Event().wait()


class Journal:
    """A file of JSON lines. A line is on the disk when `write` returns, whatever becomes of the process then."""

    def __init__(self, path: Path) -> None:
        torn = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        if torn:
            os.write(self._file, b"\n")

    def write(self, kind: str, **fields: Any) -> None:
        os.write(self._file, msgspec.json.encode({"kind": kind, **fields}) + b"\n")
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)

    @staticmethod
    def read(path: Path) -> list[dict[str, Any]]:
        """Return all lines of a journal; of none, no lines.

        A line that a kill cut short was never on the disk as far as its writer knew, and is left out.
        """
        if not path.exists():
            return []
        lines: list[dict[str, Any]] = []
        for line in path.read_bytes().split(b"\n"):
            with contextlib.suppress(msgspec.DecodeError):
                lines.append(msgspec.json.decode(line))
        return lines


def noted(event: Event) -> list[Any]:
    """Return what a journal tells of an event: run, version, type, place, attempt, and of a call its id."""
    call = getattr(event, "call_id", "")
    return [event.run_id, event.version, event.type, event.place, event.attempt, call]


class CrashingLog:
    """A log whose process may die before and after each append; `committed` stands in the journal in between."""

    def __init__(self, log: Log, failpoints: Failpoints, journal: Journal) -> None:
        self._log = log
        self._failpoints = failpoints
        self._journal = journal

    @classmethod
    def around(cls, log: Log, failpoints: Failpoints, journal: Journal) -> Log:
        return cast("Log", cls(log, failpoints, journal))  # what it does not define itself it passes on

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def commit(self, batch: Sequence[Append]) -> list[Outcome]:
        self._failpoints.reach("before_append")
        outcomes = await self._log.commit(batch)
        self._failpoints.reach("after_append")
        accepted = [item for item, outcome in zip(batch, outcomes, strict=True) if outcome == "accepted"]
        events = [noted(decode(data)[0]) for item in accepted for _, _, _, _, data, _, _ in item.rows]
        if events:
            self._journal.write("committed", events=events)
        return outcomes


class CrashingProtocol:
    """`ports.WorkerProtocol` whose process may die around each effect: before it is begun, before it is reported."""

    def __init__(self, protocol: WorkerProtocol, failpoints: Failpoints, journal: Journal) -> None:
        self._protocol = protocol
        self._failpoints = failpoints
        self._journal = journal

    async def poll(self, queues: Sequence[str], *, worker_id: str, count: int, wait_seconds: float) -> list[Assignment]:
        tasks = await self._protocol.poll(queues, worker_id=worker_id, count=count, wait_seconds=wait_seconds)
        if tasks:
            self._failpoints.reach("before_effect")
        return tasks

    async def heartbeat(self, activity_id: str, *, worker_id: str, progress: Any = None) -> float:
        return await self._protocol.heartbeat(activity_id, worker_id=worker_id, progress=progress)

    async def report(self, reports: Sequence[Report], *, worker_id: str) -> list[Acknowledged]:
        self._failpoints.reach("after_effect")
        answers = await self._protocol.report(reports, worker_id=worker_id)
        for answer in answers:
            if not answer.stale:
                self._journal.write("acknowledged", activity_id=answer.activity_id)
        return answers

    async def admit(self, activity_id: str, *, call_id: str, request: CallRequest) -> Admission:
        admission = await self._protocol.admit(activity_id, call_id=call_id, request=request)
        self._failpoints.reach("before_effect")
        self._journal.write("answered", call_id=call_id)
        return admission

    async def settle(self, activity_id: str, *, call_id: str, settlement: Settlement) -> None:
        self._failpoints.reach("after_effect")
        await self._protocol.settle(activity_id, call_id=call_id, settlement=settlement)
        self._journal.write("settled", call_id=call_id)

    def stream(self, activity_id: str, text: str) -> None:
        self._protocol.stream(activity_id, text)

    def restart_stream(self, activity_id: str) -> None:
        self._protocol.restart_stream(activity_id)


# --- Children ----------------------------------------------------------------------------------------------------


class Ending(msgspec.Struct, frozen=True):
    """How a child ended: its exit code, or minus the signal that killed it, and what it said on standard error."""

    code: int
    said: str = ""

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


def serve_children(child: Callable[[Any], None]) -> None:
    """Fork a child for each order that comes on standard input; tell its process id at once, and later its end.

    To be called by a program with one thread, after it has imported all that a child will need. Returns when
    standard input ends.
    """
    for line in sys.stdin.buffer:
        process = os.fork()
        if process == 0:
            _live(child, line)
        _tell({"process": process})
        _, status = os.waitpid(process, 0)
        _tell({"code": os.waitstatus_to_exitcode(status)})


def _live(child: Callable[[Any], None], line: bytes) -> NoReturn:
    order = msgspec.json.decode(line)
    os.dup2(os.open(order["said"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), 2)
    os.dup2(2, 1)
    faulthandler.enable()
    code = 1
    try:
        child(order)
        code = 0
    except BaseException:  # noqa: BLE001 - whatever it was, the parent reads it and the child ends
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(code)


def _tell(what: Mapping[str, int]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


class Nursery:
    """A running program that serves children. One child at a time; several nurseries may run side by side.

    Use as a context manager: at its end the program has ended, and a child that still lived has been killed.
    """

    def __init__(self, program: Path) -> None:
        self._program = subprocess.Popen(  # noqa: S603 - the caller's own program
            [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._rest = b""

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        pipes = (self._program.stdin, self._program.stdout)
        assert all(pipes)
        for pipe in pipes:
            if pipe is not None:
                pipe.close()
        self._program.wait()

    def run(
        self, order: Mapping[str, Any], said: Path, *, kill_after_seconds: float | None = None, seconds_max: float = 60
    ) -> Ending:
        """Have a child carry out `order`; return how it ended. Its standard error goes to the file `said`.

        It is killed after `kill_after_seconds`, if it still lives. One that takes longer than `seconds_max` is made to
        write its stacks to `said` and aborted. Raises `RuntimeError` when the program itself has ended.
        """
        assert self._program.stdin is not None
        self._program.stdin.write(msgspec.json.encode({**order, "said": str(said)}) + b"\n")
        born = self._line(START_SECONDS_MAX)
        if born is None:
            raise RuntimeError(f"expected a child within {START_SECONDS_MAX:g} s, got none.")
        ended = self._line(seconds_max if kill_after_seconds is None else kill_after_seconds)
        if ended is None:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself a moment ago, which its line will say
                os.kill(born["process"], signal.SIGABRT if kill_after_seconds is None else signal.SIGKILL)
            ended = self._line(START_SECONDS_MAX)
        assert ended is not None, f"process {born['process']} outlived a signal that nothing outlives"
        return Ending(ended["code"], said.read_text(errors="replace") if said.exists() else "")

    def _line(self, seconds: float) -> dict[str, int] | None:
        """Return the program's next line, or None when none has come in time."""
        assert self._program.stdout is not None
        pipe = self._program.stdout.fileno()
        while b"\n" not in self._rest:
            if not select.select([pipe], [], [], seconds)[0]:
                return None
            part = os.read(pipe, 4096)
            if not part:
                raise RuntimeError(f"the program that serves children has ended (exit code {self._program.wait()}).")
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\n")
        return msgspec.json.decode(line)
