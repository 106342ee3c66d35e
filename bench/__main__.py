"""`python -m bench [NAME…] [--quick]`: measures, audits, prints a table on stderr and all figures as JSON on stdout."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.machine import describe_machine
from bench.others.peers import table_of_peers
from bench.program import PROGRAMS, AuditFailed, Settings
from bench.providers import table_of
from bench.report import machine_line, report_of, summary_of
from bench.soak import lines_of

__all__ = ["main"]

RESULTS = Path(__file__).parent / "results"
NOT_BY_DEFAULT = frozenset({"shim", "providers", "postgres", "ws", "worker", "soak", "peers"})
QUICK_SECONDS = 0.1
QUICK_MINUTES = 0.1
TABLES: dict[str, Callable[[dict[str, Any]], str]] = {
    "providers": table_of,
    "soak": lines_of,
    "peers": table_of_peers,
}
"""How the figures of some are shown; those of the others, by series."""


def main(arguments: list[str]) -> int:
    """Return 0, or 1 where a repetition did not survive its audit: then there is no figure."""
    given = _parser().parse_args(arguments)
    settings = _settings(given)
    settings.folder.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "quick": settings.quick,
        "repetitions": settings.repetitions,
        "seconds_min": settings.seconds_min,
        "machine": describe_machine(settings.folder),
        "benchmarks": {},
    }
    _say(machine_line(result["machine"]))
    for name in given.names or [name for name in PROGRAMS if name not in NOT_BY_DEFAULT]:
        try:
            figures = PROGRAMS[name](settings)
        except AuditFailed as failed:
            _say(f"{name}: THE AUDIT FAILED\n{failed}")
            return 1
        result["benchmarks"][name] = figures
        _say(TABLES[name](figures) if name in TABLES else report_of(name, figures))
    _say(summary_of(result))
    _write(result, settings)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*PROGRAMS, []], metavar="NAME", help=", ".join(PROGRAMS))
    parser.add_argument("--quick", action="store_true", help="small loads, every audit: a smoke test, no measurement")
    parser.add_argument("--repetitions", type=int, default=None, help="fresh processes per figure (5; quick: 1)")
    parser.add_argument("--seconds", type=float, default=None, help="the least that a repetition lasts (3; quick: 0.1)")
    parser.add_argument("--minutes", type=float, default=None, help="how long `soak` lasts (20; quick: some seconds)")
    parser.add_argument("--folder", type=Path, default=RESULTS, help="where databases and results are written")
    return parser


def _settings(given: argparse.Namespace) -> Settings:
    return Settings(
        folder=given.folder.resolve(),
        repetitions=given.repetitions or (1 if given.quick else 5),
        seconds_min=given.seconds or (QUICK_SECONDS if given.quick else 3.0),
        quick=given.quick,
        minutes=given.minutes or (QUICK_MINUTES if given.quick else 20.0),
    )


def _write(result: dict[str, Any], settings: Settings) -> None:
    text = json.dumps(result, indent=1)
    name = "quick.json" if settings.quick else f"{result['at'].replace(':', '')}.json"
    (settings.folder / name).write_text(text)
    print(text)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
