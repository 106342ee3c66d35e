"""The Python examples do what they say, as they stand."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import headgate
from headgate.authoring import load_definition

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HEADGATE_DB", raising=False)


def example(path: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"example_{Path(path).stem}", EXAMPLES / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expenses() -> str:
    return (EXAMPLES / "python_workflow" / "expenses.csv").read_text(encoding="utf-8")


def test_expenses_are_added_up_exactly_and_each_note_is_summed_up():
    workflow = example("python_workflow/expenses.py").workflow

    result = headgate.run(workflow, {"text": expenses(), "agree_above": 1000}, db=":memory:").raise_for_status()

    assert result.outputs["totals"] == {"Ines": "25.45", "Tomas": "249.90"}
    assert len(result.outputs["notes"]) == 3
    assert all(note in expenses() for note in result.outputs["notes"])
    assert result.outputs["agreed"] is True
    assert result.simulated
    assert 0 < result.cost < 50_000_000


def test_large_expenses_wait_for_a_person():
    workflow = example("python_workflow/expenses.py").workflow

    with headgate.start(workflow, {"text": expenses(), "agree_above": 100}, db=":memory:") as run:
        states = (one.run for one in run.stream() if isinstance(one, headgate.Changed))
        asked = next(view for view in states if view.status == "waiting")
        run.reject(by="ada")
        result = run.result()

    assert "waits for approval 'agree'" in asked.waiting_for
    assert result.outputs["agreed"] is False


def test_an_expense_that_is_no_number_fails_the_run():
    workflow = example("python_workflow/expenses.py").workflow

    result = headgate.run(workflow, {"text": "who,amount,note\nIda,much,x\n", "agree_above": 1}, db=":memory:")

    assert (result.status, result.error_code) == ("failed", "activity_error")


def test_the_python_workflow_is_the_same_as_its_yaml():
    module = example("python_workflow/expenses.py")

    text = module.workflow.to_yaml()

    assert load_definition(text, activities=frozenset({"read_expenses", "add_up"})) == module.workflow.definition()


def test_the_web_application_starts_runs_and_shows_what_they_came_to():
    with TestClient(example("web_app/app.py").app) as web:
        started = web.post("/runs", json={"name": "Ada"})
        shown = web.get(f"/runs/{started.json()['id']}").json()

    assert started.status_code == 202
    assert shown == {"status": "completed", "outputs": {"text": "Hello Ada, how are you?"}}
