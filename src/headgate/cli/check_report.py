"""What `headgate check` says of a workflow that can run: what holds for each activity, and what a run may cost."""

from __future__ import annotations

from typing import Any

from headgate.authoring.estimate import ActivityEstimate, Estimate
from headgate.cli.words import plural
from headgate.core.catalogue import BUILTINS, default_backoff
from headgate.core.definition import Activity, Definition
from headgate.core.money import dollars, show
from headgate.core.taint import METHODS_WITHOUT_EFFECT

__all__ = ["activity_forms", "estimate_form", "says_activity", "says_estimate"]


def activity_forms(definition: Definition) -> list[dict[str, Any]]:
    """Return what holds for each activity, its defaults included."""
    return [_form(definition, activity) for activity in definition.activities]


def _form(definition: Definition, activity: Activity) -> dict[str, Any]:
    form: dict[str, Any] = {"key": activity.key, "activity": _name(activity)}
    builtin = BUILTINS.get(activity.name)
    if activity.name and activity.workflow is None and (builtin is None or not builtin.native):
        backoff = activity.retry or default_backoff(activity.name)
        form["timeout_seconds"] = activity.timeout_seconds
        form["attempts"] = backoff.max_attempts
        form["attempts_note"] = _attempts_note(activity)
    if activity.name == "llm_prompt":
        form["max_tokens"], form["max_tokens_note"] = _max_tokens(definition, activity)
    if activity.prompt:
        form["prompt"] = activity.prompt
    if activity.budget is not None:
        form["budget"] = f"{show(activity.budget.limit)}, then {activity.budget.action}"
    return form


def _name(activity: Activity) -> str:
    return activity.name or (f"workflow {activity.workflow.name}" if activity.workflow else "signal")


def _attempts_note(activity: Activity) -> str:
    if activity.retry is not None:
        return "retry"
    method = activity.parameters.get("method", "GET")
    if activity.name == "http_request" and str(method).upper() not in METHODS_WITHOUT_EFFECT:
        return f"a {method} is sent again only when it certainly did not leave"
    if default_backoff(activity.name).max_attempts == 1:
        return "by default, for it may not be safe to repeat"
    return "by default"


def _max_tokens(definition: Definition, activity: Activity) -> tuple[Any, str]:
    from headgate.core.token_budget import MAX_TOKENS_UNDER_BUDGET

    given = activity.parameters.get("max_tokens")
    if given is not None:
        return given, ""
    if activity.budget is not None or definition.budget is not None or "max_cost" in activity.parameters:
        return MAX_TOKENS_UNDER_BUDGET, "by default, under a budget"
    return None, "the model's own"


def says_activity(form: dict[str, Any]) -> str:
    """Return the same as one line."""
    parts: list[str] = []
    if "attempts" in form:
        note = "" if form["attempts_note"] in ("", "retry") else f" ({form['attempts_note']})"
        parts.append(f"{plural(form['attempts'], 'attempt')}{note} of {form['timeout_seconds']:g} s")
    if "max_tokens" in form:
        note = f" ({form['max_tokens_note']})" if form["max_tokens_note"] and form["max_tokens"] else ""
        shown = form["max_tokens"] if form["max_tokens"] is not None else form["max_tokens_note"]
        parts.append(f"max_tokens {shown}{note}")
    if "prompt" in form:
        parts.append(f"prompt {form['prompt']}")
    if "budget" in form:
        parts.append(f"budget {form['budget']}")
    return ", ".join(parts)


# --- The estimate ---------------------------------------------------------------------------------------------------


def estimate_form(estimate: Estimate) -> dict[str, Any]:
    """Return the estimate with amounts in US dollars; null is unknown."""
    return {
        "most_usd": _usd(estimate.most),
        "simulated_usd": _usd(estimate.simulated),
        "budget_usd": _usd(estimate.limit),
        "activities": [_estimate_of(activity) for activity in estimate.activities],
        "assumptions": list(estimate.assumptions),
        "text": _says_total(estimate),
    }


def _estimate_of(activity: ActivityEstimate) -> dict[str, Any]:
    return {
        "key": activity.key,
        "calls": activity.calls,
        "attempts": activity.attempts,
        "per_attempt_usd": _usd(activity.per_attempt),
        "most_usd": _usd(activity.most),
        "simulated": activity.simulated,
        "unknown": activity.unknown,
        "bounded_by": activity.bounded_by,
        "text": _says_cost(activity),
    }


def _usd(amount: int | None) -> float | None:
    return None if amount is None else dollars(amount)


def _says_cost(activity: ActivityEstimate) -> str:
    demo = " (demo prices)" if activity.simulated else ""
    bound = f", its budget: {show(activity.most)}" if activity.bounded_by and activity.most is not None else ""
    if activity.unknown or activity.per_attempt is None or activity.calls is None:
        return f"unknown: {activity.unknown}{bound}{demo if bound else ''}"
    factors = f"{activity.calls:,} × {plural(activity.attempts, 'attempt')} of at most {show(activity.per_attempt)}"
    most = bound or (f" = {show(activity.most)}" if activity.most is not None else "")
    return f"{factors}{most}{demo}"


def _says_total(estimate: Estimate) -> str:
    parts: list[str] = []
    if any(not activity.simulated for activity in estimate.activities):
        parts.append("unknown" if estimate.most is None else show(estimate.most))
    if any(activity.simulated for activity in estimate.activities):
        notional = "unknown" if estimate.simulated is None else show(estimate.simulated)
        parts.append(f"{notional} (demo prices)")
    known = [amount for amount in (estimate.most, estimate.simulated) if amount is not None]
    if estimate.limit is not None and (len(known) < 2 or sum(known) > estimate.limit):
        parts.append(f"never more than the run's budget of {show(estimate.limit)}")
    return ", ".join(parts) or show(0)


def says_estimate(form: dict[str, Any] | None) -> list[str]:
    """Return the lines of an estimate; none where there is none."""
    if form is None:
        return []
    lines = ["  A run with this input costs at most:"]
    lines += [f"    {entry['key']}: {entry['text']}" for entry in form["activities"]]
    if not form["activities"]:
        return [*lines, "    nothing: no activity asks a model"]
    return [*lines, f"    in all: {form['text']}", f"    supposing that {'; '.join(form['assumptions'])}"]
