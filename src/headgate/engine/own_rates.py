"""The policy `rate_limit`: rates that a definition asks for, for its own calls and beside those of providers.

Under a workflow the rate is shared by all of its runs, under an activity by that activity in all of them; each tenant
has it to itself. A child run is of another workflow.
"""

from __future__ import annotations

from typing import NamedTuple

from headgate.core.definition import PolicyUse
from headgate.core.money import nano
from headgate.core.run import Run
from headgate.engine.rate import Rate

__all__ = ["OwnRate", "own_rate", "rate_of_cell"]

RATE_LIMIT = "rate_limit"
SECONDS_DEFAULT = 60


class OwnRate(NamedTuple):
    """A rate of a definition: `line` is where its calls wait for it, `name` what people are told that it is of."""

    line: str
    name: str
    requests: Rate | None
    tokens: Rate | None
    money: Rate | None

    def cell(self, kind: str, rate: Rate) -> str:
        """Return the name of its bucket: the rate is in it, so that another rate begins with another bucket."""
        return f"own {kind} {self.line} {rate.limit}/{rate.seconds}"


def own_rate(run: Run, place: str) -> OwnRate | None:
    """Return the rate that the calls of an attempt are held to by their definition; None: to none."""
    attempt = run.tasks.get(place)
    if attempt is None:
        return None
    definition, activity = run.plan.definition, attempt.planned.activity
    use = _of(activity.policies)
    if use is not None:
        return _rate(use, f"activity {run.tenant} {definition.name}/{activity.key}", f"activity {activity.key}")
    use = _of(definition.policies)
    return use and _rate(use, f"workflow {run.tenant} {definition.name}", f"workflow {definition.name}")


def rate_of_cell(name: str) -> Rate:
    """Return the rate that stands in the name of its bucket."""
    limit, _, seconds = name.rpartition(" ")[2].partition("/")
    return Rate(int(limit), int(seconds))


def _of(policies: tuple[PolicyUse, ...]) -> PolicyUse | None:
    return next((use for use in policies if use.use == RATE_LIMIT), None)


def _rate(use: PolicyUse, line: str, name: str) -> OwnRate:
    options = use.options
    seconds = options.get("per", SECONDS_DEFAULT)
    requests, tokens, money = options.get("requests"), options.get("tokens"), options.get("money")
    return OwnRate(
        line,
        name,
        requests=Rate(requests, seconds) if requests else None,
        tokens=Rate(tokens, seconds) if tokens else None,
        money=Rate(nano(money), seconds) if money else None,
    )
