"""A mail server for tests: aiosmtpd in a thread on a free port of loopback, which keeps what it takes.

It can kill whoever sends when a command comes, for tests of what happens then.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from email import message_from_bytes, policy
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

__all__ = ["AtFreePort", "MailServer"]

SECONDS_MAX = 60


class AtFreePort(Controller):
    """A controller whose `port` is known once it has started."""

    def __init__(self, handler: object, **settings: Any) -> None:
        super().__init__(handler, hostname="127.0.0.1", port=0, **settings)

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}?tls=none"


class MailServer(AtFreePort):
    """Keeps what it takes. At the command `kill_at` (RCPT, DATA) it kills `sender`, once `ready` is set."""

    def __init__(self) -> None:
        super().__init__(self)
        self.taken: list[bytes] = []
        self.kill_at = ""
        self.sender: subprocess.Popen[str] | None = None
        self.ready = threading.Event()

    @property
    def mails(self) -> list[Any]:
        return [message_from_bytes(content, policy=policy.default) for content in self.taken]

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        self._kill("RCPT")
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.taken.append(envelope.content)
        self._kill("DATA")
        return "250 OK"

    def _kill(self, command: str) -> None:
        if command == self.kill_at:
            assert self.ready.wait(SECONDS_MAX)
            assert self.sender is not None
            os.kill(self.sender.pid, signal.SIGKILL)
            self.sender.wait()
