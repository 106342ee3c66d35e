"""A process is killed while it sends a mail: the mail is not sent twice, and if it may have left, that is said."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.mail_server import MailServer

pytestmark = pytest.mark.slow

FLOW = """
name: mail
activities:
  mail:
    use: email_send
    with: {smtp_url: "smtp://127.0.0.1:%d?tls=none", from: a@example.org, to: b@example.org, subject: hi, text_body: hi}
  after: {use: echo, after: [mail]}
"""


def killed_at(sink: MailServer, folder: Path, command: str) -> dict[str, Any]:
    """Run the flow, kill its process at the command, let another process go on; return the run as it is then."""
    (folder / "flow.yaml").write_text(FLOW % sink.port)
    sink.kill_at = command
    sink.sender = headgate(folder, "run", "flow.yaml")
    sink.ready.set()
    assert sink.sender.wait() == -signal.SIGKILL
    sink.kill_at = ""
    headgate(folder, "work").wait()
    shown = headgate(folder, "show", "-", "--json", stdout=subprocess.PIPE)
    return json.loads(shown.communicate()[0])


def headgate(folder: Path, *arguments: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "headgate", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=stdout, stderr=subprocess.DEVNULL, text=True)


def test_a_mail_that_had_left_is_not_sent_again_and_its_outcome_is_named_unknown(sink: MailServer, tmp_path: Path):
    run = killed_at(sink, tmp_path, "DATA")

    assert len(sink.taken) == 1
    assert run["status"] == "failed"
    assert "nobody knows whether this was done: a mail to b@example.org" in json.dumps(run)
    assert "outcome_unknown" in json.dumps(run)


def test_a_mail_that_had_not_left_is_sent_by_the_next_process(sink: MailServer, tmp_path: Path):
    run = killed_at(sink, tmp_path, "RCPT")

    assert len(sink.taken) == 1
    assert run["status"] == "completed"
