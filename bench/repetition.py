"""One repetition in a process of its own: `python -m bench.repetition REQUEST`, JSON in, JSON out."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from bench.bare import measure_bare
from bench.events import measure_events
from bench.growth import measure_resume, measure_size
from bench.ours import measure, record_shape
from bench.shapes import Shape
from bench.streams import measure_streams
from bench.workflows import LOADS

__all__ = ["Repetition", "perform"]


class Repetition(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What to measure, in the database at `path`."""

    kind: str
    path: str
    load: str = ""
    seconds_min: float = 3.0
    counted: bool = True
    shape: Shape | None = None
    length: int = 0
    activities: int = 0
    run_id: str = ""


def perform(asked: Repetition) -> dict[str, Any]:
    path = Path(asked.path)
    lasting: dict[str, Any] = {"seconds_min": asked.seconds_min, "counted": asked.counted}
    match asked.kind:
        case "ours":
            return asyncio.run(measure(LOADS[asked.load], path, **lasting))
        case "bare":
            assert asked.shape is not None
            return measure_bare(asked.shape, path, in_flight=LOADS[asked.load].in_flight, **lasting)
        case "shape":
            return asyncio.run(record_shape(LOADS[asked.load], path))
        case "events":
            return asyncio.run(measure_events(path, **lasting))
        case "size":
            return asyncio.run(measure_size(path, length=asked.length, activities=asked.activities))
        case "resume":
            return asyncio.run(measure_resume(path, run_id=asked.run_id))
        case "streams":
            return asyncio.run(measure_streams(path, streams=asked.length, seconds_min=asked.seconds_min))
        case _:
            raise ValueError(f"expected a kind of repetition, got {asked.kind!r}")


if __name__ == "__main__":
    print(json.dumps(perform(msgspec.json.decode(sys.argv[1], type=Repetition))))
