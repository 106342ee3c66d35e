"""Patterns with their beginnings in sight: faster, and the same matches."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.policies.injection_signs import SIGNS
from headgate.policies.quick_patterns import quick, quickly

LITERALS = st.text(st.sampled_from("ab e"), min_size=1, max_size=3)


def _groups(patterns: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    group = st.builds("(?:{}){}".format, patterns, st.sampled_from(["", "", "", "?", "*"]))
    piece = st.one_of(LITERALS, group, st.sampled_from([r"\b", "[ab]", "a?", r"\w+", r"\W", "e{2}", "$", r"\."]))
    return st.lists(st.lists(piece, max_size=4).map("".join), min_size=1, max_size=3).map("|".join)


PATTERNS = st.recursive(LITERALS, _groups, max_leaves=8)


@given(pattern=PATTERNS, text=st.text(st.sampled_from("abe .é"), max_size=12))
def test_a_pattern_matches_the_same_places_as_it_is_written(pattern: str, text: str):
    written = [found.span() for found in re.finditer(pattern, text)]

    assert [found.span() for found in quick(pattern).finditer(text)] == written


@pytest.mark.parametrize(
    ("pattern", "quickly_written"),
    [
        (r"\b(?:send|mails?|share) it", r"(?:s(?:end(?<!\w....)|hare(?<!\w.....))|mail(?<!\w....)s?) it"),
        (r"\bsend it|all|\bso", r"s(?:end it(?<!\w.......)|o(?<!\w..))|all"),
        (r"\bsend|so", r"s(?:end(?<!\w....)|o)"),
        (r"(?:do not|never) (?:tell|say)|hush", r"do not (?:tell|say)|never (?:tell|say)|hush"),
    ],
)
def test_the_ways_through_a_pattern_begin_with_plain_characters(pattern: str, quickly_written: str):
    assert quickly(pattern) == quickly_written


@pytest.mark.parametrize("pattern", [r"(?:to )?you", r"a?b", r"\w+ it", r"(?:^|x)a", r"[ab]c|d", r"\b-x"])
def test_a_pattern_whose_beginning_is_no_plain_character_stays_as_it_is(pattern: str):
    assert quickly(pattern) == pattern


def test_no_sign_is_looked_for_at_every_border_of_a_word():
    assert [sign.pattern.pattern for sign in SIGNS if sign.pattern.pattern.startswith(r"\b")] == []
