"""A model call through the gate: admitted before it is made, settled after it, once, whatever happens.

The ledger half (the engine) says whether a call may be made and to which model; this half makes it. How a
call ended is told to the ledger as one of three things, and its money follows:

- its `Usage`: the provider's report (or our count, where it reports none). That is what the call cost.
- "never_sent": nothing was done for us, the reservation is given back. So end a request that never left, and
  one that was refused with an error status, 5xx included, and no usage: providers bill answers, not refusals.
- "lost": the request left, and nobody can say what was done: it timed out, the stream was cut, the answer was
  not readable, or the attempt was cancelled meanwhile. The reservation is forfeited: counted as spent.

Of an ordered list of models the ledger takes the first that fits. When that model cannot serve now (429,
5xx, timeout, broken connection, context too long, something it cannot do, no key), the rest of the list is
admitted anew, once each; the attempt fails only when all have. A refusal that another model would not mend
(a wrong request, a wrong key) ends the attempt at once. Text that a failed model has streamed stays in the
live stream, whose readers are served from the result in the end.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar, assert_never

import msgspec

from headgate.core.values import CallError, Candidate, Failure, PassedOver, Price, Usage
from headgate.ports import (
    ActivityContext,
    Admitted,
    Attempt,
    CallRequest,
    Denied,
    EmbeddingAnswer,
    Hit,
    ModelAnswer,
    ModelProvider,
    ProviderError,
    Settlement,
)

__all__ = ["Answered", "Target", "ask_first_available", "request_hash", "targets"]

ELSEWHERE = frozenset(
    {"rate_limited", "quota_exhausted", "provider_unavailable", "timed_out", "connection_failed"}
    | {
        "malformed_response",
        "context_too_long",
        "missing_capability",
        "demo_cannot",
        "missing_address",
        "not_built",
        "missing_key",
    }
)
"""Codes of failures that say nothing against asking the next model."""
MODELS_MAX = 20

Answer = TypeVar("Answer", ModelAnswer, EmbeddingAnswer)


class Target(msgspec.Struct, frozen=True):
    """A model that may be asked: `provider_name` and `model` are the two halves of what the author wrote."""

    provider_name: str
    model: str
    provider: ModelProvider
    tier: str = ""
    """The service tier that is asked for; empty: the standard one."""

    @property
    def name(self) -> str:
        return f"{self.provider_name}/{self.model}"

    @property
    def price(self) -> Price | None:
        """What the model costs; None: that, or what it costs at the tier that is asked for, is not known."""
        price = self.provider.price(self.model)
        return price if price is not None and price.at_tier(self.tier) is not None else None


class Answered(msgspec.Struct, Generic[Answer], frozen=True):
    """A call that was made and settled: who answered, what it used and what that costs (nano-dollars)."""

    target: Target
    answer: Answer
    usage: Usage
    cost: int
    simulated: bool
    budget_skipped: tuple[str, ...]


def targets(
    models: Sequence[str], providers: Mapping[str, ModelProvider], activity: str, tier: str = ""
) -> tuple[Target, ...]:
    """Return the models by their names, "provider/model", split at the first slash.

    Raises `Attempt` (`invalid_parameters`) for a name without its two halves, or of an unknown provider.
    """
    if not 1 <= len(models) <= MODELS_MAX:
        raise _invalid(f"{activity}: expected model to name 1 to {MODELS_MAX} models, got {len(models)}")
    found: dict[str, Target] = {}
    for name in models:
        provider_name, _, model = name.partition("/")
        if not provider_name or not model:
            raise _invalid(f'{activity}: expected model to be "provider/model", got {name!r}')
        if provider_name not in providers:
            known = ", ".join(sorted(providers))
            raise _invalid(
                f"{activity}: expected model {name!r} to begin with a provider of this process ({known}); "
                f"set HEADGATE_PROVIDER_{provider_name.upper()}_BASE_URL to add one"
            )
        found.setdefault(name, Target(provider_name, model, providers[provider_name], tier))
    return tuple(found.values())


def _invalid(message: str) -> Attempt:
    return Attempt.failed("invalid_parameters", f"{message}.", retryable=False)


def request_hash(request: object, models: Sequence[str]) -> str:
    """Return the SHA-256 of what is asked and of whom, as canonical JSON: equal for equal requests.

    Raises `Attempt` (`invalid_parameters`) for a request that no JSON can hold.
    """
    try:
        return hashlib.sha256(msgspec.json.encode([request, models], order="sorted")).hexdigest()
    except (TypeError, ValueError, OverflowError) as error:
        raise _invalid(f"The request to the model cannot be written as JSON: {error}") from None


async def ask_first_available(
    ctx: ActivityContext,
    wanted: Sequence[Target],
    *,
    request: object,
    worst_case: Callable[[Target, Price], int],
    call: Callable[[Target, int], Awaitable[Answer]],
) -> Answered[Answer] | Hit:
    """Ask the models in order until one answers; return its settled answer, or a hit, which needed no call.

    `request` is what is hashed; `worst_case` says the most that a call may cost (nano-dollars) at a price;
    `call` asks one model, given how many are left (itself included). Raises `Attempt`: what the gate denied
    with, or what the models failed with.
    """
    return await _Asking(ctx, list(wanted), request, worst_case, call).first_answer()


class _Asking(Generic[Answer]):
    def __init__(
        self,
        ctx: ActivityContext,
        left: list[Target],
        request: object,
        worst_case: Callable[[Target, Price], int],
        call: Callable[[Target, int], Awaitable[Answer]],
    ) -> None:
        self.ctx = ctx
        self.left = left
        self.request = request
        self.worst_case = worst_case
        self.call = call
        self.skipped: dict[str, None] = {}
        self.errors: list[ProviderError] = []
        self.passed_over: list[PassedOver] = []
        """What has failed and not been told to the gate yet."""

    async def first_answer(self) -> Answered[Answer] | Hit:
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
        return await self.ctx.admit(CallRequest(digest, candidates, passed_over=tuple(self.passed_over)))

    def _candidate(self, target: Target) -> Candidate:
        price = target.price
        worst_case = 0 if price is None else self.worst_case(target, price)
        # Its variants stay out of the log: a call that another tier answers brings the price of that tier.
        return Candidate(target.name, worst_case, None if price is None else price.standard)

    def _target(self, name: str) -> Target:
        return {target.name: target for target in self.left}[name]

    async def _ask(self, call_id: str, target: Target) -> Answered[Answer] | None:
        """Make the admitted call and settle it; return None where the next model is to be asked."""
        try:
            answer = await self.call(target, len(self.left))
        except ProviderError as error:
            await self._settle(call_id, _settlement(error, target))
            self.errors.append(error)
            self.passed_over = [PassedOver(target.name, str(error), error.kind)]
            if not _another_may_help(error):
                raise Attempt(self._failure()) from None
            self.ctx.log(f"{target.name} could not answer", code=error.kind, reason=str(error))
            self.left.remove(target)
            return None
        except BaseException:
            await self._settle(call_id, Settlement("lost"))
            raise
        answered = self._answered(target, answer)
        await self._settle(call_id, Settlement.used(answered.usage))
        return answered

    def _answered(self, target: Target, answer: Answer) -> Answered[Answer]:
        """Return the answer at the price of the model that answered, or else of the one that was asked."""
        usage = _priced(answer.usage, target, answer.model)
        price = usage.price or target.price
        cost = usage.cost_nano if usage.cost_nano is not None else price.cost(usage) if price else 0
        skipped = tuple(name for name in self.skipped if name != target.name)
        return Answered(target, answer, usage, cost, bool(price and price.simulated), skipped)

    async def _settle(self, call_id: str, settlement: Settlement) -> None:
        """Settle, also when the attempt is cancelled meanwhile: then the settlement goes on by itself."""
        settling = asyncio.ensure_future(self.ctx.settle(call_id, settlement))
        _settling.add(settling)
        settling.add_done_callback(_settling.discard)
        await asyncio.shield(settling)

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


def _another_may_help(error: ProviderError) -> bool:
    return error.kind in ELSEWHERE or error.status == 429 or error.status >= 500


def _settlement(error: ProviderError, target: Target) -> Settlement:
    cause = CallError(error.kind, error.status, error.retry_after_seconds)
    if error.usage is not None:
        return Settlement("used", _priced(error.usage, target, error.usage.model or target.model), cause)
    return Settlement("never_sent" if not error.sent or error.status >= 300 else "lost", error=cause)


def _priced(usage: Usage, target: Target, answered: str) -> Usage:
    """Return the usage with its provider and model, and its cost where another price holds than the one asked for."""
    named = msgspec.structs.replace(usage, provider=target.provider_name, model=usage.model or target.model)
    asked = target.price
    price = _price_of_answer(asked, target.provider.price(answered))
    if named.cost_nano is not None or price is None:
        return named
    held = price.of(named)
    if asked is not None and held == asked.standard:
        return named
    return msgspec.structs.replace(named, cost_nano=held.cost(named), price=held)
