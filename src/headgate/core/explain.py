"""Why it is waiting, in one sentence: the same words in the CLI, the API and the dashboard."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from headgate.core.asking import question
from headgate.core.budget_levels import scope_of
from headgate.core.duration import show_seconds
from headgate.core.money import NANO, show
from headgate.core.place import Place
from headgate.core.run import Call, Run

__all__ = ["explain_place", "explain_run", "how_to_raise", "needed_limit"]


def explain_place(run: Run, place: Place, now: int) -> str:
    """Return what the place waits for, or nothing where it does not wait."""
    waiting = _waiting_call(run, place)
    if waiting is not None:
        return _explain_call(run, waiting)
    if place.status == "scheduled":
        return "waits for the run to be resumed" if run.status == "paused" else ""
    wait = place.wait
    if wait is None:
        return ""
    match wait.kind:
        case "retry":
            return f"retries in {_until(wait.until, now)} after: {wait.name}"
        case "delay":
            return f"starts in {_until(wait.until, now)} (delay)"
        case "timer":
            return f"waits until {_clock(wait.until)}, for another {_until(wait.until, now)}"
        case "signal":
            limit = f", at most {_until(wait.until, now)} longer" if wait.until is not None else ""
            return f"waits for signal {wait.name!r} since {_clock(wait.since)}{limit}"
        case "approval":
            limit = f", {wait.on_timeout}s in {_until(wait.until, now)}" if wait.until is not None else ""
            why = f": {wait.name}" if wait.name else ""
            return f"waits for approval {place.path!r} since {_clock(wait.since)}{limit}{why}"
        case "child":
            return f"waits for run {wait.child_run}"
        case "items" if place.fan:
            return f"{place.fan.done} of {place.fan.count} items done, {len(place.fan.live)} under way"
        case _:
            return f"waits for {wait.kind}"


def explain_run(run: Run, now: int) -> str:
    """Return why the run does not go on, or nothing: it does, or it has ended."""
    if run.finished:
        return ""
    if run.status == "paused":
        why = f": {run.pause_reason}" if run.pause_reason else ""
        return f"is paused{why}; `headgate resume {run.id}` goes on"
    if run.status == "cancelling":
        return f"is being cancelled; {len(run.tasks)} activities are still out"
    if run.tasks and not run.waiting_calls and not run.asking_calls:
        return ""
    sentences = [
        sentence if repr(place.path) in sentence else f"{place.path} {sentence}"
        for place in run.live_places()
        if (sentence := explain_place(run, place, now))
    ]
    if len(sentences) > 1:
        return f"{sentences[0]} (and {len(sentences) - 1} more)"
    return sentences[0] if sentences else ""


def _waiting_call(run: Run, place: Place) -> Call | None:
    for call_id in run.calls_of.get(place.path, ()):
        if call_id in run.waiting_calls or call_id in run.asking_calls:
            return run.calls[call_id]
    return None


def needed_limit(call: Call) -> int:
    """Return the least limit with which the call that asks fits beside what is spent."""
    return call.limit - call.left + call.needed


def how_to_raise(run_id: str, line: str, raises: str, limit: int) -> str:
    """Return the command that raises the limit that a call asks about."""
    amount = f"{Decimal(limit) / NANO:f}"
    _, scope, period, _ = scope_of(line)
    if line and scope != "tree":
        return f"headgate budget set {scope} {amount} --per {period}"
    activity = f" --activity {raises}" if raises else ""
    return f"headgate budget raise {period if line else run_id}{activity} --to {amount}"


def _explain_call(run: Run, call: Call) -> str:
    if call.call_id in run.asking_calls:
        how = how_to_raise(run.id, call.line, call.raises, needed_limit(call))
        return f"waits for a person: {question(call)}; `{how}` or `headgate budget refuse {run.id}`"
    if call.line:
        return f"waits for others to settle: {call.model} needs {show(call.needed)} of {call.waits_for}"
    others = sum(other.state == "admitted" for other in run.calls.values())
    calls = f"{others} call" + ("" if others == 1 else "s")
    if call.waits_for.startswith("tokens "):
        return f"waits for {call.waits_for}, which {calls} may still take: {call.model} may take {call.needed:,}"
    needs = f"{call.model} needs {show(call.needed)} of {call.waits_for}"
    return f"waits for {show(run.reserved)} reserved by {calls}: {needs}"


def _until(until: int | None, now: int) -> str:
    return show_seconds(max(0, (until or now) - now) / 1_000_000)


def _clock(at: int | None) -> str:
    return datetime.fromtimestamp((at or 0) / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
