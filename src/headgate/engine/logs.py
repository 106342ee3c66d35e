"""Log lines in which each line that concerns a run carries the run's `trace_id`, without anybody passing it by hand.

Whoever works on a run says so once, in the context of its task: the worker by `current_task`, the engine by
`current_trace`. The formatters find it there, or in a record's own `trace_id`; "-" stands where a line concerns no run.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from headgate.engine.masking import masked

__all__ = ["JsonFormatter", "PlainFormatter", "current_trace", "hide_in_logs", "log_to_stderr", "trace_of"]

current_trace: ContextVar[str] = ContextVar("headgate_trace", default="")
"""The trace of the run that the engine is busy with in this task."""

NO_TRACE = "-"
HIDDEN_MAX = 10_000

_hidden: dict[str, None] = {}
"""Secrets of this process, whichever engine they belong to: a line that holds one is masked, whoever wrote it."""


def hide_in_logs(secrets: Iterable[str]) -> None:
    """Mask these values in every log line of this process from now on. Beyond the maximum the oldest are let go."""
    _hidden.update(dict.fromkeys(secrets))
    for oldest in list(_hidden)[:-HIDDEN_MAX]:
        del _hidden[oldest]


def _without_secrets(line: str) -> str:
    return masked(line, tuple(_hidden))


def trace_of(record: logging.LogRecord) -> str:
    """Return the trace id of the run that a record concerns, or "-". Call it where the record was made."""
    own = getattr(record, "trace_id", "")
    if own:
        return str(own)
    if trace := current_trace.get():
        return trace
    working = sys.modules.get("headgate.engine.task_context")  # where it was never imported, nobody works on a task
    task = working.current_task.get() if working else None
    return task.trace_id if task else NO_TRACE


class PlainFormatter(logging.Formatter):
    """`2026-01-31T09:00:00.000Z WARNING headgate.worker trace=… message key=value …`, a traceback below."""

    def format(self, record: logging.LogRecord) -> str:
        trace = trace_of(record)
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        first, *others = _without_secrets(text).splitlines() or [""]
        line = f"{_time(record)} {record.levelname} {record.name} trace={trace} {first}{fields}"
        # A message or traceback of many lines is as many lines of the log, and each of them has its trace.
        return _without_secrets("".join((line, *(f"\n  trace={trace} {other}" for other in others))))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `at`, `level`, `logger`, `trace_id`, `message`, and `fields`, `exception` if any."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "at": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "trace_id": trace_of(record),
            "message": record.getMessage(),
        }
        if fields := _fields(record):
            entry["fields"] = fields
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return _without_secrets(msgspec.json.encode(entry, enc_hook=str).decode())


def log_to_stderr(level: str = "WARNING", *, as_json: bool = False) -> None:
    """Send this process's log lines to stderr from `level` on. A second call replaces the first."""
    handler = _StderrHandler()
    handler.setFormatter(JsonFormatter() if as_json else PlainFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        if isinstance(old, _StderrHandler):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)


class _StderrHandler(logging.Handler):
    """Writes to what stderr is at the moment: a live picture puts itself in its place, and prints lines above."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr, flush=True)  # noqa: T201 - this is where log lines go
        except Exception:  # noqa: BLE001 - as in logging's own handlers: a line that cannot be written ends nothing
            self.handleError(record)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = getattr(record, "fields", None)
    return cast("dict[str, Any]", fields) if isinstance(fields, dict) else {}


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"
