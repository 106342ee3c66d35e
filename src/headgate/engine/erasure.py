"""Erasure: the contents of ended runs go for good, while their events and the chain stay.

Runs below a run were made of its content, so they are erased with it. All of them must have ended; if one has not,
nothing is changed. While a run is being erased, and ever after, nothing that brings new content is taken for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headgate.core.errors import Invalid, Refused
from headgate.engine.engine import Engine
from headgate.engine.reader import Reader
from headgate.ports import Cache, Erased, Keeping, RunRow, RunsWanted

__all__ = ["Eraser"]

ALL_AGES = 1 << 62
TENANT_RUNS_MAX = 10_000
"""Of a tenant whose runs are all to be erased, with one call."""
PAGE = 1_000
SHOWN_MAX = 5


class Eraser:
    """The one that erases. Every method may be repeated: what is erased stays as it is."""

    def __init__(self, engine: Engine, keeping: Keeping, cache: Cache) -> None:
        self._engine = engine
        self._keeping = keeping
        self._cache = cache
        self._reader = Reader(engine.log, engine.clock.now)

    async def erase(
        self,
        runs: Sequence[str],
        *,
        label: str = "",
        all_of: str = "",
        actor: str = "client",
        tenant: str | None = None,
    ) -> Erased:
        """Erase the contents of `runs`, or of those that carry `label` (`name=value`), or of `all_of` a tenant that are
        not erased yet (the newest `TENANT_RUNS_MAX`), and of all runs below them.

        `tenant` given: of that tenant's runs alone. Return what was done. Raises `NotFound`, `Refused` where one has
        not ended (nothing is changed then), `Invalid` for a label that is none, `Unavailable`: then the erasure goes on
        with the next call or the next start.
        """
        rows = await self._of_tenant(all_of) if all_of else await self._chosen(runs, label, tenant)
        open_ = [row.id for row in rows if row.head.finished_at is None or self._is_busy(row)]
        if open_:
            more = f" and {len(open_) - SHOWN_MAX} more" if len(open_) > SHOWN_MAX else ""
            raise Refused(
                f"These runs have not ended: {', '.join(open_[:SHOWN_MAX])}{more}. Nothing was erased. "
                "Cancel them first, or wait for them."
            )
        with self._engine.sealing({row.id for row in rows}):
            return await self._erase(rows, actor)

    async def _of_tenant(self, tenant: str) -> list[RunRow]:
        rows: list[RunRow] = []
        before: int | None = None
        wanted = RunsWanted(tenant=tenant)
        while len(rows) < TENANT_RUNS_MAX and (page := await self._engine.log.runs(wanted, limit=PAGE, before=before)):
            rows += [row for row in page if not row.erased]
            before = page[-1].key
        return rows[:TENANT_RUNS_MAX]

    async def _chosen(self, runs: Sequence[str], label: str, tenant: str | None) -> list[RunRow]:
        if bool(runs) == bool(label):
            raise Invalid("Name the runs to erase, or a label that they carry: one of the two.")
        found = list(runs)
        if label:
            name, given, value = label.partition("=")
            if not given or not name:
                raise Invalid(f"expected a label as name=value, got {label!r}")
            labelled = [await self._engine.log.run(run) for run in await self._keeping.labelled(name, value)]
            found = [row.id for row in labelled if row is not None and tenant in (None, row.tenant)]
        reader = self._reader if tenant is None else self._reader.of(tenant)
        chosen: dict[str, RunRow] = {}
        for run in found:
            root = await reader.find(run)
            for run_id in await self._keeping.below(root.id):
                if run_id not in chosen:
                    chosen[run_id] = await reader.find(run_id)
        return list(chosen.values())

    def _is_busy(self, row: RunRow) -> bool:
        lane = self._engine.loaded(row.id)
        return lane is not None and not lane.idle

    async def _erase(self, rows: Sequence[RunRow], actor: str) -> Erased:
        await self._cache.close()  # what the runs have kept for reuse is in the file now, and goes with them
        erased: list[Erased] = []
        files: set[str] = set()
        for row in rows:
            files |= set(await self._keeping.files_of(row.id))
            erased.append(await self._keeping.erase(row.id, at=self._engine.clock.now(), actor=actor))
            self._engine.forget(row)
        changed = any(one.runs for one in erased)
        wal_left = changed and not await self._keeping.clean()
        removed = await self._keeping.sweep_files(ALL_AGES, sorted(files)) if files else 0
        return msgspec.structs.replace(_sum(erased), files=removed, wal_left=wal_left)


def _sum(erased: Sequence[Erased]) -> Erased:
    texts: dict[str, int] = {}
    for one in erased:
        for name, count in one.texts.items():
            texts[name] = texts.get(name, 0) + count
    return Erased(
        runs=tuple(run for one in erased for run in one.runs),
        before=tuple(run for one in erased for run in one.before),
        contents=sum(one.contents for one in erased),
        texts=texts,
    )
