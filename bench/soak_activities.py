"""What the runs of `bench soak` work on; each node loads it with `--activities`. It imports nothing of the bench."""

from __future__ import annotations

import asyncio
import random
from typing import Any

__all__ = ["ACTIVITIES"]

NAP_SECONDS_MAX = 0.3


async def mark(parameters: dict[str, Any], _context: Any) -> dict[str, Any]:
    """Take a moment, so that some are under way whenever their node is killed; return the trail with a step more."""
    await asyncio.sleep(random.uniform(0, NAP_SECONDS_MAX))
    return {"trail": f"{parameters['trail']}>{parameters['step']}"}


ACTIVITIES = {"mark": mark}
