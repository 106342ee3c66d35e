"""One process that runs one script, as the engine's side sees it, from its start to the end of all that it started.

The process is a bare interpreter (`script_child.py`) in a session of its own, with a small environment. Through a
socket pair the request goes in and the result comes out; a pipe that we hold open tells it that we live; what the
script prints goes by two more to the attempt's log. A script can crash, print without end, or eat all memory; all of
that ends here as an `Ending` that says what happened. Time is the caller's: it cancels, and the whole
group gets SIGTERM, and SIGKILL when it does not listen.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from headgate.activities.script_descendants import descendants_of, kill
from headgate.activities.script_print import CHUNK_BYTES, Print
from headgate.activities.script_settings import ScriptSettings
from headgate.ports import ActivityContext

__all__ = ["Ending", "ScriptProcess"]

BEGIN = (
    "import sys; sys.path.insert(0, sys.argv.pop()); "
    "from headgate.activities.script_child import main; del sys.path[0]; main()"
)
PACKAGES = str(Path(__file__).parents[2])
DRAIN_SECONDS = 2.0
"""How long output may still come once the group is gone: only a process that has left the group can write."""
HEARD_SECONDS_MAX = 10.0
"""How long the loop is waited for to hear of the end of a process that was killed."""
RESULT_OVERHEAD_BYTES = 1 << 16
ENVIRONMENT = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "VIRTUAL_ENV"}
    | {"SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH", "SYSTEMROOT"}
)

Limit = Literal["", "output", "printed", "closed"]


class Ending(msgspec.Struct, frozen=True):
    """How a process ended: its result (empty: none), exit code (negative: the signal), its last words, and the limit
    at which it was stopped from here."""

    result: bytes
    exit_code: int
    last_lines: tuple[str, ...]
    limit: Limit = ""


class ScriptProcess:
    """A process that has been started and waits for its script. Used once: either `converse` or `close`."""

    def __init__(
        self,
        settings: ScriptSettings,
        process: asyncio.subprocess.Process,
        ends: tuple[socket.socket, IO[bytes], IO[bytes]],
        open_files: ExitStack,
    ) -> None:
        self._settings = settings
        self._process = process
        self._channel, self._stdout, self._stderr = ends
        self._open_files = open_files
        self._result = bytearray()
        self._limit: Limit = ""

    @classmethod
    async def start(cls, settings: ScriptSettings) -> ScriptProcess:
        """Start a process. Raises `OSError` where the system starts none."""
        with ExitStack() as ours, ExitStack() as theirs:
            channel, far_channel = socket.socketpair()
            ours.enter_context(channel)
            theirs.enter_context(far_channel)
            stdout, out_end = _pipe(ours, theirs)
            stderr, err_end = _pipe(ours, theirs)
            lifeline_end, lifeline = (
                os.fdopen(end, mode, 0) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True)
            )
            theirs.enter_context(lifeline_end)
            ours.enter_context(lifeline)
            handed = (far_channel.fileno(), lifeline_end.fileno())
            starting = asyncio.create_task(
                asyncio.create_subprocess_exec(
                    *(sys.executable, "-I", "-u", "-X", "utf8", "-c", BEGIN),
                    *(*map(str, handed), str(os.getpid()), PACKAGES),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=out_end,
                    stderr=err_end,
                    pass_fds=handed,
                    start_new_session=True,
                    cwd=settings.base_directory,
                    env=_environment(settings),
                )
            )
            # Cancelled while it starts one, asyncio waits for the end of that; cancelled again, it leaves it unheard.
            cancelled = await _over(starting)
            if cancelled is not None and (starting.cancelled() or starting.exception()):
                raise cancelled
            started = cls(settings, starting.result(), (channel, stdout, stderr), ours.pop_all())
            if cancelled is not None:
                await started.close()
                raise cancelled
            return started

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    @property
    def ready(self) -> bool:
        """Whether it lives and waits. Its death shows on the channel before the loop has been told of it."""
        try:
            self._channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return self.alive
        except OSError:
            pass
        return False

    async def converse(self, request: bytes, ctx: ActivityContext) -> Ending:
        """Hand over `request`, return how the process ended. When cancelled, end its group first."""
        printed = Print(self._settings, ctx, lambda: self._stop("printed"))
        with self._open_files:
            listening = [
                asyncio.create_task(self._ask(request)),
                asyncio.create_task(printed.read(self._stdout, "stdout")),
                asyncio.create_task(printed.read(self._stderr, "stderr")),
            ]
            try:
                await self._process.wait()
            finally:
                await self._end(listening)
        assert self._process.returncode is not None
        return Ending(bytes(self._result), self._process.returncode, printed.last_lines, self._limit)

    async def close(self) -> None:
        """End a process that has got no script."""
        with self._open_files:
            _signal_group(self._process.pid, signal.SIGKILL)
            await self._ended()

    async def _end(self, listening: list[asyncio.Task[None]]) -> None:
        """Leave nothing alive that came from the script, and hear what it still has to say."""
        try:
            try:
                if self.alive:
                    await self._ask_to_end()
            finally:
                _signal_group(self._process.pid, signal.SIGKILL)
                await self._ended()
            heard, _ = await asyncio.wait(listening, timeout=DRAIN_SECONDS)
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
        for task in heard:
            task.result()

    async def _ended(self) -> None:
        """Wait until the loop has heard of the end of a process that was killed, whoever cancels meanwhile.

        A thread of asyncio's tells it. Told after the loop has closed, nobody takes the process off it, and it is found
        by the collector, in the middle of something else.
        """
        until = asyncio.get_running_loop().time() + HEARD_SECONDS_MAX
        cancelled: asyncio.CancelledError | None = None
        while self.alive:
            try:
                async with asyncio.timeout_at(until):
                    await self._process.wait()
            except asyncio.CancelledError as error:
                cancelled = error
            except TimeoutError:  # it cannot be killed: it belongs to somebody else, or hangs in the system
                break
        if cancelled is not None:
            raise cancelled

    async def _ask_to_end(self) -> None:
        below = descendants_of(self._process.pid)
        try:
            _signal_group(self._process.pid, signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.stop_seconds):
                    await self._process.wait()
        finally:
            kill([*below, *(descendants_of(self._process.pid) if self.alive else ())])

    async def _ask(self, request: bytes) -> None:
        """Send the request and gather the result until the process closes its end."""
        reader, writer = await asyncio.open_connection(sock=self._channel)
        try:
            writer.write(request)
            await writer.drain()
            while chunk := await reader.read(CHUNK_BYTES):
                self._result += chunk
                if len(self._result) > self._settings.output_bytes_max + RESULT_OVERHEAD_BYTES:
                    self._stop("output")  # the program keeps the bound; this is not the program's
                    return
        except ConnectionError:
            pass  # it ended before it had read everything; its exit code says why
        finally:
            writer.close()
        if not self._result:
            asyncio.get_running_loop().call_later(self._settings.stop_seconds, self._stop_closed)

    def _stop_closed(self) -> None:
        """Kill a process that lives on without a channel. One that has ended has closed it by that: its exit code
        says why, and the loop may only not have heard it yet."""
        if not self._has_ended():
            self._stop("closed")

    def _stop(self, limit: Limit) -> None:
        """Kill a process that is past a limit. It is past it also where it has ended meanwhile."""
        self._limit = self._limit or limit
        if not self._has_ended():
            below = descendants_of(self._process.pid)
            _signal_group(self._process.pid, signal.SIGKILL)
            kill(below)

    def _has_ended(self) -> bool:
        """Whether it has, by what the system says. The loop hears of it later: after whatever blocks it."""
        if not self.alive or sys.platform == "darwin":  # which has no `waitid` before Python 3.13
            return not self.alive
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:  # somebody has taken it off, and is about to tell
            return True


async def _over(task: asyncio.Task[Any]) -> asyncio.CancelledError | None:
    """Wait until the task is over, whoever cancels meanwhile; return that."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    return cancelled


def _pipe(ours: ExitStack, theirs: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    near, far = os.pipe()
    return ours.enter_context(os.fdopen(near, "rb", 0)), theirs.enter_context(os.fdopen(far, "wb", 0))


def _environment(settings: ScriptSettings) -> dict[str, str]:
    allowed = ENVIRONMENT | set(settings.environment)
    return {name: value for name, value in os.environ.items() if name in allowed or name.startswith("LC_")}


def _signal_group(group: int, number: signal.Signals) -> None:
    # The group outlives its first process while it has any other; without one there is nothing to signal.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
