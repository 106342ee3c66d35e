"""The expression language as properties of random texts and values."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.core.expressions import render, value_of

from headgate.core.expression import ExpressionError, compile_value

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20)
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)


@given(json_values)
def test_any_json_value_passes_through_a_whole_template_unchanged(value: object):
    rendered = compile_value("{{ x }}", where="here").render({"x": value})

    assert rendered == value
    assert type(rendered) is type(value)


@given(st.text().filter(lambda text: "{{" not in text and "{%" not in text))
def test_any_text_without_delimiters_is_constant(text: str):
    template = compile_value(text, where="here")

    assert template.constant
    assert template.render({}) == text


atoms = st.sampled_from(
    [
        "a.n",
        "a",
        "b.ok",
        "INPUT.items",
        "INPUT.text",
        "nobody",
        "null",
        "true",
        "1",
        "2.5",
        "'x'",
        "[1, 'y']",
        "{'k': 1}",
    ]
)
operators = st.sampled_from(
    [
        "+",
        "-",
        "*",
        "/",
        "//",
        "%",
        "**",
        "~",
        "==",
        "!=",
        "<",
        ">=",
        "&&",
        "||",
        "AND",
        "or",
        "in",
        "contains",
        "|",
    ]
)
endings = st.sampled_from(
    [
        "",
        " | length",
        " | json",
        " | first",
        " | sort",
        " | map('upper')",
        "[*].name",
        "[0]",
        ".n",
        ".keys()",
        " is defined",
        " | sum",
        " | round",
        " | join('-')",
        " | default(1)",
        "[1:]",
        " if b.ok",
        " | groupby('n')",
        " | unique",
        " | dictsort",
    ]
)


@st.composite
def expressions(draw: st.DrawFn) -> str:
    parts = [draw(st.sampled_from(["", "", "!", "-", "not "])) + draw(atoms) + draw(endings)]
    for _ in range(draw(st.integers(0, 3))):
        parts += [draw(operators), draw(atoms) + draw(endings)]
    text = " ".join(parts)
    return draw(st.sampled_from([text, f"({text})", f"{{{{ {text} }}}}", f"[{text}]", text[: len(text) // 2]]))


@given(expressions())
@settings(max_examples=400, deadline=None)
def test_an_expression_gives_json_or_an_expression_error(text: str):
    for evaluate in (
        value_of,
        lambda text: render(f"{{{{ {text} }}}}"),
        lambda text: render(f"is {{{{ {text} }}}}"),
    ):
        try:
            value = evaluate(text)
        except ExpressionError:
            continue
        assert json.loads(json.dumps(value, allow_nan=False)) == value


@given(st.text(alphabet="ab.{}%'\"()[]|&!*- \n1#\\", max_size=30))
@settings(max_examples=300, deadline=None)
def test_no_text_breaks_the_reader(text: str):
    for evaluate in (value_of, render):
        with suppress(ExpressionError):
            evaluate(text)
