"""Workflow files in the long form of Kruxia Flow, as people have them: each loads unchanged, and means what
it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.authoring import check_definition, load_definition
from headgate.core.definition import Activity, Backoff, Budget, Definition, Dependency, SignalWait

FILES = sorted((Path(__file__).parent / "long_form").iterdir())


def load(name: str) -> Definition:
    path = Path(__file__).parent / "long_form" / name
    return load_definition(path.read_bytes(), source=name)


def activity(definition: Definition, key: str) -> Activity:
    return next(found for found in definition.activities if found.key == key)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_loads_and_stays_the_same_when_checked_again(path: Path):
    definition = load_definition(path.read_bytes(), source=path.name)

    assert check_definition(definition) == []
    assert load_definition(path.read_bytes()).version == definition.version


def test_numbers_that_are_codes_or_times_stay_what_they_look_like():
    definition = load("chain_of_requests.yaml")

    assert activity(definition, "find_parcel").parameters["query"]["code"] == "010"
    assert activity(definition, "tell_customer").parameters["body"]["opens"] == "08:30"


def test_conditions_may_be_one_text_or_a_list():
    definition = load("branches.yaml")

    assert activity(definition, "accept").depends_on == (
        Dependency("look-up", ("{{look-up.response.success == true}}",)),
    )
    assert len(activity(definition, "reject").depends_on[0].conditions) == 2
    assert [dependency.key for dependency in activity(definition, "note").depends_on] == ["accept", "reject"]


def test_settings_are_read_with_money_as_nano_dollars_and_warn_as_alert():
    judge = activity(load("moderate.yaml"), "judge")

    assert judge.budget == Budget(100_000_000, "alert")
    assert judge.retry == Backoff(3, "exponential", 2.0, 2.0, 60.0)
    assert judge.timeout_seconds == 30.0
    assert [output.name for output in judge.outputs] == ["fit", "why"]


def test_the_long_form_draws_no_edge_that_is_not_written():
    definition = load("research_loop.yaml")

    assert [dependency.key for dependency in activity(definition, "search").depends_on] == [
        "plan",
        "evaluate",
    ]
    assert [dependency.key for dependency in activity(definition, "give_up").depends_on] == ["evaluate"]
    assert activity(definition, "search").iteration_limit == 5


def test_an_activity_may_depend_on_itself_under_a_condition():
    fetch = activity(load("pages.yaml"), "fetch_page")

    assert fetch.depends_on[0].key == "fetch_page"
    assert fetch.delay == "5s"
    assert fetch.iteration_scoped


def test_signals_may_be_a_name_or_a_map_and_an_activity_may_only_wait():
    definition = load("reminders.yaml")

    assert activity(definition, "answered").name == ""
    assert activity(definition, "answered").wait_for_signal == SignalWait("answer")
    assert activity(definition, "approved").wait_for_signal == SignalWait("approval", 86400.0, "skip")


def test_settings_of_the_workflow_are_defaults_for_its_activities():
    definition = load("streaming.yaml")

    assert definition.budget == Budget(2_000_000_000, "alert")
    assert definition.timeout_seconds is None
    assert activity(definition, "outline").timeout_seconds == 120.0
    assert activity(definition, "outline").retry == Backoff(max_attempts=3)
    assert activity(definition, "draft").timeout_seconds == 180.0
    assert activity(definition, "draft").retry == Backoff(max_attempts=1)
    assert [found.streaming for found in definition.activities] == [False, True, True]


def test_an_edge_may_be_drawn_from_its_other_end():
    definition = load("scripts_and_pools.json")

    assert activity(definition, "train").depends_on == (Dependency("load"),)
    assert activity(definition, "note").depends_on == (Dependency("load", ("{{load.rows | length}} > 2",)),)
    assert activity(definition, "train").queue == "gpu-pool"
    assert activity(definition, "load").parameters["script"].endswith("('ü 😀')")
