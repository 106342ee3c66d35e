"""The reuse of results: what makes two attempts equal, and what a reused output looks like.

Activities that are a model call (`llm_prompt`, `embedding`) reuse the call, in the gate (`call_cache`); unless the
author gave a `key`, which tells attempts apart, not calls. Of each kept thing there is one copy, at one of the two.

Any other activity that says `cache` gives each attempt a key when its parameters are rendered. An attempt whose key has
a result in the cache is completed with it, before any worker sees it; another one runs, and what it comes to is kept
when it is in the log. The key covers all that the activity's code is given: tenant, queue, name, parameters, and for
those who get them the script's input and the signal's data. Secrets are in it as markers, so that a new password
keeps the results of the old one. A `key` of the author's own stands for one activity of one workflow only: another
activity that is told apart by the same words does something else with them.

This file keeps nothing; `ports.Cache` does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, cast

import msgspec

from headgate.core.catalogue import MODEL_CALLS
from headgate.core.codec import content_value
from headgate.core.definition import Activity
from headgate.core.names import Names
from headgate.core.place import Place
from headgate.core.run import Run
from headgate.core.values import Assignment
from headgate.ports import Cache, Reusable

__all__ = ["NO_CACHE", "caches_calls", "call_key", "result_key", "reused_output"]

_canonical = msgspec.json.Encoder(order="sorted")


def caches_calls(activity: Activity) -> bool:
    """Whether it is the activity's model calls that are reused, rather than its attempts."""
    return activity.name in MODEL_CALLS and activity.cache is not None and not activity.cache.key


def call_key(tenant: str, model: str, asked: str) -> bytes:
    """Return the SHA-256 that equal calls share: of `asked` (the hash of what is asked), of `model`, for a tenant.

    The number is that of the form in which answers are kept: one of another form is not found.
    """
    return hashlib.sha256(_canonical.encode(("call", 1, tenant, model, asked))).digest()


def result_key(run: Run, place: Place, assignment: Assignment, plain: object, values: Mapping[int, object]) -> bytes:
    """Return the SHA-256 that equal attempts share, or nothing where no attempts of the activity are reused.

    `plain` are the parameters with markers for secrets. Raises `ExpressionError` for a `key` that cannot be rendered.
    """
    planned = place.planned
    if planned.activity.cache is None or caches_calls(planned.activity):
        return b""
    base: tuple[object, ...] = (run.tenant, planned.activity.queue, planned.activity.name)
    if planned.activity.cache.key:
        own: Any = list(planned.activity.cache.key)
        if planned.cache_key is not None:
            own = planned.cache_key.render(Names(run, values, place, {"parameters": plain}))
        base = (*base, "key", run.plan.definition.name, planned.key, own)
    else:
        base = (*base, "parameters", plain, assignment.settings.get("script_input"), assignment.signal_data)
    if policies := assignment.settings.get("policies"):
        base = (*base, "policies", policies)  # what went through others may hold what these would cut out
    return hashlib.sha256(_canonical.encode(base)).digest()


def reused_output(kept: Reusable) -> Any:
    """Return the output as the attempt that reuses it has it: the same, and free."""
    output = content_value(kept.output)
    if kept.name in MODEL_CALLS and isinstance(output, dict):
        return {**cast("dict[str, Any]", output), "cache_hit": True, "cost_usd": 0.0}
    return output


class _NoCache:
    """Keeps nothing."""

    async def find(self, tenant: str, key: bytes, now: int) -> Reusable | None:
        return None

    def keep(self, kept: Reusable) -> None:
        pass

    async def close(self) -> None:
        pass


NO_CACHE: Cache = _NoCache()
