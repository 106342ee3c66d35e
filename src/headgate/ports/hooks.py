"""Webhooks, out and in, as they are kept."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from headgate.core.addresses import shown_address

__all__ = ["Delivered", "Hook", "HookScheme", "Webhook"]


class Delivered(msgspec.Struct, frozen=True, omit_defaults=True):
    """An attempt to deliver a message: which, what it told of, when (microseconds), and how it ended."""

    id: str
    type: str
    at: int
    attempt: int = 1
    status: int = 0
    error: str = ""
    """Empty: it was taken."""


class Webhook(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whom events are told to. `events` are types or patterns of them (`run_*`), `workflows` names; empty: all. A run
    must have all of `labels`."""

    id: str
    url: str
    tenant: str = "default"
    events: tuple[str, ...] = ()
    workflows: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    description: str = ""
    secret: str = ""
    """What deliveries are signed with (`whsec_…`). Shown when it is made, and never again."""
    enabled: bool = True
    note: str = ""
    """Why it was disabled; empty: it was not, or by hand."""
    created_at: int = 0

    @property
    def shown(self) -> Webhook:
        """As people see it: without the secret, and with the password in its address masked."""
        return msgspec.structs.replace(self, secret="", url=shown_address(self.url))


HookScheme = Literal["standard", "github", "token"]


class Hook(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a program outside may cause by a request: a run of a workflow, or a signal to one.

    Templates and the filter read the request as `BODY` and `HEADERS` (names in lower case). `scheme` says how a request
    shows that it knows the secret: Standard Webhooks, GitHub's `X-Hub-Signature-256`, or the secret itself in `header`.
    """

    name: str
    workflow: str = ""
    version: str = ""
    tenant: str = "default"
    scheme: HookScheme = "standard"
    header: str = ""
    secret: str = ""
    filter: str = ""
    """A condition; a request for which it is not true is taken, and causes nothing."""
    input: Any = None
    """A template; None: the body is the input."""
    unique_key: str = ""
    """A template. With a signal: which run it is for."""
    delivery_id: str = ""
    """A template of what a repeat has in common with the first; empty: what the scheme says."""
    labels: dict[str, str] = {}
    signal: str = ""
    """The signal to send; empty: a run is started. With a workflow too: it is started where no run holds the key."""
    activity_key: str = ""
    data: Any = None
    """A template of what the signal carries; None: the body."""
    enabled: bool = True
    created_at: int = 0
