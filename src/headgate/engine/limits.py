"""What the gate knows of a provider before it asks for money: may the model be called now, and if not, when.

The state is in the cells of a `LimitStore`, by these names (`account` is a provider, `openai`, or one of its keys,
`openai#team`; `model` is an account and a model, `openai/gpt-5`):

- `limit SCOPE`: a rate that somebody has set;
- `rate KIND ACCOUNT` and `rate KIND MODEL`: when its bucket is full again (`engine.rate`);
- `own KIND LINE RATE`: the same of a rate that a definition asks for (`engine.own_rates`);
- `pause MODEL`: until when the provider wants to be left alone, by a 429 or by a rate that it said is used up;
- `circuit MODEL`: how it has done of late (`engine.breaker`).

What is taken of a rate is an estimate, taken before the call and put right after it. All changes are swaps: whoever was
slower looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from headgate.core.errors import Invalid, Refused
from headgate.core.money import show
from headgate.core.values import CallError, Candidate, Usage
from headgate.engine import breaker, rate
from headgate.engine.breaker import Circuit, Ended
from headgate.engine.limit_view import at_clock
from headgate.engine.own_rates import OwnRate, rate_of_cell
from headgate.engine.rate import Rate
from headgate.ports import Cell, LimitStore, RateLimit, Settlement, Swap

__all__ = ["CIRCUIT_FAILURES_MAX", "Limits", "State", "Take", "account_of", "checked_limit", "limits_of", "model_of"]

KINDS: tuple[Literal["requests"], Literal["tokens"], Literal["money"]] = ("requests", "tokens", "money")
SWAPS_MAX = 16
"""So often a change is tried anew because somebody was faster."""
MODELS_MAX = 1_000
"""Models whose circuits are known, and whose pauses; of a further one nothing is."""
LIMITS_MAX = 1_000
OWN_BUCKETS_MAX = 10_000
"""Buckets of rates that definitions ask for and that are in use; calls are not held to a further one."""
BROKEN = frozenset({"provider_unavailable", "timed_out", "connection_failed", "malformed_response"})
"""Codes of failures that are the provider's."""
PAUSE_SECONDS_MAX = 86_400
SECONDS_MAX = 86_400
AMOUNT_MAX = 10**15
CIRCUIT_FAILURES_VARIABLE = "HEADGATE_CIRCUIT_FAILURES"
CIRCUIT_FAILURES_MAX = 10_000


class Pause(msgspec.Struct, frozen=True):
    """A provider wants to be left alone until then (microseconds)."""

    until: int
    why: str


class Take(NamedTuple):
    """An amount of one rate, taken for a call: the cell of its bucket, and what was taken."""

    cell: str
    kind: Literal["requests", "tokens", "money"]
    scope: str
    limit: Rate
    amount: int
    line: str = ""
    """Where calls wait for it, where it is a definition's own."""


class State(NamedTuple):
    """Whether a candidate can be called now. `closed`: its circuit is open. Else `opens_at` is when it can be."""

    candidate: Candidate
    opens_at: int
    closed: bool = False
    why: str = ""
    scope: str = ""
    """The account or model whose rate it is."""
    line: str = ""
    """Where calls wait for it, where it is the rate of a definition."""


