"""Whatever text comes: a definition, or `InvalidDefinition`; and a definition survives being stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headgate.authoring import InvalidDefinition, check_definition, load_definition, yaml_text
from headgate.authoring.problems import PROBLEMS_MAX
from headgate.authoring.vocabulary import ACTIVITY, BUDGET, DEPENDENCY, INPUT, RETRY, SIGNAL_WAIT, WORKFLOW
from headgate.core.definition import Definition

FILES = sorted((Path(__file__).parent / "long_form").glob("*.yaml"))
WORDS = sorted({*WORKFLOW, *ACTIVITY, *BUDGET, *DEPENDENCY, *INPUT, *RETRY, *SIGNAL_WAIT, "a", "b", "std", "echo"})
TEXTS = st.one_of(
    st.sampled_from(
        [
            *WORDS,
            "{{ a.x }}",
            "{{ b[*].y | length }}",
            "{{ ITEM }}",
            "{{",
            "a.x > 1",
            "0.1",
            "5s",
            "fail",
            "x/y",
        ]
    ),
    st.text(max_size=12),
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(WORDS), TEXTS), inner, max_size=5),
    ),
    max_leaves=25,
)
PIECES = st.sampled_from(
    [
        "name: x",
        "activities:",
        " a:",
        "  use: echo",
        "- ",
        "&a",
        "*a",
        "!!str",
        "<<: *a",
        "{{ a }}",
        "{",
        "}",
        "[",
        "]",
        "'",
        '"',
        "|",
        ">",
        "\t",
        "\n",
        "\n  ",
        ": ",
        ", ",
        "# x",
        "---",
        "...",
        "%YAML 1.2",
        "? ",
        "é",
        "\u2028",
        "\x85",
        "\ufeff",
        "0x1f",
        ".nan",
    ]
)


def loaded(text: str | bytes) -> Definition | None:
    try:
        return load_definition(text)
    except InvalidDefinition as error:
        problems = error.problems
    assert problems
    assert all(problem.message for problem in problems)
    return None


@given(st.one_of(st.text(), st.lists(PIECES, max_size=30).map("".join)))
@example("")
@example("\ud800")
@example("{}")
@example('{"a": 1')
@example("a: &a\n  b: *a")
@settings(max_examples=300, deadline=None)
def test_no_text_does_anything_but_load_or_be_refused(text: str):
    loaded(text)


@given(st.binary(max_size=60))
@settings(max_examples=100, deadline=None)
def test_no_bytes_do_anything_but_load_or_be_refused(data: bytes):
    loaded(data)


@given(st.dictionaries(st.sampled_from(sorted(WORKFLOW)), VALUES, max_size=6), st.booleans())
@settings(max_examples=300, deadline=None)
def test_no_structure_does_anything_but_load_or_be_refused(document: dict[str, Any], as_json: bool):
    text = msgspec.json.encode(document) if as_json else yaml.safe_dump(document, allow_unicode=True)

    loaded(text)


ACTIVITIES = st.fixed_dictionaries(
    {"use": st.sampled_from(["echo", "transform"])},
    optional={
        "with": st.dictionaries(st.text("xyz", min_size=1), st.one_of(st.integers(0, 9), st.text("abc")), max_size=3),
        "retry": st.integers(1, 9),
        "budget": st.decimals("0.01", 100, places=3).map(float),
        "timeout": st.sampled_from(["3s", 4, 2.5]),
        "delay": st.just("5s"),
        "iteration_scoped": st.booleans(),
        "on_failure": st.sampled_from(["fail", "continue"]),
        "join": st.sampled_from(["all", "any", "default"]),
        "for_each": st.just("{{ INPUT.items }}"),
        "wait_for": st.just("go"),
    },
)


@given(st.lists(ACTIVITIES, min_size=1, max_size=5), st.data())
@settings(max_examples=150, deadline=None)
def test_a_definition_is_the_same_after_it_was_stored(bodies: list[dict[str, Any]], data: st.DataObject):
    for number, body in enumerate(bodies):
        body["after"] = data.draw(st.lists(st.integers(0, number - 1).map("a{}".format), unique=True)) if number else []
    document = {"name": "x", "activities": {f"a{number}": body for number, body in enumerate(bodies)}}

    definition = load_definition(yaml.safe_dump(document))

    stored = msgspec.json.decode(msgspec.json.encode(definition), type=Definition)
    assert stored == definition
    assert stored.version == definition.version
    assert check_definition(stored) == []
    assert load_definition(msgspec.json.encode(document)) == definition


@pytest.mark.parametrize("parser", [yaml_text.PARSER, yaml.SafeLoader], ids=["the C parser", "the pure parser"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_both_parsers_of_pyyaml_give_the_same_definition(path: Path, parser: Any, monkeypatch: pytest.MonkeyPatch):
    expected = load_definition(path.read_bytes())
    monkeypatch.setattr(yaml_text, "PARSER", parser)

    assert load_definition(path.read_bytes()) == expected


HOSTILE = {
    "unknown keys": "name: x\n" + "".join(f"key{n}: 1\n" for n in range(60_000)),
    "unknown names": "name: x\nactivities: {a: {use: echo, with: {x: '" + "{{ b }}" * 9_000 + "'}}}\n",
    "unknown dependencies": "name: x\nactivities:\n"
    + "".join(f"  a{n}: {{use: echo, after: [b{n}]}}\n" for n in range(15_000)),
    "one long list": "name: x\nlist: [" + "1," * 100_000 + "]\n",
    "open brackets": "[" * 500_000,
    "open JSON": '{"a":' * 200_000,
    "quotes": "'" * 500_000,
    "anchors": "x: [" + ", ".join(f"&a{n} [*a{n - 1}]" if n else "&a0 []" for n in range(40_000)) + "]",
}


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_large_hostile_files_are_refused_with_a_bounded_answer(text: str):
    with pytest.raises(InvalidDefinition) as caught:
        load_definition(text)

    assert 0 < len(caught.value.problems) <= PROBLEMS_MAX + 1
    assert len(str(caught.value)) < 20_000
