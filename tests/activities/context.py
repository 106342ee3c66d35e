"""The least that an activity's context is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from headgate.core.values import Assignment

__all__ = ["context_of"]


def context_of(tenant: str = "default") -> Any:
    """Return what an activity gets that only asks for its task."""
    task = Assignment(activity_id="c", workflow_id="r", activity_key="a", place="a", activity_name="x", tenant=tenant)
    return SimpleNamespace(task=task)
