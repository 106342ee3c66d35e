"""The activity `echo`: its parameters are its output."""

from __future__ import annotations

from typing import Any

from headgate.ports import ActivityContext

__all__ = ["echo"]


def echo(parameters: dict[str, Any], _ctx: ActivityContext) -> dict[str, Any]:
    """Return `parameters`, the same object: no copy, no wait, nothing that can fail."""
    return parameters
