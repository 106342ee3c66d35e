"""Several requests behind one answer: each is reckoned by itself, and the sum loses no bucket."""

from __future__ import annotations

import msgspec

from headgate.core.usage_sums import COUNTS, add_up_usages
from headgate.core.values import Price, Tier, Usage

EVERY = Usage(**{name: 2**power for power, name in enumerate(COUNTS)})


def test_every_number_of_a_usage_is_summed():
    numbers = {name for name, value in msgspec.structs.asdict(EVERY).items() if isinstance(value, int) and value > 0}

    total = add_up_usages([EVERY, EVERY])

    assert numbers == set(COUNTS)
    assert {name: getattr(total, name) for name in COUNTS} == {name: 2 * getattr(EVERY, name) for name in COUNTS}


def test_each_request_costs_by_its_own_length_and_pays_its_own_fee():
    price = Price(1_000_000, request=7, tiers=(Tier(9_000_000, request=7, above=100),))
    loop = [Usage(input_tokens=60), Usage(input_tokens=60), Usage(input_tokens=101)]

    total = add_up_usages(loop, price)

    assert (total.input_tokens, total.cost_nano) == (221, 60 + 60 + 909 + 3 * 7)


def test_what_was_told_is_added_and_a_part_that_says_nothing_leaves_the_cost_open():
    told = [Usage(cost_nano=3, model="a", estimated=True), Usage(cost_nano=4, model="b", tier="flex")]

    assert add_up_usages(told) == Usage(model="b", tier="flex", cost_nano=7, estimated=True)
    assert add_up_usages([*told, Usage()]).cost_nano is None
    assert add_up_usages([]) == Usage()
