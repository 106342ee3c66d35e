"""`headgate check`: what is wrong with workflow files, and what holds where they say nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from headgate.cli import exit_codes
from headgate.cli.engine_options import engine_options, make_engine, read_definition
from headgate.cli.options import Common, common
from headgate.cli.session import Engine
from headgate.cli.words import plural
from headgate.core.catalogue import BUILTINS, default_backoff
from headgate.core.definition import Activity, Definition
from headgate.core.errors import Invalid, Problem
from headgate.core.money import show

__all__ = ["check"]

REPEATABLE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@click.command()
@common
@click.argument("flows", nargs=-1, required=True)
@engine_options
def check(common: Common, flows: tuple[str, ...], **rest: Any) -> int:
    """Say what is wrong with each of the workflow files FLOWS: file:line:column and how to mend it.

    Of files that can work, print the attempts of each activity and the tokens that its model calls may take.
    """
    engine = make_engine(**rest)
    if engine.scripted is None:
        from headgate.llm.scripted import ScriptedProvider

        # Whether its answers fit is seen when it runs; that there may be some is no fault of the file.
        engine = Engine(activities=engine.activities, scripted=ScriptedProvider({}), offline=engine.offline)
    reports = [_report(flow, engine) for flow in flows]
    if common.output.json:
        common.output.data(reports)
    else:
        for report in reports:
            _print(common, report)
    return exit_codes.COMPLETED if all(report["valid"] for report in reports) else exit_codes.INVALID


def _report(flow: str, engine: Engine) -> dict[str, Any]:
    try:
        definition: Definition = read_definition(flow, engine).definition
    except Invalid as error:
        problems = error.problems or (Problem(error.message),)
        return {"file": flow, "valid": False, "problems": [_problem_form(problem) for problem in problems]}
    unpriced = list(_unpriced(definition, flow, engine))
    return {
        "file": flow,
        "valid": not unpriced,
        "problems": [_problem_form(problem) for problem in unpriced],
        "name": definition.name,
        "version": definition.version,
        "activities": [_effective(definition, activity) for activity in definition.activities],
    }


def _effective(definition: Definition, activity: Activity) -> dict[str, Any]:
    """Return what holds for an activity, its defaults included."""
    form: dict[str, Any] = {
        "key": activity.key,
        "activity": _name(activity),
        "timeout_seconds": activity.timeout_seconds,
    }
    builtin = BUILTINS.get(activity.name)
    if builtin is None or not builtin.native:
        backoff = activity.retry or default_backoff(activity.name)
        form["attempts"] = backoff.max_attempts
        form["attempts_note"] = _attempts_note(activity)
    if activity.name == "llm_prompt":
        form["max_tokens"], form["max_tokens_note"] = _max_tokens(definition, activity)
    if activity.budget is not None:
        form["budget"] = f"{show(activity.budget.limit)}, then {activity.budget.action}"
    return form


def _name(activity: Activity) -> str:
    return activity.name or (f"workflow {activity.workflow.name}" if activity.workflow else "signal")


def _attempts_note(activity: Activity) -> str:
    if activity.retry is not None:
        return ""
    method = activity.parameters.get("method", "GET")
    if activity.name == "http_request" and str(method).upper() not in REPEATABLE_METHODS:
        return f"a {method} is sent again only when it certainly did not leave"
    return "by default"


def _max_tokens(definition: Definition, activity: Activity) -> tuple[Any, str]:
    from headgate.activities.llm_prompt import MAX_TOKENS_UNDER_BUDGET

    given = activity.parameters.get("max_tokens")
    if given is not None:
        return given, ""
    if activity.budget is not None or definition.budget is not None:
        return MAX_TOKENS_UNDER_BUDGET, "by default, under a budget"
    return None, "the model's own"


def _unpriced(definition: Definition, flow: str, engine: Engine) -> Iterator[Problem]:
    """Yield a problem for each activity under a budget none of whose models has a price: its calls are refused."""
    import os

    from headgate.llm.registry import build_providers

    providers = build_providers(os.environ, scripted=engine.scripted, offline=engine.offline)
    for activity in definition.activities:
        if activity.name not in ("llm_prompt", "embedding") or not (activity.budget or definition.budget):
            continue
        given = activity.parameters.get("model")
        models = [model for model in (given if isinstance(given, list) else [given]) if isinstance(model, str)]
        if models and not any(_is_priced(providers, model) for model in models):
            text = (
                f"under a budget every call of {activity.key!r} would be refused: "
                f"no price is known of {' and '.join(models)}. Name a model with a price, or remove the budget."
            )
            yield Problem(text, path=f"activities.{activity.key}.model", source=flow)


def _is_priced(providers: Mapping[str, Any], model: str) -> bool:
    """Whether a model's price is known; what a template names is only known when it runs."""
    provider, slash, name = model.partition("/")
    if "{{" in model or "{%" in model or not slash or provider not in providers:
        return True
    return providers[provider].price(name) is not None


# --- Printing ------------------------------------------------------------------------------------------------------


def _problem_form(problem: Problem) -> dict[str, Any]:
    return {
        "message": problem.message,
        "path": problem.path,
        "line": problem.line,
        "column": problem.column,
        "source": problem.source,
        "text": str(problem) + (f" (at {problem.path})" if problem.path else ""),
    }


def _print(common: Common, report: dict[str, Any]) -> None:
    output = common.output
    for problem in report["problems"]:
        output.line(problem["text"])
    if not report["valid"]:
        output.notice(f"{report['file']}: {plural(len(report['problems']), 'problem')}")
        return
    activities = report["activities"]
    output.line(f"{report['file']}: {report['name']} {report['version']}, {_count(activities)}, can run")
    output.table([[f"  {entry['key']}", entry["activity"], _says(entry)] for entry in activities])


def _count(activities: list[Any]) -> str:
    return "1 activity" if len(activities) == 1 else f"{len(activities)} activities"


def _says(entry: dict[str, Any]) -> str:
    parts: list[str] = []
    if "attempts" in entry:
        note = f" ({entry['attempts_note']})" if entry["attempts_note"] else ""
        parts.append(f"{plural(entry['attempts'], 'attempt')}{note}")
    if "max_tokens" in entry:
        note = f" ({entry['max_tokens_note']})" if entry["max_tokens_note"] and entry["max_tokens"] else ""
        shown = entry["max_tokens"] if entry["max_tokens"] is not None else entry["max_tokens_note"]
        parts.append(f"max_tokens {shown}{note}")
    if "budget" in entry:
        parts.append(f"budget {entry['budget']}")
    return ", ".join(parts)
