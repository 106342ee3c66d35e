"""The chain: policies one after the other, each on what the one before it left, and a verdict for each.

The first that denies ends it. On the way back the order is the opposite: what was changed last is changed back first.
A policy that raises has denied (fail closed): a broken lock is no open door. In a dry run a policy's decision is
recorded and nothing else; so is its failure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import msgspec

from headgate.core.values import Verdict
from headgate.ports.model import ModelAnswer, ModelRequest
from headgate.ports.policy import Allow, Checked, Decision, Deny, Modify, Policy, PolicyCall, TextFilter

__all__ = ["Chain", "Link"]

FAILED = "failed"
"""Under this key a verdict's details name the error of a policy that raised."""


class Link(NamedTuple):
    """A policy in a chain; in a `dry_run` it only speaks."""

    policy: Policy
    dry_run: bool = False


class Chain:
    """`ports.Guard`: the policies of one attempt. What they remember of a request (placeholders) is theirs."""

    def __init__(self, links: Sequence[Link]) -> None:
        self._links = tuple(links)

    def on_request(self, call: PolicyCall) -> Checked:
        verdicts: list[Verdict] = []
        for link in self._links:
            decision, verdict = _decided(link, "request", lambda policy=link.policy, call=call: policy.on_request(call))
            verdicts.append(verdict)
            if link.dry_run:
                continue
            if isinstance(decision, Deny):
                return Checked(call.request, call.models, tuple(verdicts), decision)
            if isinstance(decision, Modify):
                call = _changed_call(call, decision)
        return Checked(call.request, call.models, tuple(verdicts))

    def on_answer(self, call: PolicyCall, answer: ModelAnswer) -> Checked:
        verdicts: list[Verdict] = []
        for link in reversed(self._links):
            judge = _on_answer(link.policy)
            if judge is None:
                continue
            decision, verdict = _decided(link, "answer", lambda judge=judge, answer=answer: judge(call, answer))
            verdicts.append(verdict)
            if link.dry_run:
                continue
            if isinstance(decision, Deny):
                return Checked(answer, call.models, tuple(verdicts), decision)
            if isinstance(decision, Modify) and decision.changed is not None:
                answer = cast("ModelAnswer", decision.changed)
        return Checked(answer, call.models, tuple(verdicts))

    def text_filter(self) -> TextFilter | None:
        filters: list[TextFilter] = []
        for link in reversed(self._links):
            if link.dry_run or _on_answer(link.policy) is None:
                continue
            make = getattr(link.policy, "text_filter", None)
            filters.append(_Held() if make is None else make())
        return _Filters(filters) if filters else None

    def message(self, text: str) -> str:
        for link in self._links:
            scrub = getattr(link.policy, "message", None)
            if scrub is not None and not link.dry_run:
                text = scrub(text)
        return text


def _on_answer(policy: Policy) -> Callable[[PolicyCall, ModelAnswer], Decision] | None:
    return getattr(policy, "on_answer", None)


def _changed_call(call: PolicyCall, decision: Modify) -> PolicyCall:
    changes: dict[str, Any] = {}
    if decision.changed is not None:
        changes["request"] = decision.changed
    if decision.models is not None:
        changes["models"] = decision.models
    return msgspec.structs.replace(call, **changes)


def _decided(link: Link, of: Any, decide: Callable[[], object]) -> tuple[Decision, Verdict]:
    name = link.policy.name
    try:
        decision = _sound(decide(), of)
    except Exception as error:  # noqa: BLE001 - whatever it is: what has not been allowed is denied
        # Its class only: the error's text may hold the call's.
        decision = Deny(f"policy {name!r} failed with {type(error).__name__}", {FAILED: type(error).__name__})
    kind = {Allow: "allow", Deny: "deny", Modify: "modify"}[type(decision)]
    reason = "" if isinstance(decision, Allow) else decision.reason
    made = {"policy": name, "decision": kind, "reason": reason, "of": of, "details": decision.details}
    return decision, msgspec.convert({**made, "dry_run": link.dry_run}, Verdict)


def _sound(decision: object, of: str) -> Decision:
    """Return the decision. Raises `TypeError` for what is none, or changes what it cannot."""
    wanted = ModelRequest if of == "request" else ModelAnswer
    if not isinstance(decision, Allow | Deny | Modify):
        raise TypeError(f"expected Allow, Deny or Modify, got {type(decision).__name__}")
    if isinstance(decision, Modify):
        changed = cast("object", decision.changed)
        if changed is not None and not isinstance(changed, wanted):
            raise TypeError(f"expected a {wanted.__name__}, got {type(changed).__name__}")
        if decision.models is not None and (of == "answer" or not decision.models):
            raise TypeError("expected at least one model, and on a request")
    return decision


class _Filters:
    """Several filters, each on what the one before it let through."""

    def __init__(self, filters: Sequence[TextFilter]) -> None:
        self._filters = filters

    def add(self, piece: str) -> str:
        for one in self._filters:
            piece = one.add(piece)
        return piece

    def rest(self) -> str:
        said = ""
        for one in self._filters:
            said = one.add(said) + one.rest()
        return said


class _Held:
    """Holds back all of a text: somebody must see the whole of it first. At the end it says nothing, for by then the
    answer is there, changed or not, and is what readers are given."""

    def add(self, piece: str) -> str:
        return ""

    def rest(self) -> str:
        return ""
