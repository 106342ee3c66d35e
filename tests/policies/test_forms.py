"""Cheap first looks see all that the dear ones would: words by their stems, plain characters, the places of a form."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.policies.forms import Form, encoded_runs, forms_of, marks, readable
from headgate.policies.keys import detect_keys
from headgate.policies.personal import detect_personal
from headgate.policies.placeholders import Vault
from headgate.policies.words import Words

ALPHABET = "abc ké密“ﬁ\u200b\u0336\u0301１٣–İ"
texts = st.text(st.sampled_from(ALPHABET), max_size=30)
short_words = st.lists(st.text(st.sampled_from("abké密"), min_size=1, max_size=4), max_size=8)


@given(short_words, st.lists(st.text(st.sampled_from("abk"), min_size=1, max_size=2), max_size=3), texts)
def test_words_are_found_by_their_stems_as_they_would_be_one_by_one(words: list[str], stems: list[str], text: str):
    found = Words(words, stems).within(text)

    assert sorted(found) == sorted({word for word in words if word in text})


@given(texts)
def test_what_keeps_its_places_is_made_plain_as_what_does_not(text: str):
    """A ligature at the end makes two characters of one, so that nothing in the text keeps its place by chance."""
    alone, moved = readable(Form(text)), readable(Form(text + "ﬁ"))

    assert alone.text + "fi" == moved.text
    for at in range(len(alone.text)):
        assert alone.span(at, at + 1) == moved.span(at, at + 1)
    assert alone.span(len(alone.text), len(alone.text)) == (len(text), len(text))


@given(texts)
def test_each_character_of_a_form_leads_back_to_the_one_it_was_made_of(text: str):
    form = readable(Form(text))

    for at, character in enumerate(form.text):
        original = text[form.span(at, at)[0]]
        assert character in unicodedata.normalize("NFKC", original) or original in "“–٣"
    assert not any(character in form.text for character in "“ﬁ\u200b１٣–")


@given(texts)
def test_a_mark_upon_a_plain_character_is_taken_off(text: str):
    plain = readable(Form(text)).text

    assert all(not marks(after) or not before.isascii() for before, after in pairwise(plain))


def test_escapes_lead_back_to_where_they_stand():
    text = "é\u200b “a%40b” &#64; c"

    form = forms_of(text)[-1]

    assert form.text == 'é "a@b" @ c'
    start, end = form.span(form.text.index("@"), form.text.index("@") + 1)
    assert text[start:end] == "%40"


def test_a_placeholder_is_no_base64_and_its_like_is():
    placeholder = Vault(b"key").placeholder("email", "a@b.co")

    assert list(encoded_runs(f"so {placeholder} it is")) == []
    assert list(encoded_runs("so <RU1BSUxfM2Y5YTFjMDI> it is")) != []


@pytest.mark.parametrize(
    "text",
    [
        "İyi günler, the PASSWORD for it is fox-77-tiger",
        "the host of it all:5432:things:bob:fox-77-tiger\n",
        "İ: Authorization: xbasic, BASIC fox-77-tiger",
        "密码：fox-77-tiger",
        "hooked: https://maker.ifttt.com/trigger/fox-77-tiger/with/key/fox-77-tiger",
    ],
)
def test_secrets_are_found_behind_first_looks_that_mind_no_case_and_no_letter(text: str):
    assert any("fox-77-tiger" in text[span.start : span.end] for span in detect_keys(text))


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("so an.na+x@example.com", "na+x@example.com"),
        ('"an na"@example.com', '"an na"@example.com'),
        ("call +(44) 131 496 0188", "+(44) 131 496 0188"),
        ("call (+44 131 496 0188", "+44 131 496 0188"),
        ("at fe80::1:2:3", "fe80::1:2:3"),
        ("at 2001:db8:3:4:5:6:7:8", "2001:db8:3:4:5:6:7:8"),
        ("IBAN DE 89 3704 0044 0532 0130 00", "DE 89 3704 0044 0532 0130 00"),
    ],
)
def test_personal_data_is_found_whole_where_it_begins_with_no_digit(text: str, whole: str):
    assert any(text[span.start : span.end].endswith(whole) for span in detect_personal()(text))
