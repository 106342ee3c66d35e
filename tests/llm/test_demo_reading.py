"""The demo models read: they summarise, quote and classify the text they are given, and change with it."""

from __future__ import annotations

import asyncio
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.llm.demo import DemoProvider
from headgate.ports import Message, ModelRequest

FILLING = [
    "Bicycles may be kept in the cellar.",
    "The laundry room is open on weekdays.",
    "Snow is cleared by a contractor.",
    "Parcels are left with the concierge.",
    "Loud music bothers everybody after ten.",
    "The garden belongs to the ground floor.",
]
STUDY = (
    "A team in Aarhus has measured how moss cools roofs. Moss roofs stayed nine degrees cooler than "
    "bare roofs in July. "
    "The researchers covered twelve roofs with moss for two summers. One student fell ill with a cold. "
    "Cooler roofs mean that flats below need less energy for cooling. The team now plans a trial with "
    "forty roofs. "
    "The canteen served soup that day."
)


def ask(prompt, model="small", system=None):
    messages = ((Message("system", system),) if system else ()) + (Message("user", prompt),)
    return asyncio.run(DemoProvider().request(ModelRequest(model=model, messages=messages))).content


@pytest.mark.parametrize("model", ["small", "large"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_summary_has_the_sentences_asked_for_and_they_are_the_texts_own(model, count):
    summary = ask(f"Summarise the following text in {count} sentences:\n\n{STUDY}", model)

    sentences = [sentence.strip(".") for sentence in summary.split(". ")]
    assert len(sentences) == count
    assert all(sentence in STUDY for sentence in sentences)
    assert "soup" not in summary


def test_a_summary_keeps_to_words_and_bullets():
    short = ask(f"Summarise in at most 25 words: {STUDY}")
    bullets = ask(f"Give me three bullet points on the key facts.\n\n{STUDY}", "large").split("\n")

    assert 5 < len(short.split()) <= 25
    assert len(bullets) == 3
    assert all(line.startswith("- ") and line[2:] in STUDY for line in bullets)


def test_the_large_model_says_more_than_the_small_where_no_length_is_asked():
    assert len(ask(f"Summarise: {STUDY * 1} {' '.join(FILLING)}", "large")) > len(
        ask(f"Summarise: {STUDY * 1} {' '.join(FILLING)}")
    )


def test_the_system_prompt_may_say_what_to_do_with_the_text():
    assert ask(STUDY, system="Summarise what the user sends in one sentence.") in STUDY


def test_combining_parts_leaves_none_out_and_repeats_nothing():
    parts = [
        "The roof leaks above the stage. Buckets were put out.",
        "The roof leaks above the stage.",
        "Ticket sales rose by a third in May. The matinees sold out.",
        "Two actors left the company. Auditions begin in August.",
    ]

    combined = ask(f"Combine: {json.dumps(parts)}", "large")

    assert combined.count("The roof leaks") == 1
    assert ("Ticket sales" in combined) or ("matinees" in combined)
    assert ("actors" in combined) or ("Auditions" in combined)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 40), st.sampled_from(["small", "large"]))
def test_the_place_of_a_quote_moves_with_the_sentence_and_goes_with_it(seed, months, model):
    sentence = f"The tenant gives notice {months} months before moving out."
    lines = [*FILLING, sentence]
    random.Random(seed).shuffle(lines)
    question = "How many months before moving out must the tenant give notice?"

    found = ask(f"Question: {question}\nContext:\n" + "\n".join(lines), model)
    without = ask(f"Question: {question}\nContext:\n" + "\n".join(FILLING), model)

    assert found.split("\n")[0] == f"“{sentence}” (line {lines.index(sentence) + 1})"
    assert without == "not in the text"


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("When was the bridge opened?", "1931"),
        ("Who designed the bridge?", "Lotte Krag"),
        ("How long is the bridge?", "640 metres"),
        ("What does the toll cost for lorries?", "40 crowns"),
        ("Who is the king of Spain?", None),
        ("When was the bridge painted?", None),
    ],
)
@pytest.mark.parametrize(
    "shape",
    [
        "{q}\n\n{t}",
        "{t}\n\n{q}",
        "Context: {t}\n\nQuestion: {q}",
        "<text>{t}</text>\n{q}",
        "```\n{t}\n```\n{q}",
    ],
)
def test_questions_are_answered_by_the_sentence_that_answers_in_whatever_shape_the_prompt_is(question, words, shape):
    text = (
        "The Vejle bridge was opened in 1931. Lotte Krag designed it together with her brother. It is "
        "640 metres long. "
        "Lorries pay a toll of 40 crowns. In winter it is closed at night."
    )

    answer = ask(shape.format(q=question, t=text))

    assert (words in answer) if words else (answer == "not in the text")


