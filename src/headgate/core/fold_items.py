"""How the items of a fan-out change the run: under way each is a place; of an ended one a byte and a version remain.

A part of the fold, and as total as the rest of it.
"""

from __future__ import annotations

from headgate.core import events as e
from headgate.core.place import FanOut, Place
from headgate.core.run import Run

__all__ = ["ITEM_STATUS", "consider_items", "end_item", "place_of", "retry_items"]

ITEM_STATUS = {"completed": 1, "failed": 2, "cancelled": 3}
"""The byte that is kept of an ended item."""


def place_of(run: Run, event: e.Event) -> Place:
    """Return the event's place, making the item of a fan-out that begins with this event."""
    place = run.place(event.place)
    if place is None:
        key, _, item = event.place[:-1].rpartition("[")
        owner = run.place(key)
        assert owner is not None, f"event {event.version} of run {run.id} names the unknown place {event.place!r}"
        assert owner.fan is not None, f"event {event.version} of run {run.id} names an item of {key!r}, which has none"
        number = int(item)
        place = Place(owner.planned, event.place, number)
        place.iteration = owner.iteration
        owner.fan.live[number] = place
        owner.fan.next = max(owner.fan.next, number + 1)
    return place


def consider_items(run: Run, place: Place, fan: FanOut) -> None:
    """Put the fan-out up for decision while it has an item that may begin, and when the last one has ended."""
    may_begin = len(fan.live) < place.planned.activity.max_parallel and fan.upcoming >= 0
    if may_begin or (fan.done == fan.count and not fan.live):
        run.fans_due[place.planned.index] = None
    else:
        run.fans_due.pop(place.planned.index, None)


def end_item(run: Run, place: Place) -> None:
    """An item has ended, as its status says: keep what is asked of it later, and see what its fan-out does now."""
    owner = run.owner(place)
    fan = owner.fan
    assert fan is not None
    fan.live.pop(place.item, None)
    fan.statuses[place.item] = ITEM_STATUS[place.status]
    fan.refs[place.item] = place.ref
    fan.done += 1
    if place.status != "completed":
        fan.attempts[place.item] = place.attempt
    if place.status == "failed":
        fan.failed += 1
        if not fan.first_error[0]:
            fan.first_error = (place.code, f"item {place.item}: {place.error}")
    if not owner.ended:
        consider_items(run, owner, fan)


def retry_items(fan: FanOut) -> None:
    """Items that did not complete begin again, with new attempts; those that did keep their results."""
    for item, place in fan.live.items():
        fan.attempts[item] = place.attempt
    for item, status in enumerate(fan.statuses):
        if status > 1:
            fan.statuses[item] = 0
    fan.live.clear()
    fan.next = 0
    fan.failed = 0
    fan.first_error = ("", "")
    fan.done = sum(status == 1 for status in fan.statuses)