class Limits:
    """One per engine, over the store that it may share with others."""

    def __init__(self, store: LimitStore, *, circuit_failures: int = breaker.FAILURES) -> None:
        """`circuit_failures`: so many open a circuit; 0: none is ever opened."""
        self.store = store
        self.rates: dict[str, RateLimit] = {}
        self._circuit_failures = circuit_failures

    async def load(self) -> None:
        """Read the rates that were set; again, where others set some, too."""
        await self.store.look()
        cells = [] if self.store.idle else await self.store.cells("limit ")
        self.rates = {cell.name[6:]: msgspec.json.decode(cell.body, type=RateLimit) for cell in cells}

    async def set(self, limit: RateLimit) -> None:
        """Keep a rate; one of the same scope is replaced, and begins with full buckets. Raises `Refused`."""
        if limit.scope not in self.rates and len(self.rates) >= LIMITS_MAX:
            raise Refused(f"{LIMITS_MAX:,} rate limits are set already; take one out first.")
        await self._put(f"limit {limit.scope}", lambda _: msgspec.json.encode(limit).decode())
        await self._empty_buckets(limit.scope)
        self.rates[limit.scope] = limit

    async def remove(self, scope: str) -> None:
        """Take a rate out, with its buckets."""
        await self._put(f"limit {scope}", lambda _: None)
        await self._empty_buckets(scope)
        self.rates.pop(scope, None)

    async def _empty_buckets(self, scope: str) -> None:
        for cell in await self.store.cells("rate "):
            _, _, name = cell.name.split(" ", 2)
            if _scope_without_key(name) == scope:
                await self._put(cell.name, lambda _: None)

    # --- Before a call -----------------------------------------------------------------------------------------------

    async def state(self, candidate: Candidate, call_id: str, own: OwnRate | None = None) -> State:
        """Return whether the candidate can be called now, or when. `own` is the rate of the call's definition."""
        now, takes = self.store.now(), self._takes(candidate, own)
        model = model_of(candidate)
        names = [_circuit_name(model), _pause_name(model), *(take.cell for take in takes)]
        circuit_text, pause_text, *buckets = await self.store.read(names)
        circuit = _circuit(circuit_text)
        if not breaker.ask(circuit, call_id, now)[0]:
            assert circuit is not None
            return State(candidate, circuit.until, closed=True, why=_circuit_words(circuit))
        pause = _pause(pause_text)
        opens = State(candidate, pause.until, why=pause.why, scope=model) if pause else State(candidate, 0)
        for take, text in zip(takes, buckets, strict=True):
            at = rate.opens_at(int(text or 0), take.limit, take.amount)
            if at > max(now, opens.opens_at):
                opens = State(candidate, at, why=_rate_words(take), scope=take.scope, line=take.line)
        return opens

    async def take(self, candidate: Candidate, call_id: str, own: OwnRate | None = None) -> tuple[Take, ...] | None:
        """Take of all its rates what the candidate may use, and be the probe of its circuit where there is to be one.
        None: it cannot be called now after all."""
        takes, model = self._takes(candidate, own), model_of(candidate)
        names = [_circuit_name(model), _pause_name(model), *(take.cell for take in takes)]
        for _ in range(SWAPS_MAX):
            now = self.store.now()
            circuit_text, pause_text, *buckets = await self.store.read(names)
            may, circuit = breaker.ask(_circuit(circuit_text), call_id, now)
            if not may or ((pause := _pause(pause_text)) is not None and pause.until > now):
                return None
            full = [int(text or 0) for text in buckets]
            if any(rate.opens_at(at, take.limit, take.amount) > now for at, take in zip(full, takes, strict=True)):
                return None
            changes = [Swap(names[0], circuit_text, _text(circuit)), Swap(names[1], pause_text, None)]
            for at, text, one in zip(full, buckets, takes, strict=True):
                if text is None and not await self._has_room(one.cell):
                    continue
                changes.append(Swap(one.cell, text, str(rate.taken(at, one.limit, one.amount, now))))
            if await self._swapped(changes):
                return takes
        return None

    def _takes(self, candidate: Candidate, own: OwnRate | None) -> tuple[Take, ...]:
        if not self.rates and own is None:
            return ()
        account, found = account_of(candidate), list[Take]()
        amounts = (1, candidate.input_tokens + candidate.output_tokens, candidate.worst_case)
        for scope, shared in ((candidate.model.partition("/")[0], account), (candidate.model, model_of(candidate))):
            limit = self.rates.get(scope)
            if limit is not None:
                for kind, most, amount in zip(KINDS, (limit.requests, limit.tokens, limit.money), amounts, strict=True):
                    if most:
                        found.append(Take(f"rate {kind} {shared}", kind, shared, Rate(most, limit.seconds), amount))
        if own is not None:
            for kind, held, amount in zip(KINDS, (own.requests, own.tokens, own.money), amounts, strict=True):
                if held is not None:
                    found.append(Take(own.cell(kind, held), kind, own.name, held, amount, own.line))
        return tuple(found)

    # --- After it ----------------------------------------------------------------------------------------------------

    async def give_back(self, candidate: Candidate, call_id: str, takes: Sequence[Take]) -> None:
        """Undo `take`: the call was not made."""
        await self._correct(takes, lambda _: 0)
        now = self.store.now()
        await self._put(
            _circuit_name(model_of(candidate)),
            lambda text: _text(breaker.withdraw(_circuit(text), call_id, now)),
        )

    async def learn(
        self, candidate: Candidate, call_id: str, takes: Sequence[Take], settlement: Settlement
    ) -> Circuit | None:
        """Put right what was taken, and keep what the end of the call says of its provider; return the circuit where
        it has just been opened."""
        if takes:
            await self._correct(takes, lambda take: _used(take, candidate, settlement))
        now = self.store.now()
        if pause := _asked_for(settlement, now):
            await self._put(_pause_name(model_of(candidate)), lambda text: _longer(_pause(text), pause))
        if not self._circuit_failures:
            return None
        opened: list[Circuit | None] = [None]

        def ended(text: str | None) -> str | None:
            before = _circuit(text)
            after = breaker.report(before, call_id, _ended(settlement), now, self._circuit_failures)
            opened[0] = after if after and after.openings > (before.openings if before else 0) else None
            return _text(after)

        await self._put(_circuit_name(model_of(candidate)), ended)
        return opened[0]

    async def _correct(self, takes: Sequence[Take], used: Callable[[Take], int]) -> None:
        for take in takes:
            amount = used(take)
            if amount != take.amount:

                def corrected(text: str | None, take: Take = take, amount: int = amount) -> str | None:
                    if text is None:  # the rate is not there any more
                        return None
                    return str(rate.corrected(int(text), take.limit, taken=take.amount, used=amount))

                await self._put(take.cell, corrected)

    async def _put(self, name: str, change: Callable[[str | None], str | None]) -> None:
        """Change one cell by what it holds."""
        for _ in range(SWAPS_MAX):
            (before,) = await self.store.read([name])
            after = change(before)
            if before is None and after is not None and not await self._has_room(name):
                return
            if await self._swapped([Swap(name, before, after)]):
                return

    async def _has_room(self, name: str) -> bool:
        """Say whether one more cell of its kind may be kept, after those were taken out that say nothing any more."""
        kind = name.partition(" ")[0]
        most = {"circuit": MODELS_MAX, "pause": MODELS_MAX, "own": OWN_BUCKETS_MAX}.get(kind)
        if most is None:
            return True
        cells = await self.store.cells(f"{kind} ")
        if len(cells) < most:
            return True
        now = self.store.now()
        over = [cell for cell in cells if _is_over(kind, cell, now)]
        return await self._swapped([Swap(*cell, None) for cell in over]) and len(cells) - len(over) < most

    async def _swapped(self, changes: Sequence[Swap]) -> bool:
        changes = [change for change in changes if change.before != change.after]
        return not changes or await self.store.swap(changes)


