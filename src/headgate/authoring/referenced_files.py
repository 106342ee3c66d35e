"""Texts that a definition refers to, scripts and prompt templates in files beside it, brought into it on loading.

Inlined, they are part of what is hashed, stored and run: a file that is changed later changes the next run's version
and no run that is under way. Reading is the caller's: this module gets a function and does no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from headgate.authoring.positions import Path, Positions
from headgate.authoring.prompt_templates import Read, UnreadableFile, prompt_label, prompt_text
from headgate.core.catalogue import BUILTINS
from headgate.core.definition import Activity, Definition

__all__ = ["given_files", "with_referenced_files"]

REFERENCED_CHARACTERS_MAX = 8 * 1024 * 1024
"""All files of a definition together; each may be used by many activities, and counts once for each."""

END_OF_RAW = re.compile(r"(\{%[-+]?\s*endraw\s*[-+]?%\})")
"""The one text that ends what is verbatim."""

Note = Callable[[Path, str], None]


def given_files(texts: Mapping[str, str]) -> Read:
    """Return a `Read` over files that were read already, by their paths relative to the definition."""

    def read(path: str) -> str:
        if path in texts:
            return texts[path]
        folder, _, _ = path.rpartition("/")
        beside = tuple(name.rpartition("/")[2] for name in texts if name.rpartition("/")[0] == folder)
        raise UnreadableFile(
            f"the file {path} was not given with the definition.", missing=True, neighbours=tuple(sorted(beside))
        )

    return read


def with_referenced_files(
    definition: Definition, read: Read | None, note: Note, positions: Positions | None = None
) -> Definition:
    """Return `definition` with the text of every `script_file` and prompt template in place; what cannot be had is
    noted, and stays as it is. Without `read` no file can be had."""
    inlining = _Inlining(read, note, positions)
    activities = tuple(inlining.activity(activity) for activity in definition.activities)
    return msgspec.structs.replace(definition, activities=activities)


class _Inlining:
    def __init__(self, read: Read | None, note: Note, positions: Positions | None) -> None:
        self.read = read
        self.note = note
        self.positions = positions
        self.characters = 0

    def activity(self, activity: Activity) -> Activity:
        builtin = BUILTINS.get(activity.name)
        if builtin is None or activity.queue not in ("std", builtin.queue):
            return activity  # an activity of somebody else's worker, whose parameters are its own
        if activity.name == "script" and "script_file" in activity.parameters:
            return self._script(activity)
        if activity.name == "llm_prompt" and "template" in activity.parameters:
            return self._prompt(activity)
        return activity

    def _script(self, activity: Activity) -> Activity:
        path = self._constant(activity, "script_file", excluded=("script",))
        if path is None:
            return activity
        try:
            text = self._text(path)
        except UnreadableFile as error:
            self.note(("activities", activity.key, "parameters", "script_file"), str(error))
            return activity
        return _given(activity, {"script": _verbatim(text)})

    def _prompt(self, activity: Activity) -> Activity:
        template = self._constant(activity, "template", excluded=("prompt", "messages"))
        if template is None:
            return activity
        place: Path = ("activities", activity.key, "parameters")
        try:
            path, text = prompt_text(template, self._text)
        except UnreadableFile as error:
            self.note((*place, "template"), str(error))
            return activity
        if self.positions is not None:
            self.positions.record_file((*place, "prompt"), (*place, "template"), path, text)
        return msgspec.structs.replace(_given(activity, {"prompt": text}), prompt=prompt_label(template, text))

    def _constant(self, activity: Activity, name: str, *, excluded: tuple[str, ...]) -> str | None:
        """Return the parameter that names a file; what it names must be known before anything runs."""
        value = activity.parameters[name]
        place: Path = ("activities", activity.key, "parameters", name)
        if not isinstance(value, str) or not value.strip():
            self.note(place, f"expected {name} to be the name of a file, got {value!r}.")
        elif "{{" in value or "{%" in value:
            self.note(
                place, f"{name} is not rendered, for its text belongs to the version of the workflow; write it out."
            )
        elif given := [other for other in excluded if other in activity.parameters]:
            self.note(place, f"`{name}` and `{given[0]}` exclude each other; keep one of them.")
        else:
            return value
        return None

    def _text(self, path: str) -> str:
        if self.read is None:
            raise UnreadableFile(
                f"the file {path} cannot be read here: a definition that comes without its folder has no files "
                "beside it. Put the text into the definition."
            )
        text = self.read(path)
        self.characters += len(text)
        if self.characters > REFERENCED_CHARACTERS_MAX:
            raise UnreadableFile(
                f"the files of this definition have more than {REFERENCED_CHARACTERS_MAX:,} characters together; "
                "give large texts as input."
            )
        return text


def _given(activity: Activity, more: dict[str, Any]) -> Activity:
    return msgspec.structs.replace(activity, parameters={**activity.parameters, **more})


def _verbatim(script: str) -> str:
    """Return a script as parameters hold it. Braces in a file of Python are Python's: they are no templates."""
    if "{{" not in script and "{%" not in script:
        return script
    return "".join(
        f"{{{{ {piece!r} }}}}" if END_OF_RAW.fullmatch(piece) else f"{{% raw %}}{piece}{{% endraw %}}"
        for piece in END_OF_RAW.split(script)
    )
