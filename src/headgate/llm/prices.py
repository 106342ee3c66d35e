"""What a model costs at a time: what somebody set, else what its vendor lists, else nothing is known.

An unpriced model is refused under a budget, so a missing price is safe where a guessed one is not. Models on the
caller's own machine (Ollama) cost nothing. Prices of demo models are their own, and notional.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from headgate.core.errors import HeadgateError, Invalid
from headgate.core.values import Price
from headgate.llm.price_list import Listed, PriceList
from headgate.llm.price_overrides import SetPrice, read_prices

__all__ = ["FREE", "LIST_FILE", "PRICES_FILE", "PriceBook", "every_price", "open_prices", "price_of", "undated"]

FREE = Price(id="free")
"""A model on the caller's own machine: it costs nothing that is counted here."""
PRICES_FILE = "prices.yaml"
LIST_FILE = "price-list.json"
"""What `headgate prices update` was given: it replaces the list that comes with the package."""

_DATED = re.compile(r"(-latest|-20\d\d-?[01]\d-?[0-3]\d)$")
_log = logging.getLogger("headgate.prices")
_BUNDLED = PriceList()


def _now() -> int:
    return time.time_ns() // 1_000


class PriceBook(Mapping[str, Price]):
    """The prices that were set, by "provider/model", as they hold now, and the list behind them.

    `file` is looked at with every price, so that what is set while a process runs counts from the next call on. A file
    that cannot be read any more is reported once, and what it said before stays.
    """

    def __init__(
        self, file: Path | None = None, listing: PriceList | None = None, *, now: Callable[[], int] = _now
    ) -> None:
        self._file = file
        self._now = now
        self._seen: tuple[int, int] | None = None
        self._entries: dict[str, tuple[SetPrice, ...]] = {}
        self.list = listing or _BUNDLED
        self._look(first=True)

    @property
    def now(self) -> int:
        return self._now()

    def set_prices(self) -> dict[str, tuple[SetPrice, ...]]:
        """Return every price that was set, by rising time."""
        self._look()
        return dict(self._entries)

    def __getitem__(self, name: str) -> Price:
        self._look()
        now = self._now()
        held = [one.price for one in self._entries.get(name, ()) if one.since <= now]
        if not held:
            raise KeyError(name)
        return held[-1]

    def __contains__(self, name: object) -> bool:
        self._look()
        return name in self._entries and any(one.since <= self._now() for one in self._entries[str(name)])

    def __iter__(self) -> Iterator[str]:
        return iter(self.set_prices())

    def __len__(self) -> int:
        return len(self.set_prices())

    def _look(self, *, first: bool = False) -> None:
        if self._file is None:
            return
        try:
            found = self._file.stat()
            seen = found.st_mtime_ns, found.st_size
        except OSError:
            seen = None
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._entries = {} if seen is None else read_prices(self._file)
        except HeadgateError as error:
            if first:
                raise
            _log.error("prices were not read again; the earlier ones hold: %s", error.message)


def open_prices(environment: Mapping[str, str], folder: Path) -> PriceBook:
    """Return the prices of a process: of the file that HEADGATE_PRICES names, else of `prices.yaml` in `folder`.

    Raises `Invalid` for a file that is named and not there, or that holds what is no price.
    """
    named = environment.get("HEADGATE_PRICES", "").strip()
    if named and not Path(named).is_file():
        raise Invalid(f"HEADGATE_PRICES names {named}, and there is no such file.")
    listing = folder / LIST_FILE
    return PriceBook(Path(named) if named else folder / PRICES_FILE, PriceList(listing) if listing.is_file() else None)


def every_price(book: PriceBook, *, demo: bool = False) -> Iterator[tuple[str, Price | None]]:
    """Yield every "provider/model" with the price that holds now: what was set, then the list where nothing was.

    With `demo` the demo models come first, at their own prices.
    """
    if demo:
        from headgate.llm.demo.models import MODELS

        yield from ((f"demo/{name}", model.price) for name, model in MODELS.items())
    own = {name: book[name] for name in book if name in book}
    yield from sorted(own.items())
    for listed in book.list.all():
        name = f"{listed.provider}/{listed.model}"
        if name not in own:
            yield name, listed.price(book.now)


def price_of(provider: str, model: str, overrides: Mapping[str, Price] | None = None) -> Price | None:
    """Return the price of `model` now, or None where it is not known. `overrides` are keyed "provider/model".

    A price that was set for a model holds for its dated and `-latest` names, too, unless the list knows these as
    models of their own.
    """
    book = overrides if overrides is not None else {}
    name = f"{provider}/{model}"
    if name in book:
        return book[name]
    listed = None if provider == "ollama" else _list_of(book).find(provider, model)
    alias = listed.model if listed is not None else undated(model)
    if alias != model and (name := f"{provider}/{alias}") in book:
        return book[name]
    if provider == "ollama":
        return FREE
    return None if listed is None else _listed_price(listed, book)


def undated(model: str) -> str:
    """Return the name of a model without the date, or the `-latest`, at its end."""
    return _DATED.sub("", model)


def _list_of(book: Mapping[str, Price]) -> PriceList:
    return book.list if isinstance(book, PriceBook) else _BUNDLED


def _listed_price(listed: Listed, book: Mapping[str, Price]) -> Price | None:
    return listed.price(book.now if isinstance(book, PriceBook) else _now())
