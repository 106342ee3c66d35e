"""The definitions of a case, read as a run would read them, but for what the case itself stands in for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from headgate.authoring import UnreadableFile, load_definition
from headgate.authoring.document import Unreadable, decode, plain
from headgate.authoring.yaml_text import read_yaml
from headgate.core.definition import Definition
from headgate.core.place import key_of_place
from headgate.testing.case_script import CaseProviders
from headgate.testing.cases import Case

__all__ = ["definition_of", "load_for"]


def definition_of(case: Case, functions: Iterable[str] = ()) -> Definition:
    """Return the checked definition of a case. Raises `InvalidDefinition`.

    An activity whose results the case gives may be unknown here: it is somebody else's worker that would run it.
    """
    return load_for(case, case.workflow, case.source, functions)


def load_for(case: Case, text: str, source: str, functions: Iterable[str]) -> Definition:
    """Return the checked definition of one of a case's texts. Raises `InvalidDefinition`."""
    providers = CaseProviders(case, asyncio.sleep)
    return load_definition(
        text,
        source=source,
        providers=frozenset(providers),
        activities=frozenset({*functions, *_answered_names(case, text)}),
        read=partial(_read_beside, Path(case.folder)) if case.folder else None,
    )


def _read_beside(folder: Path, path: str) -> str:
    """Return the text of a file that a definition refers to. Raises `UnreadableFile`."""
    file = (folder / path).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise UnreadableFile(f"the file {path} is not inside of the workflow's folder; move it there.")
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"the file {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None


def _answered_names(case: Case, text: str) -> set[str]:
    """Return what the activities run whose results the case gives: nobody needs to have them."""
    try:
        data = plain(read_yaml(decode(text))[0])
    except Unreadable:
        return set()  # which the loader will say better
    found: set[str] = set()
    answered = {key_of_place(place) for place in case.activities}
    activities: Any = data.get("activities") if isinstance(data, dict) else None
    listed = (
        activities.items()
        if isinstance(activities, dict)
        else [(a.get("key"), a) for a in activities or [] if isinstance(a, dict)]
    )
    for key, activity in listed:
        name: Any = activity.get("use", activity.get("activity_name")) if isinstance(activity, dict) else None
        if key in answered and isinstance(name, str):
            found.add(name)
    return found
