"""Rates, circuits, pauses and waits as people see them, made of the cells of a `LimitStore`; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import msgspec

from headgate.core.duration import show_seconds
from headgate.core.view import PlaceView, RunView
from headgate.engine import breaker, rate
from headgate.engine.breaker import Circuit
from headgate.ports import Cell, RateLimit

__all__ = ["CircuitLine", "LimitsView", "PauseLine", "RateLine", "Wait", "at_clock", "view_limits", "with_waits"]


class Wait(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call waits: why, until when as far as is known (microseconds, 0: nobody knows), and since when."""

    why: str
    until: int
    since: int
    model: str
    tenant: str = "default"
    run_id: str = ""
    place: str = ""

    def sentence(self, now: int) -> str:
        """Return what it waits for: `waits for the rate of openai: 60 requests a minute, 12 s`."""
        left = f", {show_seconds((self.until - now) / 1_000_000)}" if self.until > now else ""
        return f"waits for {self.why}{left}"


class RateLine(msgspec.Struct, frozen=True):
    """One rate that was set: what may be used in `seconds`, and of it the share that is used now (0 to 1, by bucket:
    1 and more means that calls wait)."""

    scope: str
    kind: str
    limit: int
    seconds: int
    used: float


class CircuitLine(msgspec.Struct, frozen=True):
    """A model that has failed of late. Open: `until` is when the next probe may go (microseconds)."""

    model: str
    state: str
    since: int
    until: int
    failed: int
    succeeded: int


class PauseLine(msgspec.Struct, frozen=True):
    """A model whose provider asked to be left alone until then (microseconds)."""

    model: str
    until: int
    why: str


class LimitsView(msgspec.Struct, frozen=True):
    """All of it."""

    limits: tuple[RateLimit, ...]
    rates: tuple[RateLine, ...]
    circuits: tuple[CircuitLine, ...]
    pauses: tuple[PauseLine, ...]
    waits: tuple[Wait, ...]


def view_limits(cells: Iterable[Cell], now: int) -> LimitsView:
    """Return what the cells hold, as it is now."""
    by_kind: dict[str, dict[str, str]] = {kind: {} for kind in ("limit", "rate", "circuit", "pause", "wait")}
    for cell in cells:
        kind, _, name = cell.name.partition(" ")
        by_kind.get(kind, {})[name] = cell.body
    limits = {name: msgspec.json.decode(body, type=RateLimit) for name, body in by_kind["limit"].items()}
    return LimitsView(
        limits=tuple(limits.values()),
        rates=tuple(_rates(limits, by_kind["rate"], now)),
        circuits=tuple(_circuits(by_kind["circuit"], now)),
        pauses=tuple(_pauses(by_kind["pause"], now)),
        waits=tuple(_wait(name, body) for name, body in by_kind["wait"].items()),
    )


def _rates(limits: Mapping[str, RateLimit], buckets: Mapping[str, str], now: int) -> Iterable[RateLine]:
    for scope, limit in limits.items():
        for kind, most in (("requests", limit.requests), ("tokens", limit.tokens), ("money", limit.money)):
            if most:
                one = rate.Rate(most, limit.seconds)
                for shared in [name for name in buckets if _is_of(name, kind, scope)] or [f"{kind} {scope}"]:
                    used = round(one.used(int(buckets.get(shared, "0")), now), 3)
                    yield RateLine(shared.partition(" ")[2], kind, most, limit.seconds, used)


def _is_of(name: str, kind: str, scope: str) -> bool:
    own_kind, _, shared = name.partition(" ")
    account, slash, model = shared.partition("/")
    return own_kind == kind and account.partition("#")[0] + slash + model == scope


def _circuits(bodies: Mapping[str, str], now: int) -> Iterable[CircuitLine]:
    for model, body in bodies.items():
        one = msgspec.json.decode(body, type=Circuit)
        if one.openings or now < one.since + breaker.WINDOW_MICROSECONDS:
            yield CircuitLine(model, one.state, one.since, one.until, one.failed, one.succeeded)


def _pauses(bodies: Mapping[str, str], now: int) -> Iterable[PauseLine]:
    for model, body in bodies.items():
        pause = msgspec.json.decode(body, type=dict[str, str | int])
        if int(pause["until"]) > now:
            yield PauseLine(model, int(pause["until"]), str(pause["why"]))


def _wait(name: str, body: str) -> Wait:
    run_id, place, _ = name.split(" ")
    return msgspec.structs.replace(msgspec.json.decode(body, type=Wait), run_id=run_id, place=place)


# --- In the view of a run --------------------------------------------------------------------------------------------


def with_waits(view: RunView, cells: Iterable[Cell], now: int) -> RunView:
    """Return the view of a run with what its calls wait for, where the log says nothing of it."""
    waits = {wait.place: wait for wait in view_limits(cells, now).waits if wait.run_id == view.id}
    if not waits or view.finished_at:
        return view
    activities = tuple(_place_with(place, waits, now) for place in view.activities)
    first = next(iter(waits.values())).sentence(now)
    others = f" (and {len(waits) - 1} more)" if len(waits) > 1 else ""
    return msgspec.structs.replace(view, activities=activities, waiting_for=view.waiting_for or f"{first}{others}")


def _place_with(place: PlaceView, waits: Mapping[str, Wait], now: int) -> PlaceView:
    items = tuple(_place_with(item, waits, now) for item in place.items)
    wait = waits.get(place.place)
    if wait is None or place.waiting_for:
        return msgspec.structs.replace(place, items=items) if items else place
    return msgspec.structs.replace(place, items=items, waiting_for=wait.sentence(now))


def at_clock(at: int) -> str:
    """Return a time of day, `10:04:05 UTC`."""
    return datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%H:%M:%S UTC")
