"""The activity `script`: the author's Python, in a process of its own.

This file is what goes in and what comes out: the request from the parameters, the output or the failure from how the
process ended. A second execution runs the script again: what it has written elsewhere is written twice, unless the
script sees to it; frames are files named by their content, and stay one.
"""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from headgate.activities.parameters import wrong_parameters
from headgate.activities.script_child import CHANNEL_CLOSED
from headgate.activities.script_frames import remove_unfinished
from headgate.activities.script_pool import Interpreters
from headgate.activities.script_process import Ending
from headgate.activities.script_settings import ScriptSettings
from headgate.core.values import Assignment, Failure
from headgate.ports import ActivityContext, ActivityFunction, Attempt

__all__ = ["ScriptSettings", "Scripts", "script"]

_invalid = partial(wrong_parameters, "script")

HINTS: dict[int, str] = {
    signal.SIGKILL: "Most often that is the system, out of memory.",
    signal.SIGSEGV: "A compiled library that it uses has crashed.",
    signal.SIGABRT: "A compiled library that it uses has given up, often for want of memory.",
}
SCRIPT_BYTES_MAX = 1024 * 1024


class Scripts:
    """All scripts of an engine. `folder` is where large frames go; without one they pass as JSON, like small ones.

    `close` ends the interpreters that wait for a script.
    """

    def __init__(self, settings: ScriptSettings, *, folder: Path | None = None) -> None:
        self.interpreters = Interpreters(settings)
        self._settings = settings
        self._folder = folder
        self._running = asyncio.Semaphore(settings.running_max)
        self._tidy = folder is None

    async def run(self, parameters: dict[str, Any], ctx: ActivityContext) -> Any:
        """Run one script; return what it left in `OUTPUT`, as JSON. Raises `Attempt`."""
        if os.name != "posix":
            message = "Scripts run on Linux and macOS only; give this activity to a worker there."
            raise Attempt.failed("script_unsupported", message, retryable=False)
        async with self._running:
            request = msgspec.json.encode(_request(parameters, ctx.task, self._settings, self._folder)) + b"\n"
            if not self._tidy and self._folder is not None:
                self._tidy = True  # before the first script: what is unfinished now was left by an earlier process
                remove_unfinished(self._folder)
            try:
                process = await self.interpreters.take()
            except OSError as error:
                message = f"No process can be started for the script: {error}."
                raise Attempt.failed("script_start", message) from None
            return _output(await process.converse(request, ctx), self._settings)

    async def close(self) -> None:
        await self.interpreters.close()


def script(settings: ScriptSettings, *, folder: Path | None = None) -> ActivityFunction:
    """Return the activity with an interpreter started for each script; nothing waits, so there is nothing to close."""
    return Scripts(msgspec.structs.replace(settings, warm_max=0), folder=folder).run


# --- The request ---------------------------------------------------------------------------------------


def _request(
    parameters: dict[str, Any], task: Assignment, settings: ScriptSettings, folder: Path | None
) -> dict[str, Any]:
    source, file, directory = _source(parameters, settings)
    return {
        "source": source,
        "filename": file or f"<script of {task.activity_key}>",
        "file": file,
        "directory": directory,
        "input": _input(parameters, task),
        # A frame is a file that nothing is masked in: what secrets went into comes back as JSON, whatever its size.
        "frames": "" if folder is None or task.settings.get("secrets") else str(folder.absolute()),
        "memory_bytes_max": settings.memory_bytes_max,
        "cpu_seconds_max": settings.cpu_seconds_max,
        "output_bytes_max": settings.output_bytes_max,
        "file_bytes_max": settings.file_bytes_max,
        "context": {
            "workflow_id": task.workflow_id,
            "activity_key": task.activity_key,
            "attempt": task.attempt,
            "iteration": task.iteration,
            "trace_id": task.trace_id,
        },
    }


