"""The built-in activities of a process, by name, and what they hold open: connections, and processes of scripts."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from headgate.activities.echo import echo
from headgate.activities.email_send import EmailSend
from headgate.activities.embedding import embedding
from headgate.activities.files import file_read, file_write
from headgate.activities.http_request import HttpSettings, close_connections, http_request
from headgate.activities.llm_prompt import llm_prompt
from headgate.activities.postgres import Postgres
from headgate.activities.retrieval import retrieval_activities
from headgate.activities.script import Scripts, ScriptSettings
from headgate.activities.sqlite_query import sqlite_query
from headgate.activities.tenant_state import confined
from headgate.ports import ActivityFunction, Clock, Files, Guards, ModelProvider

__all__ = ["Builtins"]


class Builtins:
    """One per process. `frames` is a folder for the data frames of scripts. Each activity is confined to its tenant:
    over the control socket come tasks of all tenants; those over HTTP are the worker's own, and do not say whose."""

    def __init__(
        self,
        providers: Mapping[str, ModelProvider],
        guards: Guards,
        clock: Clock,
        *,
        http: HttpSettings,
        scripts: ScriptSettings,
        frames: Path,
    ) -> None:
        self._providers = providers
        self._guards = guards
        self._postgres = Postgres()
        self.scripts = Scripts(scripts, folder=frames)
        self._stateless: dict[str, ActivityFunction] = self._postgres.activities | {
            "echo": echo,
            "email_send": EmailSend(clock),
            "embedding": embedding(providers, guards),
            "http_request": http_request(http),
            "llm_prompt": llm_prompt(providers, guards),
            "script": self.scripts.run,
            "sqlite_query": sqlite_query,
        }

    @property
    def stateless(self) -> Mapping[str, ActivityFunction]:
        """Those that need nothing of what lies beside a database: any process may have them."""
        return confined(self._stateless)

    def beside(self, files: Files, folder: Path) -> Mapping[str, ActivityFunction]:
        """Return all of them, for a process that has files and a folder beside its database."""
        kept = retrieval_activities(self._providers, folder, self._guards)
        return confined(self._stateless | kept | {"file_read": file_read(files), "file_write": file_write(files)})

    async def close(self) -> None:
        """End what they have opened, when none of them runs any more."""
        async with contextlib.AsyncExitStack() as closing:  # each is closed, whatever fails or is cancelled before it
            closing.push_async_callback(self._postgres.close)
            closing.push_async_callback(_close_connections)
            closing.push_async_callback(self.scripts.close)


async def _close_connections() -> None:
    with contextlib.suppress(Exception):
        await close_connections()
