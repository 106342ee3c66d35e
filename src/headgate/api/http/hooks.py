"""Routes of webhooks in: hooks are made, listed and removed; and the door at which programs outside knock."""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.api.caller import Unauthorized
from headgate.api.http.route import Answer, Call, NoQuery, Raw, Route
from headgate.api.http.wire import rfc3339
from headgate.engine.hook_door import BadSignature
from headgate.ports import DEFAULT_TENANT, Hook, HookScheme

__all__ = ["BODY_BYTES_MAX", "ROUTES"]

BODY_BYTES_MAX = 1024 * 1024
"""Of a request by somebody who has yet to prove who it is."""


class HookBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`definition_name` starts a run, `signal_name` signals the one that holds `unique_key`, both start it where there
    is none. `filter`, `input`, `data`, `unique_key` and `delivery_id` read `BODY` and `HEADERS`."""

    name: str
    definition_name: str = ""
    definition_version: str = ""
    scheme: HookScheme = "standard"
    header: str = ""
    secret: str = ""
    filter: str = ""
    input: Any = None
    unique_key: str = ""
    delivery_id: str = ""
    labels: dict[str, str] = {}
    signal_name: str = ""
    activity_key: str = ""
    data: Any = None


class HookLine(msgspec.Struct, frozen=True, kw_only=True):
    """`secret` is there in the answer that made it, and nowhere else; `path` is where requests go."""

    name: str
    path: str
    definition_name: str | None
    definition_version: str | None
    scheme: str
    header: str | None
    secret: str | None
    filter: str | None
    input: Any
    unique_key: str | None
    delivery_id: str | None
    labels: dict[str, str]
    signal_name: str | None
    activity_key: str | None
    data: Any
    created_at: str | None


class HookList(msgspec.Struct, frozen=True):
    hooks: list[HookLine]
    count: int


class HookTaken(msgspec.Struct, frozen=True):
    """`workflow_id` is the run that was started or signalled; null: the hook's filter did not want the request."""

    accepted: bool
    workflow_id: str | None


async def add_hook(call: Call[NoQuery, HookBody]) -> Answer:
    """Let a program outside start or signal runs; the answer has the secret that it proves to know"""
    body = call.body
    hook = Hook(
        name=body.name,
        tenant=call.caller.tenant,
        workflow=body.definition_name,
        version=body.definition_version,
        scheme=body.scheme,
        header=body.header,
        secret=body.secret,
        filter=body.filter,
        input=body.input,
        unique_key=body.unique_key,
        delivery_id=body.delivery_id,
        labels=body.labels,
        signal=body.signal_name,
        activity_key=body.activity_key,
        data=body.data,
    )
    await call.doors.hooks.check(hook)
    await _record(call, "hook.create", hook.name)
    return Answer(_line(await call.doors.hooks.add(hook)), 201)


async def list_hooks(call: Call[NoQuery, None]) -> HookList:
    """List hooks by name"""
    lines = [_line(one) for one in await call.doors.hooks.all(call.caller.tenant)]
    return HookList(lines, len(lines))


async def remove_hook(call: Call[NoQuery, None]) -> HookLine:
    """Let a program outside cause nothing more"""
    hook = await call.doors.hooks.one(call.caller.tenant, call.path["name"])
    await _record(call, "hook.remove", hook.name)
    return _line(await call.doors.hooks.remove(call.caller.tenant, call.path["name"]))


async def receive(call: Call[NoQuery, Raw]) -> Answer:
    """Take a signed request; the same delivery again causes nothing more"""
    return await _taken(call, DEFAULT_TENANT)


async def receive_for_tenant(call: Call[NoQuery, Raw]) -> Answer:
    """Take a signed request for a hook of the tenant that is named"""
    return await _taken(call, call.path["tenant"])


async def _taken(call: Call[NoQuery, Raw], tenant: str) -> Answer:
    try:
        taken = await call.doors.hook_door.take(tenant, call.path["name"], call.headers, call.body.data)
    except BadSignature as error:
        raise Unauthorized(error.message) from None
    return Answer(HookTaken(bool(taken.run), taken.run or None), 202)


async def _record(call: Call[Any, Any], act: str, name: str) -> None:
    """Write down what is about to be done."""
    await call.doors.auth.acts.record(call.caller.tenant, call.caller.actor, act, name)


def _line(one: Hook) -> HookLine:
    tenant = "" if one.tenant == DEFAULT_TENANT else f"{one.tenant}/"
    return HookLine(
        name=one.name,
        path=f"/api/v1/hooks/{tenant}{one.name}",
        definition_name=one.workflow or None,
        definition_version=one.version or None,
        scheme=one.scheme,
        header=one.header or None,
        secret=one.secret or None,
        filter=one.filter or None,
        input=one.input,
        unique_key=one.unique_key or None,
        delivery_id=one.delivery_id or None,
        labels=one.labels,
        signal_name=one.signal or None,
        activity_key=one.activity_key or None,
        data=one.data,
        created_at=rfc3339(one.created_at),
    )


def _door(path: str, function: Any) -> Route:
    return Route(
        method="POST",
        path=path,
        function=function,
        body=Raw,
        body_bytes_max=BODY_BYTES_MAX,
        answer=HookTaken,
        status=202,
        scope="",
        refusals=(404, 409),
    )


ROUTES = (
    Route(
        method="POST",
        path="/hooks",
        function=add_hook,
        repeats="sealed",
        body=HookBody,
        answer=HookLine,
        status=201,
        scope="admin",
        refusals=(404, 409),
    ),
    Route(method="GET", path="/hooks", function=list_hooks, answer=HookList, scope="admin"),
    Route(method="DELETE", path="/hooks/{name}", function=remove_hook, answer=HookLine, scope="admin", refusals=(404,)),
    _door("/hooks/{name}", receive),
    _door("/hooks/{tenant}/{name}", receive_for_tenant),
)
