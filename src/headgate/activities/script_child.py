"""The program of the process that runs one script. Of Headgate it knows only its own neighbours, `script_*`.

It is started with the numbers of a socket and a pipe, perhaps long before there is a script for it: then it waits,
with the imports that a script's start needs behind it. From the socket comes the request, one line of JSON; there goes
the result, one JSON value; then the process ends, so that nothing of a script is there for the next. The pipe is a
lifeline on which nothing is ever said: when the parent's end closes, this process and all that it started die.
What only some scripts need is imported by those.
"""

from __future__ import annotations

import atexit
import json
import linecache
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Any

from headgate.activities.script_bounds import adopt_orphans, die_with_parent, end_descendants, is_readable, limit
from headgate.activities.script_frames import FrameMissing, Shelf
from headgate.activities.script_values import Unfit, plain

if TYPE_CHECKING:
    from traceback import TracebackException

__all__ = ["CHANNEL_CLOSED", "main"]

TOP_LEVEL_AWAIT = 0x2000  # ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
COROUTINE = 0x80  # inspect.CO_COROUTINE
OUT_OF_MEMORY = 12  # errno.ENOMEM
CHANNEL_CLOSED = 113
"""The exit code that says: the script has closed the socket on which its result was to go."""
MESSAGE_CHARACTERS_MAX = 2_000
TRACEBACK_CHARACTERS_MAX = 20_000
CHAIN_MAX = 1_000
OURS = str(Path(__file__).with_name("script_"))


def main() -> None:
    """Read the request, run the script, write the result. The arguments: socket, lifeline, the parent's id."""
    channel, lifeline, parent = (int(argument) for argument in sys.argv[1:4])
    process = os.getpid()
    os.set_inheritable(channel, False)
    os.set_inheritable(lifeline, False)
    die_with_parent(lifeline, parent)
    adopt_orphans()
    atexit.register(_end_descendants_of, process)  # registered first, so the last to be called
    _prepare(channel)
    identity = os.fstat(channel).st_ino
    request = json.loads(_read_line(channel))
    limit(request)
    result = _result(request)
    if os.getpid() == process:  # else the script has forked, and this is the copy
        _write(channel, identity, result)


def _end_descendants_of(process: int) -> None:
    if os.getpid() == process:
        end_descendants()


def _prepare(channel: int) -> None:
    """While there is nothing to do, import what scripts often need."""
    if not is_readable(channel):
        import asyncio
        import gc
        import logging
        import traceback

        del asyncio, logging, traceback
        gc.freeze()  # what is here stays to the end: no collection, nor the last one, need look at it


def _read_line(channel: int) -> bytes:
    content = bytearray()
    while not content.endswith(b"\n"):
        chunk = os.read(channel, 1 << 20)
        if not chunk:
            sys.exit("the parent is gone")
        content += chunk
    return bytes(content)


def _write(channel: int, identity: int, content: bytes) -> None:
    """Send the result, but not to a file of the script's that has got the number of a closed channel."""
    rest = memoryview(content)
    try:
        while rest and os.fstat(channel).st_ino == identity:
            rest = rest[os.write(channel, rest) :]
    except OSError:
        pass
    if rest:
        sys.exit(CHANNEL_CLOSED)


# --- Running -------------------------------------------------------------------------------------------


def _result(request: dict[str, Any]) -> bytes:
    """Return the result as JSON: the output, or why there is none."""
    filename = request["filename"]
    # For tracebacks, also those that a script prints. An entry without a time is never looked for on disk.
    lines = request["source"].splitlines(keepends=True)
    linecache.cache[filename] = (len(request["source"]), None, lines, filename)
    try:
        code = compile(request["source"], filename, "exec", TOP_LEVEL_AWAIT, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError) as error:
        return _failure("script_error", error, filename, retryable=False)
    names = _names(request)
    try:
        _receive(request, names)
        _run(code, names)
    except SystemExit as exit_:
        if exit_.code not in (None, 0):
            return _failure("script_error", exit_, filename, what=f"The script called sys.exit({exit_.code!r})")
    except FrameMissing as error:
        return _failure("frame_missing", error, filename, what=str(error), retryable=False)
    except BaseException as error:  # noqa: BLE001 - whatever a script raises is its result
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == OUT_OF_MEMORY:
            return _out_of_memory(request, error, names)
        return _failure("script_error", error, filename)
    return _encoded(names.get("OUTPUT"), request)


def _names(request: dict[str, Any]) -> dict[str, Any]:
    """Return the script's global names: those of `__main__`, so that pickling and dataclasses work."""
    context: dict[str, Any] = request["context"]
    module = ModuleType("__main__")
    sys.modules["__main__"] = module
    sys.argv = [request["filename"]]
    os.environ["HEADGATE_TRACE_ID"] = context["trace_id"]
    if request["file"]:
        module.__file__ = request["file"]
        sys.path.insert(0, request["directory"])
    names = module.__dict__
    names.update(INPUT=None, OUTPUT={}, ctx=SimpleNamespace(**context))
    names.update(workflow_id=context["workflow_id"], activity_key=context["activity_key"])
    if "logg" in request["source"]:
        names["logger"] = _logger(context["activity_key"])
    return names