def _source(parameters: dict[str, Any], settings: ScriptSettings) -> tuple[str, str, str]:
    """Return the script's text, the file that it is from, and the folder whose modules it may import ("": none).

    With a text, `script_file` only says where the text is from, as its author knows it.
    """
    text, file = parameters.get("script"), parameters.get("script_file")
    if text is None and file is None:
        raise _invalid("expected script or script_file, got neither")
    for given in (text, file):
        if not isinstance(given, str | None):
            raise _invalid(f"expected script to be Python text, got {type(given).__name__}")
    if file is None:
        return str(text), "", ""
    path = (Path(settings.base_directory) / file).absolute()
    if text is not None:
        return text, file, str(path.parent)
    try:
        if path.stat().st_size > SCRIPT_BYTES_MAX:
            raise _invalid(f"expected script_file {path} to be at most {SCRIPT_BYTES_MAX} bytes")
        return path.read_text(encoding="utf-8"), str(path), str(path.parent)
    except (OSError, UnicodeDecodeError) as error:
        raise _invalid(f"script_file {path} cannot be read: {error}") from None


def _input(parameters: dict[str, Any], task: Assignment) -> Any:
    """Return INPUT: `inputs`, else the other parameters, else what the engine has put together."""
    if "inputs" in parameters:
        return parameters["inputs"]
    others = {name: value for name, value in parameters.items() if name not in ("script", "script_file")}
    return others or task.settings.get("script_input", {})


# --- The result ----------------------------------------------------------------------------------------


class _Result(msgspec.Struct, frozen=True):
    output: Any = None
    failure: Failure | None = None


def _output(ending: Ending, settings: ScriptSettings) -> Any:
    """Return the output, or raise the failure that the process reported or its death amounts to."""
    if ending.limit:
        raise Attempt(_stopped(ending, settings))
    try:
        result = msgspec.json.decode(ending.result, type=_Result)
    except msgspec.DecodeError:
        raise Attempt(_death(ending, settings)) from None
    if result.failure is not None:
        raise Attempt(result.failure)
    return result.output


def _stopped(ending: Ending, settings: ScriptSettings) -> Failure:
    """Return the failure of a process that was stopped at a limit. None of them is better the next time."""
    code, message = {
        "printed": (
            "script_printed",
            f"The script printed more than {settings.printed_bytes_max} bytes (printed_bytes_max). Let it print less.",
        ),
        "output": (
            "script_output",
            f"The script's process sent more than {settings.output_bytes_max} bytes as its result.",
        ),
        "closed": (
            "script_closed",
            "The script closed the descriptor on which its result was to go. Let it close only what it has opened.",
        ),
    }[ending.limit or "closed"]
    return Failure(code, message, retryable=False, details={"last_lines": list(ending.last_lines)})


def _death(ending: Ending, settings: ScriptSettings) -> Failure:
    details: dict[str, Any] = {"exit_code": ending.exit_code, "last_lines": list(ending.last_lines)}
    if ending.exit_code == CHANNEL_CLOSED:
        return _stopped(msgspec.structs.replace(ending, limit="closed"), settings)
    if ending.exit_code >= 0:
        message = (
            f"The script's process ended with exit code {ending.exit_code} and left no result. "
            "Let the script come to its end; os._exit leaves no time to hand over OUTPUT."
        )
        return Failure("script_error", message, details=details)
    number = -ending.exit_code
    name = _signal_name(number)
    if name == "SIGXCPU":
        message = (
            f"The script used more than {settings.cpu_seconds_max} seconds of processor time. "
            "Let it do less at a time, or raise cpu_seconds_max in the settings."
        )
        return Failure("script_cpu", message, retryable=False, details=details)
    message = f"The script's process was killed by {name} (signal {number})."
    if hint := HINTS.get(number):
        message += f" {hint}"
    return Failure("script_killed", message, details={**details, "signal": name})


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return "an unnamed signal"
