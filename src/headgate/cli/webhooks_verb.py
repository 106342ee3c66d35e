"""`headgate webhooks`: which programs elsewhere are told of which events."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlsplit

import click

from headgate.cli import exit_codes
from headgate.cli.access import record_act, require_tenant, sealer_here
from headgate.cli.interrupts import run_loop
from headgate.cli.json_form import iso
from headgate.cli.options import Common, common
from headgate.cli.session import Engine, kept, make_state_folder, open_session, require_database
from headgate.core.errors import Invalid
from headgate.ports import Delivered, Webhook

__all__ = ["webhooks"]

CHANGES = ("remove", "enable", "disable", "test")
NOTHING = "Nobody is told. `headgate webhooks add https://example.org/news --event 'run_*'` makes a webhook."


@click.command()
@common
@click.argument("action", type=click.Choice(["list", "add", *CHANGES]), default="list")
@click.argument("which", required=False)
@click.option("--event", "events", metavar="TYPE", multiple=True, help="For add: an event's type, or a pattern: run_*.")
@click.option("--workflow", "workflows", metavar="NAME", multiple=True, help="For add: runs of this workflow only.")
@click.option("--label", "labels", metavar="K=V", multiple=True, help="For add: runs with this label only.")
@click.option("--description", metavar="TEXT", default="", help="For add: what it is for.")
@click.option("--tenant", metavar="NAME", default="default", show_default=True, help="Whose runs.")
def webhooks(common: Common, action: str, which: str | None, tenant: str, **rest: Any) -> int:
    """Look after webhooks: signed posts that tell programs elsewhere of events, at least once.

    \b
    list             who is told of what
    add URL          tell a program from now on; prints the secret that signs what it is told, once
    test ID          send a message that tells nothing, and say how that ended
    enable, disable  tell it nothing for now, or let it go on from where it stopped
    remove ID        take it out
    """
    if action == "list":
        require_database(common)
        return run_loop(_list(common, tenant))
    if which is None:
        raise Invalid(f"`headgate webhooks {action}` takes {'a URL' if action == 'add' else 'the ID of a webhook'}.")
    if action == "add":
        make_state_folder(common)
        return run_loop(_add(common, which, tenant, **rest))
    require_database(common)
    return run_loop(_test(common, which, tenant) if action == "test" else _change(common, action, which, tenant))


async def _add(
    common: Common,
    url: str,
    tenant: str,
    *,
    events: tuple[str, ...],
    workflows: tuple[str, ...],
    labels: tuple[str, ...],
    description: str,
) -> int:
    from headgate.cli.given_input import given_labels

    wanted = Webhook(
        id="",
        url=url,
        tenant=tenant,
        events=events,
        workflows=workflows,
        labels=given_labels(labels),
        description=description,
    )
    async with open_session(common.database, Engine(work=False)) as session:
        await require_tenant(session, tenant)
        await record_act(session, "webhook.create", urlsplit(url).hostname or "", tenant=tenant)
        made = await session.client.add_webhook(wanted)
    if common.output.json:
        common.output.data({**_form(made), "secret": made.secret})
    else:
        common.output.line(f"webhook {made.id} tells {made.url} of {_wanted(made)}")
        common.output.line(f"secret {made.secret}")
        common.output.notice("The secret is shown this once. Programs verify with it what they are told.")
    return exit_codes.COMPLETED


async def _change(common: Common, action: str, webhook_id: str, tenant: str) -> int:
    async with open_session(common.database, Engine(work=False)) as session:
        client = session.client
        act = "webhook.remove" if action == "remove" else "webhook.change"
        await record_act(session, act, webhook_id, tenant=tenant)
        if action == "remove":
            changed = await client.remove_webhook(webhook_id, tenant=tenant)
        else:
            changed = await client.enable_webhook(webhook_id, enabled=action == "enable", tenant=tenant)
    if common.output.json:
        common.output.data(_form(changed))
    else:
        common.output.line(f"webhook {changed.id} to {changed.url} {action.removesuffix('e')}ed")
    return exit_codes.COMPLETED


async def _test(common: Common, webhook_id: str, tenant: str) -> int:
    async with open_session(common.database, Engine(work=False)) as session:
        delivered = await session.client.test_webhook(webhook_id, tenant=tenant)
    if common.output.json:
        common.output.data(_delivery(delivered))
    elif delivered.error:
        common.output.error(f"It did not arrive: {delivered.error}.")
    else:
        common.output.line(f"It arrived, and was answered with {delivered.status}.")
    return exit_codes.FAILED if delivered.error else exit_codes.COMPLETED


async def _list(common: Common, tenant: str) -> int:
    from headgate.engine.sealed_webhooks import WEBHOOK, shown_webhook

    kept_ones = await kept(common, WEBHOOK, Webhook, tenant=tenant)
    found = [shown_webhook(one, partial(sealer_here, common)) for one in kept_ones]
    common.output.listing(
        found,
        form=_form,
        row=lambda one: (one.id, one.url, _wanted(one), _state(one)),
        nothing=NOTHING,
    )
    return exit_codes.COMPLETED


def _wanted(one: Webhook) -> str:
    parts = [", ".join(one.events) or "all events"]
    parts += [f"of {', '.join(one.workflows)}"] if one.workflows else []
    parts += [f"labelled {', '.join(f'{name}={value}' for name, value in one.labels.items())}"] if one.labels else []
    return " ".join(parts)


def _state(one: Webhook) -> str:
    if one.enabled:
        return "enabled"
    return f"disabled: {one.note}" if one.note else "disabled"


def _form(one: Webhook) -> dict[str, Any]:
    return {
        "id": one.id,
        "url": one.url,
        "events": list(one.events),
        "workflows": list(one.workflows),
        "labels": one.labels,
        "description": one.description,
        "enabled": one.enabled,
        "note": one.note or None,
        "created_at": iso(one.created_at),
    }


def _delivery(one: Delivered) -> dict[str, Any]:
    return {
        "delivered": not one.error,
        "status": one.status or None,
        "error": one.error or None,
        "message_id": one.id,
        "at": iso(one.at),
    }
