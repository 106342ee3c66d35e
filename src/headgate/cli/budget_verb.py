"""`headgate budget`: what may be spent per day, workflow, label or model; and what people answer calls that ask."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from headgate.cli import exit_codes
from headgate.cli.access import record_act
from headgate.cli.interrupts import run_loop
from headgate.cli.options import Common, common
from headgate.cli.session import Engine, make_state_folder, open_session, require_database
from headgate.cli.words import plural, short
from headgate.core.errors import Invalid
from headgate.core.money import exact_dollars, show
from headgate.core.view import RunView
from headgate.ports import BudgetRule, BudgetStanding

__all__ = ["budget"]

ACTIONS = ("list", "show", "set", "rm", "raise", "refuse")
TAKES = {"list": 0, "show": 1, "set": 2, "rm": 1, "raise": 1, "refuse": 1}


@click.command()
@common
@click.argument("action", type=click.Choice(ACTIONS), default="list")
@click.argument("words", nargs=-1)
@click.option(
    "--per",
    type=click.Choice(["hour", "day", "month", "total"]),
    default="day",
    show_default=True,
    help="The period, of the UTC calendar.",
)
@click.option(
    "--action",
    "then",
    type=click.Choice(["abort", "fallback", "alert", "ask"]),
    default="abort",
    show_default=True,
    help="For set: what happens to a call that does not fit.",
)
@click.option("--warn", type=click.IntRange(1, 99), metavar="PERCENT", help="For set: tell when so much is spent.")
@click.option("--to", metavar="USD", help="For raise: the new limit.")
@click.option("--by", "more", metavar="USD", help="For raise: by how much.")
@click.option("--activity", "key", metavar="KEY", default="", help="For raise and refuse: only this activity.")
@click.option("--who", metavar="NAME", help="Who decides [default: your login name].")
def budget(common: Common, action: str, words: tuple[str, ...], **rest: Any) -> int:
    """Set what may be spent above single runs, and answer calls that ask for more.

    \b
    list              every budget: limit, spent, reserved and left of the present period
    show SCOPE        one of them (--per says which period's)
    set SCOPE USD     set or change one: --per day --action ask --warn 80
    rm SCOPE          remove one; calls that it kept waiting go on
    raise RUN         raise a run's budget --to or --by an amount (--activity: that of one activity)
    refuse RUN        refuse the calls of a run that ask for more; they fail as if the action were abort

    A SCOPE is tenant (everything), workflow:NAME, label:KEY=VALUE, model:PROVIDER/MODEL or provider:NAME; * and ?
    stand for anything in the last two. What the period has cost before a budget is set counts.
    """
    if len(words) != TAKES[action]:
        names = {"set": "SCOPE and USD", "list": "nothing", "raise": "RUN", "refuse": "RUN"}.get(action, "SCOPE")
        raise Invalid(f"`headgate budget {action}` takes {names}, got {' '.join(words) or 'nothing'}.")
    if action in ("raise", "refuse"):
        require_database(common)
        return run_loop(_answer(common, action, words[0], **rest))
    if action in ("set", "rm"):
        return run_loop(_change(common, action, *words, **rest))
    require_database(common)
    return _look(common, words[0] if words else "", rest["per"])


# --- Budgets above runs ---------------------------------------------------------------------------------------------


async def _change(
    common: Common,
    action: str,
    scope: str,
    amount: str = "0",
    *,
    per: Any,
    then: Any,
    warn: int | None,
    who: str | None,
    **_: Any,
) -> int:
    rule = BudgetRule(
        scope=scope,
        period=per,
        limit=_amount(amount, "USD"),
        action=then,
        warn_percent=warn or 0,
        by=_user(who),
    )
    if action == "rm":
        require_database(common)
    else:
        make_state_folder(common)
    async with open_session(common.database, Engine(work=False)) as session:
        client = session.client
        await record_act(session, "budget.remove" if action == "rm" else "budget.set", f"{scope} per {per}")
        stands = await (client.remove_budget(rule) if action == "rm" else client.set_budget(rule))
    if common.output.json:
        common.output.data(_form(stands))
    else:
        what = "removed" if action == "rm" else "set"
        common.output.line(f"budget of {scope} per {per} {what}: {_says(stands)}")
    return exit_codes.COMPLETED


def _look(common: Common, scope: str, period: str) -> int:
    found = asyncio.run(_standings(common))
    if scope:
        found = [stands for stands in found if (stands.rule.scope, stands.rule.period) == (scope, period)]
        if not found:
            raise Invalid(f"There is no budget of {scope} per {period}; `headgate budget list` shows what there is.")
    if common.output.json:
        forms = [_form(stands) for stands in found]
        common.output.data(forms[0] if scope else forms)
    elif not found:
        common.output.notice("There is no budget above runs. `headgate budget set tenant 5 --per day` sets one.")
    else:
        common.output.table(
            [(each.rule.scope, f"per {each.rule.period}", each.start, _says(each), each.rule.action) for each in found]
        )
    return exit_codes.COMPLETED


async def _standings(common: Common) -> list[BudgetStanding]:
    from headgate.cli.session import open_reader
    from headgate.cli.words import now
    from headgate.engine.budget_keeper import standing_of
    from headgate.stores.budgets import KeptBudgetRules
    from headgate.stores.storage import documents_beside

    async with open_reader(common) as (_, log):
        rules = await KeptBudgetRules(documents_beside(log)).all()
        return [await standing_of(log, rule, now()) for rule in rules]


def _says(stands: BudgetStanding) -> str:
    limit = stands.rule.limit
    parts = [f"{show(stands.spent)} of {show(limit)}", f"{show(max(0, limit - stands.spent - stands.reserved))} left"]
    if stands.reserved:
        parts.insert(1, f"{show(stands.reserved)} reserved")
    if stands.demo_spent or stands.demo_reserved:
        parts.append(f"{show(stands.demo_spent)} at demo prices, counted apart")
    if stands.waiting:
        parts.append(f"{plural(stands.waiting, 'call')} waiting")
    return ", ".join(parts)


def _form(stands: BudgetStanding) -> dict[str, Any]:
    rule = stands.rule
    return {
        "scope": rule.scope,
        "per": rule.period,
        "period": stands.start,
        "action": rule.action,
        "warn_percent": rule.warn_percent or None,
        "limit_usd": exact_dollars(rule.limit),
        "spent_usd": exact_dollars(stands.spent),
        "reserved_usd": exact_dollars(stands.reserved),
        "left_usd": exact_dollars(max(0, rule.limit - stands.spent - stands.reserved)),
        "demo_spent_usd": exact_dollars(stands.demo_spent),
        "demo_reserved_usd": exact_dollars(stands.demo_reserved),
        "by": rule.by or None,
    }


# --- Of one run -------------------------------------------------------------------------------------------------------


async def _answer(
    common: Common, action: str, run: str, *, to: str | None, more: str | None, key: str, who: str | None, **_: Any
) -> int:
    if action == "raise" and (to is None) == (more is None):
        raise Invalid("`headgate budget raise RUN` takes either --to or --by, with US dollars.")
    by = _user(who)
    async with open_session(common.database, Engine(work=False)) as session:
        client = session.client
        if action == "refuse":
            view = await client.refuse_calls(run, key=key, by=by)
        else:
            view = await client.raise_budget(
                run, to=_amount(to or "0", "--to"), more=_amount(more or "0", "--by"), key=key, by=by
            )
    if common.output.json:
        from headgate.cli.json_form import run_form

        common.output.data(run_form(view))
        return exit_codes.COMPLETED
    common.output.notice(_said(action, view, key))
    if not view.finished_at and not session.owner_pid:
        common.output.notice("No process works on it: `headgate work` goes on.")
    return exit_codes.COMPLETED


def _said(action: str, view: RunView, key: str) -> str:
    if action == "refuse":
        return f"Refused what run {short(view.id)} asked for; it is {view.status} now."
    limit = next((place.limit for place in view.activities if place.key == key), None) if key else view.limit
    whose = f"{key} in run {short(view.id)}" if key else f"run {short(view.id)}"
    return f"Raised the budget of {whose} to {show(limit or 0)}; the run is {view.status} now."


def _amount(text: str, what: str) -> int:
    from headgate.cli.given_input import given_dollars

    return given_dollars(text, what)


def _user(name: str | None) -> str:
    from headgate.cli.approval import user_name

    return user_name() if name is None else name
