"""The names in expressions: whether they exist, mean something where they stand, and can have a value by
then."""

from __future__ import annotations

import re

from headgate.authoring.ancestry import ancestors
from headgate.authoring.checking import Checking
from headgate.authoring.expressions import Reads, part_of
from headgate.authoring.problems import one_of
from headgate.authoring.vocabulary import KEYWORDS
from headgate.core.catalogue import BUILTINS
from headgate.core.definition import Activity
from headgate.core.expression import Reference
from headgate.core.graph import Graph

__all__ = ["check_references"]

OFFSET_IN_MESSAGE = re.compile(r" \(line \d+, column \d+\)$")
OF_ITEMS = frozenset({"ITEM", "INDEX"})
PARTS_OF_ITEMS = frozenset({"parameters", "cache"})
STATUS_WORDS = frozenset(
    {"status", "error", "iteration", "cost_usd", "accumulated_cost_usd", "total_cost_usd", "remaining_budget_usd"}
)
"""What every activity has beside its output."""
METHODS = frozenset({"items", "keys", "values", "get"})
"""What may be asked of any map."""


def check_references(checking: Checking, graph: Graph, reads: list[Reads]) -> None:
    """Note every expression that cannot be read, and every name that cannot have a value."""
    _References(checking, graph).check(reads)


class _References:
    def __init__(self, checking: Checking, graph: Graph) -> None:
        self.checking = checking
        self.index = {key: number for number, key in enumerate(checking.keys)}
        self.above = ancestors(graph, len(checking.keys))
        inputs = checking.definition.inputs
        self.inputs = None if inputs is None else {declared.name for declared in inputs}

    def check(self, reads: list[Reads]) -> None:
        for entry in reads:
            if entry.error is not None:
                self._unreadable(entry)
            for reference in entry.references:
                message = self._fault(entry, reference)
                if message:
                    self.checking.note(entry.path, message, text=entry.text, offset=reference.offset)

    def _unreadable(self, entry: Reads) -> None:
        error = entry.error
        assert error is not None
        wrong = OFFSET_IN_MESSAGE.sub("", error.problems[0].message)
        lines = entry.text.split("\n")
        offset = sum(len(line) + 1 for line in lines[: error.line - 1]) + error.column - 1
        self.checking.note(entry.path, f"the expression cannot be read: {wrong}.", text=entry.text, offset=offset)

    def _fault(self, entry: Reads, reference: Reference) -> str:
        """Return what is wrong with a name where it stands, or nothing."""
        root = reference.root.removesuffix("[*]")
        activity = self._activity(entry)
        if root in self.index:
            return self._of_activity(activity, root) or self._of_field(reference, root)
        if root not in KEYWORDS:
            known = {*self.index, *KEYWORDS}
            near = self.checking.near(root, known)
            return f'there is no "{root}": no activity, and no word of the language.{near}'
        if root == "INPUT":
            return self._of_input(reference)
        if root == "SECRET":
            return self._of_secret(entry, activity)
        return self._of_keyword(entry, activity, root)

    def _activity(self, entry: Reads) -> Activity | None:
        if entry.path[0] != "activities":
            return None
        return self.checking.definition.activities[self.index[str(entry.path[1])]]

    def _of_activity(self, activity: Activity | None, root: str) -> str:
        if activity is None or root == activity.key:
            return ""
        if self.above[self.index[activity.key]] >> self.index[root] & 1:
            return ""
        return (
            f"{root} does not run before {activity.key}, so it has no outputs here; "
            f"add it to the dependencies: after: [{root}]."
        )

    def _of_field(self, reference: Reference, root: str) -> str:
        """Refuse a field that the output of a built-in activity never has. Where anything could stand there (many
        items, all iterations, a model's own JSON, what the author declared) nothing is refused."""
        activity = self.checking.definition.activities[self.index[root]]
        builtin = BUILTINS.get(activity.name)
        path = reference.path
        if builtin is None or builtin.fields is None or activity.queue != builtin.queue or not path:
            return ""
        if activity.for_each is not None or activity.iteration_scoped or activity.workflow or activity.wait_for_signal:
            return ""
        if "download_to_file" in activity.parameters or any(output.type != "value" for output in activity.outputs):
            return ""  # a file stands there, with fields of its own
        own = path[0] == builtin.output
        if not own and activity.name == "llm_prompt":
            return ""
        name = (path[1] if len(path) > 1 else None) if own else path[0]
        known = builtin.fields if own else {*builtin.fields, *STATUS_WORDS, *(o.name for o in activity.outputs)}
        if not isinstance(name, str) or name in known or name in METHODS or name == "[*]" or name == builtin.output:
            return ""
        where = f"{root}.{builtin.output}" if own else root
        near = self.checking.near(name, sorted(known)) or f" There is {one_of(sorted(builtin.fields))}."
        return f'{where} has no field "{name}", for {activity.name} returns none.{near}'

    def _of_input(self, reference: Reference) -> str:
        name = reference.path[0] if reference.path else None
        if self.inputs is None or not isinstance(name, str) or name in self.inputs:
            return ""
        near = self.checking.near(name, self.inputs)
        return f'there is no input "{name}" among the declared `inputs`.{near} Declare it, or remove it.'

    def _of_secret(self, entry: Reads, activity: Activity | None) -> str:
        if activity is None or part_of(entry.path) != "parameters":
            where = "the outputs of a workflow" if activity is None else f"`{part_of(entry.path)}`"
            return f"a secret can stand in the parameters of an activity only, not in {where}."
        if activity.workflow is not None:
            return "a secret cannot be the input of a sub-workflow, for inputs are stored; read it there."
        builtin = BUILTINS.get(activity.name)
        if builtin is not None and not builtin.secrets:
            return f"the parameters of {activity.name} are stored; a secret cannot stand there."
        return ""

    def _of_keyword(self, entry: Reads, activity: Activity | None, root: str) -> str:
        part = None if activity is None else part_of(entry.path)
        if root == "FILE":
            return "FILE is not built yet. Write `key.output`: an output of `type: file` is the file itself there."
        if root in OF_ITEMS and (activity is None or activity.for_each is None):
            return f"{root} means something in an activity with `for_each` only; add it, or name what you mean."
        if root in OF_ITEMS and part not in PARTS_OF_ITEMS:
            return f"{root} means something in `parameters` only, not in `{_short_name(part)}`."
        if root == "parameters" and part != "cache":
            return "`parameters` means something in the key of a cache only."
        if activity is None and root in {"ACTIVITY", "SIGNAL"}:
            return f"{root} belongs to an activity; outputs can name activities, INPUT and WORKFLOW."
        return ""


def _short_name(part: str | None) -> str:
    return "after" if part == "depends_on" else str(part)
