"""`headgate tenant`: who shares this server, and what each may use of it."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from headgate.cli import exit_codes
from headgate.cli.access import record_act
from headgate.cli.interrupts import run_loop
from headgate.cli.json_form import iso
from headgate.cli.options import Common, common
from headgate.cli.session import Engine, make_state_folder, open_session, require_database
from headgate.cli.words import plural
from headgate.core.errors import Invalid
from headgate.core.money import exact_dollars, show
from headgate.ports import Closed, Tenant, TenantStanding

__all__ = ["tenant"]

ACTIONS = ("list", "show", "create", "set", "close")
NONE = "none"
AMOUNTS = {
    "runs": "runs_max",
    "starts": "starts_per_minute",
    "storage": "storage_bytes_max",
    "connections": "connections_max",
    "requests": "requests_per_minute",
}


@click.command()
@common
@click.argument("action", type=click.Choice(ACTIONS), default="list")
@click.argument("name", required=False)
@click.option("--runs", metavar="N", help="Runs that have not ended, at once.")
@click.option("--starts", metavar="N", help="Starts a minute.")
@click.option("--month", metavar="USD", help="What may be spent in a month (UTC).")
@click.option("--storage", metavar="BYTES", help="About what events and contents may take.")
@click.option("--connections", metavar="N", help="Streams that are read at once, of each node.")
@click.option("--requests", metavar="N", help="HTTP requests a minute, of each client.")
@click.option(
    "--own-keys-only/--any-keys",
    "own_keys_only",
    default=None,
    help="Whether its model calls may not use the keys of the server.",
)
@click.option("--yes", is_flag=True, help="For close: do not ask.")
def tenant(
    common: Common, action: str, name: str | None, own_keys_only: bool | None, yes: bool, **amounts: str | None
) -> int:
    """Look after tenants: who shares this server without seeing each other, and what each may use.

    \b
    list          the tenants, and what each may use
    show NAME     one of them, and what it uses now
    create NAME   make one
    set NAME      change what it may use; what is not named stays, and `none` takes a quota out
    close NAME    revoke its clients, disable its users, cancel its runs, pause its schedules, remove its hooks,
                  webhooks and secrets; `headgate erase --tenant NAME` erases what its runs have kept
    """
    if (name is None) != (action == "list"):
        raise Invalid(f"`headgate tenant {action}` takes {'no NAME' if action == 'list' else 'a NAME'}.")
    changes = _changes(amounts)
    if own_keys_only is not None:
        changes["own_keys_only"] = own_keys_only
    if name is None or action == "show":
        require_database(common)
        return run_loop(_list(common) if name is None else _show(common, name))
    if action == "close":
        require_database(common)
        _ask(common, name, yes=yes)
        return run_loop(_close(common, name))
    make_state_folder(common)
    return run_loop(_set(common, name, changes, new=action == "create"))


def _changes(given: dict[str, str | None]) -> dict[str, Any]:
    from headgate.cli.given_input import given_dollars

    changes: dict[str, Any] = {}
    for option, field in AMOUNTS.items():
        text = given[option]
        if text is not None:
            changes[field] = None if text == NONE else _number(option, text)
    month = given["month"]
    if month is not None:
        changes["spend_per_month"] = None if month == NONE else given_dollars(month, "--month")
    return changes


def _number(option: str, text: str) -> int:
    if not text.isdecimal():
        raise Invalid(f"--{option}: expected a whole number, or {NONE}, got {text!r}.")
    return int(text)


async def _set(common: Common, name: str, changes: dict[str, Any], *, new: bool) -> int:
    async with open_session(common.database, Engine(work=False)) as session:
        known = Tenant(name=name) if new else (await session.client.tenant(name)).tenant
        await record_act(session, "tenant.create" if new else "tenant.set", name, **changes)
        kept = await session.client.set_tenant(msgspec.structs.replace(known, **changes), new=new)
    if common.output.json:
        common.output.data(_form(kept))
    else:
        common.output.line(f"tenant {name} {'made' if new else 'changed'}: {_quotas(kept)}")
    return exit_codes.COMPLETED


def _ask(common: Common, name: str, *, yes: bool) -> None:
    if yes:
        return
    if not common.output.interactive:
        raise Invalid(f"Closing {name} ends its clients and cancels its runs. Say --yes where nobody can be asked.")
    click.confirm(
        f"Close {name}? Its clients end, its runs are cancelled, its secrets forgotten.", abort=True, err=True
    )


async def _close(common: Common, name: str) -> int:
    from headgate.cli.approval import user_name

    async with open_session(common.database, Engine(work=False)) as session:
        await session.client.tenant(name)  # else nothing is to be written down
        await record_act(session, "tenant.close", name)
        done = await session.client.close_tenant(name, by=user_name())
    if common.output.json:
        common.output.data(msgspec.to_builtins(done))
        return exit_codes.COMPLETED
    ended = ", ".join(
        plural(getattr(done, what), what.removesuffix("s")) for what in Closed.__struct_fields__ if what != "tenant"
    )
    common.output.line(f"tenant {name} closed: {ended}")
    common.output.notice(f"What its runs have kept goes by `headgate erase --tenant {name}`, once they have ended.")
    return exit_codes.COMPLETED


async def _list(common: Common) -> int:
    async with open_session(common.database, Engine(work=False)) as session:
        found = await session.client.tenants()
    common.output.listing(
        found,
        form=_form,
        row=lambda one: (one.name, _quotas(one)),
        nothing="No tenant was made. `headgate tenant create NAME` makes one.",
    )
    return exit_codes.COMPLETED


async def _show(common: Common, name: str) -> int:
    async with open_session(common.database, Engine(work=False)) as session:
        stands = await session.client.tenant(name)
    if common.output.json:
        common.output.data(_form(stands.tenant) | {"used": _used(stands)})
    else:
        common.output.line(f"{name}: {_quotas(stands.tenant)}")
        common.output.line(
            f"  uses {stands.runs} runs, {show(stands.spent)} this month, about {stands.storage_bytes:,} bytes, "
            f"{stands.connections} streams"
        )
    return exit_codes.COMPLETED


def _quotas(one: Tenant) -> str:
    amounts = {option: getattr(one, field) for option, field in AMOUNTS.items()}
    said = [f"{option} {amount:,}" for option, amount in amounts.items() if amount is not None]
    if one.spend_per_month is not None:
        said.append(f"month {show(one.spend_per_month)}")
    if one.own_keys_only:
        said.append("own keys only")
    return ", ".join(said) or "no quotas"


def _form(one: Tenant) -> dict[str, Any]:
    return {
        "name": one.name,
        **{field: getattr(one, field) for field in AMOUNTS.values()},
        "spend_per_month_usd": None if one.spend_per_month is None else exact_dollars(one.spend_per_month),
        "own_keys_only": one.own_keys_only,
        "created_at": iso(one.created_at),
    }


def _used(stands: TenantStanding) -> dict[str, Any]:
    return {
        "runs": stands.runs,
        "spent_usd": exact_dollars(stands.spent),
        "storage_bytes": stands.storage_bytes,
        "connections": stands.connections,
    }
