"""The model providers as a task's tenant may call them: with its own keys, where it has any."""

from __future__ import annotations

from typing import cast

from headgate.core.values import Assignment
from headgate.ports import HasKeys, Providers

__all__ = ["providers_of"]


def providers_of(task: Assignment, providers: Providers) -> Providers:
    """Return the providers with the keys that the engine has sent along, for this task alone."""
    given = task.settings.get("provider_keys")
    if not isinstance(given, dict) or not isinstance(providers, HasKeys):
        return providers
    only = task.settings.get("provider_keys_only") is True
    return cast("HasKeys", providers).keyed(cast("dict[str, str]", given), account=task.tenant, only=only)
