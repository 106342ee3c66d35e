"""Cases: what a test of a workflow gives to a run, what it expects of it, and what came of it. Values only.

A case is read from a file (`case_file`) or made in Python; `case_runner` runs it. Times are microseconds, money is
nano-dollars.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from headgate.core.view import RunView
from headgate.ports import EventView, ModelRequest
from headgate.testing.clock import NOON

__all__ = ["Case", "CaseResult", "CaseSignal", "Crash", "Expected", "Mismatch", "Moment"]


class Moment(msgspec.Struct, frozen=True):
    """So long after `activity` has completed; without one, after the run's start (a signal) or after the run began to
    wait for a person (an approval)."""

    activity: str = ""
    delay: int = 0


class CaseSignal(msgspec.Struct, frozen=True, kw_only=True):
    """What comes from outside: a signal with a name, or what a person decides about an approval."""

    kind: Literal["signal", "approve", "reject"]
    name: str = ""
    activity: str = ""
    """Whom it is for; empty: whoever waits for the name, or the first approval that is open."""
    after: Moment = Moment()
    by: str = ""
    comment: str = ""
    data: Any = None

    def __str__(self) -> str:
        what = f"signal {self.name!r}" if self.kind == "signal" else self.kind
        return f"{what} for {self.activity}" if self.activity else what


class Crash(msgspec.Struct, frozen=True):
    """The engine is gone, as by kill -9, as soon as the activity has completed (or the run has so many events) in the
    log; another one goes on from there."""

    after: str | int


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What must be so in the end. What is left unset is not looked at; a run is expected to complete, unless `status`
    or `error` says otherwise."""

    status: str | None = None
    outputs: Any = msgspec.UNSET
    """Maps need only have the keys given here, lists are whole. `{matches: regex}`, `{contains: text}` and
    `{any: true}` stand for values."""
    path: tuple[str, ...] | Mapping[str, str] | None = None
    """The activities in the order in which they completed, or the status of each."""
    cost: int | None = None
    cost_max: int | None = None
    calls: int | Mapping[str, int] | None = None
    """How many model calls were made, in all or by activity."""
    error_code: str = ""
    error_contains: str = ""
    events: Mapping[str, int] | None = None
    """How many events of each type there are."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One test of one workflow.

    `models` and `activities` are what is answered, in order, by place (`draft`, `summary[2]`, `search@1`), activity
    key, "provider/model" or model name. `unused` "allowed": answers may be left over.
    """

    name: str
    workflow: str
    """The text of the definition."""
    source: str = "definition"
    folder: str = ""
    """Where the files are that the definitions refer to (scripts, prompt templates); empty: they refer to none."""
    children: Mapping[str, str] = {}
    """Texts of other definitions that runs may start, by file name."""
    input: Any = None
    limit: int | None = None
    """The run's budget, where the start gives one."""
    models: Mapping[str, tuple[Mapping[str, Any], ...]] = {}
    prices: Mapping[str, Any] = {}
    """Dollars per million tokens by "provider/model": `{input, output, cache_read, cache_write}`."""
    activities: Mapping[str, tuple[Mapping[str, Any], ...]] = {}
    """`{output: …}` or `{error: {code, message, retryable}}`, each."""
    signals: tuple[CaseSignal, ...] = ()
    clock: int = NOON
    secrets: Mapping[str, str] = {}
    crash: Crash | None = None
    expect: Expected = Expected()
    unused: Literal["error", "allowed"] = "error"
    file: str = ""
    line: int = 0


class Mismatch(msgspec.Struct, frozen=True):
    """One thing that is not as the case has it. `where` is a path such as `outputs.letters[2].topic`."""

    where: str
    message: str
    expected: Any = msgspec.UNSET
    got: Any = msgspec.UNSET


class CaseResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a case."""

    case: Case
    mismatches: tuple[Mismatch, ...]
    view: RunView | None = None
    """The run in the end; None: it could not be started."""
    events: tuple[EventView, ...] = ()
    requests: tuple[ModelRequest, ...] = ()
    """What models were asked, in order."""
    crashes: int = 0

    @property
    def passed(self) -> bool:
        return not self.mismatches