def _receive(request: dict[str, Any], names: dict[str, Any]) -> None:
    """Put INPUT there, and let frames pass if there is a folder for them."""
    names["INPUT"] = request["input"]
    if request["frames"]:
        shelf = Shelf(request["frames"], request["file_bytes_max"])
        shelf.open()
        names["INPUT"] = shelf.unpacked(request["input"])


def _logger(name: str) -> Any:
    import logging

    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(message)s")
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    return logger


def _run(code: CodeType, names: dict[str, Any]) -> None:
    if code.co_flags & COROUTINE:
        import asyncio

        asyncio.run(eval(code, names))  # noqa: S307 - to run what the author wrote is this program's purpose
    else:
        exec(code, names)  # noqa: S102 - as above


# --- Failures ------------------------------------------------------------------------------------------


def _failure(code: str, error: BaseException, filename: str, *, what: str = "", retryable: bool = True) -> bytes:
    import traceback

    trace = _from_script_on(error.__traceback__, filename)
    told = traceback.TracebackException(type(error), error, trace)
    for one in _chain(told):
        one.stack = traceback.StackSummary.from_list([frame for frame in one.stack if not _is_ours(frame.filename)])
    text = "".join(told.format())
    line = getattr(error, "lineno", None) if trace is None else _last_line(trace, filename)
    message = (what or _said(error))[:MESSAGE_CHARACTERS_MAX]
    if line:
        message += f" (line {line} of {filename})"
    details = {"type": type(error).__name__, "line": line, "traceback": text[-TRACEBACK_CHARACTERS_MAX:]}
    return _refusal(code, message, retryable, details)


def _chain(told: TracebackException) -> Iterator[TracebackException]:
    """Yield an exception, what it came from, and what it holds."""
    waiting = [told]
    for _ in range(CHAIN_MAX):
        if not waiting:
            return
        one = waiting.pop()
        yield one
        waiting.extend(other for other in (one.__cause__, one.__context__) if other is not None)
        waiting.extend(getattr(one, "exceptions", None) or ())


def _is_ours(filename: str) -> bool:
    return filename.startswith(OURS)


def _refusal(code: str, message: str, retryable: bool, details: dict[str, Any] | None = None) -> bytes:
    failure = {"code": code, "message": message, "retryable": retryable, "details": details}
    return json.dumps({"failure": failure}).encode("ascii")


def _said(error: BaseException) -> str:
    try:
        text = error.msg if isinstance(error, SyntaxError) else str(error)
    except Exception:  # noqa: BLE001 - an exception's text is the script's code, too
        text = "(its text could not be had)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _from_script_on(trace: TracebackType | None, filename: str) -> TracebackType | None:
    """Return the traceback without the frames, ours and asyncio's, above the script's first."""
    while trace is not None and trace.tb_frame.f_code.co_filename != filename:
        trace = trace.tb_next
    return trace


def _last_line(trace: TracebackType | None, filename: str) -> int | None:
    line = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _out_of_memory(request: dict[str, Any], error: BaseException, names: dict[str, Any]) -> bytes:
    most = request["memory_bytes_max"]
    what = (
        f"The script needed more memory than it may have ({most} bytes). Let it hold less at a time, "
        "or raise memory_bytes_max in the settings"
    )
    try:
        return _failure("script_memory", error, request["filename"], what=what, retryable=False)
    except MemoryError:
        error.__traceback__ = None
        names.clear()
        return _refusal("script_memory", what, retryable=False)


# --- The output as JSON --------------------------------------------------------------------------------


def _encoded(output: Any, request: dict[str, Any]) -> bytes:
    most = request["output_bytes_max"]
    try:
        content = json.dumps({"output": plain(output)}, ensure_ascii=False, separators=(",", ":")).encode()
    except Unfit as error:
        message = f"expected OUTPUT{error.path} to be JSON or to have a form in it, got {error}"
        return _refusal("script_output", f"{message}.", retryable=False)
    except RecursionError:
        return _refusal("script_output", "OUTPUT holds itself, or is nested too deeply for JSON.", retryable=False)
    except MemoryError as error:
        return _out_of_memory(request, error, {})
    except Exception as error:  # noqa: BLE001 - raised by a value's own code
        return _failure("script_output", error, request["filename"], retryable=False)
    if len(content) > most:
        message = (
            f"expected OUTPUT to be at most {most} bytes of JSON, got {len(content)}. Write the data to a "
            "file or a database, and put its name into OUTPUT."
        )
        return _refusal("script_output", message, retryable=False)
    return content
