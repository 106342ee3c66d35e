"""One command being decided: the events so far, each folded into the run as it is concluded.

A decision draws its later conclusions from its earlier ones, so it folds as it goes. Whoever cannot append the events
afterwards drops the run and loads it again; `decide` works on a copy and is pure.
"""

from __future__ import annotations

from typing import Any, TypeVar

from headgate.core import events as e
from headgate.core.fold import apply
from headgate.core.names import Names
from headgate.core.place import Place
from headgate.core.run import Run

__all__ = ["ABSENT", "Decision"]

ABSENT: Any = object()
"""Stands for no content, where None is content."""

EventType = TypeVar("EventType", bound=e.Event)


class Decision:
    """Collects events. `values` holds the contents that expressions may read, and gains those of the new events;
    `encoded` has the bytes of those contents that came with theirs."""

    __slots__ = ("actor", "at", "cause", "contents", "encoded", "events", "run", "values")

    def __init__(self, run: Run, values: dict[int, object], *, at: int, actor: str, cause: str) -> None:
        self.run = run
        self.values = values
        self.at = max(at, run.at)
        self.actor = actor
        self.cause = cause
        self.events: list[e.Event] = []
        self.contents: dict[int, object] = {}
        self.encoded: dict[int, bytes] = {}

    def emit(
        self, kind: type[EventType], /, place: str = "", attempt: int = 0, content: object = ABSENT, **fields: Any
    ) -> EventType:
        """Conclude an event: give it the next version, fold it, keep its content beside it."""
        run = self.run
        version = run.version + 1
        event = kind(
            run.id,
            version,
            self.at,
            run.tenant,
            run.trace_id,
            self.actor,
            self.cause,
            place,
            attempt,
            "",
            (),
            "",
            **fields,
        )
        self.events.append(event)
        if content is not ABSENT:
            self.contents[version] = self.values[version] = content
        apply(run, event)
        return event

    def names(self, place: Place | None = None, extra: dict[str, object] | None = None) -> Names:
        return Names(self.run, self.values, place, extra)
