"""Writes the tables of the reference pages from the code that they describe, so that the two cannot differ.

    python docs/generate.py           rewrites the pages
    python docs/generate.py --check   says which pages are out of date, and ends with 1 if there are any

A page holds `<!-- generated: NAME -->` and `<!-- end -->`; what stands between them is ours, all else is by hand.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from command_line import common_options, verbs
from field_meanings import meaning

from headgate.api.http.health import ALL_METRICS
from headgate.authoring import vocabulary
from headgate.core import events, gate_events
from headgate.core.catalogue import BUILTINS, ONCE, SAFE, default_backoff
from headgate.core.codec import TYPE_NAMES
from headgate.core.codes import CODES
from headgate.settings import SETTINGS

DOCS = Path(__file__).parent
PARAMETERS_NOT_YET = vocabulary.PARAMETERS_NOT_YET.keys() | {
    ("llm_prompt", "reasoning"),
    ("llm_prompt", "drop_unsupported"),
}
"""What the readers know and refuse when it is used; the tables of what there is leave it out."""
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

Row = Sequence[str]


def table(heads: Row, rows: Iterable[Row]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# --- Events -----------------------------------------------------------------------------------------------


def envelope() -> str:
    """The fields that every event has."""
    return table(("field", "type", "meaning"), ((f"`{n}`", f"`{t}`", about) for n, t, about in _fields(events.Event)))


def event_list() -> str:
    """Each event with its own fields, under the headings of the modules."""
    parts: list[str] = []
    for heading, kinds in _sections():
        parts.append(f"### {heading}\n")
        parts += map(_event, kinds)
    return "\n".join(parts).rstrip()


def event_kinds() -> str:
    """Which events are facts, and which consequences."""
    facts = ", ".join(f"`{name}`" for event, name in TYPE_NAMES.items() if event.fact)
    consequences = ", ".join(f"`{name}`" for event, name in TYPE_NAMES.items() if not event.fact)
    return f"**Facts**: {facts}.\n\n**Consequences**: {consequences}."


def _event(event: type[events.Event]) -> str:
    kind = "fact" if event.fact else "consequence"
    about = inspect.cleandoc(event.__doc__ or "")
    lines = [f"#### `{TYPE_NAMES[event]}` · {kind}\n", f"{about}\n"]
    rows = [(f"`{field}`", f"`{type_}`", text) for field, type_, text in _fields(event)]
    if rows:
        lines.append(table(("field", "type", "meaning"), rows) + "\n")
    return "\n".join(lines)


def _sections() -> list[tuple[str, list[type[events.Event]]]]:
    """The `# --- Heading ---` comments of the events' modules, each with the events that stand below it."""
    known = {event.__name__: event for event in TYPE_NAMES}
    sections: list[tuple[str, list[type[events.Event]]]] = []
    for line in [*inspect.getsource(events).splitlines(), *inspect.getsource(gate_events).splitlines()]:
        if heading := re.match(r"# --- (.+?) -+$", line):
            sections.append((heading[1], []))
        elif (found := re.match(r"class (\w+)\(", line)) and found[1] in known:
            sections[-1][1].append(known[found[1]])
    return sections


