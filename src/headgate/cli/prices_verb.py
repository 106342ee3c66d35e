"""`headgate prices`: what models cost here, and how to set it. Nothing of it opens a connection."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from headgate.cli.options import Common, common
from headgate.cli.output import Output
from headgate.cli.session import make_state_folder
from headgate.cli.words import plural
from headgate.core.errors import Invalid, NotFound
from headgate.core.money import exact_dollars, show
from headgate.core.values import Price, Rates, Variant

if TYPE_CHECKING:
    from headgate.llm.prices import PriceBook

__all__ = ["prices"]

Priced = tuple[str, Price | None]
HEAD = ["model", "input", "output", "cache read", "cache write", "from"]
APART = {
    "cache_write_1h": "cached for an hour",
    "cache_read_audio": "cached audio",
    "audio_input": "audio in",
    "audio_output": "audio out",
    "reasoning": "reasoning",
}
"""What few models charge for apart, and how that is called."""


@click.group()
def prices() -> None:
    """Show what models cost, in US dollars per million tokens, and set it.

    What is set wins over the list that comes with Headgate. Prices are never fetched.
    """


@prices.command("list")
@common
@click.option("--provider", metavar="NAME", help="Only models of this provider.")
def list_prices(common: Common, provider: str | None) -> None:
    """List the models whose prices are known."""
    from headgate.llm.prices import every_price

    found = [one for one in every_price(_book(common)) if provider in (None, one[0].partition("/")[0])]
    if not found and provider:
        raise NotFound(f'No prices of a provider "{provider}" are known. `headgate prices list` shows all.')
    _print(common.output, found)


@prices.command("search")
@common
@click.argument("text")
def search_prices(common: Common, text: str) -> None:
    """List the models whose names hold TEXT; also how a whole PROVIDER/MODEL, alias or not, is priced now."""
    from headgate.llm.prices import every_price, price_of

    book = _book(common)
    found = {name: price for name, price in every_price(book) if text.lower() in name.lower()}
    provider, _, model = text.partition("/")
    if model and text not in found and (price := price_of(provider, model, book)) is not None:
        found = {text: price} | found
    if not found:
        raise NotFound(
            f'No price is known of a model like "{text}". Name it with its provider, like openai/gpt-4o, or set a '
            "price: `headgate prices set`."
        )
    _print(common.output, found.items())


@prices.command("set")
@common
@click.argument("model", metavar="PROVIDER/MODEL")
@click.option("--input", "input_", metavar="DOLLARS", required=True, help="Per million tokens of input.")
@click.option("--output", metavar="DOLLARS", required=True, help="Per million tokens of output.")
@click.option("--cache-read", metavar="DOLLARS", help="Per million tokens read from the cache [default: as input].")
@click.option("--cache-write", metavar="DOLLARS", help="Per million tokens written to it [default: as input].")
@click.option("--cache-write-1h", metavar="DOLLARS", help="Per million written to it for an hour.")
@click.option("--cache-read-audio", metavar="DOLLARS", help="Per million tokens of audio read from it.")
@click.option("--audio-input", metavar="DOLLARS", help="Per million tokens of audio that goes in.")
@click.option("--audio-output", metavar="DOLLARS", help="Per million tokens of audio that comes out.")
@click.option("--reasoning", metavar="DOLLARS", help="Per million tokens of reasoning [default: as output].")
@click.option("--request", metavar="DOLLARS", help="For each call, beside its tokens.")
@click.option("--from", "since", metavar="DATE", default="", help="From this day or time (UTC) on [default: always].")
def set_(common: Common, model: str, input_: str, since: str, **rest: str | None) -> None:
    """Set what PROVIDER/MODEL costs. It counts from the next call on, also in a process that is running.

    The file that is written may say more, which is lost for the model when it is set here: prices of long calls
    (`above`) and of service tiers (`tiers`).
    """
    from headgate.llm.price_overrides import read_rate, require_model, set_price, write_prices

    require_model(model, "prices set")
    given = {"input": input_, **rest}
    rates = {name: read_rate(text, f"--{name.replace('_', '-')}") for name, text in given.items() if text is not None}
    one = set_price(model, rates, since, "--from")
    file, entries = _file(common), _book(common).set_prices()
    kept = [other for other in entries.get(model, ()) if other.since != one.since]
    write_prices(file, entries | {model: tuple(sorted([*kept, one], key=lambda price: price.since))})
    _say(common.output, f"{model} costs {_in_words(one.price)}{f' from {since}' if since else ''}. ({file})", 1)


@prices.command("update")
@common
@click.option("--from", "source", metavar="FILE", required=True, help="A file of prices that you have.")
def update_prices(common: Common, source: str) -> None:
    """Take over prices from FILE: one like our own, or a list as genai-prices publishes it. Nothing is fetched.

    Prices of our own form are added to those that were set. A list takes the place of the one that comes with Headgate.
    """
    from headgate.llm.price_list import PriceList, is_price_list
    from headgate.llm.price_overrides import read_prices, write_prices
    from headgate.llm.prices import LIST_FILE

    path = Path(source)
    if path.suffix == ".json" and is_price_list(_json(path)):
        count = sum(1 for _ in PriceList(path).all())
        make_state_folder(common)
        _copy(path, _folder(common) / LIST_FILE)
        _say(
            common.output,
            f"The list has {plural(count, 'model')} now; processes that start from here on use it.",
            count,
        )
        return
    new = read_prices(path)
    write_prices(_file(common), _book(common).set_prices() | new)
    _say(common.output, f"Set the prices of {plural(len(new), 'model')}.", len(new))


# --- Where ---------------------------------------------------------------------------------------------------------


def _folder(common: Common) -> Path:
    return common.folder


def _book(common: Common) -> PriceBook:
    from headgate.llm.prices import open_prices

    return open_prices(os.environ, _folder(common))


def _file(common: Common) -> Path:
    """Return the file that prices are set in; its folder is made with the state folder's own care."""
    from headgate.llm.prices import PRICES_FILE

    named = os.environ.get("HEADGATE_PRICES", "").strip()
    if named:
        return Path(named)
    make_state_folder(common)
    return _folder(common) / PRICES_FILE


