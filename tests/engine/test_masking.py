"""Secrets cut out of texts: in every form in which programs write them, in pieces, and of whoever reports."""

from __future__ import annotations

import base64
import html
import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.values import Failure
from headgate.engine.masking import MaskedStream, masked
from headgate.llm.scripted import ScriptedProvider
from headgate.ports import Completed, Failed

SECRET = 'k/7"Q\\2wé+v 9L'
NESTED = json.dumps({"body": json.dumps({"token": SECRET})})


FORMS = (
    *(SECRET, json.dumps(SECRET), json.dumps(SECRET, ensure_ascii=False), repr(SECRET), NESTED),
    *(quote(SECRET, safe=""), quote(SECRET), quote_plus(SECRET), html.escape(SECRET)),
    *(SECRET.encode().hex(), SECRET.encode().hex().upper()),
)


@pytest.mark.parametrize("text", FORMS)
def test_a_secret_is_masked_however_it_is_written(text: str):
    out, fields = masked([f"before {text} after", {f"<{text}>": [text]}], (SECRET,))

    assert "7" not in json.dumps(fields)
    assert out.startswith("before ")
    assert out.endswith(" after")
    assert "[secret]" in out
    assert "7" not in out.replace("[secret]", "")


@pytest.mark.parametrize("before", ["", "x", "xy", "user:"])
def test_a_secret_is_masked_inside_of_what_base64_has_taken_up(before: str):
    encoded = base64.b64encode(f"{before}{SECRET} and more".encode()).decode()

    out = masked(encoded, (SECRET,))

    assert "[secret]" in out
    assert len(out) < len(encoded)


def test_each_line_of_a_secret_of_many_is_masked_and_short_words_in_it_are_not():
    key = "-----BEGIN-----\nMIIEvQIBADANB\nend\n"

    assert masked("got MIIEvQIBADANB", (key,)) == "got [secret]"
    assert masked("the end", (key,)) == "the end"


def test_a_value_too_short_to_be_told_from_a_word_is_left_alone():
    assert masked("abc is abc", ("abc",)) == "abc is abc"
    assert masked("abcd is 61626364", ("abcd",)) == "[secret] is 61626364"


def test_a_secret_that_is_a_part_of_another_does_not_cut_it_in_two():
    assert masked("first-and-second", ("first", "first-and-second")) == "[secret]"


@given(st.text("ab", max_size=8), st.lists(st.integers(1, 9), max_size=30), st.integers(0, 3))
def test_a_stream_says_the_same_as_the_whole_text_however_it_is_cut(around: str, cuts: list[int], times: int):
    secret = "abba-baab-abab"
    whole = around.join([secret] * times + [around, ""])
    stream, said, rest = MaskedStream((secret,)), "", whole
    for cut in cuts:
        said += stream.add(rest[:cut])
        rest = rest[cut:]
    said += stream.add(rest) + stream.rest()

    assert said == masked(whole, (secret,))
    assert secret not in said


def test_tokens_that_are_shown_while_they_come_hold_no_secret(play: Any):
    told: list[str] = []

    async def scene(bench: Any) -> None:
        publish = bench.app.streams.publish
        bench.app.streams.publish = lambda run, place, epoch, text: (
            told.append(text),
            publish(run, place, epoch, text),
        )
        run_id = await bench.start(
            "name: w\nactivities: {a: {use: llm_prompt, streaming: true, with: {model: scripted/m, prompt: "
            "'{{ SECRET.word }}'}}}"
        )
        await bench.finished(run_id)
        assert (await bench.output(run_id, "a"))["content"].startswith("I was told [secret]")

    spoken = "I was told open sesame now, and " + "much more " * 30
    play(
        scene,
        environment={"HEADGATE_SECRET_WORD": "open sesame now"},
        scripted=ScriptedProvider({"m": [{"text": spoken}]}),
    )

    assert "I was told [secret]" in "".join(told)
    assert "sesame" not in "".join(told)


@pytest.mark.parametrize("kind", ["completed", "failed"])
def test_the_report_of_a_claim_that_another_process_handed_out_is_masked_too(play: Any, kind: str):
    async def scene(bench: Any) -> None:
        run_id = await bench.start("name: w\nactivities: {a: {use: theirs, worker: outside}}")
        (task,) = await bench.app.protocol.poll(["outside"], worker_id="w", count=1, wait_seconds=10)
        bench.app.protocol._held.clear()
        said = "I hold xyzzy-plugh"
        report = (
            Completed(task.activity_id, said) if kind == "completed" else Failed(task.activity_id, Failure("x", said))
        )
        await bench.app.protocol.report([report], worker_id="w")
        await bench.finished(run_id)
        assert b"plugh" not in await bench.stored(run_id)

    play(scene, environment={"HEADGATE_SECRET_WORD": "xyzzy-plugh"}, work=False)
