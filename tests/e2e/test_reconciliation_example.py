"""The example `reconciliation`: matched exactly, the rest asked for, the result mailed once whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.mail_server import MailServer

pytestmark = pytest.mark.slow
EXAMPLE = Path(__file__).parents[2] / "examples" / "reconciliation"
SECONDS_MAX = 60
WAITS = 3
MATCHING = "date,payer,text,amount\n2026-06-02,C. Okafor,R-1002,96.40\n2026-06-03,Station,R-1005 tables,210.00\n"


class Desk:
    """The command line in a folder, with the mail server's address in its secrets."""

    def __init__(self, folder: Path, sink: MailServer) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADGATE_")}
        self.environment["HEADGATE_SECRET_MAIL"] = sink.url

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "headgate", *words],
            cwd=self.folder,
            env=self.environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def __call__(self, *words: str) -> tuple[int, str]:
        process = self.begin(*words)
        said, _ = process.communicate(timeout=SECONDS_MAX)
        return process.returncode, said

    def run(self, bank: str = "") -> int:
        text = bank or (EXAMPLE / "bank.csv").read_text(encoding="utf-8")
        (self.folder / "bank.csv").write_text(text, encoding="utf-8")
        given = "--input", "bank=@bank.csv", "--input", f"invoices=@{EXAMPLE / 'invoices.csv'}"
        return self("run", str(EXAMPLE / "flow.yaml"), *given, "--no-wait", "--quiet")[0]

    def show(self) -> dict[str, Any]:
        return json.loads(self("show", "-", "--json")[1])


@pytest.fixture
def desk(tmp_path: Path, sink: MailServer) -> Desk:
    return Desk(tmp_path, sink)


def output_of(run: dict[str, Any], key: str) -> Any:
    return next(place["output"] for place in run["activities"] if place["key"] == key)


def test_lines_that_match_go_out_by_mail_without_anybody_being_asked(desk: Desk, sink: MailServer):
    code = desk.run(MATCHING)

    assert code == 0
    assert desk.show()["outputs"] == {"matched": ["R-1002", "R-1005"], "by_hand": [], "left": [], "sent": True}
    [mail] = sink.mails
    assert mail["Subject"] == "Bank statement: 2 matched, 0 left"
    assert "R-1005: 210.00 paid (line 2)" in mail.get_content()
    assert "Open: R-1001, R-1003, R-1004" in mail.get_content()


def test_what_does_not_match_waits_with_the_reason_and_nothing_is_sent(desk: Desk, sink: MailServer):
    code = desk.run()

    found = output_of(desk.show(), "match")
    assert code == WAITS
    assert [row["invoice"] for row in found["matched"]] == ["R-1001", "R-1002"]
    assert {row["line"]: row["why"] for row in found["unmatched"]} == {
        3: "R-1003 asks for 1250.00",
        4: "names no open invoice",
        5: "names no open invoice",
    }
    assert sink.taken == []


def test_a_line_that_a_person_settles_is_settled_and_the_mail_says_by_whose_hand(desk: Desk, sink: MailServer):
    desk.run()

    desk("approve", "-", "--work", "--data", '{"settled": [{"line": 4, "invoice": "R-1004"}]}')

    assert desk.show()["outputs"] == {
        "matched": ["R-1001", "R-1002"],
        "by_hand": ["R-1004"],
        "left": [3, 5],
        "sent": True,
    }
    assert "R-1004: 59.90 of 59.90 (by hand)" in sink.mails[0].get_content()


def test_a_rejected_list_is_not_sent(desk: Desk, sink: MailServer):
    desk.run()

    desk("reject", "-", "--work")

    assert desk.show()["outputs"] == {"matched": ["R-1001", "R-1002"], "by_hand": [], "left": [3, 4, 5], "sent": False}
    assert sink.taken == []


def test_a_cent_too_little_is_a_question(desk: Desk):
    assert desk.run(MATCHING.replace("96.40", "96.39")) == WAITS


def killed_at(desk: Desk, sink: MailServer, command: str) -> dict[str, Any]:
    """Have a person agree, kill the process that goes on at the command, let another go on; return the run then."""
    desk.run()
    sink.kill_at = command
    sink.sender = desk.begin("approve", "-", "--work")
    sink.ready.set()
    sink.sender.communicate(timeout=SECONDS_MAX)
    assert sink.sender.returncode == -signal.SIGKILL
    sink.kill_at = ""
    desk("work")
    return desk.show()


def test_killed_between_the_mail_and_its_record_it_is_named_unknown_and_never_sent_twice(desk: Desk, sink: MailServer):
    run = killed_at(desk, sink, "DATA")

    mail = next(place for place in run["activities"] if place["key"] == "mail")
    assert len(sink.taken) == 1
    assert (run["status"], mail["error_code"]) == ("failed", "outcome_unknown")
    desk("work")
    assert len(sink.taken) == 1


def test_killed_before_the_mail_has_left_it_is_sent_by_the_next_process(desk: Desk, sink: MailServer):
    run = killed_at(desk, sink, "RCPT")

    assert len(sink.taken) == 1
    assert run["outputs"]["sent"] is True
