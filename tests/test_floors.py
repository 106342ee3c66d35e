"""The house has floors, and a file imports only from its own part and from floors below.

Two other rules of the same table are held here: the core does no I/O and reads no clock, and nobody above knows a
store, queue or provider by name but the one file that wires them. All imports count, also those inside functions and
under `TYPE_CHECKING`: a type is knowledge too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from tests.conftest import Import, SourceModule

    House = dict[str, SourceModule]

FLOORS = {
    "core": 0,
    "ports": 1,
    "settings": 1,
    "version": 1,
    "named_sql": 1,  # reads what comes with the package, as an import does
    "authoring": 1,
    "engine": 2,
    "activities": 2,
    "stores": 2,
    "queues": 2,
    "llm": 2,
    "policies": 2,
    "client": 2,
    "api": 3,
    "app": 4,
    "process": 4,
    "testing": 4,
    "sdk": 5,
    "cli": 6,
    "__main__": 6,
}

ALLOWANCES = {
    # (a part, what it may import beyond the rule): why
    (
        "testing",
        "headgate.app",
    ): "the simulation drives a whole App, wired as in earnest, under its virtual clock",
    ("__main__", "headgate.cli"): "`python -m headgate` is the command line by another name",
}

BY_NAME = ("stores", "queues", "llm", "activities")
"""The parts whose modules are named after a product or a trade: above floor 2 only `app.py` and tests pick one."""

OUTSIDE_WORLD = {
    *(
        "apsw",
        "ftplib",
        "http",
        "httpx2",
        "multiprocessing",
        "requests",
        "select",
        "selectors",
        "smtplib",
        "socket",
    ),
    *("socketserver", "sqlite3", "ssl", "subprocess", "urllib.request"),
}
"""What no file below floor 2 imports: it does no I/O."""

CORE_WORLD = OUTSIDE_WORLD | {
    *(
        "asyncio",
        "concurrent",
        "contextvars",
        "fileinput",
        "glob",
        "io",
        "locale",
        "logging",
        "os",
        "pathlib",
    ),
    *(
        "platform",
        "queue",
        "random",
        "sched",
        "secrets",
        "shutil",
        "signal",
        "sys",
        "tempfile",
        "threading",
        "time",
    ),
    *("uuid", "warnings", "yaml", "zoneinfo"),
}
"""What the core does not import either: its answers depend on its arguments alone, on any machine, in any year."""

CLOCKS = {"now", "utcnow", "today"}
READERS = {"open", "input", "print", "__import__", "breakpoint"}


class Violation(NamedTuple):
    """One line of code that stands on the wrong floor, and what to do about it."""

    place: str
    says: str

    def __str__(self) -> str:
        return f"{self.place}: {self.says}"


def test_every_part_of_the_house_has_a_floor(house: House):
    parts = {module.part for module in house.values()} - {""}

    assert parts <= FLOORS.keys(), (
        f"{sorted(parts - FLOORS.keys())} stand in src/headgate but on no floor. Decide what they may know, "
        "and write them into FLOORS here and into the table of docs/ARCHITECTURE.md."
    )


def test_every_import_goes_down(house: House):
    expect_none(climbing(house))


def test_the_package_itself_imports_nothing(house: House):
    run_at_import = [
        statement
        for statement in house["headgate"].tree.body
        if isinstance(statement, ast.Import | ast.ImportFrom)
        or (isinstance(statement, ast.If) and ast.unparse(statement.test) != "TYPE_CHECKING")
    ]

    assert run_at_import == [], "`import headgate` must stay free: a name is loaded when it is first used."


def test_only_the_wiring_picks_stores_queues_and_providers_by_name(house: House):
    expect_none(picking(house))


def test_the_floors_below_the_engine_do_no_io(house: House):
    expect_none(
        Violation(
            module.place(found.line),
            f"imports {found.module}: this floor does no I/O. Do it above, pass the result.",
        )
        for module in house.values()
        if FLOORS.get(module.part, 5) <= 1
        for found in module.imports()
        if is_one_of(found, OUTSIDE_WORLD)
    )


def test_the_core_reads_no_clock_no_chance_no_file_and_never_waits(house: House):
    expect_none(violation for module in house.values() if module.part == "core" for violation in impure(module))


def test_every_allowance_is_still_used(house: House):
    used = {
        (module.part, target)
        for module in house.values()
        for found in module.imports()
        for target in (allowed_target(module, found),)
        if target
    }
    known = {(part, target) for part, target in ALLOWANCES if any(module.part == part for module in house.values())}

    assert known <= used, f"Nobody needs {sorted(known - used)} any more: take it out of ALLOWANCES."


@pytest.mark.parametrize(
    ("part", "code", "complaint"),
    [
        ("core", "def f():\n    from headgate.ports import Log", "floor 1"),
        ("core", "import time", "time"),
        ("core", "from datetime import datetime\nx = datetime.now()", "now"),
        ("core", "async def f(): ...", "async"),
        ("core", "open('x')", "open"),
        ("core", "from os import path", "os"),
        ("engine", "import headgate.stores.sqlite", "stores"),
        ("engine", "from headgate import llm", "llm"),
        (
            "llm",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from headgate.engine.engine import Engine",
            "engine",
        ),
        ("api", "from headgate.app import App", "floor 4"),
        ("api", "from ..app import App", "floor 4"),
        ("api", "from headgate.stores.sqlite import SqliteLog", "by name"),
    ],
)
def test_a_file_on_the_wrong_floor_is_found(part: str, code: str, complaint: str, house: House):
    stranger = house["headgate.core.run"]._replace(name=f"headgate.{part}.stranger", tree=ast.parse(code))
    others = {stranger.name: stranger}

    found = [*climbing(others), *picking(others), *(impure(stranger) if part == "core" else ())]

    assert len(found) >= 1
    assert complaint in str(found[0])


def climbing(house: House) -> Iterator[Violation]:
    """Yield every import of another part on the same floor, or on one above."""
    for module in house.values():
        for found in module.imports():
            target = target_part(found)
            if not target or target == module.part or not module.part or allowed_target(module, found):
                continue
            mine, other = FLOORS[module.part], FLOORS.get(target, 9)
            if other >= mine:
                yield Violation(
                    module.place(found.line),
                    f"{module.part}/ (floor {mine}) imports {found.module}, which is {target} (floor {other}). "
                    "Imports go down only: move what both need to a lower floor, or take it as an argument.",
                )


def picking(house: House) -> Iterator[Violation]:
    """Yield every import of an adapter by its name from the doors above."""
    for module in house.values():
        for found in module.imports():
            if FLOORS.get(module.part) == FLOORS["api"] and target_part(found) in BY_NAME:
                yield Violation(
                    module.place(found.line),
                    f"{module.part}/ knows {found.module} by name. Doors know ports only; app.py does the wiring.",
                )


def impure(module: SourceModule) -> Iterator[Violation]:
    """Yield whatever in a module of the core waits, reads a clock, draws lots, or touches the machine."""
    for found in module.imports():
        if is_one_of(found, CORE_WORLD):
            yield Violation(module.place(found.line), f"imports {found.module}. Let it arrive in the command instead.")
    for node in ast.walk(module.tree):
        match node:
            case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                yield Violation(module.place(node.lineno), "is async. The core never waits; the engine does.")
            case ast.Call(func=ast.Name(id=name)) if name in READERS:
                yield Violation(module.place(node.lineno), f"calls {name}(). The core touches nothing outside itself.")
            case ast.Attribute(attr=name, value=ast.Name(id="datetime" | "date")) if name in CLOCKS:
                yield Violation(module.place(node.lineno), f"reads the clock by {name}. Time arrives in the command.")
            case _:
                pass


def target_part(found: Import) -> str:
    """Return the part of the house that an import names, "" when it is somebody else's package."""
    if found.module == "headgate":
        return found.name or ""
    return found.module.split(".")[1] if found.module.startswith("headgate.") else ""


def allowed_target(module: SourceModule, found: Import) -> str | None:
    named = f"headgate.{target_part(found)}"
    return named if (module.part, named) in ALLOWANCES else None


def is_one_of(found: Import, names: set[str]) -> bool:
    full = f"{found.module}.{found.name}" if found.name else found.module
    return any(full == name or full.startswith(f"{name}.") for name in names)


def expect_none(violations: Iterator[Violation]) -> None:
    found = sorted(set(violations))
    assert not found, "\n".join(
        ["The house does not stand as drawn (docs/ARCHITECTURE.md, the floors):", *map(str, found)]
    )
