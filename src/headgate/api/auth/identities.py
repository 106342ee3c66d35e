"""Names of those who may ask: `billing` in the default tenant, `acme/billing` in another; and what scopes there are."""

from __future__ import annotations

import re
from collections.abc import Iterable

from headgate.api.caller import EVERYTHING
from headgate.core.errors import Invalid
from headgate.ports import DEFAULT_TENANT

__all__ = ["NAME", "checked_name", "checked_scopes", "identity", "parsed_identity"]

NAME = re.compile(r"[a-z0-9][a-z0-9_.@+-]{0,63}")


def identity(tenant: str, name: str) -> str:
    """Return how a client or user is named by whoever logs in."""
    return name if tenant == DEFAULT_TENANT else f"{tenant}/{name}"


def parsed_identity(text: str) -> tuple[str, str]:
    """Return tenant and name. Any text is taken: one that names nobody is refused where it is looked for."""
    tenant, slash, name = text.partition("/")
    return (tenant, name) if slash else (DEFAULT_TENANT, tenant)


def checked_name(name: str, what: str) -> str:
    """Return the name if it can be one. Raises `Invalid`."""
    if not NAME.fullmatch(name):
        raise Invalid(
            f"expected the name of a {what} to be 1 to 64 of a-z, 0-9 and _ . @ + -, beginning with a letter or digit, "
            f"got {name!r}"
        )
    return name


def checked_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """Return the scopes, each once and in order. Raises `Invalid`: one is unknown, or there is none."""
    wanted = set(scopes)
    if unknown := sorted(wanted - EVERYTHING):
        raise Invalid(f"There is no scope {unknown[0]!r}; there are {', '.join(sorted(EVERYTHING))}.")
    if not wanted:
        raise Invalid(f"expected at least one scope of {', '.join(sorted(EVERYTHING))}")
    return tuple(sorted(wanted))
