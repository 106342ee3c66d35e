"""Routes of results that are kept for reuse: take one out, or those of a workflow or activity."""

from __future__ import annotations

import msgspec

from headgate.api.http.route import Call, NoQuery, Route
from headgate.core.errors import Invalid

__all__ = ["ROUTES"]


class WhichResults(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Those of a workflow, of an activity, of both; `all: true` where neither is named."""

    definition_name: str | None = None
    activity_key: str | None = None
    all: bool = False


class Invalidated(msgspec.Struct, frozen=True):
    invalidated: int


async def forget_result(call: Call[NoQuery, None]) -> Invalidated:
    """Have one result made anew; `key` is the beginning of its key in hexadecimal digits"""
    return Invalidated(await call.kept_results.forget(call.path["key"]))


async def invalidate_results(call: Call[NoQuery, WhichResults]) -> Invalidated:
    """Have the results of a workflow, or of an activity, made anew"""
    body = call.body
    if body.all is (body.definition_name is not None or body.activity_key is not None):
        raise Invalid("expected definition_name, activity_key or both, or all: true and none of them")
    gone = await call.kept_results.clear(workflow=body.definition_name, activity=body.activity_key, before=None)
    return Invalidated(gone)


ROUTES = (
    Route(
        method="DELETE",
        path="/cache/{key}",
        function=forget_result,
        answer=Invalidated,
        scope="runs:write",
        refusals=(404, 409),
    ),
    Route(
        method="POST",
        path="/cache/invalidate",
        function=invalidate_results,
        body=WhichResults,
        answer=Invalidated,
        scope="runs:write",
        refusals=(409,),
    ),
)
