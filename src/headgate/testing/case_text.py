"""A recorded case as text of a test file: a new one, or one more case at the end of a file that is there.

What was there stays as it was, comments and all. What is written is read again and compared, so that no text is
taken for a number, or the other way round.
"""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec
import yaml

from headgate.authoring.document import Listing, Mapping, Unreadable, decode, plain
from headgate.authoring.yaml_text import read_yaml
from headgate.core.errors import Invalid

__all__ = ["with_case"]

WIDTH = 110
LOOKS_LIKE_A_NUMBER = re.compile(r"[-+.\d]")
NOT_IN_A_BLOCK = re.compile(r"[\r\x85\u2028\u2029]|[ \t]$|\A\s", re.MULTILINE)


def with_case(text: str | None, form: dict[str, Any], *, workflow: str = "") -> str:
    """Return the text of a test file with one more case at its end.

    `text` None: a new file, which names `workflow` unless that is empty. Raises `Invalid` where the file's `cases`
    is not a list, written in lines, that ends the file.
    """
    if text is None:
        head = f"workflow: {msgspec.json.encode(workflow).decode()}\n" if workflow else ""
        return _checked(f"{head}cases:\n{_item(form, 2)}", [form])
    node, problems = _read(text)
    cases = node.entries.get("cases") if isinstance(node, Mapping) else None
    if problems or cases is None or not isinstance(cases.value, Listing) or not cases.value.items:
        raise Invalid("expected the test file to hold a list of `cases`; name another one with --out.")
    column = cases.value.column - 1
    return _checked(f"{text.rstrip()}\n{_item(form, column)}", [*cast("list[Any]", plain(cases.value)), form])


def _checked(text: str, cases: list[Any]) -> str:
    """Return the text, if reading it gives these cases."""
    try:
        node, problems = _read(text)
        found = plain(node)["cases"] if not problems else None
    except (Unreadable, KeyError, TypeError):
        found = None
    if found != cases:
        raise Invalid(
            "A case cannot be added to this file: expected `cases` to be the last key, its items on lines of their "
            "own. Name another file with --out."
        )
    return text


def _read(text: str) -> tuple[Any, list[Any]]:
    return read_yaml(decode(text))


def _item(form: dict[str, Any], column: int) -> str:
    """Return a case as an item of a list that begins at this column."""
    text = yaml.dump(form, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)
    try:
        same = plain(_read(text)[0]) == form
    except Unreadable:
        same = False
    if not same:
        text = f"{msgspec.json.encode(form).decode()}\n"  # YAML as well, if not for reading
    first, *rest = [f"{' ' * (column + 2)}{line}" if line else "" for line in text.rstrip("\n").split("\n")]
    return "\n".join([f"{' ' * column}- {first.lstrip()}", *rest, ""])


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, and quotes around whatever might be read as something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if "\n" in text and not NOT_IN_A_BLOCK.search(text):
        style = "|"
    elif "\n" in text or NOT_IN_A_BLOCK.search(text) or LOOKS_LIKE_A_NUMBER.match(text):
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
