"""The command that a worker's report comes to."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from headgate.core import commands as c
from headgate.core.codec import content_bytes
from headgate.core.errors import Invalid
from headgate.core.values import Failure
from headgate.engine.masking import masked
from headgate.ports import Completed, Report, Task

__all__ = ["masked_report", "outcome_of"]

MESSAGE_CHARACTERS_MAX = 20_000
CODE_CHARACTERS_MAX = 100
DETAILS_BYTES_MAX = 65_536
"""Of a failure: it stands in an event, its message in the run's row as well."""
RETRY_AFTER_SECONDS_MAX = 30 * 86_400.0
"""A wish to be tried later than this counts as this."""


def outcome_of(
    report: Report, task: Task, *, input_hash: str, worker: str, started_at: int, now: int
) -> c.CompleteActivity | c.FailActivity:
    """Return the command that a report comes to; every secret that went into the attempt is masked already."""
    cost = sum(usage.cost_nano or 0 for usage in report.usage) if report.usage else 0
    if isinstance(report, Completed):
        output = report.output
        try:
            return c.CompleteActivity(
                at=now,
                actor=_actor(worker),
                place=task.place,
                attempt=task.attempt,
                output=output,
                encoded=content_bytes(output),
                worker=worker,
                started_at=started_at,
                input_hash=input_hash,
                cost=cost,
                usage=report.usage,
            )
        except Invalid as error:
            failure = Failure("invalid_output", f"{task.place}: {error}", retryable=False)
    else:
        failure = _bounded(report.error)
    return c.FailActivity(
        at=now,
        actor=_actor(worker),
        place=task.place,
        attempt=task.attempt,
        error=failure,
        worker=worker,
        started_at=started_at,
        input_hash=input_hash,
        cost=cost,
        usage=report.usage,
    )


def _bounded(failure: Failure) -> Failure:
    """Return a failure that the log, the run's row and whoever lists runs can bear."""
    message, code, details, later = failure.message, failure.code, failure.details, failure.retry_after_seconds
    if len(message) > MESSAGE_CHARACTERS_MAX:
        message = f"{message[:MESSAGE_CHARACTERS_MAX]} … and {len(message) - MESSAGE_CHARACTERS_MAX} characters more"
    if details and len(content_bytes(details, what="details")) > DETAILS_BYTES_MAX:
        details = {"left_out": f"more than {DETAILS_BYTES_MAX} bytes"}
    if later is not None and not 0.0 <= later <= RETRY_AFTER_SECONDS_MAX:
        later = RETRY_AFTER_SECONDS_MAX if later > RETRY_AFTER_SECONDS_MAX else None
    return Failure(code[:CODE_CHARACTERS_MAX], message, failure.retryable, later, details)


@lru_cache(maxsize=1_000)
def _actor(worker: str) -> str:
    return f"worker:{worker}"


def masked_report(report: Report, secrets: tuple[str, ...]) -> Report:
    """Return the report with every secret that went into the attempt masked."""
    if isinstance(report, Completed):
        return msgspec.structs.replace(report, output=masked(report.output, secrets))
    failure = report.error
    message, details = masked(failure.message, secrets), masked(failure.details, secrets)
    return msgspec.structs.replace(report, error=msgspec.structs.replace(failure, message=message, details=details))
