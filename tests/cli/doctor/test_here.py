"""`headgate doctor` on this machine: its folder, settings, keys and port."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
from pathlib import Path

import pytest
from tests.cli.doctor.doctoring import Doctor, Provider

from headgate.cli import exit_codes
from headgate.stores.ownership import Ownership

# --- Everything else --------------------------------------------------------------------------------------------------


def test_the_form_of_the_findings_is_the_same_for_all(doctor: Doctor):
    findings = doctor("--offline")

    fields = {tuple(finding) for finding in findings.values()}
    assert fields == {("name", "status", "text", "problem", "missing", "milliseconds")}
    assert {"python", "sqlite", "extra docs", "extra postgres", "extra std", "database", "state", "retention"} <= set(
        findings
    )


def test_retention_and_schedules_are_those_of_this_folder(doctor: Doctor, folder: Path):
    (folder / "say.yaml").write_text("name: say\nactivities:\n  a: {use: echo, with: {x: 1}}\n")
    assert "schedules" not in doctor("--offline")
    doctor.exit_code("run", "say.yaml", "--quiet")
    doctor.capsys.readouterr()

    findings = doctor("--offline", HEADGATE_RETENTION="90d")

    assert "for 90 d" in findings["retention"]["text"]
    assert findings["schedules"]["text"] == "0"
    assert findings["state"]["status"] == "good"


def test_a_retention_that_cannot_be_read_is_bad(doctor: Doctor):
    findings = doctor("--offline", HEADGATE_RETENTION="soon")

    assert findings["retention"]["status"] == "bad"
    assert doctor.code == exit_codes.UNAVAILABLE


def test_settings_that_no_server_could_begin_with_are_bad_and_a_misspelt_one_is_noted(doctor: Doctor):
    findings = doctor("--offline", HEADGATE_PORT="http", HEADGATE_KEY="short")

    assert findings["settings"]["status"] == "bad"
    assert "HEADGATE_PORT: expected" in findings["settings"]["text"]
    assert (findings["key"]["status"], doctor.code) == ("bad", exit_codes.UNAVAILABLE)
    noted = doctor("--offline", HEADGATE_PROT="80")["settings"]
    assert (noted["status"], "Did you mean 'HEADGATE_PORT'?" in noted["text"]) == ("note", True)


def test_a_key_that_does_not_open_what_is_kept_is_bad(doctor: Doctor, folder: Path, monkeypatch: pytest.MonkeyPatch):
    assert doctor("--offline")["key"]["status"] == "note"
    assert not (folder / ".headgate").exists(), "looking makes nothing"
    doctor.exit_code("key", "rotate", "--quiet")
    monkeypatch.setattr("sys.stdin", io.StringIO("a-t0ken-of-length-31"))
    doctor.exit_code("secret", "set", "token", "--quiet")
    doctor.capsys.readouterr()

    good = doctor("--offline")["key"]
    other = doctor("--offline", HEADGATE_KEY="A" * 43 + "=")["key"]
    (folder / ".headgate" / "key").chmod(0o644)
    seen = doctor("--offline", HEADGATE_KEY="")["key"]

    assert (good["status"], "opens all 2 secrets" in good["text"]) == ("good", True)
    assert (other["status"], "2 of 2 secrets" in other["text"]) == ("bad", True)
    assert (seen["status"], "may be read by others" in seen["text"]) == ("bad", True)


def test_it_is_said_how_much_an_older_key_is_still_needed_for(doctor: Doctor, folder: Path):
    for words in (
        ("key", "rotate"),
        ("webhooks", "add", "https://ann:hush@example.org/"),
        ("hooks", "add", "push", "--signal", "pushed", "--unique-key", "{{ BODY.repo }}"),
    ):
        assert doctor.exit_code(*words, "--quiet") == 0
    old = (folder / ".headgate" / "key").read_text().strip()
    new = "B" * 43 + "="
    doctor.capsys.readouterr()

    before = doctor("--offline")["key"]
    added = doctor("--offline", HEADGATE_KEY=f"{new},{old}")["key"]
    without = doctor("--offline", HEADGATE_KEY=new)["key"]

    assert before["text"].endswith("opens all 4 secrets and keys")
    assert (added["status"], "keep the older keys, which have sealed 4 of them" in added["text"]) == ("good", True)
    assert (without["status"], "4 of 4 secrets and keys" in without["text"]) == ("bad", True)


def test_when_all_is_sealed_anew_the_older_key_may_go(doctor: Doctor, folder: Path, monkeypatch: pytest.MonkeyPatch):
    assert doctor.exit_code("key", "rotate", "--quiet") == 0
    doctor.capsys.readouterr()
    assert doctor.exit_code("webhooks", "add", "https://ann:hush@example.org/", "--json") == 0
    webhook = json.loads(doctor.capsys.readouterr().out)["id"]
    new = "B" * 43 + "="
    monkeypatch.setenv("HEADGATE_KEY", f"{new},{(folder / '.headgate' / 'key').read_text().strip()}")

    assert doctor.exit_code("key", "rotate", "--quiet") == 0
    assert doctor.exit_code("webhooks", "enable", webhook, "--quiet") == 0
    doctor.capsys.readouterr()

    alone = doctor("--offline", HEADGATE_KEY=new)["key"]
    assert (alone["status"], alone["text"].endswith("opens all 3 secrets and keys")) == ("good", True)


def test_a_call_that_nobody_answers_is_given_up_in_time(doctor: Doctor, provider: Provider):
    provider.silent.clear()

    findings = doctor("--call", "--model", "acme/m", "--timeout", "0.2", HEADGATE_PROVIDER_ACME_BASE_URL=provider.url)

    assert (findings["acme"]["problem"], findings["acme/m"]["problem"]) == ("timed_out", "timed_out")


# --- The port ---------------------------------------------------------------------------------------------------------


def test_a_port_that_is_free_is_good_and_is_free_afterwards(doctor: Doctor):
    with socket.socket() as elsewhere:
        elsewhere.bind(("127.0.0.1", 0))
        port = str(elsewhere.getsockname()[1])

    findings = [doctor("--offline", HEADGATE_PORT=port)["port"] for _ in range(2)]

    assert [found["status"] for found in findings] == ["good", "good"]
    assert f"127.0.0.1:{port} is free" in findings[0]["text"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says whose a port is")
def test_whoever_holds_the_port_is_named_and_the_owner_of_the_database_may(
    doctor: Doctor, provider: Provider, folder: Path
):
    port = str(provider.server_port)

    held = doctor("--offline", HEADGATE_PORT=port)["port"]
    (folder / ".headgate").mkdir()
    with Ownership.take(folder / ".headgate" / "headgate.db"):
        owned = doctor("--offline")["port"]

    assert (held["status"], doctor.code) == ("note", 0)
    assert f"process {os.getpid()} (" in held["text"]
    assert "HEADGATE_PORT" in held["text"]
    assert (owned["status"], "which owns the database" in owned["text"]) == ("good", True)


def test_an_address_of_another_machine_is_bad_where_it_was_named(doctor: Doctor):
    found = doctor("--offline", HEADGATE_HOST="203.0.113.7")["port"]

    assert found["status"] == "bad"
    assert "203.0.113.7 cannot be taken" in found["text"]
    assert doctor.code == exit_codes.UNAVAILABLE


def test_a_port_that_is_none_is_told_once_with_the_settings(doctor: Doctor):
    findings = doctor("--offline", HEADGATE_PORT="70000")

    assert "HEADGATE_PORT" in findings["settings"]["text"]
    assert "port" not in findings
