"""Routes of tenants: the secrets of one's own, and for the server's own admins, who may use how much."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import msgspec

from headgate.api.http.query import PageWanted
from headgate.api.http.route import Answer, Call, NoBody, NoQuery, Route
from headgate.api.http.wire import rfc3339
from headgate.api.pages import page_by_name
from headgate.core.money import dollars, nano
from headgate.ports import SecretLine, Tenant

__all__ = ["ROUTES"]

AMOUNT_MAX = 1_000_000_000_000_000
Amount = Annotated[int, msgspec.Meta(ge=0, le=AMOUNT_MAX)]
Dollars = Annotated[float, msgspec.Meta(ge=0, le=1_000_000_000)]


class SecretBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A secret; `provider:NAME` is the key that model calls to that provider carry."""

    name: str
    value: str


class SecretAnswer(msgspec.Struct, frozen=True):
    """A secret, without its value. `set_at` null: it is of the environment of the server."""

    name: str
    set_at: str | None


class SecretList(msgspec.Struct, frozen=True):
    secrets: list[SecretAnswer]
    count: int
    next_cursor: str | None


class Removed(msgspec.Struct, frozen=True):
    name: str
    removed: bool


class TenantBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a tenant may use; null, or left out: as much as it likes."""

    runs_max: Amount | None = None
    starts_per_minute: Amount | None = None
    spend_per_month_usd: Dollars | None = None
    storage_bytes_max: Amount | None = None
    connections_max: Amount | None = None
    requests_per_minute: Amount | None = None
    own_keys_only: bool = False


class NewTenant(TenantBody, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str


class TenantAnswer(TenantBody, frozen=True, kw_only=True):
    name: str
    created_at: str | None


class TenantUse(msgspec.Struct, frozen=True):
    """What it uses now."""

    runs: int
    spent_this_month_usd: float
    storage_bytes: int
    connections: int


class TenantShown(TenantAnswer, frozen=True, kw_only=True):
    used: TenantUse


class TenantList(msgspec.Struct, frozen=True):
    tenants: list[TenantAnswer]
    count: int
    next_cursor: str | None


class TenantClosed(msgspec.Struct, frozen=True, kw_only=True):
    """How many of each this call has ended; schedules are paused, and with a run those below it are cancelled, which
    are not counted."""

    name: str
    clients: int
    users: int
    hooks: int
    schedules: int
    runs: int
    webhooks: int
    secrets: int


# --- Secrets ---------------------------------------------------------------------------------------------------------


async def set_secret(call: Call[NoQuery, SecretBody]) -> SecretAnswer:
    """Keep a secret of the tenant, sealed; one of the same name is replaced"""
    await _record(call, "secret.set", call.body.name)
    return _line(await call.desk.set_secret(call.body.name, call.body.value))


async def list_secrets(call: Call[PageWanted, None]) -> SecretList:
    """List the names of the tenant's secrets; values never come back"""
    page = page_by_name(await call.desk.secrets(), call.query.cursor, call.query.limit, lambda line: line.name)
    lines = [_line(line) for line in page.lines]
    return SecretList(lines, len(lines), page.next)


async def remove_secret(call: Call[NoQuery, None]) -> Removed:
    """Forget a secret"""
    await _record(call, "secret.remove", call.path["name"])
    await call.desk.remove_secret(call.path["name"])
    return Removed(call.path["name"], removed=True)


async def _record(call: Call[Any, Any], act: str, on: str, **details: Any) -> None:
    """Write down what an admin is about to do."""
    await call.doors.auth.acts.record(call.caller.tenant, call.caller.actor, act, on, **details)


def _line(line: SecretLine) -> SecretAnswer:
    return SecretAnswer(line.name, rfc3339(line.at) if line.at else None)


# --- Tenants ---------------------------------------------------------------------------------------------------------


async def create_tenant(call: Call[NoQuery, NewTenant]) -> Answer:
    """Make a tenant, with what it may use"""
    call.desk.require_default_tenant("administers tenants")
    await _record(call, "tenant.create", call.body.name, **_quotas(call.body))
    made = await call.desk.set_tenant(_tenant(call.body.name, call.body), new=True)
    return Answer(_answer(made), 201)


