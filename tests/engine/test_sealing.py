"""What is sealed can be opened by whoever has the key and knows what it is, and by nobody else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headgate.core.errors import Invalid
from headgate.engine.sealing import KEY_BYTES, SealBroken, Sealer, WrongKey, new_key, sealer_of

OLD, NEW = bytes(KEY_BYTES), bytes([1]) * KEY_BYTES


def test_what_is_sealed_is_unreadable_and_opens_to_what_it_was():
    sealed = Sealer(NEW).seal(b"the secret", "secret acme/mail")

    assert b"secret" not in sealed
    assert Sealer(NEW).open(sealed, "secret acme/mail") == b"the secret"


def test_the_same_value_is_never_sealed_to_the_same_bytes():
    sealer = Sealer(NEW)

    assert sealer.seal(b"a", "x") != sealer.seal(b"a", "x")


def test_a_sealed_value_does_not_open_in_the_place_of_another():
    sealed = Sealer(NEW).seal(b"a", "secret acme/mail")

    with pytest.raises(SealBroken, match="secret other/mail"):
        Sealer(NEW).open(sealed, "secret other/mail")


@pytest.mark.parametrize("at", [0, 9, 20, -1])
def test_a_value_that_was_changed_anywhere_does_not_open(at: int):
    sealed = bytearray(Sealer(NEW).seal(b"a", "x"))
    sealed[at] ^= 1

    with pytest.raises(SealBroken):
        Sealer(NEW).open(bytes(sealed), "x")


@pytest.mark.parametrize("text", [b"", b"plain", b"\x01" * 21])
def test_what_was_never_sealed_does_not_open(text: bytes):
    with pytest.raises(SealBroken):
        Sealer(NEW).open(text, "x")


def test_another_key_opens_nothing_and_says_which_is_needed():
    sealed = Sealer(OLD).seal(b"a", "x")

    with pytest.raises(WrongKey, match=r"sealed with the key \w{16}; here is \w{16}\. Add that key"):
        Sealer(NEW).open(sealed, "x")


def test_an_older_key_opens_what_it_sealed_and_seals_nothing_more():
    both = Sealer(NEW, OLD)
    old = Sealer(OLD).seal(b"a", "x")

    assert both.open(old, "x") == b"a"
    assert (both.is_current(old), both.is_current(both.seal(b"a", "x"))) == (False, True)
    assert Sealer(NEW).open(both.seal(b"b", "x"), "x") == b"b"


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path):
    folder = tmp_path / "state"
    sealed = sealer_of({}, folder).seal(b"a", "x")

    assert sealer_of({}, folder).open(sealed, "x") == b"a"
    assert (folder / "key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == ["key"]


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_key_that_others_may_read_is_refused(tmp_path: Path):
    sealer_of({}, tmp_path)
    (tmp_path / "key").chmod(0o640)

    with pytest.raises(Invalid, match="chmod 600"):
        sealer_of({}, tmp_path)


def test_the_environment_wins_and_may_hold_the_key_before_this_one(tmp_path: Path):
    first, second = new_key(), new_key()
    old = sealer_of({"HEADGATE_KEY": first}, tmp_path).seal(b"a", "x")

    assert sealer_of({"HEADGATE_KEY": f"{second}, {first}"}, tmp_path).open(old, "x") == b"a"
    assert list(tmp_path.iterdir()) == []


def test_a_key_in_the_letters_of_urls_is_the_same_key():
    key = bytes([255]) * KEY_BYTES
    standard = "/" * 42 + "8="

    sealed = sealer_of({"HEADGATE_KEY": standard}, None).seal(b"a", "x")

    assert sealer_of({"HEADGATE_KEY": standard.replace("/", "_")}, None).open(sealed, "x") == b"a"
    assert Sealer(key).open(sealed, "x") == b"a"


def test_a_shared_database_needs_the_key_given():
    with pytest.raises(Invalid, match=r"HEADGATE_KEY is not set.*openssl rand"):
        sealer_of({}, None)


@pytest.mark.parametrize("text", ["short", "!" * 44, "A" * 40, ",".join([new_key()] * 9)])
def test_what_is_no_key_is_refused_without_showing_it(text: str):
    with pytest.raises(Invalid) as found:
        sealer_of({"HEADGATE_KEY": text}, None)

    assert "HEADGATE_KEY: expected" in found.value.message
    assert text not in found.value.message
