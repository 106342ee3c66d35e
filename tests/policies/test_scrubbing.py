"""Placeholders and the way back: whatever is found, in whatever pieces and forms, with a detector that a test can see
through (words that begin with `secret` are what must not leave)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.values import Usage
from headgate.policies.placeholders import PLACEHOLDER, Vault, is_placeholder
from headgate.policies.scrubber import CLEAN_MAX, Scrubber, Span
from headgate.policies.scrubbing import Scrubs
from headgate.policies.text_filters import KEPT_MAX, Restoring, Scrubbing
from headgate.ports import Allow, Message, ModelAnswer, ModelRequest, Modify, PolicyCall, Thought, ToolCall

KEY = bytes(range(32))
WORD = re.compile(r"secret[0-9]{2,6}(?![0-9])")


def words(text: str) -> Iterable[Span]:
    return [Span(found.start(), found.end(), "word") for found in WORD.finditer(text)]


def scrubber() -> Scrubber:
    return Scrubber(words, KEY)


pieces = st.lists(
    st.sampled_from(
        ["secret123", "secret45", "secret", "123", " ", "\n", "<", ">", "WORD_", "<WORD_", "é", "１", "%40", "=", "abc"]
    )
    | st.text(max_size=5)
)
texts = pieces.map("".join)


def cut(text: str, lengths: list[int]) -> list[str]:
    found: list[str] = []
    for length in lengths:
        found.append(text[:length])
        text = text[length:]
    return [*found, text]


# --- Placeholders ---------------------------------------------------------------------------------------


def test_a_value_has_one_placeholder_all_through_a_run_and_another_in_the_next():
    first, again, elsewhere = Vault(KEY), Vault(KEY), Vault(b"another run's")

    assert re.fullmatch(r"<EMAIL_[0-9a-f]{12}>", first.placeholder("email", "a@b.co"))
    assert first.placeholder("email", "a@b.co") == again.placeholder("email", "a@b.co")
    assert first.placeholder("email", "a@b.co") != first.placeholder("email", "a@c.co")
    assert first.placeholder("email", "a@b.co") != elsewhere.placeholder("email", "a@b.co")


def test_no_two_values_share_a_placeholder_even_where_their_digests_do(monkeypatch: pytest.MonkeyPatch):
    made = Vault._made

    def crowded(self: Vault, kind: str, value: str, number: int) -> str:
        return made(self, kind, str(int(value) % 3), number)

    monkeypatch.setattr(Vault, "_made", crowded)
    vault = Vault(KEY)

    placeholders = [vault.placeholder("phone", str(number)) for number in range(30)]

    assert len(set(placeholders)) == 30
    assert [vault.restored(placeholder) for placeholder in placeholders] == [str(number) for number in range(30)]


def test_a_placeholder_is_known_wherever_it_comes_from_and_nothing_else_is():
    theirs = Vault(b"another run's").placeholder("phone", "1")

    assert is_placeholder(theirs)
    assert not is_placeholder("<PHONE_491701234567>")
    assert not is_placeholder(theirs.replace("PHONE", "EMAIL"))


def test_what_is_scrubbed_already_stays_as_it_is():
    once = scrubber().scrubbed("a secret123 b")

    assert scrubber().scrubbed(once) == once
    assert Scrubber(words, b"another").scrubbed(once) == once


# --- There and back -------------------------------------------------------------------------------------


@given(texts)
def test_what_was_scrubbed_can_be_restored_whole(text: str):
    one = scrubber()

    scrubbed = one.scrubbed(text)

    assert WORD.search(scrubbed) is None
    assert one.vault.restored(scrubbed) == text


@given(texts, st.lists(st.integers(0, 9)))
def test_a_stream_is_restored_as_the_whole_is_wherever_it_is_cut(text: str, lengths: list[int]):
    one = scrubber()
    scrubbed = one.scrubbed(text)
    restoring = Restoring(one.vault.restored)

    said = "".join(restoring.add(piece) for piece in cut(scrubbed, lengths)) + restoring.rest()

    assert said == text


@given(pieces.map(lambda found: "".join(found * 20)), st.lists(st.integers(0, 50), max_size=60))
def test_a_stream_is_scrubbed_as_the_whole_is_wherever_it_is_cut(text: str, lengths: list[int]):
    scrubbing = Scrubbing(scrubber())

    said = "".join(scrubbing.add(piece) for piece in cut(text, lengths)) + scrubbing.rest()

    assert said == scrubber().scrubbed(text)


def test_a_stream_lets_go_of_what_is_certain_and_never_keeps_more_than_its_most():
    scrubbing, kept = Scrubbing(scrubber()), 0

    for _ in range(3_000):
        scrubbing.add("quiet ")
        kept = max(kept, len(scrubbing._text))
    assert kept < 400
    for _ in range(3_000):
        scrubbing.add("x" * 20)  # an unbroken run
        kept = max(kept, len(scrubbing._text))
    assert kept <= 2 * KEPT_MAX + 200


def test_restoring_holds_back_no_more_than_the_beginning_of_a_placeholder():
    one = scrubber()
    placeholder = one.scrubbed("secret123")
    restoring = Restoring(one.vault.restored)

    assert restoring.add("so ") == "so "
    assert restoring.add("a < b") == "a < b"
    assert restoring.add(placeholder[:9]) == ""
    assert restoring.add(placeholder[9:]) == "secret123"
    assert restoring.add("<WORD_no") == "<WORD_no"


# --- Forms ----------------------------------------------------------------------------------------------


def full_width(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


FORMS = {
    "full width": full_width,
    "no width": "\u200b".join,
    "soft hyphens": "\u00ad".join,
    "word joiners": "\u2060".join,
    "a URL": lambda text: "".join(f"%{ord(c):02x}" for c in text),
    "a URL twice": lambda text: quote(quote("".join(f"%{ord(c):02X}" for c in text))),
    "entities": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "hexadecimal entities": lambda text: "".join(f"&#x{ord(c):x};" for c in text),
    "escapes": lambda text: "".join(f"\\u{ord(c):04x}" for c in text),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for URLs": lambda text: base64.urlsafe_b64encode(f"{text}?>~".encode()).decode(),
    "base64 of a part": lambda text: base64.b64encode(f"he says {text} to me".encode()).decode()[2:],
    "base64 twice": lambda text: base64.b64encode(base64.b64encode(text.encode())).decode(),
    "base64 in lines": lambda text: base64.encodebytes(f"{'to whom it may concern, ' * 5}{text}".encode()).decode(),
    "base64 in a URL": lambda text: f"https://x.y/?q={quote(base64.b64encode(text.encode()).decode())}&b=1",
    "hexadecimal": lambda text: text.encode().hex(),
    "full width in base64": lambda text: base64.b64encode(full_width(text).encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("around", ["{}", "so {} it is", "a={};b", "[{}]\n", "é {} é"])
def test_what_stands_there_in_another_form_is_found_and_comes_back(form: Any, around: str):
    hidden = form("secret1234")
    text = around.format(hidden)
    one = scrubber()

    scrubbed = one.scrubbed(text)

    assert sum(one.counts.values()) >= 1
    assert hidden.strip() not in scrubbed
    assert one.vault.restored(scrubbed) == text


def test_words_and_numbers_that_are_no_base64_stay():
    text = "Internationalisation, 20260131T120000Z, /usr/local/lib/python3/site-packages and d41d8cd98f00b204e9800998"

    assert scrubber().scrubbed(text) == text


# --- Requests and answers -------------------------------------------------------------------------------


def request(**fields: Any) -> ModelRequest:
    return ModelRequest(model="", **{"messages": (Message("user", "hello"),), **fields})


SECRET = "secret123"
EVERYWHERE = request(
    messages=(
        Message("system", f"You know {SECRET}."),
        Message("user", SECRET, images=(f"https://x.y/{SECRET}",)),
        Message("assistant", "", tool_calls=(ToolCall("1", "look", {SECRET: [{"a": SECRET}]}),)),
        Message("tool", f"found {SECRET}", tool_call_id="1"),
    ),
    stop_sequences=(SECRET,),
    response_schema={"type": "object", "properties": {"a": {"description": SECRET}}},
    tools=({"name": "look", "description": f"looks for {SECRET}"},),
    tool_choice={"name": SECRET},
    extra={"user": SECRET, "metadata": {"ids": [SECRET]}},
)


def test_every_text_of_a_request_is_scrubbed():
    decision = Scrubs("secrets", words, KEY).on_request(PolicyCall(request=EVERYWHERE, models=()))

    assert isinstance(decision, Modify)
    written = msgspec.json.encode(decision.changed).decode()
    assert SECRET not in written
    assert len(PLACEHOLDER.findall(written)) == 12
    assert decision.details == {"word": 12}


def test_an_answer_gets_back_what_it_names_and_what_a_tool_is_to_be_given():
    policy = Scrubs("secrets", words, KEY)
    call = PolicyCall(request=EVERYWHERE, models=())
    decision = policy.on_request(call)
    assert isinstance(decision, Modify)
    assert isinstance(decision.changed, ModelRequest)
    placeholder = decision.changed.messages[1].content
    answer = ModelAnswer(
        content=f"It is {placeholder}.",
        model="m",
        usage=Usage(),
        tool_calls=(ToolCall("1", "look", {"a": [placeholder]}),),
        reasoning=placeholder,
    )

    back = policy.on_answer(call, answer)

    assert isinstance(back, Modify)
    assert back.changed == msgspec.structs.replace(
        answer,
        content="It is secret123.",
        tool_calls=(ToolCall("1", "look", {"a": ["secret123"]}),),
        reasoning="secret123",
    )


def test_json_stays_json_when_what_comes_back_has_quotes_in_it():
    quoted = re.compile(r'"secret\n"')
    policy = Scrubs("s", lambda text: [Span(f.start(), f.end(), "word") for f in quoted.finditer(text)], KEY)
    call = PolicyCall(request=request(messages=(Message("user", 'a "secret\n" b'),)), models=())
    decision = policy.on_request(call)
    assert isinstance(decision, Modify)
    assert isinstance(decision.changed, ModelRequest)
    placeholder = decision.changed.messages[0].content[2:-2]

    back = policy.on_answer(call, ModelAnswer(content=f'{{"a": "{placeholder}"}}', model="m", usage=Usage()))

    assert isinstance(back, Modify)
    assert isinstance(back.changed, ModelAnswer)
    assert msgspec.json.decode(back.changed.content) == {"a": '"secret\n"'}


def test_without_restoring_an_answer_keeps_its_placeholders_and_loses_what_the_model_makes_up():
    policy = Scrubs("secrets", words, KEY, restore=False)
    call = PolicyCall(request=EVERYWHERE, models=())
    policy.on_request(call)
    answer = ModelAnswer(content="Perhaps secret99?", model="m", usage=Usage())

    back = policy.on_answer(call, answer)

    assert isinstance(back, Modify)
    assert isinstance(back.changed, ModelAnswer)
    assert PLACEHOLDER.search(back.changed.content) is not None
    assert "secret99" not in back.changed.content


@pytest.mark.parametrize("restore", [True, False])
def test_thinking_that_would_have_to_be_changed_is_left_out_for_its_seal_would_break(restore: bool):
    policy = Scrubs("secrets", words, KEY, restore=restore)
    open_, closed = (Thought(provider="lab", seal="secret777", text=text) for text in ("of secret123", "of the moon"))
    message = Message("assistant", "x", thoughts=(open_, closed))
    call = PolicyCall(request=request(messages=(message, Message("user", "secret123"))), models=())

    decision = policy.on_request(call)
    answered = policy.on_answer(call, ModelAnswer(content="x", model="m", usage=Usage(), thoughts=(open_, closed)))

    assert isinstance(decision, Modify)
    assert isinstance(decision.changed, ModelRequest)
    assert decision.changed.messages[0].thoughts == (closed,)
    if restore:  # the model was told placeholders, and thought in them
        assert isinstance(answered, Allow)
    else:
        assert isinstance(answered, Modify)
        assert isinstance(answered.changed, ModelAnswer)
        assert answered.changed.thoughts == (closed,)


def test_a_short_text_with_nothing_in_it_is_looked_at_once_and_still_loses_what_is_known_later():
    looked_at: list[str] = []
    one = Scrubber(lambda text: looked_at.append(text) or (words(text) if "it is" in text else []), KEY)

    before = [one.scrubbed("so secret123"), one.scrubbed("so secret123")]
    one.scrubbed("it is secret123")

    assert before == ["so secret123"] * 2
    assert looked_at == ["so secret123", "it is secret123"]
    assert "secret123" not in one.scrubbed("so secret123")


def test_no_more_short_texts_are_remembered_than_the_most():
    one = Scrubber(words, KEY)

    for number in range(CLEAN_MAX + 100):
        one.scrubbed(f"nothing {number}")

    assert len(one._clean) == CLEAN_MAX
    assert "secret123" not in one.scrubbed("so secret123")


def test_nothing_found_is_allowed():
    assert Scrubs("secrets", words, KEY).on_request(PolicyCall(request=request(), models=())) == Allow()


def test_numbers_that_are_found_become_texts():
    digits = Scrubber(lambda text: [Span(0, len(text), "phone")] if text.isdigit() else [], KEY)

    value = digits.scrubbed_value({"a": 4915112345678, "b": 12, "c": True, "d": 1.5})

    assert PLACEHOLDER.fullmatch(value["a"])
    assert (value["b"], value["c"], value["d"]) == (12, True, 1.5)
    assert digits.restored_value(value)["a"] == "4915112345678"


@pytest.mark.parametrize("length", [1, 3, 7, 50])
def test_what_goes_on_over_many_pieces_is_not_cut_in_two(length: int):
    grouped = re.compile(r"secret(?: [0-9]{2}){1,60}")
    one = Scrubber(lambda text: [Span(f.start(), f.end(), "word") for f in grouped.finditer(text)], KEY)
    text = "quiet " * 40 + "secret" + " 12" * 50 + " and " + "quiet " * 40
    scrubbing = Scrubbing(one)

    said = "".join(scrubbing.add(text[at : at + length]) for at in range(0, len(text), length)) + scrubbing.rest()

    assert said == one.scrubbed(text)
    assert " 12" not in said
