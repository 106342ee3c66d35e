"""What `headgate doctor` says of the settings, and of the key that secrets in the database are sealed with."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from headgate.cli.access import sealer_here
from headgate.cli.doctor_providers import Finding
from headgate.cli.options import Common
from headgate.cli.session import open_reader
from headgate.cli.settings_check import check_settings
from headgate.core.errors import HeadgateError, NotFound
from headgate.engine.sealing import FILE, VARIABLE
from headgate.settings import strangers

__all__ = ["look_at_settings"]


def look_at_settings(common: Common) -> Iterator[Finding]:
    """Say what is wrong with them, and whether the key that is here opens what is kept."""
    try:
        check_settings(os.environ)
        yield Finding("settings", "good", "`headgate settings` shows them")
    except HeadgateError as error:
        yield Finding("settings", "bad", error.message)
    for sentence in strangers(os.environ):
        yield Finding("settings", "note", sentence)
    yield _key(common)


def _key(common: Common) -> Finding:
    where = f"of {VARIABLE}" if os.environ.get(VARIABLE, "").strip() else str(common.folder / FILE)
    try:
        sealer = sealer_here(common)
    except NotFound as error:
        return Finding("key", "note", error.message)
    except HeadgateError as error:
        return Finding("key", "bad", error.message)
    try:
        sealed = asyncio.run(_sealed(common))
    except HeadgateError:  # there is no database yet, or it does not answer: it says so itself
        return Finding("key", "note", f"{where}: nothing is known of what it should open")
    strange = sum(not sealer.knows(one) for one in sealed)
    older = sum(not sealer.is_current(one) for one in sealed)
    what = "secrets and keys"
    if strange:
        return Finding(
            "key", "bad", f"{where}: {strange} of {len(sealed)} {what} are of another: add it behind a comma"
        )
    stay = f"; keep the older keys, which have sealed {older} of them" if older else ""
    return Finding("key", "good", f"{where}: opens all {len(sealed)} {what}{stay}")


async def _sealed(common: Common) -> list[bytes]:
    """Return what is kept sealed and will be opened; nothing where there is no database."""
    from headgate.api.auth.signing_keys import kept_keys
    from headgate.engine.approval_links import LINK_KEY
    from headgate.engine.hooks import sealed_secrets
    from headgate.engine.sealed_webhooks import sealed_parts
    from headgate.engine.vault import KIND
    from headgate.ports import every_document
    from headgate.stores.storage import documents_beside

    if isinstance(common.database, Path) and not common.database.exists():
        return []
    async with open_reader(common) as (_, log):
        documents = documents_beside(log)
        keys = [key.private for key in await kept_keys(documents) if not key.retired_at]
        whole = [one.body for kind in (KIND, LINK_KEY) for one in await every_document(documents, kind)]
        return keys + whole + await sealed_secrets(documents) + await sealed_parts(documents)
