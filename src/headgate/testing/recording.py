"""A finished run made into a case: what models and the outside world answered, what people said, what came of it.

Everything is read from the run's events. Attempts that were lost with their worker did not answer, and are left out,
with their calls; an answer that a model gave and that the log does not hold (of an attempt that failed on it) is
written as an empty one of the same size. Other workflows that the run started, a cancellation and a retry of the run
are not part of a case: such runs are refused.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from headgate.core.catalogue import BUILTINS
from headgate.core.definition import Definition
from headgate.core.errors import Refused
from headgate.core.money import NANO
from headgate.core.place import key_of_place
from headgate.core.view import RunView
from headgate.engine.masking import masked
from headgate.ports import EventView
from headgate.testing.case_worklist import REAL

__all__ = ["Recorded", "record_case"]

STATUS_OF_CODE = {
    "authentication": 401,
    "connection_failed": 0,
    "context_too_long": 413,
    "invalid_request": 400,
    "not_found": 404,
    "provider_unavailable": 503,
    "rate_limited": 429,
    "timed_out": 408,
}
NOT_RECORDED = {
    "run_retried": "it was retried",
    "cancel_requested": "it was cancelled",
    "child_finished": "it started another workflow",
}
OUTCOMES = frozenset({"activity_completed", "attempt_failed", "attempt_timed_out"})
LASTING = 1.0
"""So many seconds after its time limit an attempt would have answered that timed out."""
SECRET = re.compile(r"SECRET(?:\.(\w+)|\[\\*[\"'](\w+)\\*[\"']\])")


class Recorded(msgspec.Struct, frozen=True):
    """A case as a test file holds it; `masked`: values of secrets stood in it, and do not any more."""

    form: dict[str, Any]
    masked: bool


def record_case(
    view: RunView, events: Sequence[EventView], definition: Definition, *, name: str, secrets: Sequence[str] = ()
) -> Recorded:
    """Return the case of a finished run. Values of `secrets` are masked wherever they stand.

    Raises `Refused` for a run that has not ended, or whose course no case can repeat.
    """
    if view.finished_at is None:
        raise Refused(f"Run {view.id} has not ended: it is {view.status}. Record it when it has.")
    for event in events:
        if event.type in NOT_RECORDED:
            raise Refused(f"Run {view.id} cannot be recorded: {NOT_RECORDED[event.type]}, which a case cannot repeat.")
    form = _Recording(view, events, definition).form(name)
    clean = masked(form, tuple(sorted(secrets, key=len, reverse=True)))
    return Recorded(clean, clean != form)


class _Attempt:
    """One attempt of one place: its calls, and how it ended."""

    def __init__(self) -> None:
        self.calls: list[EventView] = []
        """Those that were made, and those that reused what an equal call of another run was answered."""
        self.repeats = 0
        """How many reused what an equal call of this run was answered: they will do so again."""
        self.settled: dict[str, EventView] = {}
        self.end: EventView | None = None


class _Recording:
    def __init__(self, view: RunView, events: Sequence[EventView], definition: Definition) -> None:
        self._view = view
        self._events = events
        self._definition = definition
        self._names = {activity.key: activity.name for activity in definition.activities}
        self._attempts = self._attempts_by_place()

    def form(self, name: str) -> dict[str, Any]:
        models: dict[str, Any] = {}
        activities: dict[str, Any] = {}
        for place, attempts in self._attempts.items():
            if self._is_asked(place, attempts):
                if answers := [answer for attempt in attempts for answer in _model_answers(attempt)]:
                    models[place] = answers
            elif self._is_outside(place, attempts):
                activities[place] = [_result(attempt.end) for attempt in attempts if attempt.end]
        start = self._events[0]
        form = {
            "name": name,
            "input": self._view.input,
            "clock": _instant(self._view.created_at),
            "budget": None if start.fields.get("limit") is None else _dollars(start.fields["limit"]),
            "models": models,
            "prices": self._prices(),
            "activities": activities,
            "signals": list(self._signals()),
            "secrets": {name: f"a-{name.lower().replace('_', '-')}" for name in self._secret_names()},
            "expect": self._expected(),
        }
        return {key: value for key, value in form.items() if value not in ({}, [], None)}

    def _attempts_by_place(self) -> dict[str, list[_Attempt]]:
        """Return the attempts that ended by themselves, of each place in their order."""
        found: dict[tuple[str, int], _Attempt] = defaultdict(_Attempt)
        answered = _Answered()
        for event in self._events:
            attempt = found[event.place, event.attempt]
            if answered.before(event):
                attempt.repeats += 1
            elif event.type in ("call_admitted", "call_reused"):
                attempt.calls.append(event)
            elif event.type == "call_settled":
                attempt.settled[event.fields["call_id"]] = event
            elif event.type in OUTCOMES:
                attempt.end = event
        ran = {_hash(attempt.end) for attempt in found.values() if attempt.end and not attempt.end.fields.get("cached")}
        by_place: dict[str, list[_Attempt]] = defaultdict(list)
        for (place, _), attempt in sorted(found.items(), key=lambda item: item[0][1]):
            if not place or attempt.end is None:
                continue
            if attempt.end.fields.get("cached"):
                # What reused an attempt of this run will do so again; what reused another run's has nothing to reuse.
                if _hash(attempt.end) in ran:
                    continue
                ran.add(_hash(attempt.end))
            by_place[place].append(attempt)
        return by_place

    def _is_asked(self, place: str, attempts: Sequence[_Attempt]) -> bool:
        return self._names.get(key_of_place(place)) == "llm_prompt" and bool(attempts)

    def _is_outside(self, place: str, attempts: Sequence[_Attempt]) -> bool:
        """Whether a case answers in the place of this activity: it is not carried out within the engine."""
        name = self._names.get(key_of_place(place), "")
        builtin = BUILTINS.get(name)
        if name in REAL:
            called = [call.fields["model"] for attempt in attempts for call in attempt.calls]
            return name != "llm_prompt" and not all(model.startswith("demo/") for model in called)
        return bool(name) and (builtin is None or not builtin.native)

    def _prices(self) -> dict[str, Any]:
        """Return the prices of then: a case does not change its cost when a vendor does."""
        found: dict[str, Any] = {}
        for event in self._events:
            for candidate in event.fields.get("candidates", ()) if event.type == "call_requested" else ():
                price = candidate.get("price")
                if price and not price.get("simulated") and not candidate["model"].startswith("demo/"):
                    parts = ("input", "output", "cache_read", "cache_write")
                    found[candidate["model"]] = {part: _dollars(price[part]) for part in parts if price.get(part)}
        return {name: price or {"input": 0} for name, price in found.items()}

    def _signals(self) -> Iterator[dict[str, Any]]:
        opened: dict[str, int] = {}
        last, last_at = "", self._events[0].at
        for event in self._events:
            if event.type == "activity_suspended":
                opened[event.place] = event.at
            elif event.type in ("activity_completed", "activity_resolved") and not event.place.endswith("]"):
                last, last_at = key_of_place(event.place), event.at
            elif event.type == "approval_decided":
                yield _decision(event, event.at - opened.get(event.place, event.at))
            elif event.type == "signal_received":
                yield _signal(event, last, event.at - last_at)

    def _secret_names(self) -> list[str]:
        text = msgspec.json.encode(self._definition).decode()
        return sorted({found[1] or found[2] for found in SECRET.finditer(text)})

    def _expected(self) -> dict[str, Any]:
        view = self._view
        expected: dict[str, Any] = {"status": view.status}
        if view.status == "completed":
            expected["outputs"] = view.outputs
        elif view.error_code:
            expected["error"] = {"code": view.error_code}
        expected["path"] = {activity.key: activity.status for activity in view.activities}
        if calls := self._calls():
            expected["calls"] = calls
        expected["cost_max"] = _dollars(view.cost)
        return expected

    def _calls(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for place, attempts in self._attempts.items():
            if not self._is_outside(place, attempts):
                reused = 1 if self._names.get(key_of_place(place)) == "llm_prompt" else 0
                counts[key_of_place(place)] += sum(
                    reused if attempt.end and attempt.end.fields.get("cached") else len(attempt.calls)
                    for attempt in attempts
                )
        return {key: count for key, count in counts.items() if count}


class _Answered:
    """What was asked and answered in the run so far."""

    def __init__(self) -> None:
        self._asked: dict[str, str] = {}
        self._hashes: set[str] = set()

    def before(self, event: EventView) -> bool:
        """Take note of the event; return whether it is the reuse of an answer that the run has had before."""
        if event.type == "call_requested":
            self._asked[event.fields["call_id"]] = event.fields["request_hash"]
        elif event.type == "call_settled" and event.fields["outcome"] == "used":
            self._hashes.add(self._asked.get(event.fields["call_id"], ""))
        elif event.type == "call_reused":
            known = event.fields["request_hash"] in self._hashes
            self._hashes.add(event.fields["request_hash"])
            return known
        return False


def _hash(end: EventView) -> str:
    return end.fields.get("input_hash", "")


# --- Models ----------------------------------------------------------------------------------------------------------


def _model_answers(attempt: _Attempt) -> Iterator[dict[str, Any]]:
    """Yield what each call of an attempt was answered."""
    assert attempt.end is not None
    if not attempt.calls and not attempt.repeats and attempt.end.type == "activity_completed":
        yield _reused(attempt.end.content)
        return
    for number, call in enumerate(attempt.calls, 1):
        settled = attempt.settled.get(call.fields["call_id"])
        if call.type == "call_reused":
            yield _reused(attempt.end.content)
        elif number < len(attempt.calls):
            yield _failed_call(settled, "provider_unavailable")
        elif attempt.end.type == "activity_completed":
            yield _answer(call, settled, attempt.end.content)
        elif attempt.end.type == "attempt_timed_out":
            yield {"text": "", "delay": float(attempt.end.fields["seconds"]) + LASTING}
        else:
            yield _last_of_failed(settled, attempt.end.fields["error"])


def _reused(output: Any) -> dict[str, Any]:
    """Return the answer of an earlier, equal attempt or call. In a case the call is made, and free."""
    return {**_content(output), "usage": {"input_tokens": 0, "output_tokens": 0}}


def _answer(call: EventView, settled: EventView | None, output: Any) -> dict[str, Any]:
    answer = {**_content(output), **_used(settled)}
    if output.get("model") and call.fields["model"].partition("/")[2] != output["model"]:
        answer["model"] = output["model"]
    if output.get("finish_reason", "Stop") != ("ToolUse" if output.get("tool_calls") else "Stop"):
        answer["finish_reason"] = output["finish_reason"]
    return answer


def _content(output: Mapping[str, Any]) -> dict[str, Any]:
    content, calls = output["content"], output.get("tool_calls")
    if calls:
        return {"text": content, "tool_calls": calls} if content else {"tool_calls": calls}
    parsed = output.get("parsed")
    if parsed is not None and msgspec.json.encode(parsed).decode() == content:
        return {"json": parsed}
    return {"text": content}


def _last_of_failed(settled: EventView | None, error: Mapping[str, Any]) -> dict[str, Any]:
    if settled is not None and settled.fields["outcome"] == "used" and error["code"] == "invalid_response":
        return {"text": "", **_used(settled)}
    return _failed_call(settled, error["code"], error["message"], error.get("retry_after_seconds"))


def _failed_call(
    settled: EventView | None, code: str, message: str = "", retry_after: float | None = None
) -> dict[str, Any]:
    lost = settled is None or settled.fields["outcome"] == "lost"
    error: dict[str, Any] = {"status": 0 if lost and code != "timed_out" else STATUS_OF_CODE.get(code, 400)}
    if message:
        error["message"] = message
    if retry_after is not None:
        error["retry_after"] = retry_after
    return {"error": error, **_used(settled)}


def _used(settled: EventView | None) -> dict[str, Any]:
    usage = settled.fields.get("usage") if settled is not None else None
    if not usage:
        return {}
    tokens = {name: value for name, value in usage.items() if name.endswith("_tokens") and value}
    used: dict[str, Any] = {"usage": {"input_tokens": 0, "output_tokens": 0, **tokens}}
    if usage.get("cost_nano") is not None:
        used["cost"] = _dollars(usage["cost_nano"])
    return used


# --- Others ----------------------------------------------------------------------------------------------------------


def _result(end: EventView) -> dict[str, Any]:
    if end.type == "activity_completed":
        return {"output": end.content}
    if end.type == "attempt_timed_out":
        return {"output": None, "delay": float(end.fields["seconds"]) + LASTING}
    error = end.fields["error"]
    return {"error": {name: error[name] for name in ("code", "message", "retryable") if name in error}}


def _decision(event: EventView, waited: int) -> dict[str, Any]:
    content = event.content or {}
    said = {name: content.get(name) for name in ("by", "comment", "data")}
    kind = "approve" if event.fields["approved"] else "reject"
    return {kind: event.place, "after": _duration(waited), **{name: value for name, value in said.items() if value}}


def _signal(event: EventView, last: str, since: int) -> dict[str, Any]:
    signal: dict[str, Any] = {"name": event.fields["name"]}
    if event.fields.get("key"):
        signal["activity"] = event.fields["key"]
    signal["after"] = f"{last} + {_duration(since)}" if last else _duration(since)
    return signal if event.content is None else {**signal, "data": event.content}


def _duration(microseconds: int) -> str:
    return f"{microseconds // 1_000}ms" if microseconds < 10_000_000 else f"{microseconds // 1_000_000}s"


def _instant(at: int) -> str:
    text = datetime.fromtimestamp(at // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{at % 1_000_000:06d}Z"


def _dollars(nano: int) -> str:
    return f"{(Decimal(nano) / NANO).normalize():f}"
