"""What a call costs through each provider, beside the same bytes sent and read by the bare HTTP client.

Whole processes: each figure is the median of several fresh ones that call a server in another process, one call after
the other, and bare and ours alternate. `ratio` is the median of the pairs' ratios of processor time per call.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["CALLS", "PROVIDERS", "measure_providers", "table_of"]

ROOT = Path(__file__).parent.parent
PROVIDERS = ("openai", "azure", "mistral", "ollama", "lab", "anthropic", "google", "bedrock")
CALLS = 300
QUICK_CALLS = 20


def measure_providers(run: Callable[..., dict[str, Any]], *, repetitions: int, quick: bool) -> dict[str, Any]:
    """Return the figures by provider, of whole answers and of streams; `run` runs `python -m …`, returns its JSON."""
    count = str(QUICK_CALLS if quick else CALLS)
    figures: dict[str, Any] = {}
    for kind in PROVIDERS:
        with _server(kind) as port:
            ask = partial(_ask, run, kind, port, count)
            figures[kind] = {
                "whole": _against_bare(ask, ("bare", "ours"), repetitions),
                "streamed": _against_bare(ask, ("bare-stream", "ours-stream"), repetitions),
            }
    return {"providers": figures}


def _ask(run: Callable[..., dict[str, Any]], kind: str, port: str, count: str, how: str) -> dict[str, Any]:
    return run("bench.provider_process", "ask", kind, how, port, count)


def _against_bare(ask: Callable[[str], dict[str, Any]], hows: tuple[str, str], repetitions: int) -> dict[str, Any]:
    found: dict[str, list[dict[str, Any]]] = {how: [] for how in hows}
    for number in range(repetitions):
        for how in hows if number % 2 == 0 else reversed(hows):
            found[how].append(ask(how))
    bare, ours = (found[how] for how in hows)
    ratios = [one["cpu_us"] / other["cpu_us"] for one, other in zip(ours, bare, strict=True)]
    return {
        "bare_cpu_us": round(median(one["cpu_us"] for one in bare)),
        "cpu_us": round(median(one["cpu_us"] for one in ours)),
        "wall_us": round(median(one["wall_us"] for one in ours)),
        "ratio": round(median(ratios), 2),
        "first_call_ms": round(median(one["first_call_ms"] for one in ours)),
        "rss_mb": round(median(one["rss_mb"] for one in ours)),
    }


@contextmanager
def _server(kind: str) -> Generator[str]:
    command = [sys.executable, "-m", "bench.provider_process", "serve", kind]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.communicate()


def table_of(figures: dict[str, Any]) -> str:
    """Return the table as a person reads it."""
    columns = ("bare_cpu_us", "cpu_us", "ratio", "wall_us", "first_call_ms", "rss_mb")
    lines = [f"{'providers':<22}" + "".join(f"{column:>15}" for column in columns)]
    for kind, ways in figures["providers"].items():
        for way, values in ways.items():
            lines.append(f"  {kind + ' ' + way:<20}" + "".join(f"{values[column]:>15}" for column in columns))
    return "\n".join(lines)
