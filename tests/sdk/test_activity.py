"""Functions as activities: bound by name, converted by annotation, and what does not fit is said so."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
from typing import Any

import msgspec
import pytest

import headgate
from headgate.cli.user_activities import load_activities
from headgate.core.errors import Invalid
from headgate.ports import Attempt
from headgate.sdk.activity import as_activity, collect_activities, settings_of


class Page(msgspec.Struct):
    url: str
    size: int = 0


@dataclasses.dataclass
class Answer:
    text: str
    at: datetime.date


def failure_of(function: Any, parameters: dict[str, Any]) -> Any:
    with pytest.raises(Attempt) as caught:
        as_activity(function)(parameters, None)
    return caught.value.failure


def test_arguments_are_taken_by_name_and_converted_and_results_become_json():
    @headgate.activity
    def read(page: Page, day: datetime.date, times: int = 2) -> Answer:
        return Answer(page.url * times, day)

    output = as_activity(read)({"page": {"url": "x"}, "day": "2026-01-31"}, None)

    assert output == {"text": "xx", "at": "2026-01-31"}


def test_an_async_function_is_awaited_and_gets_the_context_by_its_annotation():
    @headgate.activity
    async def read(url: str, where: headgate.ActivityContext) -> list[Any]:
        return [url, where]

    call = as_activity(read)

    assert asyncio.iscoroutinefunction(call)
    with pytest.raises(Attempt) as caught:
        asyncio.run(call({"url": "x"}, object()))
    assert caught.value.failure.code == "invalid_output"
    assert asyncio.run(as_activity(returns_of_context)({"n": 1}, "the context")) == ["the context", 1]


async def returns_of_context(context: headgate.ActivityContext, n: int) -> list[Any]:
    return [context, n]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"page": {"url": 1}}, 'read takes "page" as Page: Expected `str`, got `int` - at `$.url`.'),
        ({}, 'read needs the parameter "page" (Page); add it under `with`.'),
        ({"page": {"url": "x"}, "n": None}, 'read takes "n" as int: Expected `int`, got `null`.'),
        ({"page": {"url": "x"}, "m": 1}, 'read has no parameter "m"; it takes page, n.'),
    ],
)
def test_parameters_that_do_not_fit_fail_the_attempt_for_good(parameters: dict[str, Any], message: str):
    def read(page: Page, n: int = 1) -> int:
        return n

    failure = failure_of(read, parameters)

    assert (failure.code, failure.retryable, failure.message) == ("invalid_parameters", False, message)


def test_a_function_that_takes_any_name_gets_the_rest():
    def read(url: str, **rest: Any) -> Any:
        return [url, rest]

    assert as_activity(read)({"url": "x", "more": 1}, None) == ["x", {"more": 1}]


def test_a_result_that_json_cannot_hold_fails_the_attempt_for_good():
    def read() -> object:
        return object()

    failure = failure_of(read, {})

    assert (failure.code, failure.retryable) == ("invalid_output", False)
    assert "read returned object" in failure.message


def test_a_marked_function_stays_what_it_was():
    def read(url: str) -> str:
        return url

    marked = headgate.activity(name="get", attempts=3, timeout="30s", queue="gpu")(read)

    settings = settings_of(marked)
    assert marked is read
    assert settings is not None
    assert (settings.name, settings.attempts, settings.timeout, settings.queue) == ("get", 3, "30s", "gpu")


def test_what_cannot_work_is_refused_where_it_is_written():
    def positional(url: str, /) -> None: ...

    def unresolved(url: Missing) -> None: ...  # noqa: F821 - a name that is nowhere

    with pytest.raises(Invalid, match="'url' cannot be given by name"):
        headgate.activity(positional)
    with pytest.raises(Invalid, match="at least 1, got 0"):
        headgate.activity(attempts=0)(lambda: 1)
    with pytest.raises(Invalid, match="expected a duration"):
        headgate.activity(timeout="soon")(lambda: 1)
    with pytest.raises(Invalid, match="an annotation cannot be resolved"):
        as_activity(unresolved)


def test_two_functions_of_one_name_are_refused_and_one_function_twice_is_not():
    def one() -> int:
        return 1

    other = headgate.activity(name="one")(lambda: 2)

    assert list(collect_activities([one, one])) == ["one"]
    with pytest.raises(Invalid, match="Two activities are called 'one'"):
        collect_activities([one, other])


def test_a_module_for_the_command_line_may_mark_its_activities(tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "marked_ones.py").write_text(
        "import headgate\n@headgate.activity(name='double')\ndef twice(n: int) -> int: return 2 * n\n"
        "def not_one(n): return 1\n"
    )
    (tmp_path / "mapped_ones.py").write_text(
        "import headgate\ndef plain(p, c): return p\n@headgate.activity\ndef half(n: int) -> float: return n / 2\n"
        "ACTIVITIES = {'plain': plain, 'halved': half}\n"
    )

    found: Any = load_activities(("marked_ones.py", "mapped_ones.py"))

    assert sorted(found) == ["double", "halved", "plain"]
    assert found["double"]({"n": 2}, None) == 4
    assert found["halved"]({"n": 3}, None) == 1.5
    assert found["plain"]({"n": 3}, None) == {"n": 3}
