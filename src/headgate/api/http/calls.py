"""What a worker asks before it does what cannot be taken back: may a model be called, is something done only once."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headgate.api.http.route import Call, NoQuery
from headgate.api.http.workers import Recorded, activity_id, of_activity
from headgate.core.values import Failure
from headgate.ports import Admission, Admitted, CallRequest, Hit, Settlement

__all__ = ["ROUTES"]


class CallBody(CallRequest, frozen=True, kw_only=True):
    """A call's request, and the id that it bears."""

    call_id: str


class CallAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`admitted`: the call may go to `model`. `hit`: it need not be made, `answers` are those of equal ones.
    `denied`: it may not."""

    decision: Literal["admitted", "hit", "denied"]
    model: str | None = None
    reservation: int | None = None
    skipped: tuple[str, ...] = ()
    answers: tuple[Any, ...] = ()
    error: Failure | None = None


class EffectBody(msgspec.Struct, frozen=True):
    what: str


async def ask_for_call(call: Call[NoQuery, CallBody]) -> CallAnswer:
    """Ask the gate for a model call; answered when there is an answer, for it may have to wait for money"""
    body = call.body
    call_id = _call_id(body.call_id)
    admission = await call.held(call.workers.admit(await activity_id(call), call_id=call_id, request=body))
    return _call_answer(admission)


def _call_answer(admission: Admission) -> CallAnswer:
    if isinstance(admission, Admitted):
        return CallAnswer(
            decision="admitted",
            model=admission.model,
            reservation=admission.reservation,
            skipped=admission.skipped,
        )
    if isinstance(admission, Hit):
        return CallAnswer(decision="hit", model=admission.model, answers=admission.answers)
    return CallAnswer(decision="denied", error=admission.error)


async def settle_call(call: Call[NoQuery, Settlement]) -> Recorded:
    """Say how a call ended: what it used, that it was never sent, or that nobody knows"""
    call_id = _call_id(call.path["call"])
    await call.workers.settle(await activity_id(call), call_id=call_id, settlement=call.body)
    return Recorded(acknowledged=True, warnings=[])


async def begin_effect(call: Call[NoQuery, EffectBody]) -> Recorded:
    """Say, before doing it, that something is done now that must not be done twice"""
    await call.workers.begin_effect(await activity_id(call), what=call.body.what)
    return Recorded(acknowledged=True, warnings=[])


def _call_id(named: str) -> str:
    return named.replace("~", "/")


ROUTES = (
    of_activity("calls", ask_for_call, CallBody, CallAnswer),
    of_activity("calls/{call}/settle", settle_call, Settlement, Recorded),
    of_activity("effects", begin_effect, EffectBody, Recorded),
)
