"""Results that may be used again."""

from __future__ import annotations

from typing import Protocol

import msgspec

__all__ = ["Cache", "KeptResults", "Reusable"]


class Reusable(msgspec.Struct, frozen=True):
    """The output of an attempt, or the answer of a model call (JSON bytes), kept for equal ones until `expires_at`
    (microseconds).

    `saves` is what it cost, in nano-dollars; workflow and activity say where it was made. `name` is that of the
    activity, or "provider/model" of a call.
    """

    tenant: str
    key: bytes
    workflow: str
    activity: str
    name: str
    at: int
    expires_at: int
    saves: int
    output: bytes


class Cache(Protocol):
    """Results that may be used again. Any of them may be gone at any time: losing one costs a repetition, no more.

    What every cache keeps true, tested by tests/conformance/test_cache.py:

    1. What is found is what was kept under that tenant and key, to the byte, and has not expired.
    2. Nothing fails, and keeping does not wait: what cannot be read is not found, what cannot be written is dropped.
    3. Size and number are bounded; what was used longest ago goes first.
    """

    async def find(self, tenant: str, key: bytes, now: int) -> Reusable | None:
        """Return the result, and count the use."""
        ...

    def keep(self, kept: Reusable) -> None:
        """Keep a result; it replaces that of the same key. It is found from now on, and on the disk a little later."""
        ...

    async def close(self) -> None:
        """Write what is not written yet. Harmless when repeated."""
        ...


class KeptResults(Protocol):
    """What a cache keeps of one tenant, for whoever wants some of it made anew. Raises `Unavailable`."""

    async def clear(self, *, workflow: str | None, activity: str | None, before: int | None) -> int:
        """Take out the results of a workflow, of an activity, made before a time; None stands for any. Return how many
        there were."""
        ...

    async def forget(self, beginning: str) -> int:
        """Take out the result whose key (in hexadecimal digits) begins like this. Raises `Invalid`, `NotFound`, or
        `Refused` where several do."""
        ...
