"""The schema for editors accepts every file that the reader accepts, and no key that it does not know."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.authoring.schema_checker import SchemaChecker

from headgate.authoring import vocabulary
from headgate.authoring.document import plain
from headgate.authoring.json_schema_of import SHAPES, SHAPES_THERE, TABLES, definition_schema
from headgate.authoring.json_text import read_json
from headgate.authoring.yaml_text import read_yaml
from headgate.core.catalogue import BUILTINS

ROOT = Path(__file__).parents[2]
FILES = sorted(
    [
        *ROOT.glob("examples/*/flow.yaml"),
        *ROOT.glob("tests/authoring/long_form/*"),
        *ROOT.glob("tests/e2e/flows/*.yaml"),
    ]
)
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")]
    if "\nactivities:" in page.read_text(encoding="utf-8")
)
YAML = re.compile(r"^```yaml[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)

CHECKER = SchemaChecker(definition_schema())


def read(text: str) -> Any:
    node, _ = read_json(text) if text.lstrip().startswith("{") else read_yaml(text)
    return plain(node)


def flow(**activity: Any) -> dict[str, Any]:
    return {"name": "x", "activities": {"a": activity}}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_workflow_file_of_the_house_fits_the_schema(path: Path):
    assert CHECKER.fits(read(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_workflow_on_a_page_fits_the_schema(page: Path):
    blocks = [text for text in YAML.findall(page.read_text(encoding="utf-8")) if "\nactivities:" in f"\n{text}"]

    assert [text for text in blocks if not CHECKER.fits(read(text))] == []


UNKNOWN_KEYS = {
    "workflow": {**flow(use="echo"), "nam": 1},
    "activity": flow(use="echo", retri=3),
    "activity in a list": {"name": "x", "activities": [{"key": "a", "activity_name": "echo", "paramters": {}}]},
    "settings": flow(use="echo", settings={"timeot": 3}),
    "workflow settings": {**flow(use="echo"), "settings": {"max_retry": 3}},
    "retry": flow(use="echo", retry={"max_attempts": 2, "backoff": "fixed"}),
    "budget": flow(use="echo", budget={"limit": 1, "acton": "abort"}),
    "cache": flow(use="echo", cache={"enable": True}),
    "signal": flow(wait_for={"event_name": "x", "event": "y"}),
    "dependency": flow(use="echo", after=[{"activity_key": "b", "conditon": "true"}]),
    "output": flow(use="echo", outputs=[{"name": "x", "typ": "value"}]),
    "input": {**flow(use="echo"), "inputs": {"x": {"defualt": 1}}},
    "sub-workflow": flow(workflow={"name": "x", "budgets": 1}),
    "streaming": flow(use="echo", streaming={"enable": True}),
    "parameters of a built-in activity": flow(use="llm_prompt", **{"with": {"model": "demo/small", "promt": "x"}}),
    "parameters in the long form": {
        "name": "x",
        "activities": [{"key": "a", "worker": "std", "activity_name": "http_request", "parameters": {"ulr": "x"}}],
    },
    "a key that is not built yet": flow(use="echo", priority=3),
}


@pytest.mark.parametrize("document", UNKNOWN_KEYS.values(), ids=UNKNOWN_KEYS.keys())
def test_an_unknown_key_does_not_fit(document: dict[str, Any]):
    assert not CHECKER.fits(document)


MISSHAPEN = {
    "no name": {"activities": {"a": {"use": "echo"}}},
    "no activities": {"name": "x", "activities": {}},
    "a list without keys": {"name": "x", "activities": [{"use": "echo"}]},
    "an unknown word": flow(use="echo", join="al"),
    "a timeout without sense": flow(use="echo", timeout="soon"),
    "a budget with a currency": flow(use="echo", budget="$5"),
    "a budget without limit": flow(use="echo", budget={"action": "abort"}),
    "a required parameter that is missing": flow(use="http_request", **{"with": {"method": "GET"}}),
}


@pytest.mark.parametrize("document", MISSHAPEN.values(), ids=MISSHAPEN.keys())
def test_what_has_the_wrong_shape_does_not_fit(document: dict[str, Any]):
    assert not CHECKER.fits(document)


def test_the_parameters_of_an_activity_on_a_queue_of_ones_own_are_its_own():
    assert CHECKER.fits(flow(use="llm_prompt", queue="mine", **{"with": {"anything": 1}}))


def test_every_key_that_is_built_has_a_description_and_a_shape_of_its_own():
    defs = definition_schema()["$defs"]
    anything = {
        (kind, key.name)
        for kind, (table, _) in TABLES.items()
        for key in table.values()
        if not key.not_yet and key.canonical not in SHAPES and key.canonical not in SHAPES_THERE.get(kind, {})
    }

    assert anything == set(), "Say in SHAPES (json_schema_of.py) what these keys hold, so that editors can check it."
    assert all(entry["description"] for kind in TABLES for entry in defs[kind]["properties"].values())
    assert defs["activity"]["properties"].keys() == {k.name for k in vocabulary.ACTIVITY.values() if not k.not_yet}
    assert set(BUILTINS) == set(defs["activity"]["properties"]["use"]["anyOf"][0]["enum"])
