"""Ids of runs as UUIDs: every one comes back as it was, and a UUID is one to everybody who checks."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.core.run_ids import RUN_ID_BITS, as_run_id, run_id_of, uuid_of, uuid_parts
from headgate.engine.start import new_run_id

numbers = st.integers(0, (1 << RUN_ID_BITS) - 1)
versions = st.integers(0, (1 << 22) - 1)


@given(numbers, versions)
def test_run_and_version_come_back_from_their_uuid(number: int, version: int):
    run_id = run_id_of(number)

    text = uuid_of(run_id, version)

    read = uuid.UUID(text)
    assert (read.version, read.variant, str(read)) == (8, uuid.RFC_4122, text)
    assert uuid_parts(text) == uuid_parts(text.upper()) == (run_id, version)


@given(numbers, numbers, versions, versions)
def test_different_ones_have_different_uuids(one: int, other: int, first: int, second: int):
    same = (one, first) == (other, second)

    assert (uuid_of(run_id_of(one), first) == uuid_of(run_id_of(other), second)) is same


def test_the_layout_is_kept_for_good():
    """A worker may hold a UUID over a release, and a file's address for years."""
    assert uuid_of("0123456789abcdefghjk", 7) == "00443214-c742-854b-98d7-3e1194c00007"
    assert uuid_of("zzzzzzzzzzzzzzzzzzzz") == "ffffffff-ffff-8fff-bfff-ffffffc00000"
    assert uuid_of("00000000000000000000") == "00000000-0000-8000-8000-000000000000"


@pytest.mark.parametrize("run_id", ["run-1", "", "i" * 20, "0" * 19, "0" * 21, "0" * 19 + "\n", "A" * 20])
def test_an_id_that_we_do_not_draw_has_none(run_id: str):
    assert uuid_of(run_id) == ""


def test_an_event_beyond_four_million_has_none():
    run_id = new_run_id()

    assert uuid_parts(uuid_of(run_id, (1 << 22) - 1)) == (run_id, (1 << 22) - 1)
    assert uuid_of(run_id, 1 << 22) == ""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0123456789abcdefghjk",
        "00000000-0000-0000-0000-000000000000",
        "7c587b92-ecb9-4374-974e-cffa9b769cf2",
        "00000000-0000-8000-c000-000000000000",
    ],
)
def test_another_text_is_no_uuid_of_ours(text: str):
    assert uuid_parts(text) is None
    assert as_run_id(text) == text


def test_a_uuid_of_an_attempt_is_no_run():
    run_id = new_run_id()

    assert as_run_id(uuid_of(run_id)) == run_id
    assert as_run_id(uuid_of(run_id, 3)) == uuid_of(run_id, 3)