def _fields(event: type[events.Event]) -> list[tuple[str, str, str]]:
    """A struct's own fields: name, type with its default, and the text below it."""
    name, tree = event.__name__, ast.parse(inspect.getsource(sys.modules[event.__module__]))
    body = next(node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    fields: list[tuple[str, str, str]] = []
    for node, following in zip(body, [*body[1:], ast.Pass()], strict=True):
        if isinstance(node, ast.AnnAssign) and "ClassVar" not in ast.unparse(node.annotation):
            default = f" = {ast.unparse(node.value)}" if node.value is not None else ""
            text = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                text = " ".join(str(following.value.value).split())
            field = ast.unparse(node.target)
            fields.append((field, ast.unparse(node.annotation) + default, text or meaning(name, field)))
    return fields


# --- Settings ---------------------------------------------------------------------------------------------


def settings() -> str:
    """Every setting: its variable, its name in headgate.toml, and what it is for."""
    rows = [
        (
            f"`{one.variable}`",
            f"`{one.path}`",
            f"{one.about} ({one.holds}{f'; default `{one.default}`' if one.default else ''})",
        )
        for one in SETTINGS
    ]
    return table(("variable", "in `headgate.toml`", "meaning"), rows)


# --- Metrics ----------------------------------------------------------------------------------------------


def metrics() -> str:
    """Every figure of `GET /metrics`."""
    rows = [
        (f"`{one.name}`", one.kind, ", ".join(f"`{label}`" for label in one.labels), one.about) for one in ALL_METRICS
    ]
    return table(("metric", "kind", "labels", "meaning"), rows)


# --- Definitions and activities ---------------------------------------------------------------------------


def keys(known: vocabulary.Table) -> str:
    """The keys of one level of a definition; those that are not built yet stand apart."""
    rows = [
        (f"`{key.name}`", key.holds, f"the same as `{key.same_as}`" if key.same_as else key.about)
        for key in known.values()
        if not key.not_yet
    ]
    missing = [f"`{key.name}` ({key.about})" for key in known.values() if key.not_yet]
    later = f"\n\nNot built yet, and refused by name: {'; '.join(missing)}." if missing else ""
    return table(("key", "holds", "meaning"), rows) + later


def activity_keys() -> str:
    settings = vocabulary.SETTINGS
    return keys({name: key for name, key in vocabulary.ACTIVITY.items() if name not in settings or key.not_yet})


def setting_keys() -> str:
    settings = vocabulary.SETTINGS.items()
    return keys({name: key for name, key in settings if not key.not_yet})


def policy_options() -> str:
    """The options of each built-in policy."""
    rows = [
        (f"`{policy}`", f"`{key.name}`", key.holds, key.about)
        for policy, options in vocabulary.POLICIES.items()
        for key in options.values()
    ]
    return table(("policy", "option", "holds", "meaning"), rows)


def activities() -> str:
    """The built-in activities."""
    rows: list[Row] = []
    for builtin in BUILTINS.values():
        required = [f"**`{name}`**" for name in sorted(builtin.required)]
        optional = [f"`{name}`" for name in sorted((builtin.parameters or frozenset()) - builtin.required)]
        optional = [name for name in optional if (builtin.name, name.strip("`")) not in PARAMETERS_NOT_YET]
        taken = "any" if builtin.parameters is None else ", ".join(required + optional)
        rows.append((f"`{builtin.name}`", f"`{builtin.queue}`", taken, f"`{builtin.output}`", _attempts(builtin.name)))
    return table(("activity", "queue", "parameters (**required**)", "output name", "attempts"), rows)


def _attempts(name: str) -> str:
    if BUILTINS[name].native:
        return "no worker"
    return {SAFE.max_attempts: "4", ONCE.max_attempts: "1"}[default_backoff(name).max_attempts]


def activities_not_yet() -> str:
    return ", ".join(f"`{name}`" for name in sorted(vocabulary.ACTIVITIES_NOT_YET)) + "."


# --- Errors -----------------------------------------------------------------------------------------------


def command_codes() -> str:
    """The codes that a command can end with, by their branch."""
    rows = [(f"`{code.name}`", f"`{code.kind}`", code.means, code.advice) for code in CODES.values() if not code.again]
    return table(("code", "class", "it means", "what to do"), rows)


def codes_of(*kinds: str) -> str:
    """The codes that an activity can fail with."""
    found = [code for code in CODES.values() if code.kind in kinds and code.again]
    return table(
        ("code", "again", "it means", "what to do"),
        ((f"`{code.name}`", code.again, code.means, code.advice) for code in found),
    )


TABLES: dict[str, Callable[[], str]] = {
    "envelope": envelope,
    "event_kinds": event_kinds,
    "event_list": event_list,
    "workflow_keys": lambda: keys(vocabulary.WORKFLOW),
    "workflow_settings": lambda: keys(vocabulary.WORKFLOW_SETTINGS),
    "input_keys": lambda: keys(vocabulary.INPUT),
    "activity_keys": activity_keys,
    "setting_keys": setting_keys,
    "dependency_keys": lambda: keys(vocabulary.DEPENDENCY),
    "retry_keys": lambda: keys(vocabulary.RETRY),
    "budget_keys": lambda: keys(vocabulary.BUDGET),
    "signal_keys": lambda: keys(vocabulary.SIGNAL_WAIT),
    "notify_keys": lambda: keys(vocabulary.NOTIFY),
    "policy_keys": lambda: keys(vocabulary.POLICY),
    "policy_options": policy_options,
    "sub_workflow_keys": lambda: keys(vocabulary.SUB_WORKFLOW),
    "activities": activities,
    "activities_not_yet": activities_not_yet,
    "command_codes": command_codes,
    "activity_codes": lambda: codes_of("activity", "data"),
    "model_codes": lambda: codes_of("model"),
    "http_codes": lambda: codes_of("http"),
    "common_options": common_options,
    "verbs": verbs,
    "settings": settings,
    "metrics": metrics,
}


# --- Pages ------------------------------------------------------------------------------------------------


def rendered(page: str) -> str:
    """Return the page with its generated blocks made anew. A block of an unknown name raises `KeyError`."""
    return BLOCK.sub(lambda block: f"{block[1]}{TABLES[block[2]]()}\n{block[3]}", page)


def pages() -> list[Path]:
    return [path for path in sorted(DOCS.rglob("*.md")) if BLOCK.search(path.read_text(encoding="utf-8"))]


def outdated() -> list[Path]:
    return [path for path in pages() if rendered(path.read_text(encoding="utf-8")) != path.read_text(encoding="utf-8")]


def main(arguments: Sequence[str]) -> int:
    old = outdated()
    for path in old:
        if "--check" in arguments:
            sys.stdout.write(f"{path.relative_to(DOCS.parent)} is out of date: run `python docs/generate.py`\n")
        else:
            path.write_text(rendered(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 1 if old and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
