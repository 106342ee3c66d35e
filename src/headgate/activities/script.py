"""The activity `script`: the author's Python, in a process of its own.

The process is a bare interpreter (`script_child.py`) in a process group of its own, with a small environment
and a limit of memory. Through a socket pair the request goes in and the result comes out; a pipe that we hold
open tells the child that we live; what the script prints goes by two more to the attempt's log. A script
can crash, print without end, or eat all memory; all of that ends here as a failure that says what happened.
Time is the caller's: it cancels, and the whole group gets SIGTERM, and SIGKILL when it does not listen.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import os
import signal
import socket
import sys
from collections import deque
from pathlib import Path
from typing import IO, Any

import msgspec

from headgate.core.values import Assignment, Failure
from headgate.ports import ActivityContext, ActivityFunction, Attempt

__all__ = ["ScriptSettings", "script"]

CHILD = str(Path(__file__).with_name("script_child.py"))
CHUNK_BYTES = 1 << 16
DRAIN_SECONDS = 2.0
"""How long output may still come once the group is gone: only a process that has left the group can write."""
HINTS: dict[int, str] = {
    signal.SIGKILL: "Most often that is the system, out of memory.",
    signal.SIGSEGV: "A compiled library that it uses has crashed.",
    signal.SIGABRT: "A compiled library that it uses has given up, often for want of memory.",
}
RESULT_OVERHEAD_BYTES = 1 << 16
LAST_LINES_MAX = 20
SCRIPT_BYTES_MAX = 1024 * 1024
ENVIRONMENT = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP", "VIRTUAL_ENV"}
    | {"SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH", "SYSTEMROOT"}
)


class ScriptSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What scripts may use on this machine.

    `environment` names variables that scripts get beside the few that any program needs; nothing else of the
    parent's environment reaches them. `base_directory` is their working directory, and what a relative
    `script_file` is relative to. `memory_bytes_max` bounds the address space of each process of a script.
    """

    base_directory: str = "."
    environment: tuple[str, ...] = ()
    memory_bytes_max: int = 2 * 1024**3
    output_bytes_max: int = 50 * 1024 * 1024
    log_lines_max: int = 1_000
    log_line_characters_max: int = 4_000
    stop_seconds: float = 5.0


def script(settings: ScriptSettings) -> ActivityFunction:
    """Return the activity under these settings. Its output is what the script left in `OUTPUT`, as JSON."""

    async def run(parameters: dict[str, Any], ctx: ActivityContext) -> Any:
        request = _request(parameters, ctx.task, settings)
        return _output(await _Child(settings, ctx).converse(msgspec.json.encode(request) + b"\n"))

    return run


# --- The request ---------------------------------------------------------------------------------------


def _request(parameters: dict[str, Any], task: Assignment, settings: ScriptSettings) -> dict[str, Any]:
    source, file = _source(parameters, settings)
    return {
        "source": source,
        "filename": file or f"<script of {task.activity_key}>",
        "directory": str(Path(file).parent) if file else "",
        "input": _input(parameters, task),
        "memory_bytes_max": settings.memory_bytes_max,
        "output_bytes_max": settings.output_bytes_max,
        "context": {
            "workflow_id": task.workflow_id,
            "activity_key": task.activity_key,
            "attempt": task.attempt,
            "iteration": task.iteration,
            "trace_id": task.trace_id,
        },
    }


def _source(parameters: dict[str, Any], settings: ScriptSettings) -> tuple[str, str]:
    """Return the script's text and, if it is in a file, the file's absolute path."""
    text, file = parameters.get("script"), parameters.get("script_file")
    if (text is None) == (file is None):
        given = "neither" if text is None else "both"
        raise _invalid(f"expected one of script and script_file, got {given}")
    if not isinstance(file or text, str):
        raise _invalid(f"expected script to be Python text, got {type(file or text).__name__}")
    if file is None:
        return str(text), ""
    path = (Path(settings.base_directory) / file).absolute()
    try:
        if path.stat().st_size > SCRIPT_BYTES_MAX:
            raise _invalid(f"expected script_file {path} to be at most {SCRIPT_BYTES_MAX} bytes")
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(f"script_file {path} cannot be read: {error}") from None


def _input(parameters: dict[str, Any], task: Assignment) -> Any:
    """Return INPUT: `inputs`, else the other parameters, else what the engine has put together."""
    if "inputs" in parameters:
        return parameters["inputs"]
    others = {name: value for name, value in parameters.items() if name not in ("script", "script_file")}
    return others or task.settings.get("script_input", {})


def _invalid(message: str) -> Attempt:
    return Attempt.failed("invalid_parameters", f"script: {message}.", retryable=False)


# --- The child -----------------------------------------------------------------------------------------


class _Ending(msgspec.Struct, frozen=True):
    """How a child ended: its result (empty: none), exit code (negative: the signal) and last words."""

    result: bytes
    exit_code: int
    last_lines: tuple[str, ...]


