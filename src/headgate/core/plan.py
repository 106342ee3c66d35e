"""A definition made ready to run: its graph, its compiled expressions, its defaults filled in. Shared by all runs.

Compiled once per definition version; holds nothing of any run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from headgate.core.catalogue import BUILTINS, Builtin, default_backoff, output_name
from headgate.core.definition import Activity, Backoff, Definition
from headgate.core.expression import Expression, Template, compile_condition, compile_value
from headgate.core.graph import Graph, analyse
from headgate.core.taint import Taint, trace, wants_asking

__all__ = ["Plan", "Planned", "compile_plan", "load_plan", "reads_of"]

NOTHING: frozenset[str] = frozenset()
OUTCOME_WORDS = frozenset({"status", "error", "iteration", "cost_usd", "accumulated_cost_usd", "total_cost_usd"})
"""Fields of an activity that are known from the run's control state, without its output."""


def reads_of(*expressions: Expression | Template | None) -> frozenset[str]:
    """Return whose values the expressions need: `key` for the newest output, `key[*]` for those of all iterations."""
    return frozenset(
        f"{reference.root}[*]" if reference.path[:1] == ("[*]",) else reference.root
        for expression in expressions
        if expression is not None
        for reference in expression.references
        if reference.path[:1] == () or reference.path[0] not in OUTCOME_WORDS
    )


class Planned:
    """One activity of a plan."""

    __slots__ = (
        "_cache_key",
        "_names",
        "_parameters",
        "activity",
        "backoff",
        "builtin",
        "delay",
        "for_each",
        "incoming",
        "index",
        "innermost",
        "key",
        "loops",
        "makes_files",
        "native",
        "needs",
        "outgoing",
        "own_output",
        "reads_files_as_text",
        "scheduled_for",
        "when",
    )

    def __init__(self, index: int, activity: Activity, graph: Graph, names: frozenset[str]) -> None:
        self.index = index
        self.activity = activity
        self.key = activity.key
        self.builtin: Builtin | None = BUILTINS.get(activity.name)
        self.native = _native(activity, self.builtin)
        self.own_output = output_name(activity.name)
        self.backoff: Backoff = activity.retry or default_backoff(activity.name)
        self.outgoing = graph.outgoing[index]
        self.incoming = graph.incoming[index]
        self.needs = len(self.incoming)
        self.loops = tuple(number for number, loop in enumerate(graph.loops) if index in loop.body)
        self.innermost = min(self.loops, key=lambda number: len(graph.loops[number].body), default=-1)
        where = f"activity {activity.key!r}"
        self.reads_files_as_text = self.builtin is None or not self.builtin.takes_files
        self.makes_files = any(output.type == "file" for output in activity.outputs)
        self._names = names
        self._parameters: Template | None = None
        self._cache_key: Template | None = None
        self.when = _optional(activity.when, f"{where}, when", names)
        self.for_each = _template(activity.for_each, f"{where}, for_each", names)
        self.delay = _template(activity.delay, f"{where}, delay", names)
        self.scheduled_for = _template(activity.scheduled_for, f"{where}, scheduled_for", names)

    @property
    def parameters(self) -> Template:
        """The parameters' templates, compiled when they are first asked for: only whoever renders them needs them."""
        if self._parameters is None:
            where = f"activity {self.key!r}, parameters"
            self._parameters = compile_value(self.activity.parameters, where=where, names=self._names)
        return self._parameters

    @property
    def cache_key(self) -> Template | None:
        """The templates of the cache's own key, compiled as the parameters are; None: the parameters are the key."""
        cache = self.activity.cache
        if cache is None or not cache.key:
            return None
        if self._cache_key is None:
            where = f"activity {self.key!r}, cache.key"
            self._cache_key = compile_value(list(cache.key), where=where, names=self._names)
        return self._cache_key

    @property
    def reads(self) -> frozenset[str]:
        """What is read to open the activity (not for its parameters: the dispatcher renders them)."""
        return reads_of(self.when, self.for_each, self.delay, self.scheduled_for)


