"""`__all__` is the door of a module, and it is true: it names all that others use, and nothing private or missing."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import SourceModule

    House = dict[str, SourceModule]


def test_every_module_with_public_names_has_an_all(house: House):
    missing = [
        f"{module.place(1)}: defines {', '.join(sorted(names)[:4])}, and has no __all__. "
        "Name what others may use; begin the rest with an underscore."
        for module in house.values()
        if exported(module) is None and (names := defined(module))
    ]

    assert missing == [], "\n".join(missing)


def test_every_exported_name_exists(house: House):
    wrong = [
        f"{module.place(1)}: __all__ names {name!r}, which is not in the module."
        for module in house.values()
        if exported(module) and not is_program(module)
        for name in exported(module) or ()
        if not hasattr(importlib.import_module(module.name), name)
    ]

    assert wrong == [], "\n".join(wrong)


def test_no_private_name_is_exported(house: House):
    wrong = [
        f"{module.place(1)}: __all__ names {name!r}, whose underscore says that it is nobody else's."
        for module in house.values()
        for name in exported(module) or ()
        if name.startswith("_") and not name.endswith("__")
    ]

    assert wrong == [], "\n".join(wrong)


def test_exported_names_stand_once_and_in_order(house: House):
    wrong = [
        f"{module.place(1)}: __all__ is not in order (constants, classes, functions; each once). "
        f"Expected {sorted(set(names), key=as_ruff_sorts)}"
        for module in house.values()
        if (names := exported(module)) and names != sorted(set(names), key=as_ruff_sorts)
    ]

    assert wrong == [], "\n".join(wrong)


def test_what_one_module_takes_from_another_is_exported_there(house: House):
    wrong = list(taken_through_the_window(house))

    assert wrong == [], "\n".join(wrong)


@pytest.mark.parametrize("code", ["__all__ = ['other']\ndef used(): ...", "__all__ = []\nclass used: ...", "used = 1"])
def test_a_name_that_is_not_exported_is_found_where_it_is_taken(code: str, house: House):
    origin = house["headgate.core.run"]._replace(name="headgate.core.origin", tree=ast.parse(code))
    taker = origin._replace(name="headgate.core.taker", tree=ast.parse("from headgate.core.origin import used"))

    wrong = list(taken_through_the_window({origin.name: origin, taker.name: taker}))

    assert len(wrong) == 1
    assert "used" in wrong[0]


def taken_through_the_window(house: House) -> Iterator[str]:
    """Yield every import of a name that its module does not export."""
    for module in house.values():
        for found in module.imports():
            origin = house.get(found.module)
            if origin is None or found.name is None or f"{found.module}.{found.name}" in house:
                continue
            if found.name not in (exported(origin) or ()):
                yield (
                    f"{module.place(found.line)}: takes {found.name!r} from {found.module}, which does not export it. "
                    "Put it into that module's __all__, or do without it."
                )
        whole = {alias: house[name] for alias, name in aliases(module).items() if name in house}
        for node in ast.walk(module.tree):
            match node:
                case ast.Attribute(value=ast.Name(id=alias), attr=name) if alias in whole:
                    origin = whole[alias]
                    if name in defined(origin) and name not in (exported(origin) or ()):
                        yield (
                            f"{module.place(node.lineno)}: uses {alias}.{name}, which {origin.name} does not export. "
                            "Put it into that module's __all__, or do without it."
                        )
                case _:
                    pass


def aliases(module: SourceModule) -> dict[str, str]:
    """Return the modules of the package that are imported whole, by the name that they have here."""
    return {
        alias.asname or alias.name: f"{statement.module}.{alias.name}"
        for statement in module.tree.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


def exported(module: SourceModule) -> list[str] | None:
    """Return what `__all__` names, None when there is none."""
    for statement in module.tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return list(ast.literal_eval(value))
            case ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value):
                return list(ast.literal_eval(value))
            case _:
                pass
    return None


def defined(module: SourceModule) -> set[str]:
    """Return the public names that the module itself defines at its top."""
    names: set[str] = set()
    for statement in module.tree.body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=targets):
                names |= {target.id for target in targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
            case _:
                pass
    return {name for name in names if not name.startswith("_")}


def is_program(module: SourceModule) -> bool:
    """Whether importing the module would run it."""
    return module.path.stem == "__main__"


def as_ruff_sorts(name: str) -> tuple[int, list[tuple[int, str]]]:
    """Constants, then classes, then the rest; numbers inside names by value."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    return kind, [(int(word), "") if word.isdigit() else (-1, word) for word in re.split(r"(\d+)", name) if word]
