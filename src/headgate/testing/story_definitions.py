"""Hypothesis strategies for the definitions of stories: any workflow, small enough to be shrunk to a telling one.

Needs Hypothesis, which Headgate does not install.
"""

from __future__ import annotations

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from headgate.core.definition import Activity, Backoff, Budget, Definition, Dependency, SignalWait, SubWorkflow
from headgate.core.graph import analyse
from headgate.core.values import SharedBudget

__all__ = ["GIVEN", "definitions", "shared_budgets"]

GIVEN = {"yes": True, "no": False, "items": [1, 2], "nothing": []}
"""The input of every story."""


@st.composite
def definitions(draw: st.DrawFn, *, children: bool = True, activities_max: int = 6) -> Definition:
    """Draw a workflow: branches, joins, loops (nested, with several tails), fan-outs, delays, signals, budgets."""
    count = draw(st.integers(1, activities_max))
    activities = [draw(_activities(number, children=children)) for number in range(count)]
    for _ in range(draw(st.sampled_from([0, 0, 1, 2, 3]))):
        _close_a_loop(draw, activities)
    assume(not analyse(activities).tangles)  # `check` refuses them
    budget = draw(st.none() | _budgets())
    timeout = draw(st.sampled_from([None, None, None, 600.0]))
    return Definition(name="story", activities=tuple(activities), budget=budget, timeout_seconds=timeout)


@st.composite
def _activities(draw: st.DrawFn, number: int, *, children: bool) -> Activity:
    name = "echo"
    child, signal, for_each = None, None, None
    parameters: dict[str, Any] = {}
    match draw(st.integers(0, 11)):
        case 0 if children:
            name, child = "", SubWorkflow("child")
        case 1:
            signal = draw(_signal_waits())
            name = draw(st.sampled_from(["", "echo"]))
        case 2:
            name = draw(st.sampled_from(["wait", "approval"]))
            parameters = (
                {"duration": "3w"} if name == "wait" else {"title": "?", "timeout": "1h", "on_timeout": "approve"}
            )
        case 3 | 4:
            for_each = draw(st.sampled_from([[], [1], [1, 2, 3], "{{ INPUT.items }}", "{{ INPUT.nothing }}"]))
        case _:
            pass
    return Activity(
        key=f"a{number}",
        name=name,
        parameters=parameters,
        depends_on=draw(_dependencies(number)),
        join=draw(st.sampled_from(["default", "default", "default", "all", "any"])),
        when=draw(st.sampled_from([None, None, None, None, "{{ INPUT.yes }}", "{{ INPUT.no }}", "{{ 1 < 'x' }}"])),
        for_each=for_each,
        max_parallel=draw(st.integers(1, 2)),
        retry=draw(st.sampled_from([None, Backoff(max_attempts=1), Backoff(max_attempts=3)])),
        on_failure=draw(st.sampled_from(["fail", "fail", "continue"])),
        delay=draw(st.sampled_from([None, None, None, "30s"])),
        budget=draw(st.none() | _budgets()),
        wait_for_signal=signal,
        workflow=child,
    )


@st.composite
def _dependencies(draw: st.DrawFn, number: int) -> tuple[Dependency, ...]:
    if not number:
        return ()
    sources = draw(st.lists(st.integers(0, number - 1), min_size=draw(st.integers(0, 1)), max_size=3, unique=True))
    return tuple(Dependency(f"a{source}", draw(_conditions(f"a{source}"))) for source in sources)


def _conditions(key: str) -> st.SearchStrategy[tuple[str, ...]]:
    texts = [
        "{{ %s.yes }}",
        "{{ %s.no }}",
        "{{ %s.status == 'failed' }}",
        "{{ %s.status == 'skipped' }}",
        "{{ %s.error.code == 'broken' }}",
        "{{ %s.text < 1 }}",
    ]
    return st.just(()) | st.just(()) | st.sampled_from([(text % key,) for text in texts])


def _signal_waits() -> st.SearchStrategy[SignalWait]:
    return st.builds(
        SignalWait,
        st.sampled_from(["go", "stop"]),
        st.none() | st.just(60.0),
        st.sampled_from(["fail", "skip", "continue"]),
    )


def _budgets() -> st.SearchStrategy[Budget]:
    return st.builds(Budget, st.integers(0, 150), st.sampled_from(["abort", "abort", "fallback", "alert", "ask"]))


def shared_budgets() -> st.SearchStrategy[list[SharedBudget]]:
    """Draw budgets above a run, of all models or of one."""
    actions = st.sampled_from(["abort", "ask", "alert", "abort"])
    models = st.sampled_from([(), (), ("m/0",), ("m/0", "m/1")])
    budget = st.builds(
        SharedBudget,
        st.sampled_from(["s1", "s2", "s3"]),
        st.just("a shared budget"),
        st.integers(0, 150),
        action=actions,
        models=models,
        warn_percent=st.sampled_from([0, 50]),
    )
    return st.lists(budget, max_size=3, unique_by=lambda budget: budget.id)


def _close_a_loop(draw: st.DrawFn, activities: list[Activity]) -> None:
    """Add an edge back from some activity to itself or to one before it, with a limit at the head."""
    tail = draw(st.integers(0, len(activities) - 1))
    head = draw(st.integers(0, tail))
    if any(dependency.key == f"a{tail}" for dependency in activities[head].depends_on):
        return
    condition = draw(
        st.sampled_from(
            [
                (),
                ("{{ KEY.yes }}".replace("KEY", f"a{tail}"),),
                ("{{ KEY.status == 'failed' }}".replace("KEY", f"a{tail}"),),
            ]
        )
    )
    edge = Dependency(f"a{tail}", condition)
    was = activities[head]
    activities[head] = _with(was, depends_on=(*was.depends_on, edge), iteration_limit=draw(st.integers(1, 3)))


def _with(activity: Activity, **changes: Any) -> Activity:
    fields = {name: getattr(activity, name) for name in Activity.__struct_fields__}
    return Activity(**{**fields, **changes})
