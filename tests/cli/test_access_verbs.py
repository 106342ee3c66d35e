"""`headgate client`, `user`, `key`, `audit acts`: what the HTTP door goes by, also while another owns the database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Verb

from headgate.api.caller import Unauthorized
from headgate.sdk.embedded import Engine, open_session


def in_an_app(scene: Callable[[Any], Any]) -> Any:
    """What the scene says to `Auth` of a process that owns the database."""

    async def whole() -> Any:
        async with open_session(Path(".headgate/headgate.db"), Engine(work=False)) as session:
            return await scene(session.app.auth)

    return asyncio.run(whole())


def test_the_secret_of_a_new_client_is_all_that_stdout_says_and_gets_a_token(headgate: Verb):
    code, out, err = headgate("client", "create", "first", "--scopes", "admin,runs:read")

    assert code == 0
    assert "client_id: first (admin runs:read)" in err
    granted = in_an_app(lambda auth: auth.token_for_client("first", out.strip()))
    assert granted.scope == "admin runs:read"


def test_a_client_is_rotated_and_revoked(headgate: Verb):
    headgate("tenant", "create", "acme")
    old = headgate("client", "create", "first", "--scopes", "admin", "--tenant", "acme")[1].strip()

    new = json.loads(headgate("client", "rotate", "first", "--tenant", "acme", "--json")[1])
    assert (new["client_id"], new["tenant"]) == ("acme/first", "acme")
    with pytest.raises(Unauthorized):
        in_an_app(lambda auth: auth.token_for_client("acme/first", old))
    assert in_an_app(lambda auth: auth.token_for_client("acme/first", new["client_secret"])).scope == "admin"

    assert headgate("client", "revoke", "first", "--tenant", "acme")[0] == 0
    with pytest.raises(Unauthorized):
        in_an_app(lambda auth: auth.token_for_client("acme/first", new["client_secret"]))
    (listed,) = json.loads(headgate("client", "list", "--json")[1])
    assert listed["revoked_at"]
    assert "secret" not in " ".join(listed)


def test_an_old_secret_can_be_kept_for_a_while(headgate: Verb):
    old = headgate("client", "create", "first", "--scopes", "admin")[1].strip()

    headgate("client", "rotate", "first", "--keep", "1h")

    assert in_an_app(lambda auth: auth.token_for_client("first", old)).scope == "admin"


def test_a_user_is_made_with_a_password_from_stdin_and_changed(headgate: Verb):
    made = headgate("user", "create", "ann", "--role", "viewer", "--password-stdin", stdin="correct horse battery\n")

    user, granted = in_an_app(lambda auth: auth.log_in("ann", "correct horse battery"))
    assert (made[0], user.role, granted.scope) == (0, "viewer", "runs:read")
    assert headgate("user", "role", "ann", "--role", "admin")[0] == 0
    assert headgate("user", "password", "ann", "--password-stdin", stdin="another horse battery\n")[0] == 0
    assert in_an_app(lambda auth: auth.log_in("ann", "another horse battery"))[0].role == "admin"
    assert headgate("user", "disable", "ann")[0] == 0
    assert "ann  admin  disabled" in headgate("user")[1]
    assert headgate("user", "enable", "ann")[0] == 0
    assert in_an_app(lambda auth: auth.log_in("ann", "another horse battery"))[0].name == "ann"


def test_keys_are_rotated_and_what_was_done_is_listed(headgate: Verb):
    secret = headgate("client", "create", "first", "--scopes", "admin")[1].strip()
    in_an_app(lambda auth: auth.token_for_client("first", secret))

    code, out, _ = headgate("key", "rotate")

    assert (code, [line.split()[-1] for line in out.splitlines()]) == (0, ["signs", "retired"])
    assert [line.split()[-1] for line in headgate("key", "rotate", "--forget")[1].splitlines()] == ["signs"]
    acts = json.loads(headgate("audit", "acts", "--json")[1])
    assert [act["act"] for act in acts] == ["key.rotate", "key.rotate", "client.create"]
    assert acts[0]["actor"].startswith("user:")
    assert headgate("audit", "acts", "--limit", "1")[1].count("\n") == 1


def test_a_client_is_made_while_another_process_owns_the_database(headgate: Verb):
    headgate("client", "create", "first", "--scopes", "admin")

    async def scene() -> None:
        async with open_session(Path(".headgate/headgate.db"), Engine(work=False)) as session:
            code, out, _ = await asyncio.to_thread(
                headgate, "client", "create", "second", "--scopes", "runs:read", "--json"
            )

            assert code == 0
            secret = json.loads(out)["client_secret"]
            assert (await session.app.auth.token_for_client("second", secret)).scope == "runs:read"

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("client", "create"), "takes a NAME"),
        (("client", "list", "x"), "takes no name"),
        (("client", "create", "x"), "at least one scope"),
        (("client", "create", "x", "--scopes", "all"), "There is no scope 'all'"),
        (("client", "revoke", "x"), "There is no client 'x'"),
        (("user", "create", "x"), "take a --role"),
        (("user", "disable", "x", "--role", "viewer"), "the others do not"),
        (("user", "create", "x", "--role", "viewer"), "--password-stdin"),
        (("user", "create", "x", "--role", "viewer", "--password-stdin"), "got 0"),
        (("key", "list", "--forget"), "no --forget"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(arguments: tuple[str, ...], says: str, headgate: Verb):
    code, out, err = headgate(*arguments)

    assert code == 2
    assert says in err
    assert out == ""


def test_what_is_done_to_tenants_secrets_programs_and_rules_is_on_record_too_and_holds_no_secret(
    headgate: Verb, tmp_path: Path
):
    (tmp_path / "flow.yaml").write_text("name: flow\nactivities: {a: {use: echo, with: {x: 1}}}")
    for words in (
        ("tenant", "create", "acme", "--runs", "20"),
        ("tenant", "set", "acme", "--runs", "none"),
        ("budget", "set", "tenant", "5", "--per", "day"),
        ("budget", "rm", "tenant"),
        ("limit", "set", "openai", "--requests", "60"),
        ("limit", "rm", "openai"),
    ):
        assert headgate(*words)[0] == 0, words
    assert headgate("secret", "set", "token", "--tenant", "acme", stdin="a-t0ken-of-length-31")[0] == 0
    assert headgate("secret", "rm", "token", "--tenant", "acme")[0] == 0
    made = json.loads(headgate("webhooks", "add", "https://example.org/x?k=hush", "--tenant", "acme", "--json")[1])
    assert headgate("webhooks", "disable", made["id"], "--tenant", "acme")[0] == 0
    assert headgate("webhooks", "remove", made["id"], "--tenant", "acme")[0] == 0

    of_all = json.loads(headgate("audit", "acts", "--json")[1])
    of_acme = json.loads(headgate("audit", "acts", "--tenant", "acme", "--json")[1])

    done = [(act["act"], act["on"]) for act in reversed(of_all)]
    assert done[:2] == [("tenant.create", "acme"), ("tenant.set", "acme")]
    assert done[2:4] == [("budget.set", "tenant per day"), ("budget.remove", "tenant per day")]
    assert done[4:] == [("limit.set", "openai"), ("limit.remove", "openai")]
    assert of_all[-1]["details"] == {"runs_max": 20}
    assert [(act["act"], act["on"]) for act in reversed(of_acme)] == [
        ("secret.set", "token"),
        ("secret.remove", "token"),
        ("webhook.create", "example.org"),
        ("webhook.change", made["id"]),
        ("webhook.remove", made["id"]),
    ]
    assert {act["actor"].endswith("@here") for act in of_all + of_acme} == {True}
    assert "hush" not in str(of_acme)


def test_who_restores_elsewhere_is_told_that_the_key_is_not_in_it(headgate: Verb, tmp_path: Path):
    headgate("key", "rotate")
    assert headgate("backup", "copy.db")[0] == 0

    here = headgate("restore", "copy.db", "--force")[2]
    (tmp_path / "other").mkdir()
    code, _, elsewhere = headgate("restore", "copy.db", "--db", "other/log.db")

    assert "key" not in here
    assert code == 0
    assert "key of its secrets is not in a backup" in elsewhere
    assert f"{Path('other') / 'log.db-state' / 'key'}" in elsewhere
