"""A model call through the gate: admitted before it is made, settled after it, once, whatever happens.

The ledger half (the engine) says whether a call may be made and to which model; this half makes it. How a
call ended is told to the ledger as one of three things, and its money follows:

- its `Usage`: the provider's report (or our count, where it reports none). That is what the call cost.
- "never_sent": nothing was done for us, the reservation is given back. So end a request that never left, and
  one that was refused with an error status, 5xx included, and no usage: providers bill answers, not refusals.
- "lost": the request left, and nobody can say what was done: it timed out, the stream was cut, the answer was
  not readable, or the attempt was cancelled meanwhile. The reservation is forfeited: counted as spent.

Here, and nowhere else, a call is made again within an attempt. Of an ordered list of models the gate takes the
first that can be called and fits. One that fails for a reason that may pass (429, 5xx, timeout, broken connection,
an answer that cannot be read) is asked again until it was asked as often as its entry says, after what the provider
asked to wait, or else after half a second, one, two … eight. Then, and at once for what it cannot do (a text too
long, a content filter, pictures, no key), the rest of the list is asked; the attempt fails only when all have. A
refusal that no model would mend (a wrong request, a wrong key) ends the attempt at once. Each try is admitted,
settled and priced as a call of its own, so a failing activity makes attempts of the model x models x attempts of
the activity, and no more.

The time of an attempt (`timeout_seconds`) runs while a model is asked, and stands still while a call waits: for money,
for a rate, or for its next try. What is left of it is shared by the tries that are left. A provider that asks for a
longer pause than what is left is not waited for, and the next model is asked instead.
Text that a try has streamed is taken back before the next one begins: nothing of two answers is ever read as one.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar, assert_never

import msgspec

from headgate.activities.passing_over import another_may_help, is_filtered, who_cannot
from headgate.activities.targets import Target
from headgate.core.values import CallError, Candidate, Failure, PassedOver, Price, Usage
from headgate.ports import (
    ActivityContext,
    Admitted,
    Attempt,
    CallRequest,
    Denied,
    EmbeddingAnswer,
    Hit,
    Kept,
    ModelAnswer,
    ProviderError,
    Settlement,
)

__all__ = ["Answered", "ask_first_available", "asked_hash", "request_hash"]

PAUSE_SECONDS = 0.5
PAUSE_SECONDS_MAX = 8.0
"""The first pause before a model is asked again, and the longest, where its provider asks for none."""

Answer = TypeVar("Answer", ModelAnswer, EmbeddingAnswer)


class Answered(msgspec.Struct, Generic[Answer], frozen=True):
    """A call that was made and settled: who answered, what it used and what that costs (nano-dollars)."""

    target: Target
    answer: Answer
    usage: Usage
    cost: int
    simulated: bool
    budget_skipped: tuple[str, ...]


def request_hash(request: object, models: Sequence[str]) -> str:
    """Return the SHA-256 of what is asked and of whom, as canonical JSON: equal for equal requests.

    Raises `Attempt` (`invalid_parameters`) for a request that no JSON can hold.
    """
    return _hash([request, models])


def asked_hash(asked: object) -> str:
    """Return the SHA-256 of what is asked, whomever it is asked of: equal calls share it. Raises as `request_hash`."""
    return _hash(asked)


def _hash(value: object) -> str:
    try:
        return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()
    except (TypeError, ValueError, OverflowError) as error:
        message = f"The request to the model cannot be written as JSON: {error}."
        raise Attempt.failed("invalid_parameters", message, retryable=False) from None


async def ask_first_available(
    ctx: ActivityContext,
    wanted: Sequence[Target],
    *,
    request: object,
    size: Callable[[Target], tuple[int, int]],
    call: Callable[[Target, float], Awaitable[Answer]],
    reuse: tuple[str, ...] = (),
    keep: Callable[[Answer], tuple[Kept, ...]] = lambda answer: (),
    max_cost: int | None = None,
) -> Answered[Answer] | Hit:
    """Ask the models in order until one answers; return its settled answer, or a hit, which needed no call.

    `request` is what is hashed; `size` says how many tokens a call may take in, and give (0: there is no limit);
    `call` asks one model, given the seconds that it may take. `reuse` are the hashes under which answers of equal calls
    may be taken, and `keep` says what of an answer is to be kept under them. Raises `Attempt`: what the gate denied
    with, or what the models failed with.
    """
    asking = _Asking(ctx, list(wanted), request, size, call, max_cost)
    asking.reuse, asking.keep = reuse, keep
    return await asking.first_answer()


class _Asking(Generic[Answer]):
    def __init__(
        self,
        ctx: ActivityContext,
        left: list[Target],
        request: object,
        size: Callable[[Target], tuple[int, int]],
        call: Callable[[Target, float], Awaitable[Answer]],
        max_cost: int | None,
    ) -> None:
        self.max_cost = max_cost
        self.ctx = ctx
        self.left = left
        self.request = request
        self.size = size
        self.call = call
        self.tries = dict.fromkeys((target.name for target in left), 0)
        self.pause = 0.0
        """Before the next try, in seconds."""
        self.deadline = asyncio.get_running_loop().time() + ctx.task.timeout_seconds
        self.reuse: tuple[str, ...] = ()
        self.keep: Callable[[Answer], tuple[Kept, ...]] = lambda answer: ()
        self.prices: dict[str, Price | None] = {}
        """What each model cost when it was last offered to the gate: as it was admitted, so it is paid."""
        self.skipped: dict[str, None] = {}
        self.errors: list[ProviderError] = []
        self.passed_over: list[PassedOver] = []
        """What has failed and not been told to the gate yet."""

    async def first_answer(self) -> Answered[Answer] | Hit:
        cannot = who_cannot(self.left, self.request)
        self.left = [target for target in self.left if target.name not in cannot]
        self.passed_over = [PassedOver(name, why, "missing_capability") for name, why in cannot.items()]
        while self.left:
            call_id, admission = await self._admit()
            match admission:
                case Hit():
                    return admission
                case Denied(error=failure):
                    raise Attempt(self._after_earlier(failure))
                case Admitted(model=model, skipped=skipped):
                    self.skipped.update(dict.fromkeys(skipped))
                    answered = await self._ask(call_id, self._target(model))
                    if answered is not None:
                        return answered
                case _:
                    assert_never(admission)
        raise Attempt(self._failure())

    async def _admit(self) -> tuple[str, Admitted | Hit | Denied]:
        digest = request_hash(self.request, [target.name for target in self.left])
        candidates = tuple(self._candidate(target) for target in self.left)
        request = CallRequest(
            digest,
            candidates,
            passed_over=tuple(self.passed_over),
            pause_seconds=self.pause,
            reuse=self.reuse,
            max_cost=self.max_cost,
        )
        self.passed_over, self.pause = [], 0.0
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer = await self.ctx.admit(request)
        self.deadline += loop.time() - began  # in which the attempt's time stood still
        return answer

    def _candidate(self, target: Target) -> Candidate:
        price = self.prices[target.name] = target.price
        input_tokens, output_tokens = self.size(target)
        worst_case = 0 if price is None else price.worst_case(input_tokens, output_tokens, tier=target.tier)
        # Its variants stay out of the log: a call that another tier answers brings the price of that tier.
        held = None if price is None else price.standard
        return Candidate(target.name, worst_case, held, input_tokens, output_tokens, target.account, target.hurries)

    def _target(self, name: str) -> Target:
        return {target.name: target for target in self.left}[name]

    @property
    def _seconds_left(self) -> float:
        return max(self.deadline - asyncio.get_running_loop().time(), 0.0)

    async def _ask(self, call_id: str, target: Target) -> Answered[Answer] | None:
        """Make the admitted call and settle it; return None where one is to be asked (again)."""
        tries_left = sum(one.attempts - self.tries[one.name] for one in self.left)
        self.tries[target.name] += 1
        try:
            answer = await self.call(target, self._seconds_left / tries_left)
        except ProviderError as error:
            await self._settle(call_id, _settlement(error, target, self.prices[target.name]))
            self.errors.append(error)
            if not another_may_help(error):
                raise Attempt(self._failure()) from None
            self._go_on(target, error)
            return None
        except BaseException:
            await self._settle(call_id, Settlement("lost"))
            raise
        answered = self._answered(target, answer)
        kept = self.keep(answer) if self.reuse else ()
        await self._settle(call_id, Settlement.used(answered.usage, rates=answer.rates, answers=kept))
        if len(self.left) > 1 and is_filtered(answer):
            message = f"{target.name} answered with nothing: its content filter stopped it."
            self.errors.append(ProviderError(message, status=200, code="content_filter"))
            self._go_on(target, self.errors[-1])
            return None
        return answered

    def _go_on(self, target: Target, error: ProviderError) -> None:
        """Have the model asked again if that may help, and it has tries and the attempt has time for it; else the
        next one."""
        has_tries = error.retryable and self.tries[target.name] < target.attempts
        if has_tries and (error.retry_after_seconds or 0.0) <= self._seconds_left:
            tried = f"try {self.tries[target.name]} of {target.attempts}"
            self.ctx.log(f"{target.name} is asked again", code=error.kind, reason=str(error), tried=tried)
            self.pause = self._pause_after(target, error)
            return
        self.ctx.log(f"{target.name} could not answer", code=error.kind, reason=str(error))
        self.passed_over = [PassedOver(target.name, str(error), error.kind)]
        self.left.remove(target)

    def _pause_after(self, target: Target, error: ProviderError) -> float:
        if error.retry_after_seconds is not None:
            return error.retry_after_seconds
        return min(PAUSE_SECONDS * 2 ** (self.tries[target.name] - 1), PAUSE_SECONDS_MAX, self._seconds_left)

    def _answered(self, target: Target, answer: Answer) -> Answered[Answer]:
        """Return the answer at the price of the model that answered, or else of the one that was asked."""
        asked = self.prices[target.name]
        usage = _priced(answer.usage, target, asked, answer.model)
        price = usage.price or asked
        cost = usage.cost_nano if usage.cost_nano is not None else price.cost(usage) if price else 0
        skipped = tuple(name for name in self.skipped if name != target.name)
        return Answered(target, answer, usage, cost, bool(price and price.simulated), skipped)

    async def _settle(self, call_id: str, settlement: Settlement) -> None:
        """Settle. When the attempt is cancelled meanwhile, a task of its own settles again: repeated, it changes
        nothing."""
        try:
            await self.ctx.settle(call_id, settlement)
        except asyncio.CancelledError:
            settling = asyncio.ensure_future(self.ctx.settle(call_id, settlement))
            _settling.add(settling)
            settling.add_done_callback(_settling.discard)
            raise

    def _after_earlier(self, failure: Failure) -> Failure:
        if not self.errors:
            return failure
        earlier = " ".join(str(error) for error in self.errors)
        return msgspec.structs.replace(failure, message=f"{failure.message} Before that: {earlier}")

    def _failure(self) -> Failure:
        """Return the failure of all models that were asked: the last one's code, the hope of any of them."""
        hopeful = [error for error in self.errors if error.retryable]
        waits = [error.retry_after_seconds for error in hopeful if error.retry_after_seconds is not None]
        return Failure(
            code=(hopeful or self.errors)[-1].kind,
            message=" ".join(str(error) for error in self.errors),
            retryable=bool(hopeful),
            retry_after_seconds=min(waits) if len(waits) == len(hopeful) and waits else None,
        )


