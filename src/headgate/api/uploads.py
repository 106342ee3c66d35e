"""Files that were sent over HTTP, by the name under which they were sent, until a run names them by their content.

Their bytes are kept as any file's are. A worker that has sent a file says so in its report, soon, or not at all: after
a day a file that no run names is removed, and so is the note of it here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.ports import Clock, Documents

__all__ = ["UPLOADED", "Uploads"]

UPLOADED = "upload"
"""The kind of the documents."""
KEPT_MICROSECONDS = 86_400 * 1_000_000
LOOKED_OVER_EVERY_MICROSECONDS = 3_600 * 1_000_000
LOOKED_OVER_MAX = 10_000
"""Notes that one look goes through; the next one finds the rest when these are gone."""
PAGE = 1_000


class Uploads:
    """One per engine. A file of the same run, activity and name takes the place of the one before."""

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock
        self._looked_over_at = clock.now()

    async def note(self, tenant: str, run: str, key: str, name: str, value: dict[str, Any]) -> int:
        """Keep which file was sent under a name; return when. Durable when it returns. Raises `Unavailable`."""
        now = self._clock.now()
        await self._documents.put(UPLOADED, tenant, f"{run}/{key}/{name}", msgspec.json.encode(value), at=now)
        if now - self._looked_over_at > LOOKED_OVER_EVERY_MICROSECONDS:
            self._looked_over_at = now
            await self._forget_older_than(now - KEPT_MICROSECONDS)
        return now

    async def find(self, tenant: str, run: str, key: str, name: str) -> dict[str, Any] | None:
        """Return the file value of what was sent, or None."""
        found = await self._documents.get(UPLOADED, tenant, f"{run}/{key}/{name}")
        return None if found is None else msgspec.json.decode(found.body)

    async def of_activity(self, tenant: str, run: str, key: str) -> dict[str, dict[str, Any]]:
        """Return what was sent for an activity, by name; at most a thousand files."""
        begin = f"{run}/{key}/"
        found = await self._documents.list(UPLOADED, tenant=tenant, after=(tenant, begin), limit=PAGE)
        return {
            one.name.removeprefix(begin): msgspec.json.decode(one.body) for one in found if one.name.startswith(begin)
        }

    async def _forget_older_than(self, before: int) -> None:
        after = ("", "")
        for _ in range(LOOKED_OVER_MAX // PAGE):
            page = await self._documents.list(UPLOADED, after=after, limit=PAGE)
            for one in page:
                after = one.tenant, one.name
                if one.at < before:
                    await self._documents.remove(UPLOADED, one.tenant, one.name, expected=one.revision)
            if len(page) < PAGE:
                return
