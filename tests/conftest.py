"""What holds for every test: no skipping under CI, no deadline on a shared machine, and the package as source."""

from __future__ import annotations

import ast
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tests.mail_server import MailServer

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "headgate"

settings.register_profile("headgate", deadline=None)  # a busy machine is slow, which is not what a property says
settings.load_profile("headgate")


class Import(NamedTuple):
    """One imported name, wherever in the file the import stands: `from module import name`, or `import module`."""

    line: int
    module: str
    name: str | None


class SourceModule(NamedTuple):
    """A module of the package, parsed but not run."""

    name: str
    path: Path
    tree: ast.Module

    @property
    def part(self) -> str:
        """The part of the house it belongs to: `core`, `engine`, `app`, … ("" for the package's own `__init__`)."""
        return part_of(self.name)

    def imports(self) -> Iterator[Import]:
        """Yield every import, also those inside functions and under `TYPE_CHECKING`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (Import(node.lineno, alias.name, None) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                module = self._absolute(node)
                yield from (Import(node.lineno, module, alias.name) for alias in node.names)

    def place(self, line: int) -> str:
        return f"{self.path.relative_to(ROOT)}:{line}"

    def _absolute(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.name.split(".") if self.path.stem == "__init__" else self.name.split(".")[:-1]
        return ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])


def part_of(module: str) -> str:
    """Return the first word below `headgate` in a dotted name."""
    return module.split(".")[1] if "." in module else ""


@pytest.fixture(scope="session")
def house() -> dict[str, SourceModule]:
    """Every module of the package by its dotted name."""
    found = [_parse(path) for path in sorted(SOURCE.rglob("*.py"))]
    assert len(found) > 50, f"{SOURCE} holds hardly anything: is this the right folder?"
    return {module.name: module for module in found}


@pytest.fixture
def sink() -> Iterator[MailServer]:
    """A mail server on loopback that keeps what it takes."""
    from tests.mail_server import MailServer  # aiosmtpd is for tests of mails alone

    sink = MailServer()
    sink.start()
    yield sink
    sink.stop()


def _parse(path: Path) -> SourceModule:
    words = path.relative_to(SOURCE.parent).with_suffix("").parts
    name = ".".join(words[:-1] if words[-1] == "__init__" else words)
    return SourceModule(name, path, ast.parse(path.read_text(encoding="utf-8"), str(path)))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under CI a skipped test is a failed one: what it needs is missing, and nobody would notice."""
    report = yield
    if _is_ci() and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and under CI=true nothing may be: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole file that is skipped when it is read (`pytest.importorskip`)."""
    report = yield
    if _is_ci() and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, and under CI=true nothing may be: {report.longrepr}"
    return report


def _is_ci() -> bool:
    return os.environ.get("CI", "").lower() in {"1", "true"}
