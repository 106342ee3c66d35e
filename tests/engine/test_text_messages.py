"""What nodes say to each other of texts: short enough, and the same when it comes in parts."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from headgate.engine.text_messages import Passed, Wanted, message_in, messages_of, wishes_of
from headgate.ports import MESSAGE_BYTES_MAX, Tokens


@given(st.text(alphabet='a\x00"二🦉', max_size=50), st.integers(1, 400))
def test_a_text_comes_in_parts_that_are_short_enough_and_follow_each_other(text: str, times: int):
    said = list(messages_of(Passed("run", Tokens("p", 3, 10, text * times, 2, "other"))))

    chunks = [message_in(one).chunk for one in said]

    assert all(len(one.encode()) <= MESSAGE_BYTES_MAX for one in said)
    assert "".join(chunk.text for chunk in chunks) == text * times
    for before, after in pairwise(chunks):
        assert after.offset == before.after.offset


def test_a_thousand_runs_are_named_each_once_in_messages_that_are_short_enough():
    runs = {f"{'ü' * 50}{number}": number for number in range(1_000)}
    gone = [f'gone "{number}"' for number in range(1_000)]

    said = list(wishes_of("node", runs, gone))

    messages = [message_in(one) for one in said]
    assert all(len(one.encode()) <= MESSAGE_BYTES_MAX for one in said)
    assert all(isinstance(one, Wanted) and one.node == "node" for one in messages)
    assert [pair for one in messages for pair in one.runs.items()] == list(runs.items())
    assert [run for one in messages for run in one.dropped] == gone


def test_what_another_release_or_a_stranger_says_is_no_message():
    assert message_in('{"type": "greetings"}') is None
    assert message_in("hello") is None
