"""Books of prices."""

from __future__ import annotations

from headgate.core.values import Price
from headgate.llm.price_list import PriceList
from headgate.llm.price_overrides import read_time

JUNE = read_time("2026-06-15", "a test")


def listed(name: str, at: str = "2026-06-15") -> Price:
    provider, _, model = name.partition("/")
    found = PriceList().find(provider, model)
    assert found is not None
    price = found.price(read_time(at, "a test"))
    assert price is not None
    return price
