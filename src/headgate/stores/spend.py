"""The spend rows of the logs: how SQLite keeps them, and how they are added up without it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import apsw
import msgspec

from headgate.ports import SpendRow, SpendTotal, SpendWanted
from headgate.stores.queries import load_queries

__all__ = ["INSERT_SPEND", "add_up", "estimates_of", "read_estimates", "read_spend", "read_totals", "replace_rows"]

SQL = load_queries("spend.sql")
INSERT_SPEND = SQL["insert_spend"]

Read = Callable[..., list[Any]]


def read_spend(read: Read, run_id: str) -> list[SpendRow]:
    """Return the run's rows."""
    return [_spend_row(row) for row in read(SQL["spend"], run_id)]


def read_totals(read: Read, by: str, wanted: SpendWanted) -> list[SpendTotal]:
    """Return the totals of the wanted rows."""
    labels, runs = (msgspec.json.encode(part).decode() for part in (wanted.labels, wanted.runs))
    rows = read(SQL["totals"], by, wanted.since, wanted.until, wanted.workflow, labels, runs, wanted.tenant)
    return [SpendTotal(row[0], bool(row[1]), *row[2:]) for row in rows]


def read_estimates(read: Read, limit: int) -> list[tuple[str, str, int, int]]:
    """Return what the newest rows tell of estimated inputs."""
    return [(row[0], row[1], row[2], row[3]) for row in read(SQL["estimates"], limit)]


def replace_rows(writer: apsw.Connection, run_id: str, rows: Sequence[SpendRow]) -> None:
    """Put the rows in the place of the run's, in one transaction."""
    with writer:
        writer.execute(SQL["forget_spend"], (run_id,))
        writer.executemany(INSERT_SPEND, rows)


def _spend_row(row: Sequence[Any]) -> SpendRow:
    found = SpendRow(*row)
    return found._replace(estimated=bool(found.estimated), simulated=bool(found.simulated))


# --- The same in memory --------------------------------------------------------------------------------------------


def add_up(rows: Iterable[SpendRow], by: str, wanted: SpendWanted, runs: frozenset[str]) -> list[SpendTotal]:
    """Return the totals of the wanted rows. `runs` are the wanted runs with all below them; empty: every run."""
    found: dict[tuple[str, bool], SpendTotal] = {}
    for row in rows:
        if (not runs or row.run_id in runs) and _is_wanted(row, wanted):
            key = (_name(row, by), row.simulated)
            found[key] = _added(found.get(key) or SpendTotal(*key, *[0] * 9), row)
    return sorted(found.values(), key=lambda total: (-total.cost, total.name, total.simulated))


def estimates_of(rows: Sequence[SpendRow]) -> list[tuple[str, str, int, int]]:
    """Return what these rows, newest first, tell of estimated inputs."""
    told = [row for row in rows if row.estimated_input > 0 and not row.estimated]
    return [(row.provider, row.model, row.estimated_input, row.input_tokens) for row in told]


def _is_wanted(row: SpendRow, wanted: SpendWanted) -> bool:
    return (
        (wanted.since is None or row.at >= wanted.since)
        and (wanted.until is None or row.at < wanted.until)
        and wanted.workflow in ("", row.workflow)
        and wanted.tenant in ("", row.tenant)
        and wanted.labels.items() <= _labels(row).items()
    )


def _labels(row: SpendRow) -> dict[str, str]:
    return msgspec.json.decode(row.labels, type=dict[str, str])


def _name(row: SpendRow, by: str) -> str:
    if by == "run":
        return row.run_id
    if by == "model":
        return f"{row.provider}/{row.model}" if row.model else row.provider
    if by == "day":
        return datetime.fromtimestamp(row.at // 1_000_000, UTC).strftime("%Y-%m-%d")
    if by.startswith("label:"):
        return _labels(row).get(by[6:], "")
    return str(getattr(row, by))


def _added(total: SpendTotal, row: SpendRow) -> SpendTotal:
    return total._replace(
        calls=total.calls + (row.kind == "call"),
        hits=total.hits + (row.kind == "cached"),
        input_tokens=total.input_tokens + row.input_tokens,
        output_tokens=total.output_tokens + row.output_tokens,
        cache_read_tokens=total.cache_read_tokens + row.cache_read_tokens,
        cache_write_tokens=total.cache_write_tokens + row.cache_write_tokens,
        reasoning_tokens=total.reasoning_tokens + row.reasoning_tokens,
        cost=total.cost + row.cost,
        saved=total.saved + row.saved,
        cache_write_1h_tokens=total.cache_write_1h_tokens + row.cache_write_1h_tokens,
        audio_input_tokens=total.audio_input_tokens + row.audio_input_tokens,
        audio_output_tokens=total.audio_output_tokens + row.audio_output_tokens,
        cache_read_audio_tokens=total.cache_read_audio_tokens + row.cache_read_audio_tokens,
        estimated=total.estimated + row.estimated,
    )
