"""`text_split`: the parts are slices of the text, no longer than asked, and end where the text pauses."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.activities.context import context_of

from headgate.activities.text_split import PARTS_MAX, text_split
from headgate.ports import Attempt

MANUAL = """Before the first heading.

# Pump

Fill the tank. Dr. Abel says: never run it dry! Is it on?

Close the lid.

## Filter ##

Rinse it under water.

```
# no heading, but code
```

Cleaning
========

Use no soap.
"""

pieces = st.lists(
    st.one_of(
        st.text(max_size=30),
        st.sampled_from(["\n\n", "\n", ". ", "! ", "\n# Head\n", "\f", " ", "。", "e\u0301", "word " * 9, "x" * 40]),
    ),
    max_size=40,
).map("".join)
BY = ["paragraph", "sentence", "heading", "characters", "page"]


def split(text: Any, folder: Path = Path("nowhere"), **parameters: Any) -> dict[str, Any]:
    running: Any = text_split(folder)({"text": text, **parameters}, context_of())
    return asyncio.run(running)


def failure(text: Any, folder: Path = Path("nowhere"), **parameters: Any) -> Attempt:
    with pytest.raises(Attempt) as caught:
        split(text, folder, **parameters)
    assert not caught.value.failure.retryable
    return caught.value


@given(pieces, st.integers(1, 60), st.sampled_from(BY), st.data())
def test_every_part_is_the_slice_that_its_place_says_and_no_longer_than_asked(
    text: str, size: int, by: str, data: st.DataObject
):
    overlap = data.draw(st.integers(0, size // 2))

    result = split(text, size=size, overlap=overlap, by=by)

    places = result["places"]
    assert result["parts"] == [text[place["start"] : place["end"]] for place in places]
    assert [place["index"] for place in places] == list(range(result["count"]))
    assert all(0 < len(part) <= size and part == part.strip() for part in result["parts"])


@given(pieces, st.integers(1, 60), st.sampled_from(BY), st.data())
def test_all_of_the_text_but_its_whitespace_is_in_some_part(text: str, size: int, by: str, data: st.DataObject):
    overlap = data.draw(st.integers(0, size // 2))

    places = split(text, size=size, overlap=overlap, by=by)["places"]

    covered = {offset for place in places for offset in range(place["start"], place["end"])}
    assert all(text[offset].isspace() for offset in set(range(len(text))) - covered)
    assert all(a["start"] < b["start"] and a["end"] < b["end"] for a, b in itertools.pairwise(places))


@given(pieces, st.integers(1, 60), st.sampled_from(BY), st.data())
def test_a_part_begins_inside_a_word_only_where_the_word_is_longer_than_the_size(
    text: str, size: int, by: str, data: st.DataObject
):
    overlap = data.draw(st.integers(0, size // 2))

    for place in split(text, size=size, overlap=overlap, by=by)["places"]:
        start = place["start"]
        if start and not text[start - 1].isspace() and text[start - 1] not in "。！？｡」』）”’":
            word = text[:start].split()[-1] + text[start:].split()[0]
            assert len(word) > size or "#" in text[start : start + 8]


def test_an_overlap_that_leaves_no_room_for_the_next_word_is_left_out():
    text = "0 00000000000 00000000000000"

    parts = split(text, size=25, overlap=12)["parts"]

    assert parts == ["0 00000000000", "00000000000000"]


@given(pieces, st.integers(1, 60))
def test_without_overlap_no_character_is_in_two_parts(text: str, size: int):
    places = split(text, size=size)["places"]

    assert all(a["end"] <= b["start"] for a, b in itertools.pairwise(places))


def test_paragraphs_stay_whole_and_go_together_as_long_as_they_fit():
    paragraphs = [f"Paragraph {number} says this and that." for number in range(5)]

    parts = split("\n\n".join(paragraphs), size=80)["parts"]

    assert parts == ["\n\n".join(paragraphs[:2]), "\n\n".join(paragraphs[2:4]), paragraphs[4]]


def test_a_long_paragraph_is_divided_between_sentences_and_a_long_sentence_between_words():
    parts = split("First one here. Second one here. Third is a sentence without any end in sight", size=34)["parts"]

    assert parts == ["First one here. Second one here.", "Third is a sentence without any", "end in sight"]


def test_sentences_end_at_stops_and_not_at_abbreviations_or_inside_quotes():
    text = "He said “Stop.” Then he, i.e. the guard, left! 今日は晴れ。明日は雨。 Over"

    parts = split(text, size=30, by="sentence")["parts"]

    assert parts == ["He said “Stop.”", "Then he, i.e. the guard, left!", "今日は晴れ。明日は雨。 Over"]
    assert split("今日は晴れ。明日は雨。", size=7, by="sentence")["parts"] == ["今日は晴れ。", "明日は雨。"]


def test_sections_are_not_mixed_and_every_part_names_its_heading():
    result = split(MANUAL, by="heading")

    assert [place.get("heading") for place in result["places"]] == [None, "Pump", "Filter", "Cleaning"]
    assert [part.split("\n")[0] for part in result["parts"]] == [
        "Before the first heading.",
        *("# Pump", "## Filter ##", "Cleaning"),
    ]


def test_a_heading_stays_with_what_it_is_the_heading_of():
    text = "A first paragraph that is rather long, on the whole.\n\n# Heading\n\nIts text, which is long too."

    parts = split(text, size=64)["parts"]

    assert parts[1].startswith("# Heading\n\nIts text")


def test_pages_are_not_mixed_and_every_part_names_its_page():
    result = split("one\ftwo a. two b.\f\fthree", by="page", size=7)

    assert [(part, place["page"]) for part, place in zip(result["parts"], result["places"], strict=True)] == [
        ("one", 1),
        ("two a.", 2),
        ("two b.", 2),
        ("three", 4),
    ]


def test_an_overlap_repeats_the_end_of_the_part_before_from_a_word_on():
    parts = split("one two three four five six seven", size=14, overlap=6, by="characters")["parts"]

    assert parts == ["one two three", "three four", "four five six", "six seven"]


def test_a_letter_keeps_its_accent_when_a_word_is_cut():
    parts = split("e\u0301" * 10, size=5)["parts"]

    assert parts == ["e\u0301e\u0301"] * 5


def test_a_text_without_anything_to_say_has_no_parts():
    assert split(" \n\f\n ") == {"parts": [], "count": 0, "places": []}


@pytest.mark.parametrize("unit", [".", "\n", " ", "# ", "a ", "=", "(.", "\f", "。"])
def test_the_time_grows_with_the_text_and_not_with_its_square(unit: str):
    def seconds(length: int) -> float:
        text = (unit * length)[:length] + "x"
        began = time.process_time()
        split(text, size=2_000, overlap=100)
        return time.process_time() - began

    small, large = max(seconds(40_000), 0.01), seconds(400_000)

    assert large < 40 * small, f"{small:.3f} s became {large:.3f} s for a text ten times as long"


def test_a_file_value_is_read_from_the_state_folder(tmp_path: Path):
    key = hashlib.sha256(b"whatever").hexdigest()
    (tmp_path / "files" / key[:2]).mkdir(parents=True)
    (tmp_path / "files" / key[:2] / key).write_text("Grüße.\n\nEnde.", encoding="utf-8")

    result = split({"$file": key, "name": "letter.txt", "size": 1, "media_type": "text/plain"}, tmp_path, size=8)

    assert result["parts"] == ["Grüße.", "Ende."]


@pytest.mark.parametrize("key", ["../../secrets", "A" * 64, "a" * 63, "a" * 64 + "\n", 7, None, "/" * 64])
def test_a_file_value_whose_key_is_no_digest_is_refused(key: object, tmp_path: Path):
    assert "64 hexadecimal digits" in failure({"$file": key}, tmp_path).message


def test_a_file_value_without_its_bytes_says_so(tmp_path: Path):
    error = failure({"$file": "a" * 64, "name": "lost.txt"}, tmp_path)

    assert error.failure.code == "file_missing"
    assert "lost.txt" in error.message


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"size": 0}, "size to be a whole number from 1"),
        ({"size": True}, "got True"),
        ({"size": 10, "overlap": 6}, "from 0 to 5 (half of size)"),
        ({"by": "verse"}, "by to be one of paragraph"),
        ({"sise": 3}, "got sise"),
        ({"text": 5}, "a text or a file value, got int"),
        ({"text": "x" * (PARTS_MAX + 1), "size": 1}, "set a larger size"),
    ],
)
def test_what_cannot_be_is_refused_with_its_value(parameters: dict[str, Any], says: str):
    assert says in failure(**{"text": "some text", **parameters}).message
