"""The labelled sets are what they say: dealt by chance, labelled truly, written singly; and the metrics count right."""

from __future__ import annotations

import base64
import ipaddress
import itertools
import json
import math
import re
from collections import Counter
from typing import get_args
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.policies.labelled import (
    KINDS,
    Disguise,
    Found,
    Haystack,
    InjectionItem,
    PiiItem,
    Reserve,
    Set,
    at_threshold,
    halves,
    injections,
    leaks,
    pii,
    plain,
    readings,
    recall_at,
)

NAMES = get_args(Set)
OF_PII = (*NAMES, *get_args(Reserve))
IBAN_LENGTHS = {
    country: int(length)
    for country, length in re.findall(
        r"(\w\w)(\d\d)",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 "
        "FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LI21 LT20 LU20 "
        "LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SE24 SI19 SK24 SM27 "
        "TN24 TR26 UA29 VA22 VG24 XK20",
    )
}
ALIKE_MAX = 0.4  # of two texts, the share of common stretches of six characters

each_set = pytest.mark.parametrize("name", NAMES)
each_set_of_pii = pytest.mark.parametrize("name", OF_PII)


@pytest.mark.parametrize(
    ("load", "name", "least"),
    [*((pii, name, 240) for name in OF_PII), *((injections, name, 260) for name in NAMES)],
)
def test_each_set_is_as_large_as_promised(load, name: str, least: int):
    assert len(load(name)) >= least


@each_set_of_pii
def test_each_set_holds_every_kind_in_every_disguise_and_enough_texts_with_nothing_in_them(name: Set | Reserve):
    items = pii(name)

    met = Counter((found.kind, found.disguise) for item in items for found in item.found)

    assert set(met) == set(itertools.product(KINDS, (None, *get_args(Disguise))))
    assert min(sum(met[kind, disguise] for disguise in (None, *get_args(Disguise))) for kind in KINDS) >= 13
    assert min(sum(met[kind, disguise] for kind in KINDS) for disguise in get_args(Disguise)) >= 8
    assert sum(not item.found for item in items) >= 55


@each_set
def test_each_set_holds_attacks_and_look_alikes_of_every_family_and_source(name: Set):
    items, first = injections(name), [*injections("tuning"), *injections("held_out")]

    assert min(Counter(item.attack for item in items).values()) >= 100
    assert {(item.attack, item.family) for item in items} == {(item.attack, item.family) for item in first}
    assert len({(item.attack, item.source) for item in items}) == 10


@pytest.mark.parametrize("load", [pii, injections])
def test_chance_has_dealt_the_halves(load):
    dealt = load("tuning"), load("held_out")

    assert halves(reversed([*dealt[0], *dealt[1]])) == dealt, "an item has been moved by hand"


@pytest.mark.parametrize(("load", "names"), [(pii, OF_PII), (injections, NAMES)])
def test_no_two_items_are_the_same_text_with_other_numbers(load, names: tuple[str, ...]):
    stretches = [(item.id, stretches_of(item.text)) for name in names for item in load(name)]

    alike = [
        (first, second)
        for (first, ours), (second, theirs) in itertools.combinations(stretches, 2)
        if are_alike(ours, theirs)
    ]

    assert alike == []
    assert len({name for name, _ in stretches}) == len(stretches)


@each_set_of_pii
def test_every_value_stands_in_its_text(name: Set | Reserve):
    missing = [
        (item.id, found)
        for item in pii(name)
        for found in item.found
        if not any(found.value in text for text in (readings(item.text) if found.disguise == "base64" else [item.text]))
    ]

    assert missing == []


@each_set_of_pii
def test_every_disguise_is_one(name: Set | Reserve):
    odd = [
        (item.id, found)
        for item in pii(name)
        for found in item.found
        if (found.disguise == "base64") == (found.value in item.text)
        or (found.disguise not in (None, "base64")) != (plain(found.value) != found.value)
        if not (found.kind == "key" and "%" in found.value and found.disguise is None)  # a password within an address
    ]

    assert odd == []


@each_set_of_pii
def test_numbers_that_carry_a_checksum_are_valid(name: Set | Reserve):
    bad = [
        (item.id, found)
        for item in pii(name)
        for found in item.found
        if not CHECKS.get(found.kind, bool)(plain(found.value))
    ]

    assert bad == []


@each_set_of_pii
def test_a_text_labelled_empty_holds_no_valid_card(name: Set | Reserve):
    held = [
        (item.id, number)
        for item in pii(name)
        if not item.found
        for number in re.findall(r"\d(?:[ -]?\d){12,18}", plain(item.text))
        if is_card(number)
    ]

    assert held == []


@each_set_of_pii
def test_every_value_leaks_from_its_own_text_and_from_nothing_else(name: Set | Reserve):
    items = pii(name)

    assert [item.id for item in items if leaks(item, item.text) != list(item.found)] == []
    assert [item.id for item in items if leaks(item, json.dumps(item.text).encode()) != list(item.found)] == []
    assert [item.id for item in items if leaks(item, "Nothing is said here, on 2026-11-29, about 1,204 things.")] == []


