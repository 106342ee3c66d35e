"""Every error code that the source can give is explained."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import headgate
from headgate.core.activity_codes import ACTIVITY_CODES
from headgate.core.codes import CODES, explained
from headgate.core.command_codes import COMMAND_CODES
from headgate.core.model_codes import MODEL_CODES

PACKAGE = Path(headgate.__file__).parent
FAILING = {"failed", "Failure"}
NOT_FOR_PEOPLE = {"broken"}
"""Codes of tests' own making in `testing/`."""


def test_every_code_in_the_source_is_explained():
    given = {code for path in sorted(PACKAGE.rglob("*.py")) for code in _codes(ast.parse(path.read_text()))}

    missing = sorted(code for code in given - NOT_FOR_PEOPLE if explained(code) is None)

    assert len(given) > 30
    assert missing == [], "add these to one of headgate/core/*_codes.py"


def test_no_entry_is_without_meaning_or_advice():
    assert [code.name for code in CODES.values() if not (code.means.strip() and code.advice.strip())] == []


def test_no_code_is_explained_twice():
    names = [code.name for code in (*COMMAND_CODES, *ACTIVITY_CODES, *MODEL_CODES)]

    assert sorted(names) == sorted(CODES)


def test_a_status_of_http_is_explained_as_one_of_its_kind():
    assert explained("http_503") is explained("http_404")
    assert explained("http_what") is None


def _codes(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in FAILING and node.args:
                yield from _texts(node.args[0])
            yield from (text for word in node.keywords if word.arg == "code" for text in _texts(word.value))
        elif isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "code" for target in node.targets):
            yield from _texts(node.value)


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)
