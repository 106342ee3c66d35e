"""`headgate secret`: what workflows read as `SECRET.NAME`, and the keys of model calls. Values never come back."""

from __future__ import annotations

import sys

import click

from headgate.cli import exit_codes
from headgate.cli.access import record_act, require_tenant
from headgate.cli.interrupts import run_loop
from headgate.cli.json_form import iso
from headgate.cli.options import Common, common
from headgate.cli.session import Engine, make_state_folder, open_session, require_database
from headgate.core.errors import Invalid
from headgate.ports import DEFAULT_TENANT, SecretLine

__all__ = ["secret"]

ACTIONS = ("list", "set", "rm")
VALUE_CHARACTERS_MAX = 65_536


@click.command()
@common
@click.argument("action", type=click.Choice(ACTIONS), default="list")
@click.argument("name", required=False)
@click.option("--tenant", metavar="TENANT", default=DEFAULT_TENANT, show_default=True, help="Whose secret it is.")
def secret(common: Common, action: str, name: str | None, tenant: str) -> int:
    """Look after secrets. They are kept sealed, and masked in whatever runs say.

    \b
    list        the names of a tenant's secrets, and when each was set
    set NAME    keep a value; it is asked for, or read from standard input: never an argument, which others could see
    rm NAME     forget it

    A workflow reads it as SECRET.NAME. One called provider:openai is the key that the tenant's calls to openai carry.
    """
    if action == "list":
        if name is not None:
            raise Invalid(f"`headgate secret list` takes no NAME, got {name!r}.")
        require_database(common)
        return run_loop(_list(common, tenant))
    if name is None:
        raise Invalid(f"`headgate secret {action}` takes a NAME.")
    if action == "set":
        value = _value(common, name)
        make_state_folder(common)
        return run_loop(_set(common, tenant, name, value))
    require_database(common)
    return run_loop(_remove(common, tenant, name))


def _value(common: Common, name: str) -> str:
    if common.output.interactive:
        return str(click.prompt(f"The value of {name}", hide_input=True, err=True))
    if sys.stdin.isatty():
        raise Invalid("Give the value on standard input, such as: headgate secret set NAME < FILE.")
    return sys.stdin.read(VALUE_CHARACTERS_MAX + 1).removesuffix("\n")


async def _set(common: Common, tenant: str, name: str, value: str) -> int:
    async with open_session(common.database, Engine(work=False)) as session:
        await require_tenant(session, tenant)
        await record_act(session, "secret.set", name, tenant=tenant)
        await session.client.set_secret(name, value, tenant=tenant)
    return _say(common, tenant, name, "set")


async def _remove(common: Common, tenant: str, name: str) -> int:
    async with open_session(common.database, Engine(work=False)) as session:
        await record_act(session, "secret.remove", name, tenant=tenant)
        await session.client.remove_secret(name, tenant=tenant)
    return _say(common, tenant, name, "removed")


def _say(common: Common, tenant: str, name: str, what: str) -> int:
    if common.output.json:
        common.output.data({"tenant": tenant, "name": name, what: True})
    else:
        common.output.line(f"secret {name} of the tenant {tenant} {what}")
    return exit_codes.COMPLETED


async def _list(common: Common, tenant: str) -> int:
    async with open_session(common.database, Engine(work=False)) as session:
        found = await session.client.secrets(tenant=tenant)
    common.output.listing(
        found,
        form=lambda line: {"name": line.name, "set_at": iso(line.at) if line.at else None},
        row=lambda line: (line.name, _since(line)),
        nothing=f"The tenant {tenant} has no secret. `headgate secret set NAME` keeps one.",
    )
    return exit_codes.COMPLETED


def _since(line: SecretLine) -> str:
    return f"set {iso(line.at)}" if line.at else "of the environment"
