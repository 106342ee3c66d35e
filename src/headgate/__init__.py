"""Headgate: a durable workflow engine for AI applications.

    import headgate

    result = headgate.run("hello.yaml", {"name": "Ada"})

Importing this loads nothing; each name is loaded when it is first used.
"""

TYPE_CHECKING = False  # what type checkers take for true; `typing` itself would have to be loaded

if TYPE_CHECKING:
    from headgate.client.blocking import BlockingHandle
    from headgate.client.handle import Handle, Result, RunFailed
    from headgate.client.remote import AsyncClient, Client
    from headgate.core.errors import HeadgateError, Invalid, NotFound, Refused, Unavailable
    from headgate.ports import (
        ActivityContext,
        Allow,
        Attempt,
        Changed,
        Deny,
        Ended,
        Gap,
        ModelAnswer,
        ModelRequest,
        Modify,
        PolicyCall,
        Position,
        Restarted,
        Tokens,
    )
    from headgate.sdk.activity import activity
    from headgate.sdk.blocking import run, start
    from headgate.sdk.connection import Connection, arun, astart
    from headgate.sdk.connection import open_connection as open  # noqa: A004 - as in `headgate.open`, like `gzip.open`
    from headgate.sdk.lifespan import lifespan
    from headgate.sdk.policy import policy
    from headgate.sdk.workflow import Reference, Workflow

__all__ = [
    "ActivityContext",
    "Allow",
    "AsyncClient",
    "Attempt",
    "BlockingHandle",
    "Changed",
    "Client",
    "Connection",
    "Deny",
    "Ended",
    "Gap",
    "Handle",
    "HeadgateError",
    "Invalid",
    "ModelAnswer",
    "ModelRequest",
    "Modify",
    "NotFound",
    "PolicyCall",
    "Position",
    "Reference",
    "Refused",
    "Restarted",
    "Result",
    "RunFailed",
    "Tokens",
    "Unavailable",
    "Workflow",
    "activity",
    "arun",
    "astart",
    "lifespan",
    "open",
    "policy",
    "run",
    "start",
]

_HOMES = {
    "client.blocking": ("BlockingHandle",),
    "client.handle": ("Handle", "Result", "RunFailed"),
    "client.remote": ("AsyncClient", "Client"),
    "core.errors": ("HeadgateError", "Invalid", "NotFound", "Refused", "Unavailable"),
    "ports": (
        *("ActivityContext", "Allow", "Attempt", "Changed", "Deny", "Ended", "Gap"),
        *("ModelAnswer", "ModelRequest", "Modify", "PolicyCall", "Position", "Restarted", "Tokens"),
    ),
    "sdk.activity": ("activity",),
    "sdk.blocking": ("run", "start"),
    "sdk.connection": ("Connection", "arun", "astart", "open"),
    "sdk.lifespan": ("lifespan",),
    "sdk.policy": ("policy",),
    "sdk.workflow": ("Reference", "Workflow"),
}
_NAMES_THERE = {"open": "open_connection"}
"""What is called otherwise at home, where it would hide a builtin."""


def __getattr__(name: str) -> object:
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f"module 'headgate' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"headgate.{home}"), _NAMES_THERE.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
