"""Medians, percentiles and the rounding of what is printed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

__all__ = ["latency_figures", "median", "percentile", "rounded"]


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile of an ascending sequence that is not empty."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def latency_figures(seconds: Sequence[float]) -> dict[str, float]:
    """Return p50, p95 and p99 of latencies given in seconds, in milliseconds."""
    ordered = sorted(seconds)
    return {f"p{percent}_ms": rounded(percentile(ordered, percent) * 1_000) for percent in (50, 95, 99)}


def median(values: Sequence[float]) -> float:
    return rounded(statistics.median(values))


def rounded(value: float) -> float:
    """Return `value` with four significant digits: more would be noise."""
    return float(f"{value:.4g}")
