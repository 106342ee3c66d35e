"""`headgate user`: people who may log in over HTTP, and their roles."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from headgate.cli import exit_codes
from headgate.cli.access import acting_user, change_access, read_access
from headgate.cli.interrupts import run_loop
from headgate.cli.json_form import iso
from headgate.cli.options import Common, common
from headgate.core.errors import Invalid
from headgate.ports import DEFAULT_TENANT

if TYPE_CHECKING:
    from headgate.api.auth.users import User

__all__ = ["user"]

ACTIONS = ("list", "create", "role", "password", "disable", "enable")
WITH_PASSWORD = ("create", "password")


@click.command()
@common
@click.argument("action", type=click.Choice(ACTIONS), default="list")
@click.argument("name", required=False)
@click.option("--role", type=click.Choice(["viewer", "approver", "operator", "admin"]), help="For create and role.")
@click.option("--tenant", metavar="NAME", default="default", show_default=True, help="Whose user it is.")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin instead of asking for it.")
def user(common: Common, action: str, name: str | None, **rest: Any) -> int:
    """Look after people who may log in over HTTP. A change of theirs ends their sessions.

    \b
    list             every user of every tenant
    create NAME      make one, with a --role: viewer sees runs, approver decides approvals too, operator changes runs
                     and definitions as well, admin may do all
    role NAME        give another --role
    password NAME    give another password
    disable NAME     let nobody log in as that user
    enable NAME      undo disable
    """
    if (action == "list") != (name is None):
        raise Invalid(f"`headgate user {action}` takes {'no name' if action == 'list' else 'a NAME'}.")
    if name is None:
        return run_loop(_list(common))
    if (action in ("create", "role")) != (rest["role"] is not None):
        raise Invalid("`headgate user create` and `role` take a --role, the others do not.")
    password = _password(common, stdin=rest["password_stdin"]) if action in WITH_PASSWORD else ""
    return run_loop(_change(common, action, name, password, role=rest["role"], tenant=rest["tenant"]))


def _password(common: Common, *, stdin: bool) -> str:
    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not common.output.interactive:
        raise Invalid("There is no terminal to ask for the password: give it by --password-stdin.")
    return click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)


async def _list(common: Common) -> int:
    async with read_access(common) as auth:
        found = await auth.users.list()
    common.output.listing(
        found,
        form=_form,
        row=lambda one: (one.id, one.role, "disabled" if one.disabled_at else ""),
        nothing="There is no user. `headgate user create NAME --role admin` makes one.",
    )
    return exit_codes.COMPLETED


async def _change(common: Common, action: str, name: str, password: str, *, role: str | None, tenant: str) -> int:
    by = acting_user()
    async with change_access(common, new_in=tenant if action == "create" else DEFAULT_TENANT) as auth:
        users = auth.users
        if action == "create":
            known = await users.create(tenant, name, role or "", password, by=by)
        elif action == "role":
            known = await users.set_role(tenant, name, role or "", by=by)
        elif action == "password":
            known = await users.set_password(tenant, name, password, by=by)
        else:
            known = await (users.disable if action == "disable" else users.enable)(tenant, name, by=by)
    if common.output.json:
        common.output.data(_form(known))
    common.output.notice(f"user {known.id}: {known.role}{', disabled' if known.disabled_at else ''}")
    return exit_codes.COMPLETED


def _form(one: User) -> dict[str, Any]:
    return {
        "login": one.id,
        "tenant": one.tenant,
        "name": one.name,
        "role": one.role,
        "created_at": iso(one.created_at),
        "created_by": one.created_by,
        "disabled_at": iso(one.disabled_at) if one.disabled_at else None,
        "by_issuer": bool(one.subject),
    }
