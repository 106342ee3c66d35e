"""People log in with a password, and may what their role says, as long as nothing about them changes."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from headgate.api.auth import login_attempts, passwords
from headgate.api.auth.login_attempts import FAILURES_BY_ADDRESS_MAX, FAILURES_BY_NAME_AND_ADDRESS_MAX
from headgate.api.auth.users import ROLES
from headgate.api.caller import Caller, Forbidden, TooMany, Unauthorized
from headgate.core.errors import Invalid, NotFound, Refused

PASSWORD = "correct horse battery"


async def ann(house: Any, role: str = "operator") -> str:
    """Make the user ann; return a session's token of hers."""
    await house.auth.users.create("default", "ann", role, PASSWORD, by="test")
    return (await house.auth.log_in("ann", PASSWORD))[1].access_token


def test_a_user_logs_in_and_may_what_the_role_says(play: Any):
    async def scene(house: Any) -> None:
        caller = await house.asks(await ann(house, "approver"))

        assert (caller.actor, caller.tenant) == ("user:ann", "default")
        assert caller.may("approvals")
        assert not caller.may("runs:write")

    play(scene)


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("viewer", ("runs:read",), ("approvals", "runs:write", "definitions:write", "workers", "admin")),
        ("approver", ("runs:read", "approvals"), ("runs:write", "definitions:write", "workers", "admin")),
        ("operator", ("runs:read", "approvals", "runs:write", "definitions:write"), ("workers", "admin")),
        ("admin", ("runs:read", "approvals", "runs:write", "definitions:write", "workers", "admin"), ()),
    ],
)
def test_each_role_may_what_it_says_and_no_more(role: Any, may: tuple[Any, ...], may_not: tuple[Any, ...]):
    caller = Caller(scopes=ROLES[role])

    assert [scope for scope in may if not caller.may(scope)] == []
    assert [scope for scope in may_not if caller.may(scope)] == []
    for scope in may_not:
        with pytest.raises(Forbidden):
            caller.require(scope)


def test_whoever_may_change_runs_may_decide_their_approvals():
    assert Caller(scopes=frozenset({"runs:write"})).may("approvals")
    assert not Caller(scopes=frozenset({"approvals"})).may("runs:write")


@pytest.mark.parametrize("login", ["ann", "nobody", "acme/ann", ""])
def test_a_wrong_name_or_password_is_refused_in_the_same_words(login: str, play: Any):
    async def scene(house: Any) -> None:
        await ann(house)

        with pytest.raises(Unauthorized, match=r"^No user has this name and this password\.$"):
            await house.auth.log_in(login, PASSWORD + "x")

    play(scene)


def test_whether_there_is_such_a_user_does_not_show_in_what_is_computed(play: Any, monkeypatch: pytest.MonkeyPatch):
    computed: list[str] = []
    verify = passwords._verify

    def counted(password: str, kept: str) -> bool:
        computed.append(kept.partition("$v=")[0])
        return verify(password, kept)

    monkeypatch.setattr(passwords, "_verify", counted)

    async def scene(house: Any) -> None:
        await ann(house)
        for login in ("ann", "nobody"):
            with pytest.raises(Unauthorized):
                await house.auth.log_in(login, "wrong" * 4)

        assert computed == ["$argon2id"] * 3, "once for each login, also for nobody's"

    play(scene)


def test_a_password_is_kept_as_an_argon2id_hash_only(play: Any):
    async def scene(house: Any) -> None:
        await ann(house)

        (document,) = await house.documents.list("user")

        assert b"$argon2id$v=19$m=19456,t=2,p=1$" in document.body
        assert PASSWORD.encode() not in document.body

    play(scene)


@pytest.mark.parametrize("change", ["role", "password", "disable"])
def test_a_change_ends_the_sessions_of_a_user(change: str, play: Any):
    async def scene(house: Any) -> None:
        token, users = await ann(house), house.auth.users
        await house.asks(token)

        if change == "role":
            await users.set_role("default", "ann", "viewer", by="test")
        elif change == "password":
            await users.set_password("default", "ann", "another good one", by="test")
        else:
            await users.disable("default", "ann", by="test")

        with pytest.raises(Unauthorized):
            await house.asks(token)

    play(scene)


def test_who_is_disabled_cannot_log_in_until_enabled_and_old_sessions_stay_ended(play: Any):
    async def scene(house: Any) -> None:
        token = await ann(house)
        await house.auth.users.disable("default", "ann", by="test")
        with pytest.raises(Unauthorized):
            await house.auth.log_in("ann", PASSWORD)

        await house.auth.users.enable("default", "ann", by="test")

        assert (await house.auth.log_in("ann", PASSWORD))[0].name == "ann"
        with pytest.raises(Unauthorized):
            await house.asks(token)

    play(scene)


def test_what_cannot_be_a_user_is_refused(play: Any):
    async def scene(house: Any) -> None:
        users = house.auth.users
        await ann(house)
        with pytest.raises(Invalid, match="12 to"):
            await users.create("default", "ben", "viewer", "short", by="test")
        with pytest.raises(Invalid, match="no role 'boss'; there are viewer, approver, operator, admin"):
            await users.create("default", "ben", "boss", PASSWORD, by="test")
        with pytest.raises(Invalid, match="name of a user"):
            await users.create("default", "Ben B", "viewer", PASSWORD, by="test")
        with pytest.raises(Refused, match="already"):
            await users.create("default", "ann", "viewer", PASSWORD, by="test")
        with pytest.raises(NotFound):
            await users.set_role("acme", "ann", "admin", by="test")

    play(scene)


