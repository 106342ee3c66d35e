"""A workflow as data: what the author wrote, checked and in its long form, nothing compiled.

A `Definition` is what is stored and hashed; `plan.compile_plan` makes of it what the engine runs. Parameters and
expressions stand here as the author's text.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import msgspec

__all__ = [
    "ITEMS_MAX",
    "ITERATION_LIMIT_DEFAULT",
    "Activity",
    "Backoff",
    "Budget",
    "BudgetAction",
    "Cache",
    "Definition",
    "Dependency",
    "Input",
    "Notify",
    "Output",
    "PolicyUse",
    "SignalWait",
    "SubWorkflow",
    "policies_of",
]

BudgetAction = Literal["abort", "alert", "fallback", "ask"]
OnFailure = Literal["fail", "continue"]
InputType = Literal["string", "number", "integer", "boolean", "object", "array", "file", "any"]

ITERATION_LIMIT_DEFAULT = 100
ITEMS_MAX = 100_000


class Backoff(msgspec.Struct, frozen=True):
    """How often an activity is attempted in all, and how long it waits between attempts (seconds)."""

    max_attempts: int = 1
    strategy: Literal["exponential", "fixed"] = "exponential"
    base_seconds: float = 2.0
    factor: float = 2.0
    max_seconds: float = 300.0


class Budget(msgspec.Struct, frozen=True):
    """A limit in nano-dollars, and what happens to a call that does not fit beside what is spent."""

    limit: int
    action: BudgetAction = "abort"


class Cache(msgspec.Struct, frozen=True):
    """Whether an activity's result may be reused, for how long, and under which key (templates)."""

    enabled: bool = True
    ttl_seconds: float = 3600.0
    key: tuple[str, ...] = ()
    mode: Literal["exact", "semantic"] = "exact"
    threshold: float | None = None


class SignalWait(msgspec.Struct, frozen=True):
    """An activity that runs only after the signal `event_name` has come for it."""

    event_name: str
    timeout_seconds: float | None = None
    on_timeout: Literal["fail", "skip", "continue"] = "fail"


class SubWorkflow(msgspec.Struct, frozen=True):
    """An activity that is a run of another workflow; `parameters` are the child's input.

    `budget` (nano-dollars) gives the child a limit of its own below the parent's; without it the child shares
    the parent's budget.
    """

    name: str
    version: str | None = None
    budget: int | None = None


class Dependency(msgspec.Struct, frozen=True):
    """An edge from `key` to the activity that holds it. All `conditions` must be true for it to apply."""

    key: str
    conditions: tuple[str, ...] = ()


class Output(msgspec.Struct, frozen=True):
    """A declared output of an activity."""

    name: str
    type: Literal["value", "file", "folder"] = "value"


class PolicyUse(msgspec.Struct, frozen=True):
    """A policy that model calls go through, with its options; in a `dry_run` it only records what it would do."""

    use: str
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    dry_run: bool = False


class Notify(msgspec.Struct, frozen=True):
    """Whom people of a workflow are told by, and of what: `failed` runs, what is `waiting` for a person or a signal,
    and `budget` news. `slack` and `secret` are names of secrets: an incoming webhook's URL, what posts are signed with.
    """

    on: tuple[Literal["failed", "waiting", "budget"], ...]
    email: tuple[str, ...] = ()
    webhook: str = ""
    secret: str = ""
    slack: str = ""


class Input(msgspec.Struct, frozen=True):
    """A declared input of the workflow. `type` "file" takes a file's text, or a file value."""

    name: str
    type: InputType = "any"
    required: bool = True
    default: Any = None
    description: str = ""
    enum: tuple[Any, ...] = ()
    trusted: bool | None = None
    """Whether its text is the author's own word; None: it is, unless the input is a file."""


class Activity(msgspec.Struct, frozen=True):
    """A node of the graph, in long form: every default of the format that does not depend on the activity is in."""

    key: str
    name: str
    queue: str = "std"
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    depends_on: tuple[Dependency, ...] = ()
    outputs: tuple[Output, ...] = ()
    join: Literal["default", "all", "any"] = "default"
    when: str | None = None
    for_each: Any = None
    """A template that yields a list, or a list (whose values may hold templates); evaluated once when ready."""
    max_parallel: int = 100
    iteration_limit: int | None = None
    iteration_scoped: bool = False
    streaming: bool = False
    retry: Backoff | None = None
    """None: the default of the activity's kind (four attempts for what can safely run twice, else one)."""
    timeout_seconds: float = 300.0
    budget: Budget | None = None
    cache: Cache | None = None
    delay: str | None = None
    scheduled_for: str | None = None
    wait_for_signal: SignalWait | None = None
    on_failure: OnFailure = "fail"
    workflow: SubWorkflow | None = None
    policies: tuple[PolicyUse, ...] = ()
    trusted: bool | None = None
    """Whether what it returns is trusted text; None: as its kind says (see `taint`)."""
    prompt: str = ""
    """The version of its prompt template: `NAME@VERSION#` and the first 12 digits of its text's SHA-256."""


class Definition(msgspec.Struct, frozen=True):
    """A checked workflow. `version` is the hash of everything else in it."""

    name: str
    activities: tuple[Activity, ...]
    description: str = ""
    inputs: tuple[Input, ...] | None = None
    """None: not declared, any input is taken. Empty: takes no input."""
    outputs: dict[str, Any] | None = None
    budget: Budget | None = None
    timeout_seconds: float | None = None
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    policies: tuple[PolicyUse, ...] = ()
    scrub: Literal["", "input"] = ""
    """`input`: personal data and secrets are cut out of the run's input before anything is stored."""
    notify: Notify | None = None

    @property
    def version(self) -> str:
        """The content hash: 16 hexadecimal digits of SHA-256 over the canonical JSON of the definition."""
        content = msgspec.to_builtins(self)
        if self.notify is None:
            del content["notify"]  # so that versions of before there were notices stay what they are
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:16]


def policies_of(definition: Definition, activity: Activity) -> tuple[PolicyUse, ...]:
    """Return the policies of an activity's calls, in order: the workflow's, then its own. Its own entry for a policy
    that the workflow has too stands in the place of the workflow's."""
    own = {policy.use: policy for policy in activity.policies}
    shared = {policy.use: own.pop(policy.use, policy) for policy in definition.policies}
    return (*shared.values(), *own.values())
