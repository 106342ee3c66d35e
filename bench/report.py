"""The figures as a person reads them, and beside each the line of the issue that asks for it."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["machine_line", "report_of", "summary_of"]

BARE_SEQ5_REFERENCE = 7_000
"""Absolute figures are asked of machines whose bare seq5 reaches this; elsewhere the ratios decide."""


class Target(msgspec.Struct, frozen=True):
    """One figure that must be reached. `path` leads to it from the benchmark's figures."""

    benchmark: str
    path: tuple[str, ...]
    bound: float
    at_most: bool = False
    absolute: bool = True

    def found(self, benchmarks: dict[str, Any]) -> float | None:
        value = benchmarks.get(self.benchmark)
        for part in self.path:
            value = None if value is None else value.get(part)
        return value

    def reached(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound


TARGETS = (
    Target("seq5", ("ours", "runs_per_second"), 2_500),
    Target("seq5", ("ratio",), 0.3, absolute=False),
    Target("par10", ("ours", "runs_per_second"), 1_500),
    Target("par10", ("ratio",), 0.25, absolute=False),
    Target("hc3", ("ours", "runs_per_second"), 5_000),
    Target("hc3", ("ratio",), 0.17, absolute=False),
    Target("wide", ("ours", "runs_per_second"), 5_000),
    Target("overhead", ("short", "ms_per_activity"), 0.4, at_most=True),
    Target("overhead", ("long", "ms_per_activity"), 0.4, at_most=True),
    Target("overhead", ("ratio",), 1.3, at_most=True, absolute=False),
    Target("events", ("ours", "events_per_second"), 50_000),
    Target("growth", ("spread",), 1.1, at_most=True, absolute=False),
    Target("growth", ("10000", "resume_ms"), 500, at_most=True),
    Target("policies", ("ours", "all_request_us"), 1_000, at_most=True),
    Target("footprint", ("ours", "import_ms"), 150, at_most=True),
    Target("footprint", ("ours", "first_run_seconds"), 0.5, at_most=True),
    Target("footprint", ("ours", "idle_rss_mb"), 60, at_most=True),
    Target("footprint", ("ours", "server_idle_rss_mb"), 60, at_most=True),
    Target("gate", ("ours", "ratio"), 1.5, at_most=True, absolute=False),
    Target("http", ("status_hot", "per_second"), 15_000),
    Target("http", ("status_hot", "mean_ms"), 45, at_most=True),
    Target("http", ("status_many", "per_second"), 15_000),
    Target("http", ("start_small", "per_second"), 3_000),
    Target("http", ("start_large", "per_second"), 3_000),
    Target("http", ("seq5", "per_second"), 800),
    Target("http", ("par10", "per_second"), 600),
    Target("http", ("hc3", "per_second"), 1_500),
    Target("http", ("hc3", "memory_peak_mb"), 328, at_most=True),
    Target("http", ("poll_seq5", "p50_ms"), 60, at_most=True),
    Target("http", ("poll_hc3", "p50_ms"), 60, at_most=True),
    Target("worker", ("postgresql hc3", "per_second"), 300),
    Target("worker", ("postgresql half", "added_ms_per_activity"), 3, at_most=True),
    Target("worker", ("sqlite half", "added_ms_per_activity"), 3, at_most=True),
    Target("worker", ("postgresql naps", "ratio"), 0.97, absolute=False),
    Target("worker", ("sqlite naps", "ratio"), 0.97, absolute=False),
    Target("worker", ("postgresql dispatch", "p50_ms"), 2, at_most=True),
    Target("worker", ("sqlite dispatch", "p50_ms"), 2, at_most=True),
    Target("streams", ("alone", "p50_ms"), 1, at_most=True),
    Target("streams", ("many", "tokens_per_second"), 49_000),
    Target("ws", ("ours", "held_mb"), 300, at_most=True, absolute=False),
    Target("ws", ("ours", "broadcast_ms"), 250, at_most=True),
    Target("ws", ("ours", "messages_per_second"), 49_000),
    Target("ws", ("ours", "p99_ms"), 50, at_most=True),
)

SHOWN = (
    "runs_per_second",
    "per_second",
    "mean_ms",
    "builtin_per_second",
    "builtin_p50_ms",
    "added_ms_per_activity",
    "server_processor_us",
    "worker_processor_us",
    "client_processor_share",
    "polls_per_run",
    "activities_per_second",
    "events_per_second",
    "tokens_per_second",
    "tokens_per_chunk",
    "processor_share",
    "processor_us_per_token",
    "ms_per_activity",
    "processor_us_per_run",
    "processor_us_per_activity",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "items_per_commit",
    "commits_per_run",
    "bytes_per_event",
    "load_ms",
    "resume_ms",
    "resume_processor_ms",
    "write_memory_peak_mb",
    "resume_memory_peak_mb",
    "memory_peak_mb",
    "import_ms",
    "import_app_ms",
    "first_run_seconds",
    "command_seconds",
    "idle_rss_mb",
    "bare_us",
    "gated_us",
    "ratio",
    "pii_request_us",
    "secrets_request_us",
    "injection_request_us",
    "all_request_us",
    "all_answer_us",
    "connections",
    "held_mb",
    "held_processor_share",
    "broadcast_ms",
    "broadcast_processor_ms",
    "messages_per_second",
    "processor_us_per_message",
)


def machine_line(machine: dict[str, Any]) -> str:
    disk = machine["disk"]
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']} GB, load {machine['load_before']}; "
        f"Python {machine['python']}, SQLite {machine['sqlite']}; fdatasync p50 {disk['fdatasync_p50_ms']} ms, "
        f"p95 {disk['fdatasync_p95_ms']} ms, {disk['fdatasync_per_second']:,.0f}/s"
    )


def report_of(name: str, figures: dict[str, Any]) -> str:
    """Return a benchmark's figures, one line per series of repetitions."""
    lines: list[str] = []
    for series, values in figures.items():
        if series == "repetitions":
            continue
        if not isinstance(values, dict):
            lines.append(f"{name:10} {series} {values}")
            continue
        inner = values.get("ours", values)
        shown = [f"{key} {inner[key]:,}" for key in SHOWN if key in inner]
        lines.append(f"{name:10} {series:9} {', '.join(shown)}")
    return "\n".join(lines)


def summary_of(result: dict[str, Any]) -> str:
    """Return which targets were reached."""
    benchmarks = result["benchmarks"]
    if result["quick"]:
        return "A quick run measures nothing: it shows that the benchmarks and their audits work."
    bare = Target("seq5", ("bare", "runs_per_second"), BARE_SEQ5_REFERENCE).found(benchmarks)
    lines: list[str] = []
    for target in TARGETS:
        value = target.found(benchmarks)
        if value is not None:
            word = "reached" if target.reached(value) else "MISSED "
            sign = "≤" if target.at_most else "≥"
            lines.append(f"{word}  {target.benchmark} {' '.join(target.path)}: {value:,} ({sign} {target.bound:,})")
    if bare is None:
        lines.append("Without seq5 in the same run nobody can say whether this machine is quick enough to compare.")
    elif bare < BARE_SEQ5_REFERENCE:
        lines.append(f"Bare seq5 makes {bare:,} runs/s here, below {BARE_SEQ5_REFERENCE:,}: the ratios decide.")
    return "\n".join(lines)
