"""Test files: `NAME.test.yaml` beside `NAME.yaml`, read into cases, or everything that is wrong with one.

Every problem has its line and column, and names the key that was meant. What is found wrong here is wrong before
anything runs: unknown keys, answers that are none, activities that the workflow does not have.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from decimal import InvalidOperation
from pathlib import Path
from typing import Any, cast

import msgspec

from headgate.authoring.document import Node, Unreadable, decode
from headgate.authoring.fields import Field, Reading
from headgate.authoring.problems import summary
from headgate.authoring.vocabulary import Key, Table
from headgate.authoring.yaml_text import read_yaml
from headgate.core.definition import Definition
from headgate.core.duration import parse_instant, parse_microseconds
from headgate.core.errors import Invalid, Problem
from headgate.core.place import key_of_place
from headgate.testing.case_definition import definition_of
from headgate.testing.case_script import one_answer, price_from
from headgate.testing.cases import Case, CaseSignal, Crash, Expected, Moment
from headgate.testing.clock import NOON

__all__ = ["FILES_MAX", "SUFFIXES", "find_case_files", "load_cases"]

SUFFIXES = (".test.yaml", ".test.yml")
FILES_MAX = 10_000
PASSED_BY = frozenset({".git", ".venv", "node_modules", "__pycache__", ".headgate"})


def _table(text: str) -> Table:
    return {name: Key(name, "", "") for name in text.split()}


FILE = _table("workflow children cases")
CASE = _table("name input budget models prices activities signals clock secrets crash expect unused")
SIGNAL = _table("name approve reject activity after by comment data")
EXPECT = _table("status outputs path cost cost_max calls error events")
ERROR = _table("code contains")
CRASH = _table("after")
RESULT = _table("output error delay")
FAILURE = _table("code message retryable")
STATUSES = ("completed", "failed", "cancelled", "waiting", "paused", "running")


def find_case_files(paths: Sequence[Path]) -> list[Path]:
    """Return the test files among and below the paths, in order. Raises `Invalid` for a path that is not there."""
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise Invalid(f"There is no {path} here; name a test file (NAME.test.yaml) or a folder.")
        found.update(dict.fromkeys([path] if path.is_file() else sorted(_below(path))))
        if len(found) > FILES_MAX:
            raise Invalid(f"More than {FILES_MAX:,} test files lie below {path}; name a smaller folder.")
    return list(found)


def _below(folder: Path) -> Iterator[Path]:
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in PASSED_BY]
        yield from (Path(where) / name for name in names if name.endswith(SUFFIXES))


def load_cases(path: str | Path, *, functions: Sequence[str] = ()) -> list[Case]:
    """Return the cases of a test file, in order. `functions` are names of activities of your own.

    Raises `Invalid` with all problems of the file, each with line and column, or those of its workflow; the same
    text always gives equal cases.
    """
    path = Path(path)
    text = _text_of(path, "The test file")
    try:
        characters = decode(text)
        node, problems = read_yaml(characters)
    except Unreadable as error:
        raise _invalid(path, [error.problem]) from None
    cases = _File(path, Reading(problems)).cases(node)
    if problems:
        raise _invalid(path, problems)
    for number, case in enumerate(cases):
        _Checked(case, number, definition_of(case, functions), path, node).check()
    return cases


def _text_of(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise Invalid(f"{what} {path} cannot be read: {error.strerror or error}.") from None


def _invalid(path: Path, problems: Sequence[Problem]) -> Invalid:
    named = tuple(msgspec.structs.replace(problem, source=str(path)) for problem in problems)
    found = tuple(sorted(set(named), key=lambda problem: (problem.line or 0, problem.column or 0)))
    return Invalid(summary(str(path), found), found)


class _File:
    """Reads one file; what is wrong is noted in `reading`."""

    def __init__(self, path: Path, reading: Reading) -> None:
        self._path = path
        self._reading = reading

    def cases(self, node: Node) -> list[Case]:
        fields = self._reading.known(Field(node), FILE, "a test file")
        if "cases" not in fields:
            self._reading.note("a test file needs `cases`: a list of them.", Field(node))
            return []
        workflow = self._workflow(fields.get("workflow"), Field(node))
        children = dict(self._children(fields.get("children")))
        listed = self._reading.listed(fields["cases"])
        cases = [self._case(field, workflow, children) for field in listed]
        self._check_names(listed, cases)
        return cases

    def _check_names(self, fields: Sequence[Field], cases: Sequence[Case]) -> None:
        first: dict[str, Field] = {}
        for field, case in zip(fields, cases, strict=True):
            other = first.setdefault(case.name, field)
            if other is not field:
                said = f'the case in line {other.node.line} is named "{case.name}" too; rename one of them.'
                self._reading.note(said, field)

    def _workflow(self, field: Field | None, root: Field) -> tuple[str, str]:
        """Return the workflow file and its text."""
        if field is not None:
            name = self._reading.text(field, "the path of a workflow file") or ""
            return self._read(name, field)
        stem = next((self._path.name.removesuffix(end) for end in SUFFIXES if self._path.name.endswith(end)), "")
        for ending in (".yaml", ".yml", ".json"):
            if stem and (self._path.parent / f"{stem}{ending}").is_file():
                return self._read(f"{stem}{ending}", root)
        said = f"there is no {stem or 'workflow'}.yaml beside this file; name the workflow's file under `workflow`."
        self._reading.note(said, root)
        return "", ""

    def _children(self, field: Field | None) -> Iterator[tuple[str, str]]:
        for item in self._reading.listed(field) if field else []:
            yield self._read(self._reading.text(item, "the path of a workflow file") or "", item)

    def _read(self, name: str, field: Field) -> tuple[str, str]:
        path = self._path.parent / name
        try:
            return str(path), _text_of(path, "the workflow").decode()
        except (Invalid, UnicodeDecodeError) as error:
            self._reading.note(str(error), field)
            return str(path), ""

    # --- A case ----------------------------------------------------------------------------------------------------

    def _case(self, field: Field, workflow: tuple[str, str], children: Mapping[str, str]) -> Case:
        read, fields = self._reading, self._reading.known(field, CASE, "a case")
        name = read.text(fields["name"]) if "name" in fields else None
        if "name" not in fields:
            read.note("a case needs a `name`: the sentence that it proves.", field)
        return Case(
            name=name or "",
            workflow=workflow[1],
            source=workflow[0],
            folder=str(Path(workflow[0]).parent),
            children=children,
            input=read.value(fields["input"]) if "input" in fields else None,
            limit=read.dollars(fields["budget"]) if "budget" in fields else None,
            models={key: tuple(self._answers(value)) for key, value in self._map(fields.get("models"))},
            prices={key: self._price(key, value) for key, value in self._map(fields.get("prices"))},
            activities={key: tuple(self._results(value)) for key, value in self._map(fields.get("activities"))},
            signals=tuple(self._signals(fields.get("signals"))),
            clock=self._clock(fields.get("clock")),
            secrets={key: str(read.value(value)) for key, value in self._map(fields.get("secrets"))},
            crash=self._crash(fields.get("crash")),
            expect=self._expected(fields.get("expect")),
            unused=cast("Any", read.choice(fields["unused"], ("error", "allowed")) if "unused" in fields else "error"),
            file=str(self._path),
            line=field.node.line,
        )

    def _map(self, field: Field | None) -> list[tuple[str, Field]]:
        return list(self._reading.mapping(field).items()) if field is not None else []

    def _answers(self, field: Field) -> Iterator[Mapping[str, Any]]:
        for item in self._reading.listed(field):
            entry = self._reading.value(item)
            if not isinstance(entry, dict):
                self._reading.expected("an answer such as {text: …}, {json: …} or {error: {status: 429}}", item)
                continue
            try:
                one_answer("", "answer", cast("dict[str, Any]", entry))
            except Invalid as error:
                self._reading.note(error.message.replace("models.answer[0]", item.path), item)
            if "delay" in entry:
                entry["delay"] = self._seconds(item.under("delay"))
            yield entry

    def _results(self, field: Field) -> Iterator[Mapping[str, Any]]:
        for item in self._reading.listed(field):
            fields = self._reading.known(item, RESULT, "a result")
            if ("output" in fields) == ("error" in fields) and not (item.under("output") and not fields):
                self._reading.note("expected a result to be {output: …} or {error: {code, message}}.", item)
                continue
            if "error" in fields:
                self._reading.known(fields["error"], FAILURE, "an error")
            yield {
                name: self._seconds(part) if name == "delay" else self._reading.value(part)
                for name, part in fields.items()
            }

    def _price(self, name: str, field: Field) -> Any:
        value = self._reading.value(field)
        try:
            price_from(name, value)
        except (AttributeError, InvalidOperation, TypeError, ValueError):
            self._reading.expected("a price in dollars per million tokens such as {input: 0.25, output: 2}", field)
        return value

    def _signals(self, field: Field | None) -> Iterator[CaseSignal]:
        for item in self._reading.listed(field) if field else []:
            fields = self._reading.known(item, SIGNAL, "a signal")
            kinds = [kind for kind in ("name", "approve", "reject") if item.under(kind)]
            if len(kinds) != 1:
                said = "expected a signal to have one of `name`, `approve` and `reject` (each may name the activity)."
                self._reading.note(said, item)
                continue
            yield self._signal(kinds[0], fields)

    def _signal(self, kind: str, fields: Mapping[str, Field]) -> CaseSignal:
        read = self._reading
        whom = read.value(fields[kind]) if kind in fields else None
        activity = read.text(fields["activity"]) or "" if "activity" in fields else ""
        return CaseSignal(
            kind="signal" if kind == "name" else cast("Any", kind),
            name=str(whom) if kind == "name" else "",
            activity=activity or (whom if isinstance(whom, str) and kind != "name" else ""),
            after=self._moment(fields.get("after")),
            by=read.text(fields["by"]) or "" if "by" in fields else "",
            comment=read.text(fields["comment"]) or "" if "comment" in fields else "",
            data=read.value(fields["data"]) if "data" in fields else None,
        )

    def _moment(self, field: Field | None) -> Moment:
        """Return `3d`, `draft`, or `draft + 3d`."""
        if field is None:
            return Moment()
        value = self._reading.value(field)
        activity, _, delay = str(value).rpartition(" + ") if isinstance(value, str) else ("", "", value)
        try:
            return Moment(activity.strip(), parse_microseconds(delay))
        except Invalid:
            if isinstance(value, str) and not activity:
                return Moment(value.strip())
            self._reading.expected("a time such as 3d, an activity such as draft, or draft + 3d", field)
            return Moment()

    def _clock(self, field: Field | None) -> int:
        if field is None:
            return NOON
        try:
            return parse_instant(self._reading.value(field))
        except Invalid:
            self._reading.expected("a time such as 2030-01-31T09:00:00Z", field)
            return NOON

    def _crash(self, field: Field | None) -> Crash | None:
        fields = self._reading.known(field, CRASH, "a crash") if field is not None else {}
        if field is None or "after" not in fields:
            return None
        value = self._reading.value(fields["after"])
        if isinstance(value, bool) or not isinstance(value, int | str):
            self._reading.expected("an activity, or a number of events", fields["after"])
            return None
        return Crash(value)

    def _seconds(self, field: Field | None) -> float:
        return (self._reading.seconds(field) or 0.0) if field is not None else 0.0

    # --- What is expected ------------------------------------------------------------------------------------------

    def _expected(self, field: Field | None) -> Expected:
        if field is None:
            return Expected()
        read, fields = self._reading, self._reading.known(field, EXPECT, "expect")
        code, contains = self._error(fields.get("error"))
        outputs = field.under("outputs")
        return Expected(
            status=read.choice(fields["status"], STATUSES) if "status" in fields else None,
            outputs=msgspec.UNSET if outputs is None else read.value(outputs),
            path=self._path_of(fields.get("path")),
            cost=read.dollars(fields["cost"]) if "cost" in fields else None,
            cost_max=read.dollars(fields["cost_max"]) if "cost_max" in fields else None,
            calls=self._calls(fields.get("calls")),
            error_code=code,
            error_contains=contains,
            events={key: read.whole(value) or 0 for key, value in self._map(fields.get("events"))} or None,
        )

    def _error(self, field: Field | None) -> tuple[str, str]:
        """Return code and part of the message; a text alone is a code."""
        if field is None:
            return "", ""
        value = self._reading.value(field)
        if isinstance(value, str):
            return value, ""
        fields = self._reading.known(field, ERROR, "error")
        texts = {name: self._reading.text(part) or "" for name, part in fields.items()}
        return texts.get("code", ""), texts.get("contains", "")

    def _path_of(self, field: Field | None) -> Any:
        if field is None:
            return None
        value = self._reading.value(field)
        if isinstance(value, dict):
            return {key: str(status) for key, status in cast("dict[str, Any]", value).items()}
        return tuple(self._reading.text(item, "an activity's key") or "" for item in self._reading.listed(field))

    def _calls(self, field: Field | None) -> Any:
        if field is None:
            return None
        if isinstance(self._reading.value(field), dict):
            return {key: self._reading.whole(value) or 0 for key, value in self._map(field)}
        return self._reading.whole(field)


class _Checked:
    """Holds a case against its workflow: what it names must be there."""

    def __init__(self, case: Case, number: int, definition: Definition, path: Path, root: Node) -> None:
        self._case = case
        self._keys = [activity.key for activity in definition.activities]
        self._path = path
        self._problems: list[Problem] = []
        self._reading = Reading(self._problems)
        cases = Field(root).under("cases")
        assert cases is not None
        self._field = self._reading.listed(cases)[number]

    def check(self) -> None:
        for number, signal in enumerate(self._case.signals):
            self._check_key(signal.activity, "signals", number, "activity")
            self._check_key(signal.after.activity, "signals", number, "after")
        if self._case.crash is not None and isinstance(self._case.crash.after, str):
            self._check_key(self._case.crash.after, "crash", "after")
        for key in self._case.activities:
            self._check_key(key, "activities", key)
        for key in self._case.expect.path or ():
            self._check_key(key, "expect", "path", *([key] if isinstance(self._case.expect.path, Mapping) else []))
        for key in self._case.expect.calls if isinstance(self._case.expect.calls, Mapping) else ():
            self._check_key(key, "expect", "calls", key)
        if self._problems:
            raise _invalid(self._path, self._problems)

    def _check_key(self, name: str, *where: str | int) -> None:
        key = key_of_place(name)
        if not name or key in self._keys:
            return
        field = self._field
        for part in where:
            field = (field.under(part) if isinstance(part, str) else field.at(part)) or field
        near = self._reading.near(key, self._keys)
        self._reading.note(f'the workflow has no activity "{key}".{near}', field)
