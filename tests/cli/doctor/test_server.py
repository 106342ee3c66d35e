"""`headgate doctor` on a server that runs."""

from __future__ import annotations

from typing import Any

import pytest
from tests.cli.doctor.doctoring import Doctor, Provider

from headgate.cli import exit_codes


def health(**checks: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"status": "ok", "version": "9.9", "checks": checks}


def test_a_server_is_asked_how_its_parts_are_and_nothing_else_is_looked_at(doctor: Doctor, provider: Provider):
    late = {"status": "degraded", "message": "7 events are not in the feed yet"}
    provider.answers["/health"] = health(database={"status": "ok"}, feed=late)

    findings = doctor("--server", f"{provider.url}/api/v1")

    assert doctor.code == exit_codes.COMPLETED
    assert {name: (found["status"], found["text"]) for name, found in findings.items()} == {
        "server": ("good", f"{provider.url}/api/v1 answers, Headgate 9.9"),
        "database": ("good", "ok"),
        "feed": ("note", "7 events are not in the feed yet"),
    }
    assert provider.asked == ["GET /api/v1/health"]


def test_a_server_of_which_a_part_fails_is_not_well(doctor: Doctor, provider: Provider):
    provider.answers["/health"] = health(database={"status": "failing", "message": "It went away."})

    findings = doctor("--server", provider.url)

    assert doctor.code == exit_codes.UNAVAILABLE
    assert (findings["database"]["status"], findings["database"]["text"]) == ("bad", "It went away.")


@pytest.mark.parametrize("answer", [{}, [], "ok", b"<html>", {"version": "1", "checks": {"database": {}}}])
def test_what_answers_otherwise_than_a_server_of_ours_is_bad(answer: Any, doctor: Doctor, provider: Provider):
    provider.answers["/health"] = (200, answer)

    findings = doctor("--server", provider.url)

    assert doctor.code == exit_codes.UNAVAILABLE
    assert findings["server"]["status"] == "bad"
    assert "not as a Headgate server" in findings["server"]["text"]


def test_where_nobody_answers_it_says_so(doctor: Doctor, closed: str):
    findings = doctor("--server", closed)

    assert doctor.code == exit_codes.UNAVAILABLE
    assert "does not answer" in findings["server"]["text"]


def test_a_server_must_be_named_by_its_address(doctor: Doctor):
    assert doctor.exit_code("doctor", "--server", "127.0.0.1:8720") == exit_codes.INVALID
