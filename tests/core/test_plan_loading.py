"""A stored definition is made ready without compiling what only a later rendering needs."""

from __future__ import annotations

import pytest

from headgate.core.definition import Activity, Definition
from headgate.core.expression import ExpressionError
from headgate.core.plan import compile_plan, load_plan


def definition_with(parameter: str) -> Definition:
    return Definition("w", (Activity("a", "echo", parameters={"text": parameter}),))


def test_compiling_a_plan_refuses_a_parameter_that_does_not_parse():
    with pytest.raises(ExpressionError, match="parameters"):
        compile_plan(definition_with("{{ INPUT. }}"))


def test_loading_a_plan_leaves_parameters_until_they_are_asked_for():
    plan = load_plan(definition_with("{{ INPUT. }}"))

    with pytest.raises(ExpressionError, match="activity 'a', parameters"):
        _ = plan.activities[0].parameters


def test_the_parameters_of_a_loaded_plan_are_compiled_once():
    planned = load_plan(definition_with("{{ INPUT.text }}")).activities[0]

    assert planned.parameters is planned.parameters
    assert planned.parameters.roots == {"INPUT"}
