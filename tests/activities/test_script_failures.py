"""How a script fails, and what its log says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.activities.script_lab import Context, failure_of, run

from headgate.activities.script import ScriptSettings, script
from headgate.ports import Attempt

pytestmark = pytest.mark.slow  # every script is a process


# --- Failures ---------------------------------------------------------------------------------------------------------


def test_an_exception_is_a_retryable_failure_with_the_scripts_own_lines():
    failure = failure_of("def inner(x):\n    return 1 / x  # here\n\ninner(0)\n")

    assert (failure.code, failure.retryable) == ("script_error", True)
    assert failure.message == "ZeroDivisionError: division by zero (line 2 of <script of calc>)"
    assert failure.details is not None
    assert failure.details["line"] == 2
    assert 'File "<script of calc>", line 4, in <module>\n    inner(0)' in failure.details["traceback"]
    assert "return 1 / x  # here" in failure.details["traceback"]
    assert "script_child" not in failure.details["traceback"]


def test_an_exception_under_top_level_await_has_the_scripts_lines_too():
    failure = failure_of("import asyncio\nawait asyncio.sleep(0)\nraise ValueError('no')")

    assert failure.message == "ValueError: no (line 3 of <script of calc>)"
    assert failure.details is not None
    assert "raise ValueError('no')" in failure.details["traceback"]
    assert "script_child" not in failure.details["traceback"]


def test_an_exception_in_a_script_file_names_the_file(tmp_path: Path):
    (tmp_path / "main.py").write_text("x = 1\nraise KeyError('k')")

    with pytest.raises(Attempt) as raised:
        asyncio.run(script(ScriptSettings(base_directory=str(tmp_path)))({"script_file": "main.py"}, Context()))

    assert raised.value.failure.message == f"KeyError: 'k' (line 2 of {tmp_path / 'main.py'})"


def test_a_syntax_error_is_not_retryable_and_names_its_line():
    failure = failure_of("x = 1\ny = = 2\n")

    assert (failure.code, failure.retryable) == ("script_error", False)
    assert failure.message == "SyntaxError: invalid syntax (line 2 of <script of calc>)"
    assert failure.details is not None
    assert "y = = 2" in failure.details["traceback"]


def test_sys_exit_without_a_code_ends_the_script_well_and_with_a_code_fails_it():
    assert run("import sys; OUTPUT['a'] = 1; sys.exit()") == {"a": 1}
    assert run("import sys; OUTPUT['a'] = 1; sys.exit(0)") == {"a": 1}

    failure = failure_of("import sys\nsys.exit('out of stock')")

    assert (failure.code, failure.retryable) == ("script_error", True)
    assert failure.message == "The script called sys.exit('out of stock') (line 2 of <script of calc>)"


def test_a_process_that_leaves_without_a_result_says_so_with_its_last_lines():
    failure = failure_of("import os, sys; print('so long', file=sys.stderr); os._exit(3)")

    assert failure.code == "script_error"
    assert "exit code 3" in failure.message
    assert failure.details == {"exit_code": 3, "last_lines": ["so long"]}


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL", "SIGABRT"])
def test_a_killed_process_is_a_failure_that_names_the_signal(name: str):
    failure = failure_of(f"import os, signal; os.kill(os.getpid(), signal.{name})")

    assert (failure.code, failure.retryable) == ("script_killed", True)
    assert name in failure.message


def test_a_script_that_needs_too_much_memory_is_told_so():
    settings = ScriptSettings(memory_bytes_max=200 * 1024 * 1024)

    at_once = failure_of("x = bytearray(10**9)", settings=settings)
    by_and_by = failure_of("x = []\nwhile True:\n    x.append('y' * 1000 + str(len(x)))", settings=settings)

    for failure in (at_once, by_and_by):
        assert (failure.code, failure.retryable) == ("script_memory", False)
        assert "209715200 bytes" in failure.message


# --- Logs -------------------------------------------------------------------------------------------------------------


def test_what_a_script_prints_and_logs_is_in_the_attempts_log():
    ctx = Context()
    source = """
        import sys
        print("one\\ntwo")
        print("three", file=sys.stderr)
        logger.info("four %d", 4)
        print("end", end="")
    """

    run(source, ctx=ctx)

    assert [line for stream, line in ctx.lines if stream == "stdout"] == ["one", "two", "end"]
    assert [line for stream, line in ctx.lines if stream == "stderr"] == ["three", "INFO four 4"]


def test_a_script_that_prints_without_end_is_cut_short_and_not_blocked():
    ctx = Context()
    settings = ScriptSettings(log_lines_max=10, log_line_characters_max=50)

    output = run(
        "for i in range(20_000): print('x' * 100)\nprint('y' * 10_000_000)\nOUTPUT = 1",
        ctx=ctx,
        settings=settings,
    )

    assert output == 1
    assert len(ctx.lines) == 11
    assert ctx.lines[0][1].startswith("x" * 50 + " …")
    assert "more than 10 lines" in ctx.lines[10][1]