def limits_of(environment: Mapping[str, str], store: LimitStore) -> Limits:
    """Return the limits over the store, as the environment sets them. Raises `Invalid`."""
    text = environment.get(CIRCUIT_FAILURES_VARIABLE, "").strip()
    if text and not (text.isdecimal() and int(text) <= CIRCUIT_FAILURES_MAX):
        raise Invalid(
            f"expected {CIRCUIT_FAILURES_VARIABLE} to be a whole number from 0 (circuits never open) to "
            f"{CIRCUIT_FAILURES_MAX:,}, got {text!r}."
        )
    return Limits(store, circuit_failures=int(text) if text else breaker.FAILURES)


def checked_limit(limit: RateLimit) -> RateLimit:
    """Return the rate if it can be held. Raises `Invalid`."""
    provider, slash, model = limit.scope.partition("/")
    if not provider.strip() or (slash and not model.strip()) or " " in limit.scope:
        raise Invalid(f'expected a provider such as openai, or one of its models (openai/gpt-5), got "{limit.scope}".')
    given = {"requests": limit.requests, "tokens": limit.tokens, "money": limit.money, "seconds": limit.seconds}
    if not any(given[kind] for kind in KINDS):
        raise Invalid(f"A rate limit of {limit.scope} needs requests, tokens or money.")
    for name, value in given.items():
        if value is not None and not 1 <= value <= (SECONDS_MAX if name == "seconds" else AMOUNT_MAX):
            raise Invalid(f"expected {name} of the rate limit to be at least 1, and not absurdly large, got {value}.")
    return limit


