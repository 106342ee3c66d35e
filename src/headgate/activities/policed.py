"""The model calls of one attempt under its policies: what leaves, what is streamed, what comes back, what is logged.

A call goes through here before the gate is asked and after the model has answered. Verdicts travel with what is told
to the gate anyway (`CallRequest`, `Settlement`), so that they stand in the log beside the call. A call that is denied
is told to the gate too: the ledger refuses it, and the log says so. An answer that is denied was made and is paid for.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import msgspec

from headgate.activities.gated_call import request_hash
from headgate.core.codes import APPROVAL_NEEDED, POLICY_DENIED, POLICY_FAILED
from headgate.core.values import Assignment, Candidate, PassedOver, Verdict
from headgate.ports import (
    ActivityContext,
    Admission,
    Attempt,
    CallRequest,
    Checked,
    Deny,
    Guard,
    Guards,
    ModelAnswer,
    ModelRequest,
    PolicyCall,
    Providers,
    Settlement,
    TextFilter,
)
from headgate.ports.policy import texts_of

__all__ = ["Policed"]

READS_BY_ITSELF = frozenset({"conversation"})
"""Activities that take what they ask about from a store of their own: all that their users said is untrusted."""


class Policed:
    """One attempt. `ctx` is what its calls are to be made with: it adds the verdicts, filters tokens, cleans logs."""

    def __init__(self, guards: Guards, ctx: ActivityContext) -> None:
        self.guard: Guard | None = guards.guard(ctx.task) if ctx.task.settings.get("policies") else None
        self.ctx: ActivityContext = ctx if self.guard is None else _PolicedContext(ctx, self.guard)
        self._call: PolicyCall | None = None
        self._answered: Checked | None = None

    @property
    def tainted(self) -> bool:
        """Whether text that anybody may have written was among what was asked."""
        return bool(self._call and self._call.untrusted)

    async def allowed(
        self,
        request: ModelRequest,
        models: Sequence[str],
        providers: Providers,
        *,
        purpose: Literal["prompt", "embedding"] = "prompt",
    ) -> tuple[ModelRequest, tuple[str, ...]]:
        """Return what may be asked, and of which models. Raises `Attempt` where a policy denies the call, after the
        gate has recorded so."""
        models = tuple(models)
        ctx = self.ctx
        if self.guard is None or not isinstance(ctx, _PolicedContext):
            return request, models
        call = self._call = _call_of(ctx.task, request, models, purpose)
        checked = self.guard.on_request(call)
        assert isinstance(checked.changed, ModelRequest)
        ctx.begin(checked.verdicts, _passed_over(models, checked.models))
        if checked.denied is not None:
            await self._record(checked.changed, models, providers)
            raise Attempt.failed(*_failure(checked.denied, checked.verdicts), retryable=False)
        return checked.changed, checked.models

    async def _record(self, request: ModelRequest, models: tuple[str, ...], providers: Providers) -> None:
        candidates = tuple(Candidate(name, 0, _price(name, providers)) for name in models)
        await self.ctx.admit(CallRequest(request_hash(request, models), candidates))

    def answered(self, answer: ModelAnswer) -> ModelAnswer:
        """Return the answer as the policies leave it; to be called before the call is settled."""
        ctx = self.ctx
        if self.guard is None or self._call is None or not isinstance(ctx, _PolicedContext):
            return answer
        checked = self.guard.on_answer(self._call, answer)
        assert isinstance(checked.changed, ModelAnswer)
        ctx.end(checked.verdicts)
        self._answered = checked
        return checked.changed

    def may_be_kept(self, answer: ModelAnswer) -> bool:
        """Whether an answer, as the model gave it, may be kept for equal calls: it was not denied, and holds nothing
        that the policies scrub (a placeholder is nothing of the kind)."""
        if self._answered is not None and self._answered.denied is not None:
            return False
        guard = self.guard
        return guard is None or all(guard.message(text) == text for text in texts_of(msgspec.to_builtins(answer)))

    def insist(self) -> None:
        """Raise `Attempt` where the answer was denied; to be called when the call is settled."""
        checked = self._answered
        if checked is not None and checked.denied is not None:
            raise Attempt.failed(*_failure(checked.denied, checked.verdicts), retryable=False)

    @contextmanager
    def clean_failures(self) -> Generator[None]:
        """Within it, what an attempt fails with says nothing of what the policies scrub."""
        try:
            yield
        except Attempt as attempt:
            if self.guard is None:
                raise
            failure = attempt.failure
            cleaned = _cleaned(self.guard, {"message": failure.message, "details": failure.details})
            raise Attempt(msgspec.structs.replace(failure, **cleaned)) from None


def _call_of(task: Assignment, request: ModelRequest, models: tuple[str, ...], purpose: Any) -> PolicyCall:
    untrusted = tuple(task.settings.get("untrusted") or ())
    if task.activity_name in READS_BY_ITSELF:
        untrusted = tuple(message.content for message in request.messages if message.role != "system")
    return PolicyCall(
        request=request,
        models=models,
        purpose=purpose,
        workflow=task.workflow_name,
        run_id=task.workflow_id,
        activity=task.activity_key,
        place=task.place,
        untrusted=untrusted,
        approved=bool(task.settings.get("approved")),
    )


def _passed_over(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[PassedOver, ...]:
    return tuple(PassedOver(name, "a policy does not allow it", POLICY_DENIED) for name in before if name not in after)


def _failure(denied: Deny, verdicts: tuple[Verdict, ...]) -> tuple[str, str]:
    verdict = verdicts[-1]
    if "failed" in verdict.details:
        return POLICY_FAILED, f"The call was not made, for its {denied.reason}. Mend the policy, then retry the run."
    if denied.ask:
        return APPROVAL_NEEDED, f"policy {verdict.policy}: {denied.reason}"
    subject = "answer was not used" if verdict.of == "answer" else "call was not made"
    return POLICY_DENIED, f"The {subject}: policy {verdict.policy!r} denies it: {denied.reason}."


def _price(name: str, providers: Providers) -> Any:
    provider, _, model = name.partition("/")
    return providers[provider].price(model) if provider in providers else None


def _cleaned(guard: Guard, value: Any) -> Any:
    if isinstance(value, str):
        return guard.message(value)
    if isinstance(value, dict):
        return {name: _cleaned(guard, part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(guard, part) for part in value]
    return value


class _PolicedContext:
    """`ports.ActivityContext` with the policies' part in it."""

    def __init__(self, inner: ActivityContext, guard: Guard) -> None:
        self._inner = inner
        self._guard = guard
        self._filter: TextFilter | None = None
        self._asked: tuple[Verdict, ...] = ()
        self._answered: tuple[Verdict, ...] = ()
        self._passed_over: tuple[PassedOver, ...] = ()

    @property
    def task(self) -> Assignment:
        return self._inner.task

    def begin(self, verdicts: tuple[Verdict, ...], passed_over: tuple[PassedOver, ...]) -> None:
        self._asked, self._answered, self._passed_over = verdicts, (), passed_over

    def end(self, verdicts: tuple[Verdict, ...]) -> None:
        """The answer is whole: say what the filter has kept, and have the verdicts go with the settlement."""
        if self._filter is not None and (rest := self._filter.rest()):
            self._inner.stream(rest)
        self._filter = None
        self._answered = verdicts

    async def admit(self, request: CallRequest) -> tuple[str, Admission]:
        self._filter = self._guard.text_filter()
        passed_over = (*self._passed_over, *request.passed_over)
        self._passed_over = ()
        return await self._inner.admit(msgspec.structs.replace(request, passed_over=passed_over, verdicts=self._asked))

    async def settle(self, call_id: str, settlement: Settlement) -> None:
        await self._inner.settle(call_id, msgspec.structs.replace(settlement, verdicts=self._answered))

    async def begin_effect(self, what: str) -> None:
        await self._inner.begin_effect(what)

    def stream(self, text: str) -> None:
        if self._filter is not None:
            text = self._filter.add(text)
        if text:
            self._inner.stream(text)

    def restart_stream(self) -> None:
        self._filter = self._guard.text_filter()  # what it has kept belongs to the text that is taken back
        self._inner.restart_stream()

    def progress(self, value: Any) -> None:
        self._inner.progress(value)

    def log(self, message: str, **fields: Any) -> None:
        self._inner.log(self._guard.message(message), **_cleaned(self._guard, fields))
