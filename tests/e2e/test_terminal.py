"""The command line at a real terminal: its picture, its keys, and how it leaves the terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import sys
import time

import pytest
from tests.e2e.command_line import SECONDS_MAX, command, environment

pytestmark = pytest.mark.slow


class Terminal:
    """A verb at a terminal of its own, 80 columns by `rows`."""

    def __init__(self, folder, *arguments, rows=24, **more):
        self.pid, self._descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(sys.executable, command(*arguments), environment(**{"TERM": "xterm-256color"} | more))
        import fcntl
        import struct
        import termios

        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 80, 0, 0))
        self.text = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._descriptor)

    def until(self, text):
        deadline = time.monotonic() + SECONDS_MAX
        while text not in self.text:
            assert self._more(deadline), f"{text!r} never came; what came: {self.text}"

    def _more(self, deadline):
        ready, _, _ = select.select([self._descriptor], [], [], max(0, deadline - time.monotonic()))
        assert ready, f"nothing more came, and it has not ended; what came: {self.text}"
        try:
            data = os.read(self._descriptor, 65_536)
        except OSError:  # Linux says EIO where the other side has closed
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def type(self, keys):
        os.write(self._descriptor, keys.encode())

    def end(self):
        deadline = time.monotonic() + SECONDS_MAX
        while self._more(deadline):
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_at_a_terminal_y_and_enter_approve_what_is_asked(folder):
    with Terminal(folder, "run", "gate.yaml") as terminal:
        terminal.until("Approve ok: Send it?  y or n, then Enter:")
        terminal.until("or elsewhere: headgate approve")
        terminal.type("x\ry\r")

        assert terminal.end() == 0
    assert '"approved": true' in terminal.text
    assert "✓" in terminal.text


def test_at_a_terminal_n_and_enter_reject(folder):
    with Terminal(folder, "run", "gate.yaml") as terminal:
        terminal.until("y or n, then Enter:")
        terminal.type("n\r")

        assert terminal.end() == 0
    assert '"approved": false' in terminal.text


@pytest.mark.parametrize(("key", "code", "said"), [("y", 0, '"said": "one"'), ("n", 4, "refused")])
def test_at_a_terminal_y_raises_the_limit_that_a_call_asks_about_and_n_refuses(folder, key, code, said):
    (folder / "dear.yaml").write_text(
        "name: dear\nbudget: {limit: 0.000001, action: ask}\nactivities:\n"
        "  a: {use: llm_prompt, with: {model: scripted/m, prompt: hello, max_tokens: 20}}\n"
        "outputs: {said: '{{ a.content }}'}\n"
    )
    (folder / "models.yaml").write_text("models: {a: [{text: one}]}\nprices: {m: {output: 1000}}\n")

    with Terminal(folder, "run", "dear.yaml", "--models", "models.yaml") as terminal:
        terminal.until("Raise the run's budget to $0.02 for a?  y or n, then Enter:")
        terminal.type(f"{key}\r")

        assert terminal.end() == code
    assert said in terminal.text


def test_without_colour_the_picture_has_none(folder):
    with Terminal(folder, "run", "gate.yaml", NO_COLOR="1") as terminal:
        terminal.until("y or n, then Enter:")
        terminal.type("y\r")
        terminal.end()

    assert not re.search(r"\x1b\[[\d;]*3\d[\d;]*m", terminal.text)


def test_a_terminal_that_cannot_draw_gets_plain_lines(folder):
    with Terminal(folder, "run", "say.yaml", "--input", "k=1", TERM="dumb") as terminal:
        assert terminal.end() == 0

    assert "\x1b" not in terminal.text
    assert "a  completed" in terminal.text


def test_ctrl_c_at_a_terminal_leaves_the_terminal_as_it_was(folder):
    with Terminal(folder, "run", "gate.yaml") as terminal:
        terminal.until("y or n, then Enter:")
        terminal.type("\x03")

        assert terminal.end() == 130
    assert "`headgate work` goes on" in terminal.text
    assert terminal.text.rstrip().endswith("\x1b[?25h") or terminal.text.rfind("\x1b[?25h") > terminal.text.rfind(
        "\x1b[?25l"
    )