_settling: set[asyncio.Future[None]] = set()
"""Settlements under way: the loop itself holds tasks by weak references only."""


def _price_of_answer(asked: Price | None, answered: Price | None) -> Price | None:
    """Return the price of the model that answered, unless it is only listed and that of the one asked for was set."""
    if answered is None or (asked is not None and asked.by_hand and not answered.by_hand):
        return asked
    return answered


def _settlement(error: ProviderError, target: Target, asked: Price | None) -> Settlement:
    cause = CallError(error.kind, error.status, error.retry_after_seconds)
    if error.usage is not None:
        return Settlement(
            "used",
            _priced(error.usage, target, asked, error.usage.model or target.model),
            cause,
            rates=error.rates,
        )
    outcome = "never_sent" if not error.sent or error.status >= 300 else "lost"
    return Settlement(outcome, error=cause, rates=error.rates)


def _priced(usage: Usage, target: Target, asked: Price | None, answered: str) -> Usage:
    """Return the usage with its provider and model, and its cost where another price holds than the one asked for."""
    named = msgspec.structs.replace(usage, provider=target.provider_name, model=usage.model or target.model)
    price = asked if answered == target.model else _price_of_answer(asked, target.provider.price(answered))
    if named.cost_nano is not None or price is None:
        return named
    held = price.of(named)
    if asked is not None and held == asked.standard:
        return named
    return msgspec.structs.replace(named, cost_nano=held.cost(named), price=held)
