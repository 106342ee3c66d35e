"""What an error of PostgreSQL, or of the way there, means: whether to ask again, and what to tell people.

Nothing here imports the driver: its errors are known by the SQLSTATE they carry.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from headgate.core.errors import HeadgateError, Invalid, Refused, Unavailable

__all__ = ["SCHEMES", "Address", "kind_of"]

SCHEMES = ("postgres://", "postgresql://")
SCHEMA = "headgate"

Kind = Literal["lost", "again", "refused", "not_now", "ours"]

AGAIN_STATES = ("40001", "40P01", "55P03", "23505", "0A000")
"""Serialization, deadlock, a lock, two nodes that made the same thing at once, and a plan made before a newer release
changed a table: nothing was written, so again."""
NO_RIGHT = "42501"
REFUSED_STATES = ("28", "3D", NO_RIGHT)
"""A wrong name or password, a database that is not there, no right to it: asking again does not help."""
NOT_NOW_STATES = ("53", "54", "57014", "58", "25006")
"""No memory, disk or connection left, too long, read-only: nothing was written."""
LOST_STATES = ("57P", "08")
"""The server went away, or the connection to it."""


def kind_of(error: BaseException) -> Kind:
    """Return what can be done about an error: `lost` (the connection; what was under way may or may not be done),
    `again`, `refused`, `not_now` (nothing was written), or `ours`: a mistake that stays one."""
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        if state == "23505" and str(getattr(error, "constraint_name", "")).startswith("events"):
            return "not_now"  # the log and its run's row disagree, and will the next time
        for kind, states in _STATES:
            if state.startswith(states):
                return kind
        return "ours"
    # What the driver raises without a state: a connection that is closed, or closes under a statement.
    if isinstance(error, (OSError, TimeoutError)) or type(error).__name__ in ("InterfaceError", "InternalClientError"):
        return "lost"
    return "ours"


_STATES: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("again", AGAIN_STATES),
    ("refused", REFUSED_STATES),
    ("not_now", NOT_NOW_STATES),
    ("lost", LOST_STATES),
)


class Address:
    """Where a database is: `url` for the driver and `schema` in it, `place` for people, without name and password.

    Raises `Invalid` for what is no address of PostgreSQL.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = None, None
        if parts is None or not url.startswith(SCHEMES):
            raise Invalid(
                "Expected the address of the database to be postgresql://name:password@host:port/database, "
                "got something else (not shown, for it may hold a password)."
            )
        self.schema, query = _schema_of(parts.query)
        """The schema that `?schema=` names: the driver does not know it."""
        self.url = urlunsplit(parts._replace(query=query))
        self.place = f"{parts.hostname or 'localhost'}:{port or 5432}{parts.path}"
        self._password = parts.password or ""

    def __str__(self) -> str:
        return f"postgresql://{self.place}"

    def problem(self, error: BaseException, what: str) -> HeadgateError:
        """Return the error for people; `what` says what became of the request."""
        said = self._without_password(_first_line(str(error))) or type(error).__name__
        kind = kind_of(error)
        if getattr(error, "sqlstate", None) == NO_RIGHT:
            return Refused(
                f"PostgreSQL at {self.place} says: {said}. Grant the role what it lacks; to make its tables it must be "
                "allowed to create a schema in the database, or own the one that ?schema= names."
            )
        if kind == "refused":
            return Refused(f"PostgreSQL at {self.place} lets us not in: {said}. Check name, password and database.")
        if kind == "lost":
            return Unavailable(f"PostgreSQL at {self.place} cannot be reached ({said}). {what}")
        return Unavailable(f"PostgreSQL at {self.place} said: {said}. {what}")

    def _without_password(self, text: str) -> str:
        for secret in {self._password, unquote(self._password)} - {""}:
            text = text.replace(secret, "***")
        return text.strip().rstrip(".")


def _schema_of(query: str) -> tuple[str, str]:
    """Return the schema that the query of an address names, and the query without it."""
    parts = parse_qsl(query, keep_blank_values=True)
    named = [value for name, value in parts if name == "schema"]
    return named[-1] if named else SCHEMA, urlencode([(name, value) for name, value in parts if name != "schema"])


def _first_line(text: str) -> str:
    """What follows are details, which may hold values of rows."""
    return text.strip().partition("\n")[0]
