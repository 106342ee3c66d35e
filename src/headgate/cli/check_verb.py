"""`headgate check`: what is wrong with workflow files, what holds where they say nothing, and what a run may cost."""

from __future__ import annotations

from typing import Any

import click

from headgate.authoring.estimate import Pricing
from headgate.cli import exit_codes
from headgate.cli.check_report import activity_forms, estimate_form, says_activity, says_estimate
from headgate.cli.engine_options import DefinitionFile, engine_options, make_engine, read_definition
from headgate.cli.options import Common, common
from headgate.cli.session import Engine
from headgate.cli.words import plural
from headgate.core.errors import Invalid, Problem

__all__ = ["check"]


CASE_FILES = (".test.yaml", ".test.yml")


@click.command()
@common
@click.argument("flows", nargs=-1, required=True)
@click.option("--strict", is_flag=True, help="Count warnings as errors.")
@click.option("--input", "inputs", metavar="K=V", multiple=True, help="A sample input, to say what a run may cost.")
@click.option("--input-json", metavar="JSON", help="The whole sample input: a file, - for stdin, or the text itself.")
@engine_options
def check(
    common: Common,
    flows: tuple[str, ...],
    strict: bool,
    inputs: tuple[str, ...],
    input_json: str | None,
    **rest: Any,
) -> int:
    """Say what is wrong with each of the workflow files FLOWS: file:line:column and how to mend it.

    Of files that can work, print the attempts and the time of each activity, and the tokens that its model calls may
    take. With a sample input, also the most that a run may cost, as far as that is known before it runs. Warnings do
    not change the exit code, unless --strict says so.
    """
    engine = make_engine(**rest)
    if engine.scripted is None:
        import msgspec

        from headgate.llm.scripted import ScriptedProvider

        # Whether its answers fit is seen when it runs; that there may be some is no fault of the file.
        engine = msgspec.structs.replace(engine, scripted=ScriptedProvider({}))
    sample = (inputs, input_json) if inputs or input_json is not None else None
    pricing = _pricing(common, engine)
    workflows = [flow for flow in flows if len(flows) == 1 or not flow.endswith(CASE_FILES)]
    for flow in sorted(set(flows) - set(workflows)):
        common.output.notice(f"{flow}: cases, no workflow; `headgate test` runs them.")
    reports = [_report(flow, engine, pricing, sample, strict=strict) for flow in workflows]
    if common.output.json:
        common.output.data(reports)
    else:
        for report in reports:
            _print(common, report)
    return exit_codes.COMPLETED if all(report["valid"] for report in reports) else exit_codes.INVALID


def _report(
    flow: str, engine: Engine, pricing: Pricing, sample: tuple[tuple[str, ...], str | None] | None, *, strict: bool
) -> dict[str, Any]:
    """Return what `--json` prints of a file: docs/how-to/check-a-workflow.md says what each field means."""
    try:
        file = read_definition(flow, engine, pricing=pricing)
    except Invalid as error:
        problems = error.problems or (Problem(error.message),)
        warnings: tuple[Problem, ...] = getattr(error, "warnings", ())
        return {"file": flow, "valid": False, "problems": _forms(problems), "warnings": _forms(warnings)}
    report: dict[str, Any] = {
        "file": flow,
        "valid": not (strict and file.warnings),
        "problems": [],
        "warnings": _forms(file.warnings),
        "name": file.definition.name,
        "version": file.definition.version,
        "activities": activity_forms(file.definition),
    }
    if sample is not None:
        report |= _estimated(file, pricing, *sample)
    return report


def _estimated(
    file: DefinitionFile, pricing: Pricing, inputs: tuple[str, ...], input_json: str | None
) -> dict[str, Any]:
    """Return the estimate, or what is wrong with the sample input: then the report is not valid."""
    from headgate.authoring import validate_input
    from headgate.authoring.estimate import estimate_cost
    from headgate.cli.given_input import given_input

    try:
        value = validate_input(file.definition, given_input(file.definition, inputs, input_json))
    except Invalid as error:
        return {"valid": False, "problems": _forms(error.problems or (Problem(error.message),))}
    return {"estimate": estimate_form(estimate_cost(file.definition, value, pricing))}


def _pricing(common: Common, engine: Engine) -> Pricing:
    """Return prices and counts as an engine on this database would have them."""
    import os

    from headgate.cli.pricing import pricing_of
    from headgate.llm.prices import open_prices
    from headgate.llm.registry import build_providers

    prices = open_prices(os.environ, common.folder)
    return pricing_of(build_providers(os.environ, scripted=engine.scripted, offline=engine.offline, prices=prices))


def _forms(problems: tuple[Problem, ...]) -> list[dict[str, Any]]:
    return [
        {
            "message": problem.message,
            "path": problem.path,
            "line": problem.line,
            "column": problem.column,
            "source": problem.source,
            "text": str(problem) + (f" (at {problem.path})" if problem.path else ""),
        }
        for problem in problems
    ]


# --- Printing ------------------------------------------------------------------------------------------------------


def _print(common: Common, report: dict[str, Any]) -> None:
    output = common.output
    for problem in report["problems"]:
        output.line(problem["text"])
    for warning in report["warnings"]:
        output.line(f"warning: {warning['text']}")
    if "activities" in report and not report["problems"]:
        activities = report["activities"]
        count = "1 activity" if len(activities) == 1 else f"{len(activities)} activities"
        can = "can run" if report["valid"] else "has warnings"
        output.line(f"{report['file']}: {report['name']} {report['version']}, {count}, {can}")
        output.table([[f"  {form['key']}", form["activity"], says_activity(form)] for form in activities])
    else:
        output.notice(f"{report['file']}: {plural(len(report['problems']), 'problem')}")
    for line in says_estimate(report.get("estimate")):
        output.line(line)
