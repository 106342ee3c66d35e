"""Where a workflow's texts come from: which of them anybody may have written, and what these can bring about.

A text is *untrusted* where somebody else wrote it: a web page, a document, a file, rows of a database, what was said
in a conversation, a child run's outputs, inputs that are files or are declared so; and whatever is made of such a text.
It is *steered* where a model made it of untrusted text: there an instruction hidden in the text may have been obeyed.
An activity with effects whose parameters or conditions are steered, or that runs only because of such a condition
before it, is one to ask a person about (the policy `side_effects`).

All of this is read off the definition, before anything runs, and says what *may* be. An activity whose author says
`trusted: true` is believed. What a person decided (an approval) is nobody else's text, and an effect whose own
condition reads an approval that stands behind all that steers it has been asked about already.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from headgate.core.definition import Activity, Definition, policies_of
from headgate.core.expression import Reference

if TYPE_CHECKING:
    from headgate.core.plan import Plan, Planned

__all__ = ["METHODS_WITHOUT_EFFECT", "SIDE_EFFECTS", "Taint", "has_effect", "trace", "wants_asking"]

SIDE_EFFECTS = "side_effects"
SOURCES = frozenset(
    {"http_request", "document_text", "file_read", "vector_search", "conversation", "sqlite_query"}
    | {"postgres_query", "postgres_transaction", "mcp_tool"}
)
MODELS = frozenset({"llm_prompt", "agent"})
ALWAYS_EFFECTS = frozenset({"email_send", "file_write", "postgres_transaction", "mcp_tool"})
QUERIES = frozenset({"sqlite_query", "postgres_query"})
METHODS_WITHOUT_EFFECT = frozenset({"GET", "HEAD", "OPTIONS"})
READS_ONLY = re.compile(r"\s*(select|explain|show|values|with)\b", re.IGNORECASE)
WRITES = re.compile(
    r"\b(insert|update|delete|replace|merge|create|drop|alter|truncate|attach|copy|into)\b", re.IGNORECASE
)
KNOWN_WITHOUT_OUTPUT = frozenset(
    {"status", "iteration", "cost_usd", "accumulated_cost_usd", "total_cost_usd", "remaining_budget_usd"}
)
"""Fields of an activity that no text of others gets into."""


class Taint(msgspec.Struct, frozen=True):
    """Indices of activities: whose outputs are untrusted, whose are steered, and who is to be asked about."""

    untrusted: frozenset[int]
    steered: frozenset[int]
    asks_first: frozenset[int]
    inputs: frozenset[str]
    """The names of untrusted inputs."""

    def of(self, plan: Plan, planned: Planned) -> tuple[Reference, ...]:
        """Return the references among an activity's parameters that untrusted text comes in by."""
        tracing = _Tracing(plan, self)
        return tuple(one for one in planned.parameters.references if tracing.origin(one, planned).untrusted)


class _Origin(NamedTuple):
    untrusted: bool = False
    steered: bool = False

    def __or__(self, other: object) -> _Origin:
        assert isinstance(other, _Origin)
        return _Origin(self.untrusted or other.untrusted, self.steered or other.steered)


NOBODY = _Origin()


def trace(plan: Plan) -> Taint:
    """Return what can be said of a plan's texts."""
    inputs = frozenset(
        one.name
        for one in plan.definition.inputs or ()
        if one.trusted is False or (one.trusted is None and one.type == "file")
    )
    tracing = _Tracing(plan, Taint(frozenset(), frozenset(), frozenset(), inputs))
    while tracing.go_round():
        pass
    asked = (planned.index for planned in plan.activities if tracing.is_asked_about(planned))
    return Taint(frozenset(tracing.untrusted), frozenset(tracing.steered), frozenset(asked), inputs)


