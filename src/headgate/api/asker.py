"""Whose desk it is: the tenant whose things it sees and keeps, and the name that stands on what is done at it."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from headgate.api.caller import Forbidden
from headgate.engine.engine import Engine
from headgate.ports import DEFAULT_TENANT, BudgetRule, Schedule

__all__ = ["Asker"]

Owned = TypeVar("Owned", BudgetRule, Schedule)


class Asker:
    """What the verbs of a desk have in common. At first it is that of whoever has the machine: `tenant` None is all."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tenant: str | None = None
        self._actor = "client"
        self._fingerprint = ""

    @property
    def _whose(self) -> str:
        return self._tenant or DEFAULT_TENANT

    @property
    def _now(self) -> int:
        return self._engine.clock.now()

    def _signed(self, by: str) -> str:
        """Return who did something: whoever has logged in, or where nobody has, who it is said to be."""
        return f"user:{by}" if by and self._actor == "client" else self._actor

    def _named(self, by: str) -> str:
        """Return the person's name: of one who has logged in, the own and no other."""
        return self._actor.removeprefix("user:") if self._actor.startswith("user:") else by

    def _own(self, what: Owned) -> Owned:
        """Return a rule or schedule as the tenant's, whatever it says itself."""
        return what if self._tenant is None else msgspec.structs.replace(what, tenant=self._tenant)

    def require_default_tenant(self, what: str) -> None:
        """Raises `Forbidden` for the desk of another tenant than the one that has the machine."""
        if self._whose != DEFAULT_TENANT:
            raise Forbidden(f"Who {what} does so for all tenants: only the tenant {DEFAULT_TENANT!r} may.")
