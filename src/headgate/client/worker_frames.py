"""The worker protocol over a control socket as values: what each verb takes and gives. No socket here.

A connection that begins with the verb `work` speaks nothing but this from then on: requests and answers as in `frames`,
as many at a time as there are. `poll` is answered when a task is due: an `update` for each assignment, then `end`.
`stream` and `restart_stream` are not answered. `cancel` ends a request that waits. The claims that a connection was
given are lost with it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.core.codec import content_bytes
from headgate.core.errors import Invalid
from headgate.core.values import Assignment, Failure, Usage
from headgate.ports import (
    Acknowledged,
    Admission,
    Admitted,
    CallRequest,
    Completed,
    Denied,
    Failed,
    Hit,
    Report,
    Settlement,
)

__all__ = [
    "OUTPUT_BYTES_MAX",
    "PROTOCOL",
    "SILENCE_SECONDS_MAX",
    "WORKER_VERBS",
    "Hello",
    "SentAdmission",
    "SentReport",
    "Welcome",
]

PROTOCOL = 1
"""The revision of this protocol: an owner of another one refuses the worker, and says so."""
OUTPUT_BYTES_MAX = 32 * 1024 * 1024
"""Of an output that travels; one that is longer fails its attempt."""
SILENCE_SECONDS_MAX = 60
"""A worker that says nothing for so long is gone: it asks for tasks each 30 s, and keeps each lease each 10 s."""


class Hello(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who works: what its reports are signed with, and the activities that it has."""

    worker_id: str
    activities: tuple[str, ...]
    protocol: int = PROTOCOL


class Welcome(msgspec.Struct, frozen=True, omit_defaults=True):
    owner_pid: int


class SentReport(msgspec.Struct, frozen=True, omit_defaults=True):
    """A `Completed`, or with an `error` a `Failed`. An output that is not JSON, or too long, is a failure: here, where
    the others that are sent with it do not suffer for it."""

    activity_id: str
    output: Any = None
    error: Failure | None = None
    usage: tuple[Usage, ...] = ()

    @classmethod
    def of(cls, report: Report) -> SentReport:
        if isinstance(report, Failed):
            return cls(report.activity_id, error=report.error, usage=report.usage)
        try:
            return cls(report.activity_id, _travelling(report.output), usage=report.usage)
        except Invalid as error:
            failure = Failure("invalid_output", str(error), retryable=False)
            return cls(report.activity_id, error=failure, usage=report.usage)

    @property
    def report(self) -> Report:
        if self.error is not None:
            return Failed(self.activity_id, self.error, self.usage)
        return Completed(self.activity_id, self.output, self.usage)


def _travelling(output: Any) -> msgspec.Raw:
    """Return an output encoded, once for all. Raises `Invalid`."""
    encoded = content_bytes(output, what="output")
    if len(encoded) > OUTPUT_BYTES_MAX:
        raise Invalid(
            f"The output has {len(encoded)} bytes; a worker in another process may report {OUTPUT_BYTES_MAX}. "
            "Return less, or where it is kept."
        )
    return msgspec.Raw(encoded)


class SentAdmission(msgspec.Struct, frozen=True, omit_defaults=True):
    """Exactly one of them is there."""

    admitted: Admitted | None = None
    hit: Hit | None = None
    denied: Denied | None = None

    @classmethod
    def of(cls, admission: Admission) -> SentAdmission:
        match admission:
            case Admitted():
                return cls(admitted=admission)
            case Hit():
                return cls(hit=admission)
            case Denied():
                return cls(denied=admission)

    @property
    def admission(self) -> Admission:
        found = self.admitted or self.hit or self.denied
        assert found is not None
        return found


class _Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class _Poll(_Arguments, frozen=True):
    queues: tuple[str, ...]
    count: int
    wait_seconds: float


class _Heartbeat(_Arguments, frozen=True):
    activity_id: str
    progress: Any = None


class _Reports(_Arguments, frozen=True):
    reports: tuple[SentReport, ...]


class _Admit(_Arguments, frozen=True):
    activity_id: str
    call_id: str
    request: CallRequest


class _Settle(_Arguments, frozen=True):
    activity_id: str
    call_id: str
    settlement: Settlement


class _BeginEffect(_Arguments, frozen=True):
    activity_id: str
    what: str


class _Stream(_Arguments, frozen=True):
    activity_id: str
    text: str
    offset: int | None = None


class _RestartStream(_Arguments, frozen=True):
    activity_id: str
    offset: int | None = None


class _Cancel(_Arguments, frozen=True):
    request: int


WORKER_VERBS: dict[str, tuple[type[msgspec.Struct], Any]] = {
    "poll": (_Poll, Assignment),
    "heartbeat": (_Heartbeat, float),
    "report": (_Reports, list[Acknowledged]),
    "admit": (_Admit, SentAdmission),
    "settle": (_Settle, None),
    "begin_effect": (_BeginEffect, None),
    "stream": (_Stream, None),
    "restart_stream": (_RestartStream, None),
    "cancel": (_Cancel, None),
}
"""What each verb takes, and what it is answered (`poll`: each of its updates)."""
