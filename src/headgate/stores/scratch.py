"""Tables for what nobody needs after the process: on disk, under no name, gone with their owner."""

from __future__ import annotations

from typing import Any

import apsw

from headgate.core.errors import Unavailable

__all__ = ["Scratch"]


class Scratch:
    """Tables of one process. Where their file lies SQLite decides (`SQLITE_TMPDIR`, `TMPDIR`, /var/tmp, /tmp); it is
    made by the first statement. Raises `Unavailable`."""

    def __init__(self) -> None:
        self._connection: apsw.Connection | None = None

    async def change(self, statement: str, *parameters: Any) -> int:
        """Execute one statement; return how many rows it changed."""
        connection = self._connected()
        try:
            connection.execute(statement, parameters)
            return connection.changes()
        except apsw.Error as error:
            raise _unavailable(error) from error

    def read(self, statement: str, *parameters: Any) -> list[Any]:
        """Return the rows of a statement that reads."""
        try:
            return list(self._connected().execute(statement, parameters))
        except apsw.Error as error:
            raise _unavailable(error) from error

    def close(self) -> None:
        """Let go of the disk. A second call does nothing."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> apsw.Connection:
        if self._connection is None:
            try:
                self._connection = apsw.Connection("")
            except apsw.Error as error:
                raise _unavailable(error) from error
        return self._connection


def _unavailable(error: apsw.Error) -> Unavailable:
    return Unavailable(f"The disk for temporary files cannot be used: {error}.")
