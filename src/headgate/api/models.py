"""Which models there are: whom this process can ask, and what is known of prices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from headgate.core.values import Price

__all__ = ["KnownModel", "Models"]


class KnownModel(msgspec.Struct, frozen=True):
    """A model whose price is known. `available`: its provider can be asked with a key of the server's own, or none."""

    provider: str
    model: str
    price: Price
    available: bool


class Models:
    """One per process, with the names of the providers that can be asked. `priced` yields each "provider/model" that is
    known, and the price that holds now."""

    def __init__(self, providers: Sequence[str], priced: Callable[[], Iterable[tuple[str, Price | None]]]) -> None:
        self._providers = providers
        self._priced = priced

    def providers(self) -> list[str]:
        """Return the names of the providers that can be asked, in order."""
        return sorted(self._providers)

    def search(self, text: str, *, provider: str | None, available: bool, limit: int) -> list[KnownModel]:
        """Return models whose names hold `text`, in whatever case: those that can be asked first, cheapest first."""
        wanted = text.lower()
        found: list[KnownModel] = []
        for name, price in self._priced():
            of, _, model = name.partition("/")
            if price is None or wanted not in name.lower() or provider not in (None, of):
                continue
            if of in self._providers or not available:
                found.append(KnownModel(of, model, price, of in self._providers))
        found.sort(key=lambda one: (not one.available, one.price.input + one.price.output, one.provider, one.model))
        return found[:limit]
