"""The command line in processes of its own: verbs that end, and verbs that go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

__all__ = ["ECHO", "GATE", "SECONDS_MAX", "Process", "command", "environment", "headgate", "json_of"]

SECONDS_MAX = 30
ECHO = "name: say\nactivities:\n  a: {use: echo, with: {x: '{{ INPUT.k }}'}}\n"
GATE = """
name: gate
activities:
  first: {use: echo, with: {x: 1}}
  ok: {use: approval, after: [first], with: {title: Send it?}}
  last: {use: echo, after: [ok], with: {by: "{{ ok.by }}", approved: "{{ ok.approved }}"}}
"""


def environment(**more):
    """Ours without anybody's keys, settings or colours."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
    return kept | {"PYTHONWARNINGS": "error::ResourceWarning", "PYTHONUTF8": "1"} | more


def command(*arguments):
    return [sys.executable, "-m", "headgate", *map(str, arguments)]


def headgate(folder, *arguments, **more):
    """Run a verb to its end, with no terminal anywhere."""
    done = subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        stdin=subprocess.DEVNULL,
    )
    assert "Warning" not in done.stderr
    assert "Traceback" not in done.stderr
    return done


def json_of(folder, *arguments):
    done = headgate(folder, *arguments, "--json")
    return json.loads(done.stdout)


class Process:
    """A verb that goes on; its stderr is read as it comes."""

    def __init__(self, folder, *arguments, **more):
        self._popen = subprocess.Popen(
            command(*arguments),
            cwd=folder,
            env=environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self._popen.pid
        self.lines = []
        self._news = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._popen.kill()
        self._popen.wait()
        self._reader.join()
        self._popen.stdout.close()
        self._popen.stderr.close()

    def _read(self):
        for line in self._popen.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def until(self, text):
        """Return the first line that holds `text`, as soon as there is one."""
        with self._news:
            self._news.wait_for(lambda: self._ended or any(text in line for line in self.lines), SECONDS_MAX)
            return next((line for line in self.lines if text in line), None) or pytest.fail(
                f"{text!r} never came; what came: {self.lines}"
            )

    def signal(self, number):
        self._popen.send_signal(number)

    def end(self):
        """Return the exit code and what stood on stdout."""
        code = self._popen.wait(SECONDS_MAX)
        self._reader.join()
        assert not any("Traceback" in line or "Warning" in line for line in self.lines), self.lines
        return code, self._popen.stdout.read()
