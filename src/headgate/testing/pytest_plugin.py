"""pytest runs `*.test.yaml` files: one item for each case. Nothing is imported for it until such a file is found.

Installed with the package; `--headgate-off` leaves the files alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from headgate.testing.cases import Case, CaseResult

__all__ = ["CaseFailed", "CaseFile", "CaseItem", "pytest_addoption", "pytest_collect_file"]

SUFFIXES = (".test.yaml", ".test.yml")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("headgate", "tests of Headgate workflows")
    group.addoption("--headgate-off", action="store_true", help="Do not run the cases of *.test.yaml files.")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if not file_path.name.endswith(SUFFIXES) or parent.config.getoption("--headgate-off"):
        return None
    return CaseFile.from_parent(parent, path=file_path)  # pytest's is untyped


class CaseFile(pytest.File):
    """A test file. One that cannot be read is an error of the collection, with line and column."""

    def collect(self) -> Iterator[pytest.Item]:
        from headgate.core.errors import Invalid
        from headgate.testing.case_file import load_cases

        try:
            cases = load_cases(self.path)
        except Invalid as error:
            raise self.CollectError(error.message) from None
        for case in cases:
            item: CaseItem = CaseItem.from_parent(self, name=case.name)
            item.case = case
            yield item


class CaseItem(pytest.Item):
    """One case."""

    case: Case

    def runtest(self) -> None:
        from headgate.testing.case_runner import run_case

        result = run_case(self.case)
        if not result.passed:
            raise CaseFailed(result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, CaseFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.case.line - 1, self.name


class CaseFailed(AssertionError):
    """A case of which something is not as it should be; `result` has all of it."""

    def __init__(self, result: CaseResult) -> None:
        from headgate.testing.case_report import result_lines

        super().__init__("\n".join([f"{result.case.file}:{result.case.line}", *result_lines(result)]))
        self.result = result