def test_hashes_are_computed_a_few_at_a_time_and_not_too_many_wait(play: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(passwords, "WAITING_MAX", 3)

    async def scene(house: Any) -> None:
        logins = [house.auth.log_in("nobody", "x", address=str(n)) for n in range(8)]

        ended = await asyncio.gather(*logins, return_exceptions=True)

        assert sorted(type(error).__name__ for error in ended) == ["InvalidClient"] * 3 + ["TooMany"] * 5

    play(scene)


def test_passwords_are_hashed_in_few_threads_however_many_the_process_has(monkeypatch: pytest.MonkeyPatch):
    """What a thread has once used the C library keeps for it: 19 MiB each."""
    used: set[str] = set()
    monkeypatch.setattr(passwords, "_verify", lambda *_: bool(used.add(threading.current_thread().name)))

    async def scene() -> None:
        ours = passwords.Passwords()
        await asyncio.gather(*(ours.verify("x", "kept") for _ in range(20)))

    asyncio.run(scene())

    assert used
    assert used <= {f"headgate-password_{number}" for number in range(passwords.HASHES_MAX)}


# --- Too many failures ---------------------------------------------------------------------------------------------


async def fail(house: Any, name: str = "billing", address: str = "10.0.0.1") -> None:
    with pytest.raises(Unauthorized):
        await house.auth.token_for_client(name, "wrong", address=address)


def test_after_a_few_failures_a_client_waits_also_with_the_right_secret(play: Any):
    async def scene(house: Any) -> None:
        secret = await house.client()
        for _ in range(FAILURES_BY_NAME_AND_ADDRESS_MAX):
            await fail(house)
        house.clock.pass_by(20)

        with pytest.raises(TooMany) as found:
            await house.auth.token_for_client("billing", secret, address="10.0.0.1")

        assert found.value.retry_after_seconds == 40
        await house.auth.token_for_client("billing", secret, address="10.0.0.2")
        house.clock.pass_by(40)
        await house.auth.token_for_client("billing", secret, address="10.0.0.1")

    play(scene)


def test_an_address_that_tries_many_names_waits(play: Any):
    async def scene(house: Any) -> None:
        for n in range(FAILURES_BY_ADDRESS_MAX):
            await fail(house, f"client-{n}")

        with pytest.raises(TooMany):
            await house.auth.token_for_client("one-more", "wrong", address="10.0.0.1")
        await fail(house, "one-more", "10.0.0.2")

    play(scene)


@pytest.mark.parametrize(
    ("first", "last", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("10.0.0.1", "::ffff:10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
    ],
)
def test_whoever_has_a_net_of_ipv6_addresses_has_one_place(first: str, last: str, same: bool, play: Any):
    async def scene(house: Any) -> None:
        for n in range(FAILURES_BY_ADDRESS_MAX):
            await fail(house, f"client-{n}", first)

        with pytest.raises(TooMany if same else Unauthorized):
            await house.auth.token_for_client("one-more", "wrong", address=last)

    play(scene)


def test_a_name_that_is_tried_from_many_addresses_waits(play: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(login_attempts, "FAILURES_BY_NAME_MAX", 10)

    async def scene(house: Any) -> None:
        for n in range(10):
            await fail(house, address=f"10.0.0.{n}")

        with pytest.raises(TooMany):
            await house.auth.token_for_client("billing", "wrong", address="10.0.1.1")

    play(scene)


def test_logins_that_succeed_do_not_count(play: Any):
    async def scene(house: Any) -> None:
        secret = await house.client()

        for _ in range(FAILURES_BY_ADDRESS_MAX * 2):
            await house.auth.token_for_client("billing", secret, address="10.0.0.1")

        await fail(house)

    play(scene)


def test_many_attempts_at_once_are_no_way_around(play: Any):
    async def scene(house: Any) -> None:
        await ann(house)
        logins = [house.auth.log_in("ann", f"wrong {n}", address="10.0.0.1") for n in range(20)]

        ended = await asyncio.gather(*logins, return_exceptions=True)

        assert sum(isinstance(error, Unauthorized) for error in ended) == FAILURES_BY_NAME_AND_ADDRESS_MAX

    play(scene)


def test_of_many_that_log_in_at_once_with_the_right_secret_nobody_waits_for_more_than_a_moment(play: Any):
    async def scene(house: Any) -> None:
        await ann(house)
        logins = [house.auth.log_in("ann", PASSWORD, address="10.0.0.1") for _ in range(20)]

        ended = await asyncio.gather(*logins, return_exceptions=True)

        refused = [error for error in ended if isinstance(error, TooMany)]
        assert len(refused) == 20 - FAILURES_BY_NAME_AND_ADDRESS_MAX
        assert {error.retry_after_seconds for error in refused} == {1.0}
        await house.auth.log_in("ann", PASSWORD, address="10.0.0.1")

    play(scene)


def test_of_failures_only_so_many_are_remembered(play: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(login_attempts, "COUNTS_MAX", 30)

    async def scene(house: Any) -> None:
        for n in range(100):
            await fail(house, "x" * 10_000 + str(n), address=f"10.0.0.{n}")

        counts = house.auth._attempts._counts
        assert len(counts) == 30
        assert max(len(name) for name, _ in counts) == 200

    play(scene)
