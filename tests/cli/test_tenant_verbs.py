"""`headgate secret` and `headgate tenant` at the command line."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import AsyncMock

import pytest
from tests.cli.conftest import Verb

FLOW = """
name: asks
activities:
  ask:
    use: script
    with: {script: "open('got.txt', 'w').write(INPUT['token'])", inputs: {token: "{{ SECRET.token }}"}}
"""
VALUE = "a-t0ken-of-length-31"


@pytest.fixture(autouse=True)
def flows(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(FLOW)


def test_a_secret_is_set_from_standard_input_listed_without_its_value_and_removed(headgate: Verb, tmp_path: Path):
    headgate("tenant", "create", "acme")
    code, out, _ = headgate("secret", "set", "token", "--tenant", "acme", stdin=f"{VALUE}\n")
    listed = json.loads(headgate("secret", "list", "--tenant", "acme", "--json")[1])

    assert (code, out) == (0, "secret token of the tenant acme set\n")
    assert [line["name"] for line in listed] == ["TOKEN"]
    assert headgate("secret", "list")[1] == ""
    assert not any(VALUE.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert headgate("secret", "rm", "token", "--tenant", "acme")[0] == 0
    code, _, err = headgate("secret", "rm", "token", "--tenant", "acme")
    assert (code, "There is no secret 'token'" in err) == (2, True)


def test_a_run_reads_the_secret_that_was_set(headgate: Verb, tmp_path: Path):
    assert headgate("secret", "set", "TOKEN", stdin=VALUE)[0] == 0

    code, _, err = headgate("run", "flow.yaml")

    assert code == 0, err
    assert (tmp_path / "got.txt").read_text() == VALUE


@pytest.mark.parametrize("words", [("set",), ("rm",), ("list", "NAME")])
def test_a_secret_verb_with_too_few_or_too_many_words_is_refused(headgate: Verb, words: tuple[str, ...]):
    assert headgate("secret", *words)[0] == 2


def test_a_tenant_is_made_changed_bit_by_bit_and_shown_with_what_it_uses(headgate: Verb):
    code, out, _ = headgate("tenant", "create", "acme", "--runs", "20", "--month", "5.50")
    assert (code, out) == (0, "tenant acme made: runs 20, month $5.50\n")

    _, out, _ = headgate("tenant", "set", "acme", "--runs", "none", "--starts", "60", "--own-keys-only")
    assert out == "tenant acme changed: starts 60, month $5.50, own keys only\n"
    shown = json.loads(headgate("tenant", "show", "acme", "--json")[1])
    assert (shown["runs_max"], shown["starts_per_minute"], shown["own_keys_only"]) == (None, 60, True)
    assert shown["used"]["runs"] == 0
    assert [one["name"] for one in json.loads(headgate("tenant", "list", "--json")[1])] == ["acme"]
    assert headgate("tenant", "list")[1].split()[0] == "acme"
    assert "uses 0 runs" in headgate("tenant", "show", "acme")[1]


def test_what_is_wrong_about_a_tenant_is_said(headgate: Verb):
    headgate("tenant", "create", "acme")
    for words, wrong in (
        (("create", "acme"), "There is a tenant 'acme' already"),
        (("set", "nobody", "--runs", "1"), "There is no tenant 'nobody'"),
        (("set", "acme", "--runs", "many"), "--runs: expected a whole number, or none, got 'many'"),
        (("set", "acme", "--month", "x"), "--month: expected dollars"),
        (("create",), "takes a NAME"),
        (("list", "acme"), "takes no NAME"),
    ):
        code, _, err = headgate("tenant", *words)
        assert (code, wrong in err) == (2, True), err


MAKES_SOMETHING = [
    ("client", "create", "shop", "--scopes", "runs:read"),
    ("user", "create", "ann", "--role", "viewer", "--password-stdin"),
    ("secret", "set", "token"),
    ("hooks", "add", "paid", "--signal", "paid", "--unique-key", "order-{{ BODY.id }}"),
    ("webhooks", "add", "https://example.org/told"),
]


@pytest.mark.parametrize("words", MAKES_SOMETHING, ids=lambda words: words[0])
def test_nothing_is_made_for_a_tenant_that_nobody_has_made(headgate: Verb, words: tuple[str, ...]):
    headgate("tenant", "create", "acme")

    code, _, err = headgate(*words, "--tenant", "amce", stdin="a-passw0rd-of-length-32")
    right, _, said = headgate(*words, "--tenant", "acme", stdin="a-passw0rd-of-length-32")

    assert (code, right) == (2, 0), said
    assert (
        "There is no tenant 'amce'. Is 'acme' meant? Made so far: acme. `headgate tenant create amce` makes it." in err
    )
    assert headgate("audit", "acts", "--tenant", "amce", "--json")[1] in ("", "[]\n"), "nor is it written down as done"


def test_a_tenant_that_had_a_client_before_tenants_had_to_be_made_goes_on(
    headgate: Verb, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as earlier:
        earlier.setattr("headgate.cli.access.require_tenant", AsyncMock())
        assert headgate("client", "create", "first", "--scopes", "admin", "--tenant", "acme")[0] == 0

    assert headgate("client", "create", "second", "--scopes", "admin", "--tenant", "acme")[0] == 0


def test_a_tenant_is_closed_and_its_runs_are_erased_where_somebody_says_so(headgate: Verb):
    headgate("tenant", "create", "acme")
    headgate("client", "create", "shop", "--scopes", "admin", "--tenant", "acme")
    headgate("secret", "set", "token", "--tenant", "acme", stdin=VALUE)

    asked, _, err = headgate("tenant", "close", "acme")
    code, out, _ = headgate("tenant", "close", "acme", "--yes")

    assert (asked, "Say --yes" in err, code) == (2, True, 0)
    assert out == "tenant acme closed: 1 client, 0 users, 0 hooks, 0 schedules, 0 runs, 0 webhooks, 1 secret\n"
    assert [bool(one["revoked_at"]) for one in json.loads(headgate("client", "list", "--json")[1])] == [True]
    assert "runs 0" in headgate("tenant", "list")[1]
    assert headgate("tenant", "close", "amce", "--yes")[0] == 2
    closings = [one for one in json.loads(headgate("audit", "acts", "--json")[1]) if one["act"] == "tenant.close"]
    assert [one["on"] for one in closings] == ["acme"]
    assert headgate("erase", "--tenant", "acme", "--yes")[1].startswith("Erased 0 contents of 0 runs.")
    assert headgate("erase", "some-run", "--tenant", "acme", "--yes")[0] == 2
