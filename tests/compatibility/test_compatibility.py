"""Workflow files written for Kruxia Flow 0.8 run here unchanged: each does what its stories say, and together they
cover every key, alias, default and quirk of the format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from tests.compatibility.corpus import FILES, FOLDER, Expectation, Played, files_beside, perform, read, stories_of
from tests.servers import postgres_server

from headgate.authoring import given_files, load_definition
from headgate.authoring.vocabulary import ACTIVITY, BUDGET, DEPENDENCY, RETRY, SETTINGS, SIGNAL_WAIT, WORKFLOW_SETTINGS
from headgate.core.money import nano
from headgate.testing.expectations import completed_keys, differences

STORIES = [(path, number) for path in FILES for number in range(len(stories_of(path, {})))]
MICROSECONDS_A_DAY = 86_400_000_000
OURS = (
    frozenset({"queue", "use", "with", "after", "when", "for_each", "max_parallel", "join", "workflow", "timeout"})
    | {"wait_for", "on_failure", "compensate", "policies", "trusted", "effect"}
    | {"rate_limit", "priority", "concurrency_key"}
)
"""Keys of an activity that are Headgate's own: files written for Kruxia Flow have none of them."""


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the table of what is covered: `shown` stands in `file` as it is written here."""

    what: str
    file: str
    shown: str


TABLE = msgspec.convert(read((FOLDER / "covered.yaml").read_text(encoding="utf-8")), dict[str, list[Row]])
ROWS = [row for rows in TABLE.values() for row in rows]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Any]:
    """Return a function that gives a server's address, and starts the server when it is first asked for."""
    started: list[Any] = []

    def address() -> str:
        if not started:
            started.append(postgres_server())
            started.append(started[0].__enter__())
        return cast("str", started[1])

    yield address
    if started:
        started[0].__exit__(None, None, None)


# --- What each file does --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "number"), STORIES, ids=[f"{path.stem}-{number}" for path, number in STORIES])
def test_a_file_does_what_its_story_says(path: Path, number: int, tmp_path: Path, postgres: Any):
    needs_postgres = "$POSTGRES" in (FOLDER / "expected" / f"{path.stem}.yaml").read_text(encoding="utf-8")

    story, played = perform(path, number, tmp_path, postgres() if needs_postgres else "")

    assert list(_mismatches(story.expect, played)) == [], _told(played)


def _told(played: Played) -> str:
    """Return how the run stands, for the reader of a failure."""
    activities = [f"{one.key}: {one.status} {one.error_code} {one.error}" for one in played.view.activities]
    return "\n".join([f"{played.view.status}: {played.view.error}", *activities])


def _mismatches(expect: Expectation, played: Played) -> Iterator[Any]:
    view = played.view
    activities = {activity.key: activity for activity in view.activities}
    yield from differences("status", expect.status, view.status)
    if expect.path is not None:
        yield from differences("path", list(expect.path), completed_keys(played.events))
    yield from differences("statuses", expect.statuses, {key: one.status for key, one in activities.items()})
    yield from differences("outputs", expect.outputs, played.outputs())
    yield from differences("failures", expect.failures, {key: one.error_code for key, one in activities.items()})
    yield from differences("attempts", expect.attempts, {key: one.attempt for key, one in activities.items()})
    if expect.requested is not None:
        yield from differences("requested", expect.requested, list(played.requested))
    if expect.cost is not None:
        yield from differences("cost", nano(str(expect.cost)), view.cost)
    took = (view.finished_at or 0) - view.created_at
    if expect.days is not None and took < expect.days * MICROSECONDS_A_DAY:
        yield f"it took only {took} microseconds"
    for number, mail in enumerate(expect.mails or ()):
        yield from differences("mails", {"contains": mail}, played.mails[number])
    yield from _mismatches_of_prompts(expect, played)


def _mismatches_of_prompts(expect: Expectation, played: Played) -> Iterator[Any]:
    for key, calls in expect.prompts.items():
        asked = ["\n".join(str(m.content) for m in call.messages) for call in played.asked if call.activity_key == key]
        if len(asked) != len(calls):
            yield f"prompts.{key}: expected {len(calls)} calls, got {len(asked)}"
        for texts, prompt in zip(calls, asked, strict=False):
            for text in texts:
                yield from differences(f"prompts.{key}", {"contains": text}, prompt)


# --- What the files cover -------------------------------------------------------------------------------------------


def test_there_are_at_least_25_files_each_with_a_story_and_a_name_of_its_own():
    assert len(FILES) >= 25
    assert {path.stem for path in FILES} == {path.stem for path in (FOLDER / "expected").iterdir()}
    assert all(stories_of(path, {}) for path in FILES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.what)
def test_every_line_of_the_table_is_shown_by_a_file(row: Row):
    path = FOLDER / "files" / row.file

    assert path.is_file(), f"{row.what}: there is no file {row.file}; write it, or name another"
    assert row.shown in path.read_text(encoding="utf-8"), f"{row.what}: {row.file} does not hold {row.shown!r}"


def test_every_file_stands_in_the_table():
    assert {path.name for path in FILES} - {row.file for row in ROWS} == set()


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        ("activity", ACTIVITY.keys() - SETTINGS.keys() - OURS),
        ("settings", SETTINGS.keys() - OURS),
        ("workflow settings", WORKFLOW_SETTINGS.keys() - {"retry", "timeout_seconds"}),
        ("retry", RETRY.keys()),
        ("budget", BUDGET.keys()),
        ("dependency", DEPENDENCY.keys()),
        ("signal", SIGNAL_WAIT.keys() - {"timeout"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_key_that_the_format_has_stands_in_the_table(table: str, keys: set[str]):
    named = {row.what for row in TABLE[table]}

    assert keys - {what.partition(" ")[0] for what in named} == set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_file_uses_a_word_that_only_headgate_has(path: Path):
    document = read(path.read_text(encoding="utf-8"))

    assert document.keys() <= {"name", "description", "activities", "settings"}
    assert isinstance(document["activities"], list)
    for activity in document["activities"]:
        assert activity.keys() & OURS == set()
        assert (activity.get("settings") or {}).keys() & OURS == set()
    load_definition(path.read_bytes(), source=path.name, read=given_files(files_beside()))
