"""Routes of webhooks out: who is told of which events, whether that works, and what has been tried."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec

from headgate.api.http.route import Answer, Call, NoQuery, Route
from headgate.api.http.wire import rfc3339
from headgate.engine.webhooks import WebhookChange, checked_url
from headgate.ports import Delivered, Webhook

__all__ = ["ROUTES"]


class WebhookBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`events` are types or patterns such as `run_*`; what is left out restricts nothing. A `secret` of one's own is
    `whsec_` and the base64 of 24 to 64 bytes; without it one is made."""

    url: str
    events: tuple[str, ...] = ()
    workflows: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    description: str = ""
    secret: str = ""


class WebhookLine(msgspec.Struct, frozen=True, kw_only=True):
    """`secret` is there in the answer that made it, and nowhere else."""

    id: str
    url: str
    events: tuple[str, ...]
    workflows: tuple[str, ...]
    labels: dict[str, str]
    description: str
    enabled: bool
    note: str | None
    secret: str | None
    created_at: str | None


class WebhookList(msgspec.Struct, frozen=True):
    webhooks: list[WebhookLine]
    count: int


class DeliveryLine(msgspec.Struct, frozen=True, kw_only=True):
    message_id: str
    event_type: str
    at: str | None
    attempt: int
    delivered: bool
    status: int | None
    error: str | None


class DeliveryList(msgspec.Struct, frozen=True):
    deliveries: list[DeliveryLine]
    count: int


async def add_webhook(call: Call[NoQuery, WebhookBody]) -> Answer:
    """Tell a program of events from now on; the answer has the secret that signs what it is told"""
    body = call.body
    await _record(call, "webhook.create", urlsplit(checked_url(body.url)).hostname or "")
    made = await call.doors.webhooks.add(
        Webhook(
            id="",
            tenant=call.caller.tenant,
            url=body.url,
            events=body.events,
            workflows=body.workflows,
            labels=body.labels,
            description=body.description,
            secret=body.secret,
        )
    )
    return Answer(_line(made), 201)


async def list_webhooks(call: Call[NoQuery, None]) -> WebhookList:
    """List who is told of events"""
    lines = [_line(one) for one in await call.doors.webhooks.all(call.caller.tenant)]
    return WebhookList(lines, len(lines))


async def get_webhook(call: Call[NoQuery, None]) -> WebhookLine:
    """Show one webhook"""
    return _line(await call.doors.webhooks.one(call.caller.tenant, call.path["id"]))


async def change_webhook(call: Call[NoQuery, WebhookChange]) -> WebhookLine:
    """Change a webhook; one that is enabled again is told what it has missed"""
    await call.doors.webhooks.one(call.caller.tenant, call.path["id"])
    await _record(call, "webhook.change", call.path["id"])
    return _line(await call.doors.webhooks.change(call.caller.tenant, call.path["id"], call.body))


async def remove_webhook(call: Call[NoQuery, None]) -> WebhookLine:
    """Tell a program nothing more"""
    await call.doors.webhooks.one(call.caller.tenant, call.path["id"])
    await _record(call, "webhook.remove", call.path["id"])
    return _line(await call.doors.webhooks.remove(call.caller.tenant, call.path["id"]))


async def test_webhook(call: Call[NoQuery, None]) -> DeliveryLine:
    """Send a message of the type `webhook_test` now, and say how that ended"""
    return _delivery(await call.doors.webhooks.test(call.caller.tenant, call.path["id"]))


async def list_deliveries(call: Call[NoQuery, None]) -> DeliveryList:
    """List the newest attempts to tell a program something, newest first"""
    found = await call.doors.webhooks.deliveries(call.caller.tenant, call.path["id"])
    lines = [_delivery(one) for one in found]
    return DeliveryList(lines, len(lines))


async def _record(call: Call[Any, Any], act: str, what: str) -> None:
    """Write down what is about to be done. Of an address the host is enough: the rest of it may be a secret."""
    await call.doors.auth.acts.record(call.caller.tenant, call.caller.actor, act, what)


def _line(one: Webhook) -> WebhookLine:
    return WebhookLine(
        id=one.id,
        url=one.url,
        events=one.events,
        workflows=one.workflows,
        labels=one.labels,
        description=one.description,
        enabled=one.enabled,
        note=one.note or None,
        secret=one.secret or None,
        created_at=rfc3339(one.created_at),
    )


def _delivery(one: Delivered) -> DeliveryLine:
    return DeliveryLine(
        message_id=one.id,
        event_type=one.type,
        at=rfc3339(one.at),
        attempt=one.attempt,
        delivered=not one.error,
        status=one.status or None,
        error=one.error or None,
    )


ROUTES = (
    Route(
        method="POST",
        path="/webhooks",
        function=add_webhook,
        repeats="sealed",
        body=WebhookBody,
        answer=WebhookLine,
        status=201,
        scope="admin",
        refusals=(409,),
    ),
    Route(method="GET", path="/webhooks", function=list_webhooks, answer=WebhookList, scope="admin"),
    Route(
        method="GET", path="/webhooks/{id}", function=get_webhook, answer=WebhookLine, scope="admin", refusals=(404,)
    ),
    Route(
        method="PATCH",
        path="/webhooks/{id}",
        function=change_webhook,
        body=WebhookChange,
        answer=WebhookLine,
        scope="admin",
        refusals=(404, 409),
    ),
    Route(
        method="DELETE",
        path="/webhooks/{id}",
        function=remove_webhook,
        answer=WebhookLine,
        scope="admin",
        refusals=(404,),
    ),
    Route(
        method="POST",
        path="/webhooks/{id}/test",
        function=test_webhook,
        repeats="kept",
        answer=DeliveryLine,
        scope="admin",
        refusals=(404,),
    ),
    Route(
        method="GET",
        path="/webhooks/{id}/deliveries",
        function=list_deliveries,
        answer=DeliveryList,
        scope="admin",
        refusals=(404,),
    ),
)
