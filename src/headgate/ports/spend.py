"""What was spent, as rows beside the log."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

__all__ = ["SpendRow", "SpendTotal", "SpendWanted"]


class SpendRow(NamedTuple):
    """What one call, forfeit or report of a run cost, in nano-dollars; `part` counts the rows of event `version`.

    `kind`: `call` (settled), `forfeit` (a reservation that counts as spent; taken back with a negative cost when the
    call is settled after all), `reported` (by a worker, of its own), `cached` (nothing was spent, `saved` was not).
    `price` is the JSON of the `Price` that `cost` was reckoned with, or empty; `labels` is JSON, too. The tokens are
    the buckets of a `Usage`, with the service `tier` that answered and the `estimated_input`.
    """

    version: int
    part: int
    at: int
    tenant: str
    workflow: str
    run_id: str
    activity: str
    place: str
    attempt: int
    call_id: str
    kind: str
    provider: str
    model: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    estimated: bool
    cost: int
    saved: int
    price: str
    simulated: bool
    labels: str
    prompt: str
    cache_write_1h_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    cache_read_audio_tokens: int = 0
    tier: str = ""
    estimated_input: int = 0


class SpendWanted(msgspec.Struct, frozen=True):
    """Which spend rows are meant: of these runs and the runs below them (none named: of all), from `since` until
    before `until` (microseconds), with all of these labels. `tenant` empty: those of all tenants."""

    runs: tuple[str, ...] = ()
    since: int | None = None
    until: int | None = None
    workflow: str = ""
    labels: dict[str, str] = {}
    tenant: str = ""


class SpendTotal(NamedTuple):
    """What rows of one name come to. Rows at demo prices are totals of their own: `simulated`.

    `estimated` is how many of the calls were counted by us, for their provider reported nothing.
    """

    name: str
    simulated: bool
    calls: int
    hits: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost: int
    saved: int
    cache_write_1h_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    cache_read_audio_tokens: int = 0
    estimated: int = 0
