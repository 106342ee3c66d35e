"""Retention: what has ended long ago goes, a little at a time, in whichever process owns the database.

It deletes in small transactions with a pause between two, so that appends never wait for more than one of them. Runs
that somebody has loaded and that are busy are left for the next time. What was deleted is recorded by the log itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from headgate.core.duration import parse_microseconds, show_seconds
from headgate.core.errors import Invalid, Unavailable
from headgate.engine.engine import Engine
from headgate.ports import Collected, Keeping

__all__ = ["RETENTION_DEFAULT", "Retention", "retention_of"]

RETENTION_DEFAULT = "30d"
SPEND_KEPT_MICROSECONDS = 400 * 86_400 * 1_000_000
"""Spend, and the record of what was deleted, outlive the runs."""
FILES_KEPT_MICROSECONDS = 86_400 * 1_000_000
"""So long a file is kept though no run names it: the activity that wrote it may not have reported yet."""

FIRST_AFTER_MICROSECONDS = 1_000_000
"""Soon, for many a process lives for one run only."""
EVERY_MICROSECONDS = 3_600 * 1_000_000
FILES_EVERY_MICROSECONDS = 24 * 3_600 * 1_000_000
"""A sweep of the files reads every content there is: once a day is enough."""

RUNS_PAGE = 50
BATCHES_MAX = 2_000
"""Of one round; what is left then goes in the next one."""
PAUSE_SECONDS = 0.05

logger = logging.getLogger("headgate.retention")


def retention_of(environment: Mapping[str, str]) -> int | None:
    """Return how long ended runs are kept, in microseconds; None: for ever. Raises `Invalid` for another word."""
    text = environment.get("HEADGATE_RETENTION", "").strip() or RETENTION_DEFAULT
    if text == "forever":
        return None
    try:
        return parse_microseconds(text)
    except Invalid as error:
        raise Invalid(f"HEADGATE_RETENTION: {error}, or the word forever.") from None


class Retention:
    """The one that deletes. `kept` is in microseconds; None: nothing is deleted but what is asked for."""

    def __init__(
        self, engine: Engine, keeping: Keeping, kept: int | None, *, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        self._engine = engine
        self._keeping = keeping
        self._kept = kept
        self._pause_seconds = pause_seconds
        self._files_at = engine.clock.now()
        self._busy = asyncio.Lock()

    async def run(self) -> None:
        """Collect soon after the start, then every hour of the engine's clock; ends when it is cancelled."""
        clock = self._engine.clock
        at = clock.now() + FIRST_AFTER_MICROSECONDS
        while True:
            await clock.wait(at, asyncio.Event())
            try:
                await self._keeping.go_on_erasing()
                done = await self.collect()
                if done != Collected():
                    logger.info("retention deleted what has ended long ago: %s", done)
            except Unavailable as error:  # a full disk, say: the next round finds what this one left
                logger.warning("retention could not delete: %s", error)
            at = clock.now() + EVERY_MICROSECONDS

    async def collect(self, older: int | None = None, *, actor: str = "retention", dry_run: bool = False) -> Collected:
        """Delete what ended longer ago than `older` microseconds (None: than is set). Bounded: `more` says that some is
        left. A second call at the same time waits for the first. Raises `Unavailable`."""
        async with self._busy:
            asked = older is not None
            kept = older if asked else self._kept
            now = self._engine.clock.now()
            if dry_run:
                return Collected() if kept is None else await self._keeping.count_expired(now - kept)
            done = Collected()
            if kept is not None:
                why = f"ended more than {show_seconds(kept / 1_000_000)} before"
                done += await self._delete_runs(now - kept, why, actor)
                if done.runs:
                    await self._keeping.clean()  # or old pages would stand in the WAL for as long as little is written
            done += await self._trim(now)
            if asked or actor != "retention" or now - self._files_at > FILES_EVERY_MICROSECONDS:
                self._files_at = now
                done += Collected(files=await self._keeping.sweep_files(now - FILES_KEPT_MICROSECONDS))
            return done

    async def _delete_runs(self, before: int, why: str, actor: str) -> Collected:
        done = Collected()
        for _ in range(BATCHES_MAX):
            runs = await self._free(await self._keeping.expired(before, RUNS_PAGE))
            at = self._engine.clock.now()
            batch = await self._keeping.delete(runs, before=before, at=at, why=why, actor=actor)
            done += Collected(batch.runs, batch.events)
            if not batch.more and not batch.runs:
                return done
            await asyncio.sleep(self._pause_seconds)
        return done + Collected(more=True)

    async def _free(self, runs: list[str]) -> list[str]:
        """Return the runs that nobody is busy with, and forget them."""
        free: list[str] = []
        for run_id in runs:
            lane = self._engine.loaded(run_id)
            if lane is None or lane.idle:
                free.append(run_id)
                if lane is not None:
                    self._engine.forget(lane.row)
        return free

    async def _trim(self, now: int) -> Collected:
        done = Collected()
        for _ in range(BATCHES_MAX):
            kept = now - SPEND_KEPT_MICROSECONDS
            batch = await self._keeping.trim(spend_before=kept, cache_before=now, deletions_before=kept)
            done += Collected(spend=batch.spend, cached=batch.cached)
            if not batch.more:
                return done
            await asyncio.sleep(self._pause_seconds)
        return done + Collected(more=True)
