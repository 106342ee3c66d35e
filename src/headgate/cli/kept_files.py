"""The command line's way to the files that are kept beside a database."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headgate.cli.options import Common
from headgate.cli.session import make_state_folder
from headgate.core.errors import NotFound, Unavailable

__all__ = ["keep_file", "kept_bytes"]


def keep_file(common: Common) -> Callable[[bytes, str], dict[str, Any]]:
    """Return what keeps a file of the command line where the runs of this database find it."""
    from headgate.stores.files import FolderFiles

    def keep(data: bytes, name: str) -> dict[str, Any]:
        make_state_folder(common)
        try:
            return FolderFiles(common.folder).keep(data, name)
        except OSError as error:
            raise Unavailable(f"{name} cannot be kept beside the database: {error.strerror or error}.") from None

    return keep


def kept_bytes(common: Common, tenant: str, value: dict[str, Any]) -> bytes:
    """Return the bytes of a tenant's file value. Raises `NotFound` where they are gone."""
    from headgate.stores.files import FolderFiles

    try:
        return FolderFiles(common.folder).of(tenant).read(value)
    except (OSError, ValueError):
        raise NotFound(f"The bytes of {value.get('name')!r} are not kept any more beside this database.") from None
