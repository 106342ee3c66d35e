"""The program of the process that runs one script. It knows nothing of Headgate, only the standard library.

It is started with the numbers of a socket and a pipe. From the socket comes the request, one line of JSON;
there goes the result, one JSON value. The pipe is a lifeline on which nothing is ever said: when the parent's
end closes, this process and all that it started die, so that nothing outlives the engine, whatever killed it.
The start is part of every script's time: what only some scripts need is imported by those.
"""

from __future__ import annotations

import _thread
import binascii
import json
import linecache
import os
import sys
from collections.abc import Callable, Mapping
from types import CodeType, ModuleType, SimpleNamespace, TracebackType
from typing import Any

__all__ = ["main", "plain"]

TOP_LEVEL_AWAIT = 0x2000  # ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
COROUTINE = 0x80  # inspect.CO_COROUTINE
SIGKILL = 9
OUT_OF_MEMORY = 12  # errno.ENOMEM
MESSAGE_CHARACTERS_MAX = 2_000
TRACEBACK_CHARACTERS_MAX = 20_000


def main() -> None:
    """Read the request, run the script, write the result."""
    parent, lifeline, process = int(sys.argv[1]), int(sys.argv[2]), os.getpid()
    os.set_inheritable(parent, False)
    os.set_inheritable(lifeline, False)
    _die_with_parent(lifeline)
    request = json.loads(_read_line(parent))
    _limit_memory(request["memory_bytes_max"])
    result = _result(request)
    if os.getpid() == process:  # else the script has forked, and this is the copy
        _write(parent, result)


def _die_with_parent(lifeline: int) -> None:
    """Have this process group killed when the lifeline ends.

    On Linux the kernel does it: there is no thread that a script could keep waiting by holding the
    interpreter's lock, and, unlike with PR_SET_PDEATHSIG, what the script has started dies too.
    """
    if sys.platform != "linux":
        _thread.start_new_thread(_wait_and_die, (lifeline,))
        return
    import fcntl
    import select

    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:  # it had ended before
        os.killpg(0, SIGKILL)


def _wait_and_die(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, SIGKILL)


def _read_line(parent: int) -> bytes:
    content = bytearray()
    while not content.endswith(b"\n"):
        chunk = os.read(parent, 1 << 20)
        if not chunk:
            sys.exit("the parent is gone")
        content += chunk
    return bytes(content)


def _write(parent: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(parent, rest) :]


def _limit_memory(most: int) -> None:
    try:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except (ImportError, ValueError, OSError):
        pass  # not on this system; the process has no limit of its own then


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
        _run(code, names)
    except SystemExit as exit_:
        if exit_.code not in (None, 0):
            return _failure("script_error", exit_, filename, what=f"The script called sys.exit({exit_.code!r})")
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
    if request["directory"]:
        module.__file__ = request["filename"]
        sys.path.insert(0, request["directory"])
    names = module.__dict__
    names.update(INPUT=request["input"], OUTPUT={}, ctx=SimpleNamespace(**context))
    names.update(workflow_id=context["workflow_id"], activity_key=context["activity_key"])
    if "logg" in request["source"]:
        names["logger"] = _logger(context["activity_key"])
    return names


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
    text = "".join(traceback.format_exception(type(error), error, trace))
    line = getattr(error, "lineno", None) if trace is None else _last_line(trace, filename)
    message = (what or _said(error))[:MESSAGE_CHARACTERS_MAX]
    if line:
        message += f" (line {line} of {filename})"
    details = {"type": type(error).__name__, "line": line, "traceback": text[-TRACEBACK_CHARACTERS_MAX:]}
    return _refusal(code, message, retryable, details)


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