def account_of(candidate: Candidate) -> str:
    """Return the provider, and which of its keys."""
    provider = candidate.model.partition("/")[0]
    return f"{provider}#{candidate.account}" if candidate.account else provider


def model_of(candidate: Candidate) -> str:
    """Return the account and the model."""
    return f"{account_of(candidate)}/{candidate.model.partition('/')[2]}" if candidate.account else candidate.model


def _circuit_name(model: str) -> str:
    return f"circuit {model}"


def _pause_name(model: str) -> str:
    return f"pause {model}"


def _scope_without_key(name: str) -> str:
    account, slash, model = name.partition("/")
    return account.partition("#")[0] + slash + model


def _circuit(text: str | None) -> Circuit | None:
    return msgspec.json.decode(text, type=Circuit) if text else None


def _pause(text: str | None) -> Pause | None:
    return msgspec.json.decode(text, type=Pause) if text else None


def _is_over(kind: str, cell: Cell, now: int) -> bool:
    if kind == "own":
        return rate_of_cell(cell.name).used(int(cell.body), now) == 0
    if kind == "pause":
        pause = _pause(cell.body)
        return pause is None or pause.until <= now
    return breaker.ask(_circuit(cell.body), "", now)[1] is None


def _text(value: Circuit | Pause | None) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


def _circuit_words(circuit: Circuit) -> str:
    if circuit.probe:
        return "its circuit is open, and another call is trying it"
    return f"its circuit is open since {at_clock(circuit.since)}, the next probe is at {at_clock(circuit.until)}"


def _rate_words(take: Take) -> str:
    most = take.limit.limit
    limit = show(most) if take.kind == "money" else f"{most:,} {take.kind if most > 1 else take.kind[:-1]}"
    period = "a minute" if take.limit.seconds == 60 else f"in {take.limit.seconds} s"
    scope = take.scope if take.line else _scope_without_key(take.scope)
    return f"the rate of {scope}: {limit} {period}"


# --- What the end of a call says -------------------------------------------------------------------------------------


def _used(take: Take, candidate: Candidate, settlement: Settlement) -> int:
    """Return what the call used of a rate; where nobody knows, what was taken for it."""
    if settlement.outcome == "lost":
        return take.amount
    if take.kind == "requests":
        left = settlement.outcome == "used" or (settlement.error is not None and settlement.error.status > 0)
        return take.amount if left else 0
    usage = settlement.usage
    if settlement.outcome == "never_sent" or usage is None:
        return 0
    return usage.input_tokens + usage.output_tokens if take.kind == "tokens" else _cost(candidate, usage)


def _cost(candidate: Candidate, usage: Usage) -> int:
    if usage.cost_nano is not None:
        return usage.cost_nano
    return candidate.price.cost(usage) if candidate.price else 0


def _ended(settlement: Settlement) -> Ended:
    error = settlement.error
    if error is None:
        return "answered" if settlement.outcome == "used" else "unknown"
    if error.code in BROKEN or error.status >= 500:
        return "failed"
    return "answered" if error.status else "unknown"


def _asked_for(settlement: Settlement, now: int) -> Pause | None:
    """Return how long the provider wants to be left alone, if it does."""
    error, rates = settlement.error, settlement.rates
    seconds = _refused_for(error)
    why = f"{error.status or 429} from the provider, which asked for a pause" if error and seconds else ""
    if not seconds and rates is not None:
        seconds, why = rates.wait_seconds, "the provider's own rate, which it says is used up"
    if not seconds:
        return None
    return Pause(now + int(min(seconds, PAUSE_SECONDS_MAX) * 1_000_000), why)


def _refused_for(error: CallError | None) -> float:
    if error is None or not (error.code == "rate_limited" or error.status in (429, 503)):
        return 0.0
    return error.retry_after_seconds or 0.0


def _longer(one: Pause | None, other: Pause) -> str | None:
    return _text(other if one is None or other.until > one.until else one)
