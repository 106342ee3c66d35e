"""`headgate hooks`: which programs outside may start and signal runs, by signed requests to the HTTP server."""

from __future__ import annotations

from typing import Any

import click

from headgate.cli import exit_codes
from headgate.cli.access import record_act, require_tenant
from headgate.cli.interrupts import run_loop
from headgate.cli.json_form import iso
from headgate.cli.options import Common, common
from headgate.cli.session import Engine, kept, make_state_folder, open_session, require_database
from headgate.core.errors import Invalid
from headgate.ports import Hook

__all__ = ["hooks"]

NOTHING = "Nothing outside may start a run. `headgate hooks add NAME --start WORKFLOW` lets it."


@click.command()
@common
@click.argument("action", type=click.Choice(["list", "add", "remove"]), default="list")
@click.argument("name", required=False)
@click.option("--start", "workflow", metavar="WORKFLOW", default="", help="For add: the deployed workflow it starts.")
@click.option("--signal", metavar="NAME", default="", help="For add: the signal it sends to the run of --unique-key.")
@click.option("--activity", metavar="KEY", default="", help="For add: the activity that the signal is for.")
@click.option("--unique-key", metavar="TEMPLATE", default="", help='For add: such as "order-{{ BODY.id }}".')
@click.option("--filter", "condition", metavar="CONDITION", default="", help="For add: requests that count.")
@click.option("--input-json", metavar="JSON", help="For add: the run's input, with templates. [default: the body]")
@click.option("--data-json", metavar="JSON", help="For add: what the signal carries. [default: the body]")
@click.option("--delivery-id", metavar="TEMPLATE", default="", help="For add: what a repeat has in common.")
@click.option("--label", "labels", metavar="K=V", multiple=True, help="For add: a label of each run.")
@click.option(
    "--scheme",
    type=click.Choice(["standard", "github", "token"]),
    default="standard",
    show_default=True,
    help="For add: how requests show that they know the secret.",
)
@click.option("--header", metavar="NAME", default="", help="For add: the header of a token. [default: X-Webhook-Token]")
@click.option("--secret-from", metavar="VARIABLE", help="For add: the environment variable that holds a given secret.")
@click.option("--tenant", metavar="NAME", default="default", show_default=True, help="Whose runs.")
def hooks(common: Common, action: str, name: str | None, tenant: str, **rest: Any) -> int:
    """Look after hooks: addresses of the HTTP server at which signed requests start or signal runs.

    \b
    list         what there is
    add NAME     make POST /api/v1/hooks/NAME; prints the secret, once
    remove NAME  take it out
    """
    if action == "list":
        require_database(common)
        return run_loop(_list(common, tenant))
    if name is None:
        raise Invalid(f"`headgate hooks {action}` takes the NAME of a hook.")
    if action == "add":
        make_state_folder(common)
        return run_loop(_add(common, name, tenant, **rest))
    require_database(common)
    return run_loop(_remove(common, name, tenant))


async def _add(common: Common, name: str, tenant: str, **given: Any) -> int:
    wanted = _hook(name, tenant, **given)
    async with open_session(common.database, Engine(work=False)) as session:
        await require_tenant(session, tenant)
        await record_act(session, "hook.create", name, tenant=tenant)
        made = await session.client.add_hook(wanted)
    if common.output.json:
        common.output.data({**_form(made), "secret": made.secret})
    else:
        common.output.line(f"hook {made.name} at {_path(made)} {_does(made)}")
        common.output.line(f"secret {made.secret}")
        common.output.notice("The secret is shown this once.")
    return exit_codes.COMPLETED


def _hook(
    name: str,
    tenant: str,
    *,
    workflow: str,
    signal: str,
    activity: str,
    unique_key: str,
    condition: str,
    input_json: str | None,
    data_json: str | None,
    delivery_id: str,
    labels: tuple[str, ...],
    scheme: Any,
    header: str,
    secret_from: str | None,
) -> Hook:
    from headgate.cli.given_input import given_json, given_labels

    return Hook(
        name=name,
        tenant=tenant,
        workflow=workflow,
        signal=signal,
        activity_key=activity,
        unique_key=unique_key,
        filter=condition,
        input=None if input_json is None else given_json(input_json, "--input-json"),
        data=None if data_json is None else given_json(data_json, "--data-json"),
        delivery_id=delivery_id,
        labels=given_labels(labels),
        scheme=scheme,
        header=header,
        secret="" if secret_from is None else _secret(secret_from),
    )


def _secret(variable: str) -> str:
    """Return a secret that is given; not as an argument, which other users of the machine would see."""
    import os

    value = os.environ.get(variable, "")
    if not value:
        raise Invalid(f"--secret-from: the environment variable {variable} is not set, or empty.")
    return value


async def _remove(common: Common, name: str, tenant: str) -> int:
    async with open_session(common.database, Engine(work=False)) as session:
        await record_act(session, "hook.remove", name, tenant=tenant)
        removed = await session.client.remove_hook(name, tenant=tenant)
    if common.output.json:
        common.output.data(_form(removed))
    else:
        common.output.line(f"hook {removed.name} removed")
    return exit_codes.COMPLETED


async def _list(common: Common, tenant: str) -> int:
    found = await kept(common, "hook", Hook, tenant=tenant)
    common.output.listing(
        found,
        form=_form,
        row=lambda one: (one.name, _path(one), one.scheme, _does(one)),
        nothing=NOTHING,
    )
    return exit_codes.COMPLETED


def _path(one: Hook) -> str:
    return f"/api/v1/hooks/{'' if one.tenant == 'default' else f'{one.tenant}/'}{one.name}"


def _does(one: Hook) -> str:
    starts = f"starts {one.workflow}" if one.workflow else ""
    signals = f"signals {one.signal} to {one.unique_key}" if one.signal else ""
    return " and ".join(filter(None, (starts, signals)))


def _form(one: Hook) -> dict[str, Any]:
    return {
        "name": one.name,
        "path": _path(one),
        "workflow": one.workflow or None,
        "signal": one.signal or None,
        "activity": one.activity_key or None,
        "unique_key": one.unique_key or None,
        "filter": one.filter or None,
        "input": one.input,
        "data": one.data,
        "delivery_id": one.delivery_id or None,
        "labels": one.labels,
        "scheme": one.scheme,
        "header": one.header or None,
        "created_at": iso(one.created_at),
    }
