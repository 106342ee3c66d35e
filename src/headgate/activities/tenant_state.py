"""What a tenant may reach of the machine that works for it.

The default tenant is whoever has the machine: its activities may read and write files. Those of another tenant that
would reach into the machine are refused by the server's own worker; a worker of the tenant's own takes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from headgate.ports import DEFAULT_TENANT, ActivityContext, ActivityFunction, Attempt

__all__ = ["REACHES_OUT", "confined"]

REACHES_OUT = frozenset({"file_write", "sqlite_query", "script"})
"""Activities that are nothing without the machine's files."""
READS_PATHS = frozenset({"document_text", "file_read", "llm_prompt"})
"""Activities that take a path among others."""
ADDRESSES = ("http://", "https://", "data:")


def confined(activities: Mapping[str, ActivityFunction]) -> dict[str, ActivityFunction]:
    """Return the activities as a server's own worker has them: into its machine reaches the default tenant alone."""
    return {
        name: _confined(name, function) if name in REACHES_OUT | READS_PATHS else function
        for name, function in activities.items()
    }


def _confined(name: str, function: ActivityFunction) -> ActivityFunction:
    async def within(parameters: dict[str, Any], ctx: ActivityContext) -> Any:
        if ctx.task.tenant != DEFAULT_TENANT and (name in REACHES_OUT or _names_a_path(parameters)):
            raise Attempt.failed(
                "not_for_tenants",
                f"{name} would reach into the server's own files, which is for the tenant {DEFAULT_TENANT!r} alone. "
                "Let a worker of your own do it, in a queue of its own.",
                retryable=False,
            )
        return await cast("Any", function)(parameters, ctx)

    return within


def _names_a_path(parameters: Mapping[str, Any]) -> bool:
    file = parameters.get("file")
    if isinstance(file, str) and "\n" not in file:  # a text of many lines is a document itself
        return True
    messages = parameters.get("messages")
    return _has_path(parameters.get("images")) or _has_path(messages, within_images=False)


def _has_path(value: object, *, within_images: bool = True) -> bool:
    if isinstance(value, str):
        return within_images and not value.startswith(ADDRESSES)
    if isinstance(value, list):
        return any(_has_path(part, within_images=within_images) for part in cast("list[object]", value))
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        if within_images:
            return "path" in fields
        images = (fields.get(name) for name in ("images", "image_url"))
        return any(_has_path(image) for image in images) or _has_path(fields.get("content"), within_images=False)
    return False
