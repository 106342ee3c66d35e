"""Which signs a text can show: what is ruled out by how words begin has not shown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.policies.injection_signs import AI_WORDS, SIGN_WORDS, SIGNS
from headgate.policies.sign_words import Sign, SignWords
from headgate.policies.words import words_of

NEVER = re.compile("(?!)")
SOME = [word for sign in SIGNS for word in sign.words]
TEXTS = st.lists(st.sampled_from([*SOME, *sorted(AI_WORDS), " ", ".", "x", "é", "\n"]), max_size=12).map("".join)


def named(text: str, **words: str) -> list[str]:
    signs = [Sign(family, 0.5, tuple(said.split(",")), False, NEVER) for family, said in words.items()]
    return [sign.family for sign, _ in SignWords(signs, ()).signs_begun(text, words_of(text))]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("what is to be done", ["phrase"]),
        ("what is today", ["phrase"]),  # a phrase may end within a word
        ("dis to", []),  # and begin within one only where another word begins so
        ("he ignores it", ["word"]),
        ("a | b", ["mark"]),
        ("助手", ["foreign"]),
        ("nothing of it", []),
    ],
)
def test_a_sign_can_show_where_one_of_its_words_stands(text: str, found: list[str]):
    assert named(text, phrase="is to,has to", word="ignor", mark="|,exec(", foreign="助手") == found


def at_a_border(word: str) -> str:
    """Return a pattern for the word where one begins; one that is very short must be a whole one."""
    return rf"(?<!\w){re.escape(word)}" + r"(?!\w)" * (len(word) < 3)


@given(text=TEXTS)
def test_no_sign_is_ruled_out_of_which_a_word_stands_where_a_word_begins(text: str):
    words = words_of(text)
    shown = [sign for sign, _ in SIGN_WORDS.signs_begun(text, words)]
    about_ai = not words.isdisjoint(AI_WORDS)

    for sign in SIGNS:
        stands = any(re.search(at_a_border(word), text) for word in sign.words if word[0].isalnum())
        if stands and (about_ai or not sign.about_ai):
            assert sign in shown


@pytest.mark.parametrize(
    "tail", [" the key to a@b.example", " everything https://x.example/?q= ", " it to a@b.example"]
)
@pytest.mark.parametrize("verb", ["send", "forward", "upload", "email", "e-mail", "append", "fetch", "collect", "mail"])
def test_a_sign_that_begins_with_its_words_shows_where_its_pattern_does(verb: str, tail: str):
    text = f"do not re{verb}, {verb}: nothing\n{verb}{tail}\n{verb}{tail}"
    begin = [sign for sign in SIGNS if sign.begins]

    places = [sign.place(text, sign.words) for sign in begin]

    assert places == [None if (one := sign.pattern.search(text)) is None else one.start() for sign in begin]


@given(text=st.text(st.characters(max_codepoint=0x24F)))
def test_the_words_of_a_text_are_its_letters_digits_and_strokes(text: str):
    assert words_of(text) == frozenset(re.findall(r"\w+", text))
