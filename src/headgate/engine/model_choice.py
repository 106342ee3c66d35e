"""Which model of its list a call goes to, or waits for, and how it is told that it can go to none."""

from __future__ import annotations

import msgspec

from headgate.core.values import Failure, PassedOver
from headgate.engine.limits import State
from headgate.ports import CallRequest, Denied

__all__ = ["FALL_SECONDS", "choose", "narrowed", "none_left", "too_late"]

FALL_SECONDS = 60
"""A model whose rate opens later than this is passed over where the list has another one."""
MICROSECONDS = 1_000_000


def choose(states: list[State], now: int) -> tuple[State | None, tuple[PassedOver, ...]]:
    """Return the model to call, or to wait for, and those before it that are passed over."""
    passed: list[PassedOver] = []
    for number, state in enumerate(states):
        if state.closed:
            passed.append(PassedOver(state.candidate.model, state.why, "circuit_open"))
            continue
        others = [other for other in states[number + 1 :] if not other.closed]
        late = bool(others) and state.opens_at > now + FALL_SECONDS * MICROSECONDS
        hurries = state.candidate.hurries and any(other.opens_at <= now for other in others)
        if not state.line and state.opens_at > now and (late or hurries):
            seconds = (state.opens_at - now) / MICROSECONDS
            passed.append(PassedOver(state.candidate.model, f"{state.why}, {seconds:.0f} s", "rate_limited"))
            continue
        return state, tuple(passed)
    return None, tuple(passed)


def narrowed(request: CallRequest, passed: tuple[PassedOver, ...]) -> CallRequest:
    """Return the request without the models that are passed over, which are named in it instead."""
    if not passed:
        return request
    over = {one.model for one in passed}
    left = tuple(candidate for candidate in request.candidates if candidate.model not in over)
    return msgspec.structs.replace(request, candidates=left, passed_over=(*request.passed_over, *passed))


def none_left(states: list[State], passed: tuple[PassedOver, ...], now: int) -> Denied:
    """Return the answer to a call all of whose models are closed."""
    seconds = max(0.0, (min(state.opens_at for state in states) - now) / MICROSECONDS)
    reasons = "; ".join(f"{one.model}: {one.reason}" for one in passed)
    return Denied(Failure("circuit_open", f"The call was not made: {reasons}.", retry_after_seconds=seconds))


def too_late(state: State, now: int) -> Denied:
    """Return the answer to a call whose model opens too late to be waited for."""
    seconds = max(0.0, (state.opens_at - now) / MICROSECONDS)
    message = (
        f"The call was not made: {state.candidate.model} cannot be called for another {seconds:.0f} s ({state.why})."
    )
    return Denied(Failure("rate_limited", message, retry_after_seconds=seconds))
