"""`headgate limit`: how much may be asked of providers, and how they are doing: rates, circuits, pauses, who waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from headgate.cli import exit_codes
from headgate.cli.access import record_act
from headgate.cli.interrupts import run_loop
from headgate.cli.json_form import iso
from headgate.cli.options import Common, common
from headgate.cli.session import Engine, make_state_folder, open_reader, open_session, require_database
from headgate.cli.words import clock, now, plural, short, span
from headgate.core.duration import parse_microseconds
from headgate.core.errors import Invalid
from headgate.core.money import show
from headgate.ports import RateLimit

if TYPE_CHECKING:
    from headgate.engine.limit_view import CircuitLine, LimitsView, PauseLine, RateLine, Wait

__all__ = ["limit"]

ACTIONS = ("list", "set", "rm")
MINUTE = "1m"
WAITS_SHOWN_MAX = 20
NOTHING = "No rate is set, and no model has failed of late. `headgate limit set openai --requests 60` sets one."


@click.command()
@common
@click.argument("action", type=click.Choice(ACTIONS), default="list")
@click.argument("scope", required=False)
@click.option("--requests", type=click.IntRange(min=1), metavar="N", help="For set: so many requests.")
@click.option("--tokens", type=click.IntRange(min=1), metavar="N", help="For set: so many tokens, in and out.")
@click.option("--money", metavar="USD", help="For set: so much money, such as 2.00.")
@click.option("--per", metavar="DURATION", default=MINUTE, show_default=True, help="For set: in this time, of seconds.")
def limit(
    common: Common,
    action: str,
    scope: str | None,
    requests: int | None,
    tokens: int | None,
    money: str | None,
    per: str,
) -> int:
    """Look after the rates of providers. A call that is over one waits, and `headgate show` says so.

    \b
    list        the rates, the models that failed of late, and the calls that wait
    set SCOPE   hold a provider (openai) or one of its models (openai/gpt-5) to a rate; one that is set is replaced
    rm SCOPE    take a rate out
    """
    if action == "list":
        if scope is not None:
            raise Invalid(f"`headgate limit list` takes no SCOPE, got {scope!r}.")
        require_database(common)
        return run_loop(_list(common))
    if scope is None:
        raise Invalid(f"`headgate limit {action}` takes a SCOPE: a provider such as openai, or a model of it.")
    if action == "set":
        wanted = RateLimit(
            scope=scope, requests=requests, tokens=tokens, money=_nano_dollars(money), seconds=_seconds(per)
        )
        make_state_folder(common)
        return run_loop(_set(common, wanted))
    require_database(common)
    return run_loop(_remove(common, scope))


def _nano_dollars(text: str | None) -> int | None:
    from headgate.cli.given_input import given_budget

    try:
        return given_budget(text)
    except Invalid:
        raise Invalid(f"expected --money to be dollars such as 2.00, got {text!r}.") from None


def _seconds(text: str) -> int:
    microseconds = parse_microseconds(text)
    if microseconds < 1_000_000 or microseconds % 1_000_000:
        raise Invalid(f'expected --per to be whole seconds, such as 60s or 1m, got "{text}".')
    return microseconds // 1_000_000


async def _set(common: Common, wanted: RateLimit) -> int:
    async with open_session(common.database, Engine(work=False)) as session:
        await record_act(session, "limit.set", wanted.scope)
        kept = await session.client.set_limit(wanted)
    _say(common, kept, "is held to")
    return exit_codes.COMPLETED


async def _remove(common: Common, scope: str) -> int:
    async with open_session(common.database, Engine(work=False)) as session:
        await record_act(session, "limit.remove", scope)
        removed = await session.client.remove_limit(scope)
    _say(common, removed, "is no longer held to")
    return exit_codes.COMPLETED


def _say(common: Common, limit: RateLimit, what: str) -> None:
    if common.output.json:
        common.output.data(_limit_form(limit))
    else:
        common.output.line(f"{limit.scope} {what} {_words(limit)}")


def _words(limit: RateLimit) -> str:
    parts = [_counted(most, kind) for most, kind in ((limit.requests, "requests"), (limit.tokens, "tokens")) if most]
    parts += [show(limit.money)] if limit.money else []
    return f"{', '.join(parts)} {_period(limit.seconds)}"


def _counted(most: int, kind: str) -> str:
    return f"{most:,} {kind if most > 1 else kind.removesuffix('s')}"


def _period(seconds: int) -> str:
    return "a minute" if seconds == 60 else f"in {seconds} s"


# --- What there is ---------------------------------------------------------------------------------------------------


async def _list(common: Common) -> int:
    from headgate.engine.limit_view import view_limits
    from headgate.stores.storage import cells_beside

    async with open_reader(common) as (_, log):
        view = view_limits(await cells_beside(log), now())
    if common.output.json:
        common.output.data(_form(view))
        return exit_codes.COMPLETED
    common.say_database()
    if not (view.limits or view.circuits or view.pauses or view.waits):
        common.output.notice(NOTHING)
        return exit_codes.COMPLETED
    rows = [_rate(line) for line in view.rates]
    rows += [_circuit(line) for line in view.circuits]
    rows += [_pause(line) for line in view.pauses]
    rows += [_wait(wait) for wait in view.waits[:WAITS_SHOWN_MAX]]
    common.output.table(rows)
    if len(view.waits) > WAITS_SHOWN_MAX:
        common.output.notice(f"{plural(len(view.waits), 'call')} wait in all.")
    return exit_codes.COMPLETED


def _rate(line: RateLine) -> list[str]:
    most = show(line.limit) if line.kind == "money" else _counted(line.limit, line.kind)
    state = "calls wait" if line.used >= 1 else "nothing used" if not line.used else f"burst {line.used:.0%} used"
    return ["rate", line.scope, f"{most} {_period(line.seconds)}", state]


def _circuit(line: CircuitLine) -> list[str]:
    failed = f"{plural(line.failed, 'failure')} since {clock(line.since)[11:]} UTC"
    if line.state == "closed":
        return ["circuit", line.model, "closed", failed]
    probe = f"next probe in {span(line.until - now())}" if line.state == "open" else "a call is trying it"
    return ["circuit", line.model, f"{line.state} since {clock(line.since)[11:]} UTC", probe]


def _pause(line: PauseLine) -> list[str]:
    return ["pause", line.model, f"for another {span(line.until - now())}", line.why]


def _wait(wait: Wait) -> list[str]:
    return ["wait", wait.model, f"run {short(wait.run_id)} {wait.place}", wait.sentence(now())]


def _limit_form(limit: RateLimit) -> dict[str, Any]:
    return {
        "scope": limit.scope,
        "requests": limit.requests,
        "tokens": limit.tokens,
        "money_usd": None if limit.money is None else limit.money / 1_000_000_000,
        "seconds": limit.seconds,
    }


def _form(view: LimitsView) -> dict[str, Any]:
    return {
        "limits": [_limit_form(limit) for limit in view.limits],
        "rates": [msgspec.structs.asdict(line) for line in view.rates],
        "circuits": [
            {**msgspec.structs.asdict(line), "since": iso(line.since), "until": iso(line.until) if line.until else None}
            for line in view.circuits
        ],
        "pauses": [{"model": line.model, "until": iso(line.until), "why": line.why} for line in view.pauses],
        "waits": [
            {
                "run": wait.run_id,
                "place": wait.place,
                "tenant": wait.tenant,
                "model": wait.model,
                "since": iso(wait.since),
                "until": iso(wait.until) if wait.until else None,
                "why": wait.why,
            }
            for wait in view.waits
        ],
    }
