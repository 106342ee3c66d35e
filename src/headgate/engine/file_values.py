"""Files among a run's values: read where a template uses them as text, made of outputs that are declared as files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from headgate.core.definition import Activity
from headgate.core.errors import Invalid
from headgate.core.values import FILE_MARK
from headgate.ports import Files

__all__ = ["with_files", "with_texts"]

TEXTUAL = ("text/", "application/json", "application/xml", "application/yaml")


def with_texts(
    values: Mapping[int, object], files: Files, *, fileless: set[int], list_of_items: int = 0, item: int = -1
) -> Mapping[int, object]:
    """Return the values with the text of each text file in the place of its file value. Others stay as they are.

    `fileless` are versions that are known to hold none; what is found to hold none is added. Of the content of version
    `list_of_items`, a fan-out's, only the item is read that is asked for.
    """
    changed: dict[int, object] = {}
    for version, value in values.items():
        if version in fileless:
            continue
        if version == list_of_items and isinstance(value, list):
            items = cast("list[object]", value)
            if _holds_file(items[item]):
                changed[version] = [*items[:item], _read(items[item], files), *items[item + 1 :]]
        elif _holds_file(value):
            changed[version] = _read(value, files)
        else:
            fileless.add(version)
    return {**values, **changed} if changed else values


def _holds_file(value: object) -> bool:
    if isinstance(value, dict):
        return FILE_MARK in value or any(_holds_file(part) for part in value.values())
    return isinstance(value, list) and any(_holds_file(part) for part in value)


def _read(value: Any, files: Files) -> Any:
    if isinstance(value, dict):
        if FILE_MARK in value:
            text = files.text(value) if str(value.get("media_type", "")).startswith(TEXTUAL) else None
            return value if text is None else text
        return {key: _read(part, files) for key, part in value.items()}
    return [_read(part, files) for part in value] if isinstance(value, list) else value


def with_files(activity: Activity, output: Any, files: Files) -> Any:
    """Return the output with those parts as files that the activity declares so: a field of the output's map, or all of
    it where that is the only declared output. Raises `Invalid` where there is no such field."""
    names = [declared.name for declared in activity.outputs if declared.type == "file"]
    if not names:
        return output
    if isinstance(output, dict) and all(name in output for name in names):
        return {**output, **{name: _kept(name, output[name], files) for name in names}}
    if len(activity.outputs) == 1:
        return {names[0]: _kept(names[0], output, files)}
    missing = next(name for name in names if not isinstance(output, dict) or name not in output)
    raise Invalid(f"activity {activity.key!r} declares the file {missing!r}, but its output has no such field.")


def _kept(name: str, value: Any, files: Files) -> Any:
    if isinstance(value, dict) and FILE_MARK in value:
        return value
    if isinstance(value, str):
        return files.keep(value.encode(), f"{name}.txt" if "." not in name else name, "text/plain")
    data = msgspec.json.format(msgspec.json.encode(value), indent=2)
    return files.keep(data, f"{name}.json" if "." not in name else name, "application/json")