class _Child:
    """One child process, from its start to the end of its group."""

    def __init__(self, settings: ScriptSettings, ctx: ActivityContext) -> None:
        self._settings = settings
        self._ctx = ctx
        self._result = bytearray()
        self._lines = 0
        self._last_lines: deque[str] = deque(maxlen=LAST_LINES_MAX)

    async def converse(self, request: bytes) -> _Ending:
        """Start the child, hand it `request`, return how it ended. When cancelled, end its group first."""
        ours, theirs = socket.socketpair()
        (out, out_end), (err, err_end), (lifeline_end, lifeline) = os.pipe(), os.pipe(), os.pipe()
        with (
            ours,
            os.fdopen(out, "rb", 0) as stdout,
            os.fdopen(err, "rb", 0) as stderr,
            os.fdopen(lifeline, "wb", 0),
        ):
            try:
                process = await self._start(theirs.fileno(), lifeline_end, out_end, err_end)
            finally:
                theirs.close()
                for end in (lifeline_end, out_end, err_end):
                    os.close(end)
            listening = [
                asyncio.create_task(self._ask(ours, request, process.pid)),
                asyncio.create_task(self._log_lines(stdout, "stdout")),
                asyncio.create_task(self._log_lines(stderr, "stderr")),
            ]
            try:
                await process.wait()
            finally:
                await self._end(process, listening)
        assert process.returncode is not None
        return _Ending(bytes(self._result), process.returncode, tuple(self._last_lines))

    async def _start(self, line: int, lifeline: int, out: int, err: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-u", "-X", "utf8", CHILD, str(line), str(lifeline)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            pass_fds=(line, lifeline),
            start_new_session=True,
            cwd=self._settings.base_directory,
            env=_environment(self._settings, self._ctx.task),
        )

    async def _end(self, process: asyncio.subprocess.Process, listening: list[asyncio.Task[None]]) -> None:
        """Leave nothing of the group alive, and hear what it still has to say."""
        try:
            if process.returncode is None:
                _signal_group(process.pid, signal.SIGTERM)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._settings.stop_seconds):
                        await process.wait()
        finally:
            _signal_group(process.pid, signal.SIGKILL)
        try:
            await process.wait()
            heard, _ = await asyncio.wait(listening, timeout=DRAIN_SECONDS)
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
        for task in heard:
            task.result()

    async def _ask(self, ours: socket.socket, request: bytes, group: int) -> None:
        """Send the request and gather the result until the child closes its end."""
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            writer.write(request)
            await writer.drain()
            while chunk := await reader.read(CHUNK_BYTES):
                self._result += chunk
                if len(self._result) > self._settings.output_bytes_max + RESULT_OVERHEAD_BYTES:
                    _signal_group(group, signal.SIGKILL)  # the child keeps the bound; this is not the child's
                    return
        except ConnectionError:
            pass  # it ended before it had read everything; its exit code says why
        finally:
            writer.close()

    async def _log_lines(self, pipe: IO[bytes], stream: str) -> None:
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        try:
            while chunk := await reader.read(CHUNK_BYTES):
                *lines, rest = (rest + decoder.decode(chunk)).split("\n")
                for line in lines:
                    self._log(line, stream)
                rest = rest[: self._settings.log_line_characters_max + 1]
        finally:
            transport.close()
            if rest:
                self._log(rest, stream)

    def _log(self, line: str, stream: str) -> None:
        most = self._settings.log_line_characters_max
        short = line if len(line) <= most else line[:most] + " … (the rest of the line is dropped)"
        if stream == "stderr":
            self._last_lines.append(short)
        self._lines += 1
        if self._lines <= self._settings.log_lines_max:
            self._ctx.log(short, stream=stream)
        elif self._lines == self._settings.log_lines_max + 1:
            said = f"The script has printed more than {self._settings.log_lines_max} lines; the rest is dropped."
            self._ctx.log(said, stream=stream)


def _environment(settings: ScriptSettings, task: Assignment) -> dict[str, str]:
    allowed = ENVIRONMENT | set(settings.environment)
    passed = {name: value for name, value in os.environ.items() if name in allowed or name.startswith("LC_")}
    return {**passed, "HEADGATE_TRACE_ID": task.trace_id}


def _signal_group(group: int, number: signal.Signals) -> None:
    # The group outlives its first process while it has any other; without one there is nothing to signal.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


# --- The result ----------------------------------------------------------------------------------------


class _Result(msgspec.Struct, frozen=True):
    output: Any = None
    failure: Failure | None = None


def _output(ending: _Ending) -> Any:
    """Return the output, or raise the failure that the child reported or its death amounts to."""
    try:
        result = msgspec.json.decode(ending.result, type=_Result)
    except msgspec.DecodeError:
        raise Attempt(_death(ending)) from None
    if result.failure is not None:
        raise Attempt(result.failure)
    return result.output


def _death(ending: _Ending) -> Failure:
    details = {"exit_code": ending.exit_code, "last_lines": list(ending.last_lines)}
    if ending.exit_code >= 0:
        message = (
            f"The script's process ended with exit code {ending.exit_code} and left no result. "
            "Let the script come to its end; os._exit leaves no time to hand over OUTPUT."
        )
        return Failure("script_error", message, details=details)
    number = -ending.exit_code
    message = f"The script's process was killed by {_signal_name(number)} (signal {number})."
    if hint := HINTS.get(number):
        message += f" {hint}"
    return Failure("script_killed", message, details={**details, "signal": _signal_name(number)})


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "an unnamed signal"
