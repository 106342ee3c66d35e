"""What can hold an outcome in a run: an activity in its present iteration, or one item of its fan-out.

A part of the run, and as passive as the rest of it: the fold changes it, and whoever decides asks it.
"""

from __future__ import annotations

from array import array
from typing import Literal

import msgspec

from headgate.core.plan import Planned

__all__ = ["FanOut", "Place", "PlaceStatus", "Wait", "key_of_place"]

PlaceStatus = Literal["not_scheduled", "scheduled", "waiting", "completed", "failed", "skipped", "cancelled"]

ENDED = frozenset({"completed", "failed", "skipped", "cancelled"})


class Wait(msgspec.Struct, frozen=True):
    """What a waiting place waits for, since when, and until when at the latest (microseconds)."""

    kind: str
    since: int
    until: int | None = None
    name: str = ""
    on_timeout: str = "fail"
    child_run: str = ""
    attempt: int = 0
    """Of an approval that a policy asks for: the attempt whose call it stopped; 0: the activity has not begun."""
    content: int = 0
    """The version whose content tells what was asked (an approval's title, body, form)."""
    remind_every: int = 0
    """After how long people are reminded, again and again (microseconds); 0: never."""
    reminders: int = 0
    """How often they were."""


class Place:
    """What can hold an outcome: an activity in its present iteration, or one item of its fan-out."""

    __slots__ = (
        "again",
        "approved",
        "attempt",
        "code",
        "cost",
        "effect",
        "ended_at",
        "error",
        "failures",
        "fan",
        "input_hash",
        "item",
        "iteration",
        "lost",
        "path",
        "planned",
        "ref",
        "refs",
        "reserved",
        "reused",
        "round",
        "round_cost",
        "saved",
        "scheduled_at",
        "scheduled_version",
        "signal",
        "started_at",
        "status",
        "tokens",
        "tokens_reserved",
        "wait",
        "worker",
    )

    def __init__(self, planned: Planned, path: str, item: int = -1) -> None:
        self.planned = planned
        self.path = path
        self.item = item
        self.status: PlaceStatus = "not_scheduled"
        self.round = 0
        """How often the activity was begun anew by loops, over the whole run: it makes the path unique."""
        self.iteration = 0
        """The 0-based iteration of the innermost loop."""
        self.again = False
        self.approved = False
        """A person has let through what a policy had asked about, in this round."""
        self.attempt = 0
        """The number of the newest attempt: it only ever grows, and so is the fence."""
        self.failures = 0
        self.lost = 0
        self.ref = 0
        """The version of the event whose content is the newest output; 0 where there is none."""
        self.refs: list[int] = []
        """The same for every iteration, where the activity is in a loop."""
        self.wait: Wait | None = None
        self.signal = 0
        self.effect = ""
        """What its newest attempt has begun that must not be done twice."""
        self.code = ""
        self.error = ""
        self.cost = 0
        self.round_cost = 0
        self.reserved = 0
        self.tokens = self.tokens_reserved = 0
        """What its calls have used and what open ones may, counted at the activity for all of its items."""
        self.reused = 0
        """How many of its outputs and model calls, over iterations and items, were those of equal ones before."""
        self.saved = 0
        """What these had cost, in nano-dollars."""
        self.scheduled_at = 0
        self.scheduled_version = 0
        self.started_at = 0
        self.ended_at = 0
        self.worker = ""
        self.input_hash = ""
        self.fan: FanOut | None = None

    @property
    def ended(self) -> bool:
        return self.status in ENDED


class FanOut:
    """The items of a `for_each`. Items under way are places; of an ended one a status byte and a version remain."""

    __slots__ = ("attempts", "content", "count", "done", "failed", "first_error", "live", "next", "refs", "statuses")

    def __init__(self, count: int, content: int) -> None:
        self.count = count
        self.content = content
        self.next = 0
        self.done = 0
        self.failed = 0
        self.first_error: tuple[str, str] = ("", "")
        self.statuses = bytearray(count)
        """0 not begun or under way, 1 completed, 2 failed, 3 cancelled."""
        self.refs = array("Q", bytes(8 * count))
        self.live: dict[int, Place] = {}
        self.attempts: dict[int, int] = {}
        """Of items that ended without success: their last attempt, for a retry of the run to count on from."""

    @property
    def upcoming(self) -> int:
        """The next item to begin, or -1: all have."""
        return self.statuses.find(0, self.next)


def key_of_place(path: str) -> str:
    """Return the key of the activity that a path such as `summary[2]` or `search@1` belongs to."""
    return path.partition("@")[0].partition("[")[0]
