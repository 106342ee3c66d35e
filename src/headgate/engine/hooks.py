"""Webhooks in, as people look after them: which program outside may cause what, and the secret that it proves to know.

A hook is a document; its secret is sealed in it, and is shown when it is made and never again.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable

import msgspec

from headgate.core.errors import Invalid, NotFound, Refused
from headgate.core.signatures import secret_bytes, secret_text
from headgate.engine.engine import Engine
from headgate.engine.hook_request import compiled_hook
from headgate.engine.sealing import Sealer
from headgate.engine.start_bounds import check_labels
from headgate.ports import Documents, Hook, every_document

__all__ = ["Hooks", "labels_of", "sealed_secrets"]

HOOK = "hook"
"""The kind of the documents."""

HOOKS_MAX = 100
"""Of one tenant."""
SECRET_BYTES = 32
TOKEN_CHARACTERS_MIN = 16
TOKEN_CHARACTERS_MAX = 500
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")


class Hooks:
    """One per engine."""

    def __init__(self, engine: Engine, documents: Documents, sealer: Callable[[], Sealer]) -> None:
        self._engine = engine
        self._documents = documents
        self._sealer = sealer

    async def add(self, hook: Hook) -> Hook:
        """Keep a hook; return it with its secret. Raises `Invalid`, `NotFound` for an unknown workflow, `Refused` for a
        name that is taken."""
        await self.check(hook)
        secret = hook.secret or _new_secret(hook)
        made = msgspec.structs.replace(hook, secret=secret, created_at=self._engine.clock.now())
        sealed = self._sealer().seal(made.secret.encode(), _context(made))
        body = msgspec.json.encode(msgspec.structs.replace(made, secret=base64.b64encode(sealed).decode()))
        put = self._documents.put(HOOK, made.tenant, made.name, body, at=made.created_at, expected=0)
        if await put is None:
            raise _taken(made)
        return made

    async def check(self, hook: Hook) -> None:
        """Raise what `add` would."""
        _check(hook)
        if hook.workflow:
            await self._engine.definitions.plan(hook.workflow, hook.version or None, tenant=hook.tenant)
        known = await self.all(hook.tenant)
        if any(one.name == hook.name for one in known):
            raise _taken(hook)
        if len(known) >= HOOKS_MAX:
            raise Refused(f"There are {HOOKS_MAX} hooks already; remove one first.")

    async def all(self, tenant: str) -> list[Hook]:
        """Return the tenant's hooks by name, without their secrets."""
        found = await self._documents.list(HOOK, tenant=tenant, limit=HOOKS_MAX)
        hooks = [msgspec.json.decode(document.body, type=Hook) for document in found]
        return [msgspec.structs.replace(hook, secret="") for hook in hooks]

    async def remove(self, tenant: str, name: str) -> Hook:
        """Remove a hook; return it as it was. Raises `NotFound`."""
        hook = await self.one(tenant, name)
        await self._documents.remove(HOOK, tenant, name)
        return hook

    async def one(self, tenant: str, name: str) -> Hook:
        """Return a hook without its secret. Raises `NotFound`."""
        document = await self._documents.get(HOOK, tenant, name)
        if document is None:
            raise NotFound(f"There is no hook {name!r}.")
        return msgspec.structs.replace(msgspec.json.decode(document.body, type=Hook), secret="")

    async def opened(self, tenant: str, name: str) -> tuple[Hook, int] | None:
        """Return a hook with its secret, and its revision; None: there is none."""
        document = await self._documents.get(HOOK, tenant, name)
        if document is None:
            return None
        hook = msgspec.json.decode(document.body, type=Hook)
        secret = self._sealer().open(base64.b64decode(hook.secret), _context(hook)).decode()
        return msgspec.structs.replace(hook, secret=secret), document.revision


async def sealed_secrets(documents: Documents) -> list[bytes]:
    """Return the secrets of all hooks as they are sealed, for whoever asks which keys that takes."""
    kept = [msgspec.json.decode(one.body, type=Hook) for one in await every_document(documents, HOOK)]
    return [base64.b64decode(hook.secret) for hook in kept]


def _new_secret(hook: Hook) -> str:
    if hook.scheme == "standard":
        return secret_text(secrets.token_bytes(SECRET_BYTES))
    return secrets.token_urlsafe(SECRET_BYTES)


def _taken(hook: Hook) -> Refused:
    return Refused(f"There is a hook {hook.name!r} already; remove it first.")


def labels_of(hook: Hook) -> dict[str, str]:
    """Return the labels of what the hook starts."""
    return {**hook.labels, "hook": hook.name}


def _check(hook: Hook) -> None:
    """Raise `Invalid` for what cannot work."""
    if not NAME.fullmatch(hook.name):
        raise Invalid(f"expected name to be 1 to 64 letters, digits, _ and -, got {hook.name[:200]!r}")
    if not hook.workflow and not hook.signal:
        raise Invalid("a hook needs a workflow to start, a signal to send, or both")
    if hook.signal and not hook.unique_key:
        raise Invalid("a hook that signals needs a unique_key, a template that says which run is meant")
    check_labels(labels_of(hook))
    if hook.header and (hook.scheme != "token" or not HEADER.fullmatch(hook.header)):
        raise Invalid("header is the name of the header that carries the secret, for the scheme token only")
    if hook.secret and hook.scheme == "standard":
        secret_bytes(hook.secret)
    elif hook.secret and not TOKEN_CHARACTERS_MIN <= len(hook.secret) <= TOKEN_CHARACTERS_MAX:
        raise Invalid(f"expected a secret of {TOKEN_CHARACTERS_MIN} to {TOKEN_CHARACTERS_MAX} characters")
    compiled_hook(hook)


def _context(hook: Hook) -> str:
    return f"secret of hook {hook.name} of tenant {hook.tenant}"