class _Tracing:
    def __init__(self, plan: Plan, known: Taint) -> None:
        self.plan = plan
        self.inputs = known.inputs
        self.untrusted = set(known.untrusted)
        self.steered = set(known.steered)

    def go_round(self) -> bool:
        """Let each activity hand on what it was given; return whether anything became known by that."""
        before = len(self.untrusted) + len(self.steered)
        for planned in self.plan.activities:
            origin = self._output(planned)
            if origin.untrusted:
                self.untrusted.add(planned.index)
            if origin.steered:
                self.steered.add(planned.index)
        return len(self.untrusted) + len(self.steered) > before

    def _output(self, planned: Planned) -> _Origin:
        activity = planned.activity
        if activity.trusted or planned.native == "approval":
            return NOBODY
        given = self.given(planned)
        source = activity.trusted is False or activity.name in SOURCES or activity.workflow is not None
        untrusted = source or given.untrusted
        asks = activity.name in MODELS or (
            activity.name == "conversation" and activity.parameters.get("operation") == "summarise"
        )
        return _Origin(untrusted, given.steered or (asks and untrusted))

    def given(self, planned: Planned) -> _Origin:
        """Return where the texts come from that an activity is given."""
        found = self._all(planned.parameters.references, planned)
        if planned.for_each is not None:
            found |= self._all(planned.for_each.references, planned)
        if planned.activity.name == "script":  # it gets the outputs of what it depends on, and the input
            keys = [dependency.key for dependency in planned.activity.depends_on]
            found |= self._all([Reference("INPUT"), *map(Reference, keys)], planned)
        return found

    def _all(self, references: Iterable[Reference], planned: Planned) -> _Origin:
        found = NOBODY
        for one in references:
            found |= self.origin(one, planned)
        return found

    def origin(self, one: Reference, planned: Planned) -> _Origin:
        field = next((part for part in one.path if part != "[*]"), None)
        if one.root == "INPUT":
            return _Origin(field in self.inputs if isinstance(field, str) else bool(self.inputs))
        if one.root == "ITEM" and planned.for_each is not None:
            return self._all([ref for ref in planned.for_each.references if ref.root != "ITEM"], planned)
        if one.root == "SIGNAL":
            return _Origin(planned.activity.trusted is False)
        index = self.plan.index.get(one.root)
        if index is None or field in KNOWN_WITHOUT_OUTPUT:
            return NOBODY
        return _Origin(index in self.untrusted, index in self.steered)

    # --- Effects -------------------------------------------------------------------------------------------------

    def is_asked_about(self, planned: Planned) -> bool:
        """Return whether a person is to be asked before the activity begins."""
        activity = planned.activity
        policy = next((one for one in policies_of(self.plan.definition, activity) if one.use == SIDE_EFFECTS), None)
        if policy is None or policy.dry_run or not has_effect(activity, policy.options):
            return False
        steered = self.given(planned).steered or self._is_controlled(planned, set())
        return steered and not self._was_asked(planned)

    def _is_controlled(self, planned: Planned, seen: set[int]) -> bool:
        """Return whether a steered condition, its own or one before it, decides that it runs."""
        if planned.index in seen:
            return False
        seen.add(planned.index)
        if self._conditions(planned).steered:
            return True
        sources = (self.plan.activities[self.plan.graph.edges[number].source] for number in planned.incoming)
        return any(self._is_controlled(source, seen) for source in sources if source.native != "approval")

    def _conditions(self, planned: Planned) -> _Origin:
        return self._all(self._read_by_conditions(planned), planned)

    def _read_by_conditions(self, planned: Planned) -> list[Reference]:
        found = [
            one
            for number in planned.incoming
            for condition in self.plan.conditions[number]
            for one in condition.references
        ]
        return [*found, *(planned.when.references if planned.when is not None else ())]

    def _was_asked(self, planned: Planned) -> bool:
        """Return whether it runs only if somebody approved, who could see all that steers it."""
        steering = {
            index
            for one in (*planned.parameters.references, *self._read_by_conditions(planned))
            if (index := self.plan.index.get(one.root)) is not None and index in self.steered
        }
        approvals = (
            index
            for one in self._read_by_conditions(planned)
            if (index := self.plan.index.get(one.root)) is not None and self.plan.activities[index].native == "approval"
        )
        return any(steering <= self._before(index) for index in approvals)

    def _before(self, index: int) -> set[int]:
        found: set[int] = set()
        ahead = [index]
        while ahead:
            for number in self.plan.activities[ahead.pop()].incoming:
                source = self.plan.graph.edges[number].source
                if source not in found:
                    found.add(source)
                    ahead.append(source)
        return found


def has_effect(activity: Activity, options: Mapping[str, Any]) -> bool:
    """Return whether an activity does something outside of the run, as far as its definition says. One of the user's
    own has none unless the policy's `also` names it."""
    also = options.get("also") or ()
    if (
        activity.name in also
        or activity.key in also
        or activity.workflow is not None
        or activity.name in ALWAYS_EFFECTS
    ):
        return True
    if activity.name == "http_request":
        return str(activity.parameters.get("method", "GET")).upper() not in METHODS_WITHOUT_EFFECT
    if activity.name in QUERIES:
        query = activity.parameters.get("query")
        reads = isinstance(query, str) and "{{" not in query and "{%" not in query
        return not (reads and READS_ONLY.match(str(query)) and not WRITES.search(str(query)))
    return False


def wants_asking(definition: Definition) -> bool:
    """Return whether the policy `side_effects` stands anywhere in a definition."""
    everywhere = [definition.policies, *(activity.policies for activity in definition.activities)]
    return any(policy.use == SIDE_EFFECTS for policies in everywhere for policy in policies)
