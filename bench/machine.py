"""What a figure was measured on: processor, memory, versions, and how long the disk takes to make a write durable."""

from __future__ import annotations

import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import apsw

from bench.figures import percentile, rounded

__all__ = ["describe_machine", "disk_sync_figures"]

SYNC_WRITES = 1_000
SYNC_BYTES = 8_192


def describe_machine(folder: Path) -> dict[str, Any]:
    """Return the machine as a dictionary of plain values; `folder` is where the databases are written."""
    return {
        "processor": _field(Path("/proc/cpuinfo"), "model name") or platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": apsw.sqlite_lib_version(),
        "apsw": apsw.apsw_version(),
        "load_before": rounded(os.getloadavg()[0]),
        "disk": disk_sync_figures(folder),
    }


def disk_sync_figures(folder: Path) -> dict[str, float]:
    """Return how long an append of one page and its `fdatasync` take in `folder`, one after the other."""
    taken: list[float] = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        page = os.urandom(SYNC_BYTES)
        for _ in range(SYNC_WRITES):
            begin = time.perf_counter()
            file.write(page)
            os.fdatasync(file.fileno())
            taken.append(time.perf_counter() - begin)
    taken.sort()
    return {
        "fdatasync_p50_ms": rounded(percentile(taken, 50) * 1_000),
        "fdatasync_p95_ms": rounded(percentile(taken, 95) * 1_000),
        "fdatasync_per_second": rounded(SYNC_WRITES / sum(taken)),
    }


def _field(path: Path, name: str) -> str:
    if not path.exists():
        return ""
    lines = path.read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
