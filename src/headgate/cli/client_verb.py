"""`headgate client`: programs that may ask over HTTP, their scopes and secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from headgate.cli import exit_codes
from headgate.cli.access import acting_user, change_access, read_access
from headgate.cli.interrupts import run_loop
from headgate.cli.json_form import iso
from headgate.cli.options import Common, common
from headgate.core.duration import parse_seconds
from headgate.core.errors import Invalid
from headgate.ports import DEFAULT_TENANT

if TYPE_CHECKING:
    from headgate.api.auth.clients import Client

__all__ = ["client"]

ACTIONS = ("list", "create", "rotate", "revoke")


@click.command()
@common
@click.argument("action", type=click.Choice(ACTIONS), default="list")
@click.argument("name", required=False)
@click.option("--scopes", metavar="LIST", default="", help="For create: what it may, such as runs:read,runs:write.")
@click.option("--tenant", metavar="NAME", default="default", show_default=True, help="Whose client it is.")
@click.option("--keep", metavar="DURATION", default="0s", help="For rotate: how long the old secret stays good.")
def client(common: Common, action: str, name: str | None, **rest: Any) -> int:
    """Look after programs that may ask over HTTP. A secret is printed once, and kept nowhere but with you.

    \b
    list           every client of every tenant
    create NAME    make one: --scopes runs:read,runs:write (also approvals, definitions:write, workers, admin)
    rotate NAME    give it a new secret; the old one and its tokens end, at once or after --keep
    revoke NAME    end it and its tokens, for good
    """
    if (action == "list") != (name is None):
        raise Invalid(f"`headgate client {action}` takes {'no name' if action == 'list' else 'a NAME'}.")
    if name is None:
        return run_loop(_list(common))
    return run_loop(_change(common, action, name, **rest))


async def _list(common: Common) -> int:
    async with read_access(common) as auth:
        found = await auth.clients.list()
    common.output.listing(
        found,
        form=_form,
        row=lambda one: (one.id, " ".join(one.scopes), "revoked" if one.revoked_at else ""),
        nothing="There is no client. `headgate client create NAME --scopes admin` makes one.",
    )
    return exit_codes.COMPLETED


async def _change(common: Common, action: str, name: str, *, scopes: str, tenant: str, keep: str) -> int:
    by = acting_user()
    async with change_access(common, new_in=tenant if action == "create" else DEFAULT_TENANT) as auth:
        if action == "revoke":
            known = await auth.clients.revoke(tenant, name, by=by)
            if common.output.json:
                common.output.data(_form(known))
            common.output.notice(f"The client {known.id} is revoked, and so are its tokens.")
            return exit_codes.COMPLETED
        if action == "create":
            new = await auth.clients.create(tenant, name, scopes.replace(",", " ").split(), by=by)
        else:
            new = await auth.clients.rotate(tenant, name, by=by, keep_seconds=parse_seconds(keep))
    if common.output.json:
        common.output.data(_form(new.client) | {"client_secret": new.secret})
        return exit_codes.COMPLETED
    common.output.notice(f"client_id: {new.client.id} ({' '.join(new.client.scopes)})")
    common.output.notice("This is its secret; it is not shown again:")
    common.output.line(new.secret)
    return exit_codes.COMPLETED


def _form(one: Client) -> dict[str, Any]:
    return {
        "client_id": one.id,
        "tenant": one.tenant,
        "name": one.name,
        "scopes": list(one.scopes),
        "created_at": iso(one.created_at),
        "created_by": one.created_by,
        "revoked_at": iso(one.revoked_at) if one.revoked_at else None,
    }
