"""Whether a definition can work, asked before anything runs. It reads the definition only: no file, no
provider, no clock."""

from __future__ import annotations

from headgate.authoring.check_activities import check_activities
from headgate.authoring.check_bounds import check_bounds
from headgate.authoring.check_budgets import check_budgets, check_prices
from headgate.authoring.check_graph import check_graph
from headgate.authoring.check_reach import check_reach
from headgate.authoring.check_references import check_references
from headgate.authoring.check_waits import check_waits
from headgate.authoring.checking import Checking
from headgate.authoring.estimate import Pricing
from headgate.authoring.expressions import Reads, reads_of
from headgate.authoring.positions import Positions
from headgate.core.definition import Definition
from headgate.core.errors import Problem
from headgate.core.graph import analyse

__all__ = ["check_definition"]

NONE: frozenset[str] = frozenset()


def check_definition(
    definition: Definition,
    positions: Positions | None = None,
    *,
    providers: frozenset[str] | None = None,
    activities: frozenset[str] | None = None,
    reads: list[Reads] | None = None,
    pricing: Pricing | None = None,
    warnings: list[Problem] | None = None,
) -> list[Problem]:
    """Return everything that keeps `definition` from working; an empty list means that it can run.

    `providers` are model providers, and `activities` activities of the queue `std`, that are known beside
    the built-in ones. Without `positions` (a definition that was built in Python) problems name canonical
    paths and no lines. `reads` are the definition's expressions where the caller has them already.
    With `pricing`, models without a price and budgets that no call fits are looked for too. What looks like a
    mistake, though it can run, is added to `warnings`.
    """
    checking = Checking(definition, positions)
    if not definition.name:
        _note_missing(checking, "name")
    if not definition.activities:
        _note_missing(checking, "activities")
    check_bounds(checking)
    check_activities(checking, providers=providers or NONE, activities=activities or NONE)
    graph = analyse(definition.activities)
    found = reads_of(definition) if reads is None else reads
    check_graph(checking, graph, found)
    check_references(checking, graph, found)
    check_waits(checking)
    check_reach(checking, graph, found)
    check_budgets(checking)
    if pricing is not None:
        check_prices(checking, graph, pricing)
    if warnings is not None:
        warnings.extend(checking.warnings)
    return checking.problems


def _note_missing(checking: Checking, name: str) -> None:
    """For definitions built in Python; reading a file has said so already, with the reason."""
    if checking.positions is None:
        checking.note((name,), f"a workflow needs `{name}`.")