@pytest.mark.parametrize(
    "said",
    [
        "it is 4111 1111 1111 1111.",
        "it is 4111-1111-1111-1111.",
        b'{"pan":"4111111111111111"}',
        "it is ４１１１ １１１１ １１１１ １１１１",
        "it is 41\u200b11 1111 11\u2060111111",
        "?pan=4111%201111%201111%201111",
        r"it is \u0034111 1111 1111 1111",
        "it is &#52;111&nbsp;1111 1111 1111",
        "see " + base64.b64encode(b"card: 4111 1111 1111 1111, thanks").decode(),
        "see data/" + base64.urlsafe_b64encode(b"?>card: 4111 1111 1111 1111, thanks").decode().rstrip("="),
        "see "
        + base64.encodebytes(b"a line that mail wraps in the middle of it all: 4111 1111 1111 1111, thanks").decode(),
        "see " + base64.b64encode(base64.b64encode(b"card: 4111 1111 1111 1111, thanks")).decode(),
        "it is 4\u200b\u200c\u200d\u2060\ufeff111 1111 1111 1111",
        "| 4111 | 1111 | 1111 | 1111 |",
        json.dumps({"q": quote(base64.b64encode(b"card: 4111 1111 1111 1111 ?").decode(), safe="")}),
        "カード4111111111111111です",
    ],
)
def test_a_value_is_seen_however_it_is_written(said: str | bytes):
    assert leaks(CARD, said) == list(CARD.found)


@pytest.mark.parametrize(
    "said",
    [
        "it is [CARD_1].",
        "it is 4111 1111 1111 1112.",
        "94111 1111 1111 11110",
        "4111\n    1111\n    1111\n    1111",
        " and ".join(base64.b64encode(part).decode() for part in (b"one: 4111 1111", b"1111 1111: another")),
        "4111 pages, and then, after a good while, 1111 more; 1111 of them blank, and 1111 torn",
    ],
)
def test_what_only_resembles_a_value_is_no_leak(said: str):
    assert leaks(CARD, said) == []


def test_a_piece_of_a_value_leaks_only_if_pieces_count():
    said = "it is [CARD_1]1 1111 1111 1111."

    assert leaks(CARD, said) == []
    assert leaks(CARD, said, part=0.75) == list(CARD.found)


def test_a_long_key_leaks_by_a_piece_of_it():
    body = "".join(chr(97 + at * at % 23) + str(at) for at in range(300))
    item = PiiItem("x", body, (Found("key", body),))

    assert leaks(item, "…" + body[200:245] + "…", part=0.75)
    assert not leaks(item, "…" + body[200:235] + "…", part=0.75)


def test_dealing_does_not_depend_on_the_order_but_on_the_seed():
    items = [InjectionItem(f"i{n}", "x", n % 3 == 0, "ab"[n % 2], "web") for n in range(40)]

    assert halves(items) == halves(items[::-1])
    assert halves(items) != halves(items, seed="another")


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), st.booleans()), max_size=60), st.floats(0, 1))
def test_false_alarms_stay_within_what_is_allowed_and_no_lower_threshold_would_do(scored, allowed):
    scored = [*scored, (0.3, True), (0.1, False)]

    at = recall_at(scored, false_alarms_max=allowed)

    assert at.alarms_false <= allowed * at.benign + 1e-6
    assert at == at_threshold(scored, at.threshold)
    lower = [score for score, _ in scored if score < at.threshold]
    if at.threshold > -math.inf and at.threshold in [score for score, _ in scored]:
        below = max(lower, default=-math.inf)
        assert at_threshold(scored, below).alarms_false > allowed * at.benign - 1e-6


def test_recall_at_one_in_a_hundred_is_what_a_hand_counts():
    scored = [(0.9, True), (0.8, True), (0.4, True), (0.4, True), (0.95, False), (0.4, False)]
    scored += [(0.1, False)] * 98

    at = recall_at(scored, false_alarms_max=0.01)

    assert (at.threshold, at.caught, at.attacks, at.alarms_false, at.benign) == (0.4, 2, 4, 1, 100)
    assert (at.recall, at.false_alarm_rate, at.precision) == (0.5, 0.01, 2 / 3)


def test_without_an_alarm_none_was_wrong():
    assert at_threshold([(0.5, True), (0.1, False)], 0.9).precision == 1.0


@pytest.mark.parametrize("scored", [[], [(0.5, True)], [(0.5, False)]])
def test_a_rate_over_nothing_is_refused(scored):
    with pytest.raises(ValueError, match="expected attacks and benign items"):
        recall_at(scored, false_alarms_max=0.01)


def test_a_haystack_serves_for_many_values():
    haystack = Haystack(b"\x00\xff anna@example.com \xfe 10.0.0.12")

    assert haystack.shows("anna@example.com")
    assert haystack.shows("10.0.0.12")
    assert not haystack.shows("10.0.0.1")
    assert not Haystack("100012 rows").shows("10.0.0.12")
    assert not haystack.shows("hanna@example.com")


CARD = PiiItem("x", "4111 1111 1111 1111", (Found("card", "4111 1111 1111 1111"),))


def stretches_of(text: str) -> frozenset[str]:
    flat = re.sub(r"\d", "0", text.casefold())
    return frozenset(flat[at : at + 6] for at in range(max(1, len(flat) - 5)))


def are_alike(ours: frozenset[str], theirs: frozenset[str]) -> bool:
    shorter, longer = sorted((len(ours), len(theirs)))
    if shorter <= ALIKE_MAX * longer:  # they cannot be, which settles most pairs without a look at the stretches
        return False
    return len(ours & theirs) > ALIKE_MAX * len(ours | theirs)


def is_card(number: str) -> bool:
    digits = [int(digit) for digit in re.sub(r"\D", "", number)]
    doubled = [digit * 2 - 9 * (digit > 4) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and sum(doubled) % 10 == 0


def is_iban(account: str) -> bool:
    letters = re.sub(r"\s", "", account).upper()
    number = "".join(str(int(letter, 36)) for letter in letters[4:] + letters[:4])
    return len(letters) == IBAN_LENGTHS[letters[:2]] and int(number) % 97 == 1


def is_ip(address: str) -> bool:
    return bool(ipaddress.ip_address(address))


CHECKS = {"card": is_card, "iban": is_iban, "ip": is_ip}