class Plan:
    """A compiled definition. Equal definitions give equal plans; nothing in it changes."""

    def __init__(self, definition: Definition) -> None:
        self.definition = definition
        self.version = definition.version
        self.graph = analyse(definition.activities)
        names = frozenset(activity.key for activity in definition.activities)
        self.activities = tuple(
            Planned(number, activity, self.graph, names) for number, activity in enumerate(definition.activities)
        )
        self.index = {activity.key: number for number, activity in enumerate(definition.activities)}
        self.conditions: tuple[tuple[Expression, ...], ...] = tuple(
            tuple(
                compile_condition(text, where=f"activity {self.activities[edge.target].key!r}, depends_on", names=names)
                for text in edge.conditions
            )
            for edge in self.graph.edges
        )
        self.handles = tuple(
            _reads_outcome(self.activities[edge.source].key, conditions)
            for edge, conditions in zip(self.graph.edges, self.conditions, strict=True)
        )
        """Per edge: whether its conditions read its source's `status` or `error`, so that it may apply to a failure."""
        self.outputs = (
            None if definition.outputs is None else compile_value(definition.outputs, where="outputs", names=names)
        )
        self.terminals = tuple(planned.index for planned in self.activities if not planned.outgoing)

    @cached_property
    def reads(self) -> tuple[frozenset[str], ...]:
        """Per activity: every name (see `reads_of`) that may be read to conclude what follows when it ends.

        An over-approximation that is known before anything runs: what stands on its out-edges and opens their targets,
        and so on downstream (for a skip travels at once), and for an activity of a loop, all that the loop reads.
        """
        reads = [self._read_behind(planned) for planned in self.activities]
        if not any(reads) and self.outputs is None:
            return tuple(reads)
        at_the_end = reads_of(self.outputs)
        for index in reversed(self.graph.order):
            reads[index] |= at_the_end
            for number in self.activities[index].outgoing:
                reads[index] |= reads[self.graph.edges[number].target]
        for loop in sorted(self.graph.loops, key=lambda loop: len(loop.body)):
            whole = NOTHING.union(*(reads[index] for index in loop.body))
            for index in loop.body:
                reads[index] = whole
        return tuple(reads)

    @cached_property
    def taint(self) -> Taint:
        """Which texts come from where anybody may write, and which effects a person is to be asked about."""
        return trace(self)

    @cached_property
    def asks_first(self) -> frozenset[int]:
        """The activities that a person must let through before they begin (the policy `side_effects`)."""
        return self.taint.asks_first if wants_asking(self.definition) else frozenset()

    @cached_property
    def all_reads(self) -> frozenset[str]:
        """Every name that is read anywhere to open an activity, decide an edge, or end the run."""
        return reads_of(self.outputs).union(
            *(self._read_behind(planned) | planned.reads for planned in self.activities)
        )

    def _read_behind(self, planned: Planned) -> frozenset[str]:
        found = NOTHING
        for number in self.graph.leaving[planned.index]:
            found |= reads_of(*self.conditions[number]) | self.activities[self.graph.edges[number].target].reads
        return found


def compile_plan(definition: Definition) -> Plan:
    """Return the plan of `definition`, all of it compiled. Raises `ExpressionError` for an expression that does not
    parse."""
    plan = Plan(definition)
    for planned in plan.activities:
        _ = planned.parameters, planned.cache_key
    return plan


def load_plan(definition: Definition) -> Plan:
    """Return the plan of a definition that was compiled before it was stored: its parameters wait until an activity
    is rendered, so that a run of 10,000 activities is taken up again without compiling 10,000 templates first."""
    return Plan(definition)


def _native(activity: Activity, builtin: Builtin | None) -> str:
    if activity.workflow is not None:
        return "workflow"
    if not activity.name:
        return "signal"
    return builtin.native if builtin else ""


def _optional(text: str | None, where: str, names: frozenset[str]) -> Expression | None:
    return None if text is None else compile_condition(text, where=where, names=names)


def _template(value: object, where: str, names: frozenset[str]) -> Template | None:
    return None if value is None else compile_value(value, where=where, names=names)


def _reads_outcome(key: str, conditions: Sequence[Expression]) -> bool:
    return any(
        reference.root == key and reference.path[:1] in {("status",), ("error",)}
        for condition in conditions
        for reference in condition.references
    )