async def set_tenant(call: Call[NoQuery, TenantBody]) -> TenantAnswer:
    """Say anew what a tenant may use; what is left out has no quota any more"""
    name = (await call.desk.tenant(call.path["name"])).tenant.name
    await _record(call, "tenant.set", name, **_quotas(call.body))
    return _answer(await call.desk.set_tenant(_tenant(name, call.body)))


async def list_tenants(call: Call[PageWanted, None]) -> TenantList:
    """List the tenants that were made, by name"""
    page = page_by_name(await call.desk.tenants(), call.query.cursor, call.query.limit, lambda tenant: tenant.name)
    found = [_answer(tenant) for tenant in page.lines]
    return TenantList(found, len(found), page.next)


async def get_tenant(call: Call[NoQuery, None]) -> TenantShown:
    """Show a tenant, and what it uses now"""
    stands = await call.desk.tenant(call.path["name"])
    used = TenantUse(stands.runs, dollars(stands.spent), stands.storage_bytes, stands.connections)
    return TenantShown(**msgspec.structs.asdict(_answer(stands.tenant)), used=used)


async def close_tenant(call: Call[NoQuery, NoBody]) -> TenantClosed:
    """End a tenant: its clients, users, hooks, webhooks and secrets; its runs are cancelled, its schedules paused"""
    name = (await call.desk.tenant_to_close(call.path["name"])).name
    await _record(call, "tenant.close", name)
    ended = msgspec.structs.asdict(await call.desk.close_tenant(name))
    return TenantClosed(name=ended.pop("tenant"), **ended)


def _quotas(body: TenantBody) -> dict[str, Any]:
    quotas = {name: getattr(body, name) for name in TenantBody.__struct_fields__}
    return {name: value for name, value in quotas.items() if value not in (None, False)}


def _tenant(name: str, body: TenantBody) -> Tenant:
    usd = body.spend_per_month_usd
    return Tenant(
        name=name,
        runs_max=body.runs_max,
        starts_per_minute=body.starts_per_minute,
        spend_per_month=None if usd is None else nano(Decimal(str(usd))),
        storage_bytes_max=body.storage_bytes_max,
        connections_max=body.connections_max,
        requests_per_minute=body.requests_per_minute,
        own_keys_only=body.own_keys_only,
    )


def _answer(tenant: Tenant) -> TenantAnswer:
    return TenantAnswer(
        name=tenant.name,
        created_at=rfc3339(tenant.created_at),
        runs_max=tenant.runs_max,
        starts_per_minute=tenant.starts_per_minute,
        spend_per_month_usd=None if tenant.spend_per_month is None else dollars(tenant.spend_per_month),
        storage_bytes_max=tenant.storage_bytes_max,
        connections_max=tenant.connections_max,
        requests_per_minute=tenant.requests_per_minute,
        own_keys_only=tenant.own_keys_only,
    )


ROUTES = (
    Route(method="GET", path="/secrets", function=list_secrets, query=PageWanted, answer=SecretList, scope="admin"),
    Route(
        method="POST",
        path="/secrets",
        function=set_secret,
        body=SecretBody,
        answer=SecretAnswer,
        scope="admin",
        refusals=(409,),
    ),
    Route(
        method="DELETE",
        path="/secrets/{name}",
        function=remove_secret,
        answer=Removed,
        scope="admin",
        refusals=(404,),
    ),
    Route(method="GET", path="/tenants", function=list_tenants, query=PageWanted, answer=TenantList, scope="admin"),
    Route(
        method="POST",
        path="/tenants",
        function=create_tenant,
        repeats="kept",
        body=NewTenant,
        answer=TenantAnswer,
        status=201,
        scope="admin",
        refusals=(409,),
    ),
    Route(
        method="GET", path="/tenants/{name}", function=get_tenant, answer=TenantShown, scope="admin", refusals=(404,)
    ),
    Route(
        method="POST",
        path="/tenants/{name}",
        function=set_tenant,
        body=TenantBody,
        answer=TenantAnswer,
        scope="admin",
        refusals=(404, 409),
    ),
    Route(
        method="POST",
        path="/tenants/{name}/close",
        function=close_tenant,
        answer=TenantClosed,
        scope="admin",
        refusals=(404, 409),
    ),
)
