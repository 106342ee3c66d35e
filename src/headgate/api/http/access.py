"""Routes of those who may do all, about who else may what: clients, users, and the list of such acts."""

from __future__ import annotations

from typing import Any

import msgspec

from headgate.api.auth.clients import Client, NewSecret
from headgate.api.auth.users import User
from headgate.api.http.query import Limit, PageWanted
from headgate.api.http.route import Call, NoQuery, Route
from headgate.api.http.wire import rfc3339
from headgate.api.pages import page_by_name
from headgate.core.errors import Invalid

__all__ = ["ROUTES"]


class ClientLine(msgspec.Struct, frozen=True):
    client_id: str
    name: str
    scopes: list[str]
    created_at: str | None
    created_by: str
    revoked_at: str | None


class ClientList(msgspec.Struct, frozen=True):
    clients: list[ClientLine]
    count: int
    next_cursor: str | None


class NewClient(ClientLine, frozen=True, kw_only=True):
    """`client_secret` is shown this once."""

    client_secret: str


class ClientBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    scopes: list[str]


class RotateBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The secret before, and its tokens, are good for `keep_seconds` more."""

    keep_seconds: float = 0


class UserLine(msgspec.Struct, frozen=True):
    login: str
    name: str
    role: str
    created_at: str | None
    created_by: str
    disabled_at: str | None
    by_issuer: bool


class UserList(msgspec.Struct, frozen=True):
    users: list[UserLine]
    count: int
    next_cursor: str | None


class UserBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    role: str
    password: str


class UserChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One change at a time."""

    role: str | None = None
    password: str | None = None
    disabled: bool | None = None


class ActLine(msgspec.Struct, frozen=True):
    at: str | None
    actor: str
    act: str
    on: str
    details: dict[str, Any]


class ActList(msgspec.Struct, frozen=True):
    acts: list[ActLine]
    count: int
    cursor: str


class ActsWanted(msgspec.Struct, frozen=True):
    limit: Limit = 100
    cursor: str = ""


# --- Clients -------------------------------------------------------------------------------------------------------


async def list_clients(call: Call[PageWanted, None]) -> ClientList:
    """List the clients of the caller's tenant, by name"""
    known = await call.doors.auth.clients.list(call.caller.tenant)
    page = page_by_name(known, call.query.cursor, call.query.limit, lambda one: one.name)
    lines = [_client_line(one) for one in page.lines]
    return ClientList(lines, len(lines), page.next)


async def create_client(call: Call[NoQuery, ClientBody]) -> NewClient:
    """Make a client; its secret is in this answer and nowhere else"""
    caller = call.caller
    new = await call.doors.auth.clients.create(caller.tenant, call.body.name, call.body.scopes, by=caller.actor)
    return _new_client(new)


async def rotate_client(call: Call[NoQuery, RotateBody]) -> NewClient:
    """Give a client a new secret; the one before is over, and its tokens, at once or a while later"""
    caller, keep = call.caller, call.body.keep_seconds
    new = await call.doors.auth.clients.rotate(caller.tenant, call.path["name"], by=caller.actor, keep_seconds=keep)
    return _new_client(new)


async def revoke_client(call: Call[NoQuery, None]) -> ClientLine:
    """End a client and its tokens, for good"""
    return _client_line(
        await call.doors.auth.clients.revoke(call.caller.tenant, call.path["name"], by=call.caller.actor)
    )


def _client_line(client: Client) -> ClientLine:
    return ClientLine(
        client_id=client.id,
        name=client.name,
        scopes=list(client.scopes),
        created_at=rfc3339(client.created_at),
        created_by=client.created_by,
        revoked_at=rfc3339(client.revoked_at or None),
    )


def _new_client(new: NewSecret) -> NewClient:
    return NewClient(**msgspec.structs.asdict(_client_line(new.client)), client_secret=new.secret)


# --- Users ---------------------------------------------------------------------------------------------------------


async def list_users(call: Call[PageWanted, None]) -> UserList:
    """List the users of the caller's tenant, by name"""
    known = await call.doors.auth.users.list(call.caller.tenant)
    page = page_by_name(known, call.query.cursor, call.query.limit, lambda one: one.name)
    lines = [_user_line(one) for one in page.lines]
    return UserList(lines, len(lines), page.next)


async def create_user(call: Call[NoQuery, UserBody]) -> UserLine:
    """Make a user, who may log in with a password"""
    body, caller = call.body, call.caller
    return _user_line(
        await call.doors.auth.users.create(caller.tenant, body.name, body.role, body.password, by=caller.actor)
    )


async def change_user(call: Call[NoQuery, UserChange]) -> UserLine:
    """Change a user's role or password, or whether they may log in; their sessions end"""
    users, who = call.doors.auth.users, (call.caller.tenant, call.path["name"])
    by = call.caller.actor
    match call.body:
        case UserChange(role=str(role), password=None, disabled=None):
            return _user_line(await users.set_role(*who, role, by=by))
        case UserChange(role=None, password=str(password), disabled=None):
            return _user_line(await users.set_password(*who, password, by=by))
        case UserChange(role=None, password=None, disabled=bool(disabled)):
            return _user_line(await (users.disable if disabled else users.enable)(*who, by=by))
        case _:
            raise Invalid("expected one of role, password and disabled")


def _user_line(user: User) -> UserLine:
    return UserLine(
        login=user.id,
        name=user.name,
        role=user.role,
        created_at=rfc3339(user.created_at),
        created_by=user.created_by,
        disabled_at=rfc3339(user.disabled_at or None),
        by_issuer=bool(user.subject),
    )


# --- Acts ----------------------------------------------------------------------------------------------------------


async def list_acts(call: Call[ActsWanted, None]) -> ActList:
    """List what admins have done, newest first"""
    acts, cursor = await call.doors.auth.acts.list(call.caller.tenant, after=call.query.cursor, limit=call.query.limit)
    lines = [ActLine(rfc3339(act.at), act.actor, act.act, act.on, act.details) for act in acts]
    return ActList(lines, len(lines), cursor)


ROUTES = (
    Route(method="GET", path="/clients", function=list_clients, query=PageWanted, answer=ClientList, scope="admin"),
    Route(
        method="POST",
        path="/clients",
        function=create_client,
        repeats="sealed",
        body=ClientBody,
        answer=NewClient,
        status=201,
        scope="admin",
        refusals=(409,),
    ),
    Route(
        method="POST",
        path="/clients/{name}/rotate",
        function=rotate_client,
        repeats="sealed",
        body=RotateBody,
        answer=NewClient,
        scope="admin",
        refusals=(404, 409),
    ),
    Route(
        method="DELETE",
        path="/clients/{name}",
        function=revoke_client,
        answer=ClientLine,
        scope="admin",
        refusals=(404,),
    ),
    Route(method="GET", path="/users", function=list_users, query=PageWanted, answer=UserList, scope="admin"),
    Route(
        method="POST",
        path="/users",
        function=create_user,
        repeats="kept",
        body=UserBody,
        answer=UserLine,
        status=201,
        scope="admin",
        refusals=(409,),
    ),
    Route(
        method="PATCH",
        path="/users/{name}",
        function=change_user,
        body=UserChange,
        answer=UserLine,
        scope="admin",
        refusals=(404,),
    ),
    Route(method="GET", path="/admin/acts", function=list_acts, query=ActsWanted, answer=ActList, scope="admin"),
)
