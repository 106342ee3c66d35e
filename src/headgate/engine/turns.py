"""Whose turn it is among those who wait for one provider: tenants in rotation, and each tenant's calls as they came.

Within a tenant the models take turns too, each with its calls in order: a model that must wait longer keeps no other
one waiting. Pure: it knows no time and no rate.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Iterator
from typing import Generic, TypeVar

__all__ = ["Turns"]

Waiter = TypeVar("Waiter")


class Turns(Generic[Waiter]):
    """The waiting calls of one provider, by tenant and model."""

    def __init__(self) -> None:
        self._tenants: OrderedDict[str, OrderedDict[str, deque[Waiter]]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Waiter]:
        for models in self._tenants.values():
            for waiting in models.values():
                yield from waiting

    def waits_for(self, model: str) -> bool:
        """Return whether anybody waits for the model."""
        return any(model in models for models in self._tenants.values())

    def add(self, tenant: str, model: str, waiter: Waiter) -> None:
        """Put a call at the end of its tenant's line for the model."""
        self._tenants.setdefault(tenant, OrderedDict()).setdefault(model, deque()).append(waiter)
        self._count += 1

    def next(self, blocked: Collection[str]) -> tuple[str, str, Waiter] | None:
        """Return the tenant, model and call whose turn it is, of models that are not `blocked`."""
        for tenant, models in self._tenants.items():
            for model, waiting in models.items():
                if model not in blocked:
                    return tenant, model, waiting[0]
        return None

    def served(self, tenant: str, model: str) -> None:
        """Take out the first call of the line: it had its turn, and the others' come first now."""
        models = self._tenants[tenant]
        models[model].popleft()
        self._count -= 1
        models.move_to_end(model)
        self._tenants.move_to_end(tenant)
        self._tidy(tenant, model)

    def remove(self, tenant: str, model: str, waiter: Waiter) -> bool:
        """Take out a call that waits no more; return whether it was there. Nobody's turn is moved."""
        waiting = self._tenants.get(tenant, {}).get(model)
        if waiting is None or waiter not in waiting:
            return False
        waiting.remove(waiter)
        self._count -= 1
        self._tidy(tenant, model)
        return True

    def _tidy(self, tenant: str, model: str) -> None:
        models = self._tenants[tenant]
        if not models[model]:
            del models[model]
        if not models:
            del self._tenants[tenant]
