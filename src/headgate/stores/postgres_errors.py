"""What an error of PostgreSQL, or of the way there, means: whether to ask again, and what to tell people.

Nothing here imports the driver: its errors are known by the SQLSTATE they carry.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from headgate.core.errors import HeadgateError, Invalid, Refused, Unavailable

__all__ = ["READ_ONLY_STATE", "SCHEMES", "SESSIONS_NEEDED", "Address", "PoolerSharesSessions", "kind_of"]

SCHEMES = ("postgres://", "postgresql://")
SCHEMA = "headgate"
PORT = 5432
HOSTS_MAX = 8
SESSIONS_NEEDED = (
    "that gives each transaction another session (pool_mode = transaction or statement in PgBouncer): settings, LISTEN "
    "and prepared statements do not hold there. Set pool_mode = session for this database, or name the server itself."
)

Kind = Literal["lost", "again", "refused", "not_now", "ours"]

READ_ONLY_STATE = "25006"
AGAIN_STATES = ("40001", "40P01", "55P03", "23505", "0A000", READ_ONLY_STATE)
"""Serialization, deadlock, a lock, two nodes that made the same thing at once, a plan made before a newer release
changed a table, and a server that takes no writes, but perhaps another does: nothing was written, so again."""
NO_RIGHT = "42501"
SESSION_LOST_STATES = ("26000", "42P05")
"""A statement that was prepared is not there, or one is that was not."""
REFUSED_STATES = ("28", "3D", NO_RIGHT, *SESSION_LOST_STATES)
"""A wrong name or password, a database that is not there, no right to it, no session: asking again does not help."""
NOT_NOW_STATES = ("53", "54", "57014", "58")
"""No memory, disk or connection left, too long: nothing was written."""
LOST_STATES = ("57P", "08")
"""The server went away, or the connection to it."""
LOST_ERRORS = ("InterfaceError", "InternalClientError", "TargetServerAttributeNotMatched")
"""The driver's own: the last one where it is a standby that answers, and the address wants none."""


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
    if isinstance(error, (OSError, TimeoutError)) or type(error).__name__ in LOST_ERRORS:
        return "lost"
    return "ours"


_STATES: tuple[tuple[Kind, tuple[str, ...]], ...] = (
    ("again", AGAIN_STATES),
    ("refused", REFUSED_STATES),
    ("not_now", NOT_NOW_STATES),
    ("lost", LOST_STATES),
)


class PoolerSharesSessions(Refused):
    """The pooler at the address gives each transaction another session."""

    code = "pooler_shares_sessions"


class Address:
    """Where a database is: `url` and `schema` in it, and `place` for people, without name and password. It may name
    several servers, `…@one:5432,other:5432/…`, of which one takes writes at a time.

    Raises `Invalid` for what is no address of PostgreSQL.
    """

    def __init__(self, url: str) -> None:
        hosts = _hosts_of(url)
        if not hosts or len(hosts) > HOSTS_MAX:
            raise Invalid(
                "Expected the address of the database to be postgresql://name:password@host:port/database, with "
                f"host:port at most {HOSTS_MAX} times, got something else (not shown, for it may hold a password)."
            )
        parts = urlsplit(url)
        self.schema, query = _schema_of(parts.query)
        """The schema that `?schema=` names: the driver does not know it."""
        parts = parts._replace(query=query)
        self.url = urlunsplit(parts)
        who, at, named = parts.netloc.rpartition("@")
        self.servers = [urlunsplit(parts._replace(netloc=f"{who}{at}{host}")) for host in named.split(",")]
        """What the driver is given, one for each server; the one that answered last is the first."""
        self.servers_with_sessions: set[str] = set()
        """Those that no pooler, or one that keeps sessions, stands before."""
        self.trouble = ""
        """Why it could not be reached the last time; empty when it was."""
        self.place = f"{','.join(f'{host}:{port}' for host, port in hosts)}{parts.path}"
        self._password = who.partition(":")[2]

    def __str__(self) -> str:
        return f"postgresql://{self.place}"

    def problem(self, error: BaseException, what: str) -> HeadgateError:
        """Return the error for people; `what` says what became of the request. One of ours says so itself."""
        if isinstance(error, HeadgateError):
            return error
        said = self._without_password(_first_line(str(error))) or type(error).__name__
        kind = kind_of(error)
        if getattr(error, "sqlstate", None) == NO_RIGHT:
            return Refused(
                f"PostgreSQL at {self.place} says: {said}. Grant the role what it lacks; to make its tables it must be "
                "allowed to create a schema in the database, or own the one that ?schema= names."
            )
        if getattr(error, "sqlstate", "") in SESSION_LOST_STATES:
            return PoolerSharesSessions(f"At {self.place} is a pooler {SESSIONS_NEEDED} {what} ({said}.)")
        if kind == "refused":
            return Refused(f"PostgreSQL at {self.place} lets us not in: {said}. Check name, password and database.")
        if kind == "lost":
            return Unavailable(f"PostgreSQL at {self.place} cannot be reached ({said}). {what}")
        return Unavailable(f"PostgreSQL at {self.place} said: {said}. {what}")

    def _without_password(self, text: str) -> str:
        for secret in {self._password, unquote(self._password)} - {""}:
            text = text.replace(secret, "***")
        return text.strip().rstrip(".")


def _hosts_of(url: str) -> list[tuple[str, int]]:
    """Return host and port of each server that an address names; none where it is no address."""
    if not url.startswith(SCHEMES):
        return []
    try:
        named = urlsplit(url).netloc.rpartition("@")[2].split(",")
        parts = [urlsplit(f"//{host}") for host in named]
        return [(one.hostname or "localhost", one.port or PORT) for one in parts]
    except ValueError:
        return []


def _schema_of(query: str) -> tuple[str, str]:
    """Return the schema that the query of an address names, and the query without it."""
    parts = parse_qsl(query, keep_blank_values=True)
    named = [value for name, value in parts if name == "schema"]
    return named[-1] if named else SCHEMA, urlencode([(name, value) for name, value in parts if name != "schema"])


def _first_line(text: str) -> str:
    """What follows are details, which may hold values of rows."""
    return text.strip().partition("\n")[0]
