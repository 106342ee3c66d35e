"""`headgate key`: the keys that tokens are signed with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from headgate.cli import exit_codes
from headgate.cli.access import acting_user, change_access, read_access
from headgate.cli.interrupts import run_loop
from headgate.cli.json_form import iso
from headgate.cli.options import Common, common
from headgate.core.errors import Invalid

if TYPE_CHECKING:
    from headgate.api.auth.signing_keys import SigningKey

__all__ = ["key"]


@click.command()
@common
@click.argument("action", type=click.Choice(["list", "rotate"]), default="list")
@click.option("--forget", is_flag=True, help="For rotate: end every token that the keys before have signed.")
def key(common: Common, action: str, forget: bool) -> int:
    """Look after the keys that tokens are signed with.

    \b
    list      every key, newest first: the first signs, the others still verify
    rotate    let a new key sign; tokens of the ones before are good until they are over, unless --forget
    """
    if forget and action == "list":
        raise Invalid("`headgate key list` takes no --forget.")
    return run_loop(_list(common) if action == "list" else _rotate(common, forget=forget))


async def _list(common: Common) -> int:
    async with read_access(common) as auth:
        _show(common, await auth.keys.list())
    return exit_codes.COMPLETED


async def _rotate(common: Common, *, forget: bool) -> int:
    async with change_access(common) as auth:
        await auth.acts.record("default", acting_user(), "key.rotate", "", forget=forget)
        await auth.keys.rotate(forget=forget)
        _show(common, await auth.keys.list())
    return exit_codes.COMPLETED


def _show(common: Common, keys: list[SigningKey]) -> None:
    if common.output.json:
        common.output.data([_form(one) for one in keys])
    else:
        common.output.table([(one.id, iso(one.created_at), "retired" if one.retired_at else "signs") for one in keys])


def _form(one: SigningKey) -> dict[str, Any]:
    return {
        "id": one.id,
        "created_at": iso(one.created_at),
        "retired_at": iso(one.retired_at) if one.retired_at else None,
    }