class Unfit(Exception):
    """A value that is not JSON and cannot become it. `path` grows from the inside out."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.path = ""


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


def plain(value: Any) -> Any:
    """Return `value` as None, bool, int, float, str, list or dict; raise `Unfit` where that cannot be."""
    kind = type(value)
    if value is None or kind is bool or kind is int:
        return value
    if kind is str:
        return _text(value)
    if kind is float:
        return _number(value)
    if kind is dict:
        return _object(value)
    if kind is list or kind is tuple:
        return _array(value)
    return _converted(value)


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Unfit("text with half of a surrogate pair, which is not Unicode") from None
    return value


def _number(value: float) -> float:
    if value != value or value in (float("inf"), float("-inf")):
        raise Unfit(f"{value}, which JSON does not have; say what it means, for example None")
    return value


def _array(values: Any) -> list[Any]:
    items: list[Any] = []
    try:
        for value in values:
            items.append(plain(value))
    except Unfit as error:
        error.path = f"[{len(items)}]{error.path}"
        raise
    return items


def _object(values: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for key, value in values.items():
        name = key if type(key) is str else _key(key)
        try:
            fields[_text(name)] = plain(value)
        except Unfit as error:
            error.path = f".{name}{error.path}"
            raise
    return fields


def _key(key: Any) -> str:
    name = plain(key)
    if isinstance(name, (dict, list)):
        raise Unfit(f"a key of type {type(key).__name__}; use text or numbers as keys")
    return name if isinstance(name, str) else json.dumps(name)


def _converted(value: Any) -> Any:
    """Return what is not plain already by what it looks like; numpy and pandas are never imported."""
    for fits, convert in FORMS:
        if fits(value):
            return convert(value)
    reason = f"a value of type {type(value).__name__}; put text, numbers, lists or dictionaries there"
    raise Unfit(reason)


def _has(*names: str) -> Callable[[Any], bool]:
    return lambda value: not isinstance(value, type) and all(hasattr(value, name) for name in names)


def _is(module: str, name: str) -> Callable[[Any], bool]:
    """Return a test for a class of a module that is only there if the script has imported it."""
    return lambda value: isinstance(value, getattr(sys.modules.get(module), name, ()))


def _numpy(value: Any) -> Any:
    kind = getattr(value.dtype, "kind", "")
    if kind in ("M", "m") and type(value).__module__.partition(".")[0] == "numpy":
        # Of nanoseconds numpy makes plain integers; of microseconds it makes datetimes, and None of NaT.
        value = value.astype("datetime64[us]" if kind == "M" else "timedelta64[us]")
    return plain(value.tolist())


def _frame(value: Any) -> list[Any]:
    """Return a pandas frame as a list of rows; an index that has a name is a column like the others."""
    if any(name is not None for name in value.index.names):
        value = value.reset_index()
    floats = {name for name, dtype in value.dtypes.items() if getattr(dtype, "kind", "") == "f"}
    rows: list[dict[Any, Any]] = value.to_dict(orient="records")
    for row in rows:
        for name, cell in row.items():
            # So pandas marks missing text. In a column of floats it may be a result, and is refused as such.
            if type(cell) is float and cell != cell and name not in floats:
                row[name] = None
    return _array(rows)


def _series(value: Any) -> Any:
    """Return a pandas series as a list, or, if its index says more than the position, as a map."""
    return plain(value.tolist() if type(value.index).__name__ == "RangeIndex" else value.to_dict())


def _set(value: Any) -> list[Any]:
    """Return a set as a list in an order that is the same in every process."""
    items = _array(value)
    try:
        return sorted(items)
    except TypeError:
        return sorted(items, key=json.dumps)


def _decimal(value: Any) -> str:
    if not value.is_finite():
        raise Unfit(f"{value}, which JSON does not have; say what it means, for example None")
    return str(value)


def _missing(value: Any) -> bool:
    return type(value).__name__ in ("NAType", "NaTType")


def _base64(value: Any) -> str:
    return binascii.b2a_base64(bytes(value), newline=False).decode("ascii")


def _fields(value: Any, names: Any) -> dict[str, Any]:
    return _object({name: getattr(value, name) for name in names})


FORMS: tuple[tuple[Callable[[Any], bool], Callable[[Any], Any]], ...] = (
    (_missing, lambda _: None),  # before datetime: pandas' NaT is one
    (_is("enum", "Enum"), lambda value: plain(value.value)),
    (_has("to_dict", "columns", "index", "dtypes"), _frame),
    (_has("to_dict", "index", "tolist"), _series),
    (_has("to_dicts", "columns"), lambda value: _array(value.to_dicts())),  # polars
    (_has("dtype", "tolist"), _numpy),
    (_has("dtype", "to_list"), lambda value: _array(value.to_list())),
    (lambda value: isinstance(value, str), lambda value: _text(str.__str__(value))),
    (lambda value: isinstance(value, int), int),
    (lambda value: isinstance(value, float), lambda value: _number(float(value))),
    (lambda value: isinstance(value, Mapping), _object),
    (lambda value: isinstance(value, (set, frozenset)), _set),
    (lambda value: isinstance(value, (bytes, bytearray, memoryview)), _base64),
    (_has("isoformat"), lambda value: value.isoformat()),
    (_has("total_seconds"), lambda value: _number(value.total_seconds())),
    (_is("decimal", "Decimal"), _decimal),
    (_is("uuid", "UUID"), str),
    (_has("__fspath__"), lambda value: plain(os.fspath(value))),
    (_has("__dataclass_fields__"), lambda value: _fields(value, value.__dataclass_fields__)),
    (_has("__struct_fields__"), lambda value: _fields(value, value.__struct_fields__)),
    (_has("model_dump"), lambda value: plain(value.model_dump())),  # pydantic
    (_has("__attrs_attrs__"), lambda value: _fields(value, [one.name for one in value.__attrs_attrs__])),
    (lambda value: isinstance(value, (list, tuple)), _array),
    (_is("collections", "deque"), _array),
    (lambda value: isinstance(value, (range, type({}.keys()), type({}.values()), type({}.items()))), _array),
)


if __name__ == "__main__":
    main()