def _json(path: Path) -> object:
    from headgate.llm.price_list import LIST_BYTES_MAX

    try:
        if path.stat().st_size > LIST_BYTES_MAX:
            raise Invalid(f"{path} has more than {LIST_BYTES_MAX} bytes, which no price list needs.")
        return msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror or error}.") from None
    except msgspec.DecodeError as error:
        raise Invalid(f"{path} is not JSON: {error}") from None


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    unfinished.write_bytes(source.read_bytes())
    unfinished.replace(target)


# --- What ----------------------------------------------------------------------------------------------------------


def _print(output: Output, found: Iterable[Priced]) -> None:
    if output.json:
        output.data([_form(name, price) for name, price in found])
        return
    output.table([HEAD, *(_line(name, price) for name, price in found)], right=frozenset({1, 2, 3, 4}))


def _line(name: str, price: Price | None) -> list[str]:
    if price is None:
        return [name, "unpriced", "", "", "", ""]
    rates = [price.input, price.output, price.cache_read, price.cache_write]
    return [
        name,
        *("" if rate is None else show(rate) for rate in rates),
        "; ".join([price.id.partition(":")[0], *_apart(price)]),
    ]


def _apart(price: Price) -> Iterator[str]:
    """Yield what a price says beside the four rates that most have, in words."""
    for rate, called in APART.items():
        if (amount := getattr(price, rate)) is not None:
            yield f"{called} {show(amount)}"
    if price.request:
        yield f"each call {show(price.request)}"
    for tier in price.tiers:
        yield f"above {tier.above:,} tokens {show(tier.input)} and {show(tier.output)}"
    for variant in price.variants:
        yield f"{variant.name} {show(variant.input)} and {show(variant.output)}"


def _form(name: str, price: Price | None) -> dict[str, Any]:
    if price is None:
        return {"model": name, "price": None}
    variants = {variant.name: {**_rates(variant), "tiers": _tiers(variant)} for variant in price.variants}
    return {
        "model": name,
        "price": {"id": price.id, **_rates(price), "tiers": _tiers(price), "service_tiers": variants},
    }


def _tiers(price: Price | Variant) -> list[dict[str, Any]]:
    return [{"above": tier.above, **_rates(tier)} for tier in price.tiers]


def _rates(rates: Rates) -> dict[str, str | None]:
    """Return all rates by name; None: not listed, it is that of the bucket around it."""
    names = [name for name in Rates.__struct_fields__ if name != "request"]
    found = {name: getattr(rates, name) for name in names}
    per_million = {
        f"{name}_usd_per_million": None if rate is None else exact_dollars(rate) for name, rate in found.items()
    }
    return {**per_million, "request_usd": exact_dollars(rates.request)}


def _in_words(price: Price) -> str:
    cache = "" if price.cache_read is None else f", {show(price.cache_read)} read from the cache"
    write = "" if price.cache_write is None else f", {show(price.cache_write)} written to it"
    more = "".join(f"; {part}" for part in _apart(price))
    return f"{show(price.input)} in and {show(price.output)} out{cache}{write} per million tokens{more}"


def _say(output: Output, text: str, count: int) -> None:
    if output.json:
        output.data({"prices": count})
    else:
        output.line(text)
