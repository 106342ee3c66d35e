"""How far tasks under way are, as their workers say with a heartbeat. It is kept in memory, and recorded nowhere."""

from __future__ import annotations

from typing import Any

from headgate.core.codec import content_bytes, content_value
from headgate.core.errors import Invalid

__all__ = ["Progress", "bounded"]

PROGRESS_BYTES_MAX = 4_096


class Progress:
    """The newest of each task in hand."""

    def __init__(self) -> None:
        self._runs: dict[str, dict[str, Any]] = {}

    def note(self, run_id: str, place: str, value: Any) -> None:
        """Keep what was said of a task; what is too long, or no JSON, is left out, and that is kept."""
        self._runs.setdefault(run_id, {})[place] = bounded(value)

    def of(self, run_id: str) -> dict[str, Any]:
        """Return what is known of a run's tasks, by place."""
        return self._runs.get(run_id, {})

    def forget(self, run_id: str, place: str) -> None:
        """The attempt is over."""
        known = self._runs.get(run_id)
        if known is not None:
            known.pop(place, None)
            if not known:
                del self._runs[run_id]

    def __bool__(self) -> bool:
        return bool(self._runs)


def bounded(value: Any) -> Any:
    """Return a copy of what was said, or why it is left out."""
    try:
        encoded = content_bytes(value, what="progress")
    except Invalid as error:
        return {"left_out": str(error)}
    if len(encoded) > PROGRESS_BYTES_MAX:
        return {"left_out": f"more than {PROGRESS_BYTES_MAX} bytes"}
    return content_value(encoded)
