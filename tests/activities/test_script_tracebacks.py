"""What a failed script shows: its own lines, under the name that its author knows, and none of ours."""

from __future__ import annotations

import asyncio
import textwrap
from pathlib import Path
from typing import Any

import pytest

from headgate.activities.script import ScriptSettings, script
from headgate.core.values import Assignment, Failure
from headgate.ports import Attempt

pytestmark = pytest.mark.slow  # every script is a process


class Context:
    """The context of an attempt, as far as script uses it."""

    task = Assignment(
        activity_id="claim-1", workflow_id="run-1", activity_key="calc", place="calc", activity_name="script"
    )

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str, **_: Any) -> None:
        self.lines.append(message)


def failure_of(source: str, ctx: Context | None = None, folder: Path | None = None, **parameters: Any) -> Failure:
    activity = script(ScriptSettings(), folder=folder)
    with pytest.raises(Attempt) as raised:
        asyncio.run(activity({"script": textwrap.dedent(source).lstrip(), **parameters}, ctx or Context()))
    return raised.value.failure


def traceback_of(failure: Failure) -> str:
    assert failure.details is not None
    text = failure.details["traceback"]
    assert "headgate/activities" not in text
    assert "asyncio/runners" not in text
    return text


def test_a_script_that_came_from_a_file_is_called_by_the_files_name():
    source = "x = 1\n\ndef divide(n):\n    return x / n\n\ndivide(0)\n"

    failure = failure_of(source, script_file="scripts/divide.py")

    assert failure.message == "ZeroDivisionError: division by zero (line 4 of scripts/divide.py)"
    assert traceback_of(failure).startswith(
        "Traceback (most recent call last):\n"
        '  File "scripts/divide.py", line 6, in <module>\n    divide(0)\n'
        '  File "scripts/divide.py", line 4, in divide\n    return x / n\n'
    )


def test_what_an_exception_came_from_is_shown_with_the_scripts_lines():
    source = """
        def read(name):
            return {}[name]  # the cause

        try:
            read("price")
        except KeyError as error:
            raise ValueError("no price") from error
    """

    text = traceback_of(failure_of(source))

    assert 'File "<script of calc>", line 2, in read\n    return {}[name]  # the cause\n' in text
    assert "The above exception was the direct cause" in text
    assert 'line 7, in <module>\n    raise ValueError("no price") from error\n' in text


def test_our_lines_are_not_shown_where_the_cause_arose_below_the_scripts_line(tmp_path: Path):
    source = """
        try:
            INPUT["frame"]
        except Exception as error:
            raise ValueError("no frame") from error
    """
    gone = {"$frame": "ab" * 32, "kind": "pandas", "rows": 5}

    text = traceback_of(failure_of(source, folder=tmp_path, inputs={"frame": gone}))

    assert 'line 2, in <module>\n    INPUT["frame"]\n' in text
    assert "script_frames.py" not in text


def test_each_exception_of_a_group_under_top_level_await_is_shown_with_the_scripts_lines():
    source = """
        import asyncio
        async def fail(n):
            raise ValueError(n)  # in a task
        async with asyncio.TaskGroup() as group:
            group.create_task(fail(1))
            group.create_task(fail(2))
    """

    text = traceback_of(failure_of(source))

    assert text.count('File "<script of calc>", line 3, in fail\n') == 2
    assert "ValueError: 1" in text
    assert "ValueError: 2" in text


def test_an_exception_in_a_library_shows_the_library_below_the_scripts_line():
    text = traceback_of(failure_of("import json\njson.loads('{')"))

    assert "line 2, in <module>\n    json.loads('{')" in text
    assert "json/decoder.py" in text


def test_a_value_whose_own_code_fails_while_it_becomes_json_is_shown_without_our_lines():
    source = """
        class Odd:
            def isoformat(self):
                raise RuntimeError("not today")
        OUTPUT["when"] = Odd()
    """

    failure = failure_of(source)

    assert (failure.code, failure.retryable) == ("script_output", False)
    assert 'raise RuntimeError("not today")' in traceback_of(failure)


def test_a_traceback_that_a_script_prints_has_its_lines_too():
    ctx = Context()
    source = """
        import traceback
        try:
            1 / 0  # known
        except ZeroDivisionError:
            traceback.print_exc()
        raise SystemExit(1)
    """

    failure_of(source, ctx, script_file="main.py")

    printed = "\n".join(ctx.lines)
    assert 'File "main.py", line 3, in <module>\n    1 / 0  # known' in printed
    assert "headgate/activities" not in printed