@pytest.mark.parametrize("name", ["handbook", "faq-7", "notes.md"])
def test_a_quote_names_the_source_by_the_id_that_the_prompt_gives(name):
    prompt = (
        f'<doc id="other">Parking is free for guests.</doc>\n<doc id="{name}">Staff have 28 days of '
        f"holiday.</doc>\n"
        "How many days of holiday do staff have?"
    )

    assert ask(prompt) == f"“Staff have 28 days of holiday.” (source {name}, sentence 1)"


def test_numbered_sources_are_sources():
    prompt = (
        "Answer from the sources.\n\n[1] The pool opens at noon.\n[2] Towels cost 3 "
        "dollars.\n\nQuestion: What do towels cost?"
    )

    assert ask(prompt) == "“Towels cost 3 dollars.” (source 2, sentence 1)"


CLASSES = [
    ("My card was charged twice for the same invoice.", "billing"),
    ("The app crashes with an error when I log in.", "technical"),
    ("The courier has not delivered my package.", "shipping"),
]


@pytest.mark.parametrize(("message", "label"), CLASSES)
@pytest.mark.parametrize(
    "instruction",
    [
        "Classify this message as one of: shipping, billing, technical.",
        "Which category fits? Categories: technical, shipping, billing",
        "Classify into billing, technical or shipping:",
        "Assign the ticket to one category.\n- shipping\n- technical\n- billing\n",
    ],
)
def test_a_message_gets_the_label_that_its_words_speak_for(message, label, instruction):
    assert ask(f"{instruction}\n\n{message}") == label


def test_labels_nobody_foresaw_are_told_apart_by_their_descriptions():
    instruction = "Assign one of these labels:\n- aves: birds, feathers, nests\n- pisces: fish, fins, rivers\n\nText: "

    assert ask(f"{instruction}The nests were full of feathers.") == "aves"
    assert ask(f"{instruction}In the river swam two old fish.") == "pisces"


@pytest.mark.parametrize(
    ("review", "mood"),
    [
        ("The staff were friendly and the bed was comfortable.", "positive"),
        ("The soup was cold and the waiter was rude.", "negative"),
        ("The show was not good.", "negative"),
        ("The shop is next to the station.", "neutral"),
        ("Die Lieferung war kaputt und der Kundendienst unfreundlich.", "negative"),
    ],
)
def test_the_sentiment_of_a_review_is_positive_negative_or_neutral(review, mood):
    assert ask(f"What is the sentiment of this review?\n\n{review}") == mood


def test_a_label_for_the_rest_is_chosen_where_nothing_speaks_for_the_others():
    assert ask("Classify as zinc, tin or other:\n\nThe chair stands in the corner.") == "other"


def test_keywords_are_phrases_of_the_text_as_many_as_asked_for():
    found = ask(f"Give me 4 keywords for this text:\n\n{STUDY}").split(", ")

    assert len(found) == 4
    assert all(phrase in STUDY for phrase in found)
    assert any("oof" in phrase for phrase in found)


@pytest.mark.parametrize("number", ["A-101", "ZX-9"])
def test_fields_named_in_words_are_extracted_and_the_missing_one_is_said_to_be_missing(number):
    prompt = f"Extract the order number, the total and the delivery date.\n\nOrder number: {number}\nTotal: $5.00"

    assert ask(prompt) == f"order number: {number}\ntotal: $5.00\ndelivery date: not in the text"
    assert json.loads(ask(prompt.replace("date.", "date as JSON.", 1)))["delivery date"] is None


def test_a_question_is_understood_beside_words_on_how_to_answer_it():
    prompt = "Does the text mention herons? Answer briefly.\n\nHerons live by the river."

    assert ask(prompt) == "“Herons live by the river.” (sentence 1)"
