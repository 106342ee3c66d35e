"""What `import headgate` offers: names that are loaded when they are first used."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import headgate


def test_every_public_name_is_there_for_programs_and_for_type_checkers():
    tree = ast.parse(Path(headgate.__file__).read_text("utf-8"))
    typed = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    } - {"import_module"}

    assert typed == {*headgate.__all__}
    assert all(getattr(headgate, name) is getattr(headgate, name) for name in headgate.__all__)
    assert {*headgate.__all__} <= {*dir(headgate)}


def test_a_name_that_is_not_there_is_said_so():
    with pytest.raises(AttributeError, match="module 'headgate' has no attribute 'workflows'"):
        _ = headgate.workflows  # which is the point
