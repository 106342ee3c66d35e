"""`headgate test`: the cases of test files, each run in memory, and what is not as it should be."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from headgate.cli import exit_codes
from headgate.cli.options import Common, common
from headgate.cli.words import plural

if TYPE_CHECKING:
    from headgate.testing.cases import Case, CaseResult

__all__ = ["test"]


@click.command()
@common
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("-k", "only", metavar="TEXT", default="", help="Only cases whose file or name contains this.")
@click.option("--activities", metavar="MODULE", multiple=True, help="A module with activities of your own.")
def test(common: Common, paths: tuple[Path, ...], only: str, activities: tuple[str, ...]) -> int:
    """Run the cases of all *.test.yaml files among and below PATHS [default: this folder].

    Models and the outside world answer from the case, time leaps, nothing is written. Ends with 1 when a case fails.
    """
    from headgate.cli.user_activities import load_activities
    from headgate.testing.case_file import find_case_files, load_cases
    from headgate.testing.case_runner import run_case

    functions = load_activities(activities)
    cases = [
        case
        for path in find_case_files(paths or (Path(),))
        for case in load_cases(path, functions=tuple(functions))
        if only.lower() in f"{case.file} {case.name}".lower()
    ]
    forms: list[dict[str, Any]] = []
    for case in cases:
        began = time.monotonic()
        result = run_case(case, functions=functions)
        forms.append(_form(result, time.monotonic() - began))
        if not common.output.json:
            _print(common, result)
    return _summed_up(common, cases, forms)


def _form(result: CaseResult, seconds: float) -> dict[str, Any]:
    from headgate.testing.case_report import mismatch_form

    return {
        "file": result.case.file,
        "line": result.case.line,
        "name": result.case.name,
        "passed": result.passed,
        "seconds": round(seconds, 3),
        "mismatches": [mismatch_form(mismatch) for mismatch in result.mismatches],
    }


def _print(common: Common, result: CaseResult) -> None:
    from headgate.testing.case_report import result_lines

    output, case = common.output, result.case
    mark = output.mark("completed" if result.passed else "failed")
    where = case.file if result.passed else f"{case.file}:{case.line}"
    if result.passed and output.quiet:
        return
    output.line(f"{mark} {where}: {case.name}")
    for line in result_lines(result):
        output.line(f"    {line}")


def _summed_up(common: Common, cases: list[Case], forms: list[dict[str, Any]]) -> int:
    failed = sum(not form["passed"] for form in forms)
    if common.output.json:
        common.output.data({"passed": len(forms) - failed, "failed": failed, "cases": forms})
    elif not cases:
        common.output.notice("No case was found: a test file is named NAME.test.yaml and lies beside NAME.yaml.")
    else:
        common.output.notice(f"{plural(len(forms) - failed, 'case')} passed, {failed} failed")
    return exit_codes.FAILED if failed else exit_codes.COMPLETED
