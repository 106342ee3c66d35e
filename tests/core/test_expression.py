"""The expression language, rule by rule, and as properties of random texts and values."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headgate.core.errors import Unavailable
from headgate.core.expression import ExpressionError, Reference, compile_condition, compile_value
from headgate.core.scope import View

SCOPE: dict[str, object] = {
    "INPUT": {
        "text": "hello",
        "n": 3,
        "half": 0.5,
        "yes": "true",
        "no": "false",
        "nothing": None,
        "items": [{"name": "a", "size": 2}, {"name": "b"}],
        "numbers": [3, 1, 2],
        "keys": 7,
        "text with spaces": 1,
    },
    "a": {"n": 4, "ok": False, "status": "completed", "none": None},
    "b": {"ok": False},
    "fetch-data": {"response": {"body": "B"}},
    "fetch": 10,
    "data": 4,
    "1st-try": {"ok": True},
}
NAMES = frozenset(SCOPE)


def value_of(text: str) -> object:
    return compile_condition(text, where="here", names=NAMES).value(SCOPE)


def render(value: object) -> object:
    return compile_value(value, where="activity 'x', parameters", names=NAMES).render(SCOPE)


def wrong(text: str) -> str:
    with pytest.raises(ExpressionError) as caught:
        value_of(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ a.n }} < 5 OR {{ b.ok }} == true", True),
        ("{{a.n}} > 5 OR {{b.ok}} == false", True),
        ("{{ a.n < 5 }}", True),
        ("a.n < 5", True),
        ("({{ a.n }} + 1) * 2 == 10", True),
        ("a.n == 4 && !a.ok", True),
        ("a.n == 5 || a.ok", False),
        ("a.n == 4 AND NOT a.ok", True),
        ("!a.ok == true", True),
        ("not a.ok and a.n > 3", True),
        ("'a && b || !c' == \"a && b \" ~ '|| !c'", True),
        ("'{{ a.status }}' == 'completed'", True),
        ("'{{ a.status }}-{{ a.n }}!' == 'completed-4!'", True),
        ("a.none == null", True),
        ("null == none", True),
        ("a.n != null", True),
        ("'AND' ~ 'null'", "ANDnull"),
        ("INPUT.text contains 'ell'", True),
        ("INPUT.text not contains 'xyz'", True),
        ("INPUT.numbers contains 2 && INPUT.numbers contains 9", False),
        ("INPUT contains 'text'", True),
        ("null contains 1", False),
        ("2 in INPUT.numbers", True),
        ("9 not in INPUT.numbers", True),
        ("1 < 2 < 3", True),
        ("1 < 2 > 3", False),
        ("INPUT.n + 1 if a.n else 0", 4),
        ("INPUT.no && true", "false"),
        ("INPUT.no || 'other'", "other"),
        ("INPUT.tpyo", None),
        ("1 / 0", None),
        ("1 // 0", None),
        ("1 % 0", None),
        ("0 ** -1", None),
        ("null < 1", True),
        ("INPUT.nothing >= 0", True),
        ("a.tpyo > 0", False),
        ("null == 0", False),
        ("7 / 2", 3.5),
        ("INPUT.keys", 7),
        ("INPUT['text with spaces']", 1),
        ("INPUT.numbers[0]", 3),
        ("INPUT.numbers[-1]", 2),
        ("INPUT.numbers[1:]", [1, 2]),
        ("INPUT.items[*].name", ["a", "b"]),
        ("INPUT.items[*].size", [2, None]),
        ("INPUT.items[ * ].size | first", 2),
        ("fetch-data.response.body", "B"),
        ("fetch - data", 6),
        ("fetch-1", 9),
        ("1st-try.ok", True),
        ("[1, (2, 3)]", [1, [2, 3]]),
        ("[[1], {'a': (1,)}] == [(1,), {'a': [1]}]", True),
        ("{'a': INPUT.n, 1: null}", {"a": 3, "1": None}),
        ("range(3)", [0, 1, 2]),
        ("INPUT.text.upper()", "HELLO"),
        ("INPUT.items[0].keys()", ["name", "size"]),
    ],
)
def test_a_condition_means_what_it_says(text: str, expected: object):
    value = value_of(text)

    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("null | length", 0),
        ("INPUT.tpyo | length", 0),
        ("INPUT.numbers | length", 3),
        ("INPUT.numbers | count", 3),
        ("INPUT.numbers | first", 3),
        ("INPUT.numbers | last", 2),
        ("[] | first", None),
        ("null | last", None),
        ("INPUT.nothing | coalesce(INPUT.tpyo, 'x', 'y')", "x"),
        ("nobody | coalesce('x')", "x"),
        ("INPUT.tpyo | default('d')", "d"),
        ("INPUT.tpyo.deeper.still | default('d')", "d"),
        ("nobody | default('d')", "d"),
        ("0 | default(1)", 0),
        ("0 | default(1, true)", 1),
        ("INPUT.text | contains(substring='ell')", True),
        ("INPUT.text | contains('xyz')", False),
        ("[1, true, null] | json", "[1,true,null]"),
        ("{'a': '<b>'} | tojson", '{"a":"<b>"}'),
        ("[1, true, null] | join('-')", "1-true-null"),
        ("INPUT.items | map(attribute='name') | join", "ab"),
        ("INPUT.items | selectattr('size') | list | length", 1),
        ("INPUT.numbers | select('gt', 1) | sort", [2, 3]),
        ("INPUT.numbers | sum", 6),
        ("INPUT.items | sum(attribute='size')", 2),
        ("2.567 | round(1)", 2.6),
        ("'a-b' | replace('-', '+')", "a+b"),
        ("'%s is %d' | format('x', 3)", "x is 3"),
        ("'3' | int + 1", 4),
        ("true | string", "true"),
        ("nobody is defined", False),
        ("INPUT.tpyo is defined", False),
        ("INPUT.n is defined", True),
        ("INPUT.nothing is none", True),
        ("INPUT.n is divisibleby 3", True),
    ],
)
def test_a_filter_or_test_gives(text: str, expected: object):
    assert value_of(text) == expected


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        (True, True),
        (False, False),
        ("true", True),
        ("false", False),
        ("", False),
        ("no", True),
        (1, True),
        (0, False),
        (0.0, False),
        (-0.5, True),
        (None, False),
        ([], False),
        ([0], True),
        ({}, False),
        ({"a": None}, True),
    ],
)
def test_truth_is_the_same_in_a_condition_in_if_and_behind_not(value: object, holds: bool):
    scope = {"x": value}

    assert compile_condition("{{ x }}", where="here").truth(scope) is holds
    assert compile_condition("!x", where="here").value(scope) is not holds
    assert compile_condition("1 if x else 0", where="here").value(scope) == int(holds)
    assert compile_value("{% if x %}1{% else %}0{% endif %}", where="here").render(scope) == str(int(holds))
    assert compile_condition("(x && true) || false", where="here").truth(scope) is holds


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ INPUT.n }}", 3),
        ("{{ INPUT.n }}\n", 3),
        ("{{- INPUT.n -}}", 3),
        (" {{ INPUT.n }}", " 3"),
        ("{{ INPUT.n }}{{ INPUT.n }}", "33"),
        ("{{ '1.0' }}", "1.0"),
        ("{{ 1.0 }}", 1.0),
        ("v{{ 1.0 }}", "v1.0"),
        ("{{ true }} {{ false }} {{ null }} {{ INPUT.tpyo }}", "true false null null"),
        ("is {{ INPUT.items }}", 'is [{"name":"a","size":2},{"name":"b"}]'),
        ("is {{ INPUT.items | map(attribute='name') }}", 'is ["a","b"]'),
        ("{{ 'yes' if a.ok }}.", "."),
        ("{{ 'yes' if a.ok }}", None),
        ("{% for i in INPUT.items %}{{ loop.index }}{{ i.name }} {% endfor %}\n", "1a 2b \n"),
        (
            "{% set s = namespace(t=0) %}{% for i in [1, 2] %}{% set s.t = s.t + i %}{% endfor %}{{ s.t }}",
            "3",
        ),
        ("{% for i in INPUT.numbers if i > 1 && true %}{{ i }}{% endfor %}", "32"),
        ("{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        ("{# not shown #}{{ INPUT.n }}", "3"),
        ("{# no template #}", "{# no template #}"),
        ("{{ fetch-data.response.body }} and {{ a['n'] }}", "B and 4"),
        ("{{ '<&>' }} {{ '<&>' | escape }}", "<&> &lt;&amp;&gt;"),
        ({"k": ["{{ INPUT.n }}", 1], "{{ key }}": "x"}, {"k": [3, 1], "{{ key }}": "x"}),
    ],
)
def test_a_value_renders_to(template: object, expected: object):
    rendered = render(template)

    assert rendered == expected
    assert type(rendered) is type(expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tpyo > 1", "'tpyo' is undefined"),
        ("INPTU.n", "'INPTU' is undefined; did you mean 'INPUT'?"),
        ("fetch-dat.x", "'dat' is undefined; did you mean 'data'?"),
        ("INPUT.tpyo.deeper", "null has no field 'deeper'"),
        ("INPUT.text.upper", "text has no field 'upper'"),
        ("INPUT.text.__class__", "text has no field '__class__'"),
        ("INPUT.text.format('x')", "text has no method 'format'"),
        ("INPUT.numbers.append(4)", "a list has no method 'append'"),
        ("INPUT.numbers.__len__()", "a list has no method '__len__'"),
        ("INPUT.numbers[9]", "the list has no item 9: it has 3"),
        ("INPUT.text < 5", "text cannot be ordered against a number"),
        ("null + 1", "'+' cannot be used between null and a number"),
        ("INPUT.n | lenght", "there is no filter 'lenght'; did you mean 'length'?"),
        ("INPUT.n | random", "there is no filter 'random'"),
        ("INPUT.n | attr('x')", "there is no filter 'attr'"),
        ("INPUT.n is nice", "there is no test 'nice'"),
        ("lipsum()", "there is no function 'lipsum'"),
        ("INPUT.n(1)", "has no method 'n'"),
        ("range(*INPUT.numbers)", "cannot be spread"),
        ("1e999", "the number is too large"),
        ("'\\ud800'", "lone surrogate"),
        ("1e300 * 1e300", "not a finite number"),
        ("2 ** 70", "more than 64 bits"),
        ("a.n <", "unexpected"),
        ("a.n a.ok", "unexpected 'a' after the expression"),
        ("a $ b", "unexpected char '$', in 'a $ b' (line 1, column 3)"),
        ("a.n &&\n  && b.ok", "line 2, column 3"),
        ("'{{ a.status }} == 1", "a text is not closed"),
        ("a == 'x", "a text is not closed"),
        ("{{ a.n", "expected ')'"),
        ("{% if a %}", "a condition is one expression"),
        ("", "an expression is empty"),
        ("{{ }}", "an expression is empty"),
        ("(" * 500 + "1" + ")" * 500, "nested too deeply"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str):
    message = wrong(text)

    assert message.startswith("here: ")
    assert says in message


@pytest.mark.parametrize("statement", ["macro m() %}{% endmacro", "include 'x'", "extends 'x'", "import 'x' as y"])
def test_statements_that_reach_out_or_recurse_are_refused(statement: str):
    with pytest.raises(ExpressionError, match="is not part of this template language"):
        render(f"{{% {statement} %}}")


def test_an_error_names_the_place_in_the_value_and_in_the_text():
    template = compile_value({"url": ["ok", "a\nbc {{ tpyo.x }}"]}, where="activity 'fetch', parameters")

    with pytest.raises(ExpressionError) as caught:
        template.render({})

    assert caught.value.where == "activity 'fetch', parameters.url[1]"
    assert caught.value.expression == "a\nbc {{ tpyo.x }}"
    assert (caught.value.line, caught.value.column) == (2, 7)
    assert caught.value.code == "expression_error"


def test_an_error_in_a_long_text_shows_only_the_template_that_failed():
    with pytest.raises(ExpressionError) as caught:
        render("long " * 1000 + "{{ INPUT.n }} {{ tpyo }}" + " text" * 1000)

    assert "in '{{ tpyo }}'" in str(caught.value)
    assert len(str(caught.value)) < 300


def test_an_unforeseen_error_does_not_show_values():
    class Broken(View):
        def field(self, name: str) -> object:
            raise ValueError("the secret is 1234")

    with pytest.raises(ExpressionError) as caught:
        compile_value("{{ x.y }}", where="here").render({"x": Broken()})

    assert "it cannot be calculated (ValueError)" in str(caught.value)
    assert "1234" not in "".join(traceback.format_exception(caught.value))


def test_a_store_that_is_away_is_not_the_expressions_fault():
    class Away(View):
        def field(self, name: str) -> object:
            raise Unavailable("the store is away")

    with pytest.raises(Unavailable):
        compile_value("{{ x.y }}", where="here").render({"x": Away()})


@pytest.mark.parametrize(
    "text",
    [
        "1_000_000 ** 1_000_000",
        "10 ** -1_000_000",
        "'a' * 10**9",
        "[0] * 10**9",
        "(2 ** 1000) * (2 ** 1000)",
        "'%1000000000d' % 3",
        "'%*d' % (1000000000, 3)",
        "range(10**9)",
        "'x' | indent(10**9)",
        "'\n' * 100000 | indent(10000)",
        "[1] | batch(10**9, 'x')",
        "[1] | slice(10**9)",
        "1.5 | round(10**9)",
        "('a' * 4000) | replace('a', 'b' * 4000)",
        "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}x" + "{% endfor %}" * 3,
        "{% for a in range(100000) %}" + "x" * 5000 + "{% endfor %}",
        "{% for a in range(100000) %}{{ INPUT.numbers * 1000 | sum }}{% endfor %}",
        "{% set n = namespace(x='ab') %}{% for i in range(23) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
        "{% set n = namespace(x='ab') %}{% for i in range(23) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x=[]) %}{% for i in range(99) %}{% set n.x = [n.x, n.x] %}{% endfor %}",
        "{% set n = namespace(x=[]) %}{% for i in range(99) %}{% set n.x = {1: n.x, 2: n.x} %}{% endfor %}",
        "{% set n = namespace(x=[]) %}{% for i in range(23) %}{% set n.x = (n.x or [1]) * 2 %}{% endfor %}",
    ],
)
def test_no_expression_can_stall_the_engine(text: str):
    started = time.process_time()

    with pytest.raises(ExpressionError):
        render(text if text.startswith("{%") else f"{{{{ {text} }}}}")

    assert time.process_time() - started < 2.0  # a bound that is missing takes minutes or all memory


def test_many_texts_of_one_value_share_a_bound():
    with pytest.raises(ExpressionError, match="too much text"):
        render(["{{ 'a' * 1_000_000 }}"] * 5)


@pytest.mark.parametrize(
    ("text", "references"),
    [
        ("fetch[*].out", [("fetch", ("[*]", "out"))]),
        ("{{ a.n }} < INPUT.limit", [("a", ("n",)), ("INPUT", ("limit",))]),
        ("fetch-data.response['x'][0].y", [("fetch-data", ("response", "x", 0, "y"))]),
        ("INPUT.items[a.n].name", [("a", ("n",)), ("INPUT", ("items",))]),
        ("INPUT.text.upper()", [("INPUT", ("text",))]),
        ("FILE.fetch-data.report", [("FILE", ("fetch-data", "report"))]),
        ("range(a) | map('upper', b.c)", [("a", ()), ("b", ("c",))]),
        ("a is defined", [("a", ())]),
        ("'a.b'", []),
    ],
)
def test_references_are_known_without_rendering(text: str, references: list[tuple[str, tuple[str | int, ...]]]):
    expression = compile_condition(text, where="here", names=NAMES)

    assert [(found.root, found.path) for found in expression.references] == references
    assert expression.roots == {root for root, _ in references}


def test_names_made_in_the_text_are_not_references():
    template = compile_value(
        "{% set x = a.n %}{% for i in b.l %}{{ i.z }}{{ x }}{{ loop.index }}{% endfor %}", where="here"
    )

    assert [(found.root, found.path) for found in template.references] == [("a", ("n",)), ("b", ("l",))]
    assert template.roots == {"a", "b"}


def test_a_reference_knows_its_offset():
    template = compile_value("ab {{ fetch.x }}", where="here")

    assert template.references == (Reference("fetch", ("x",), 6),)


def test_only_the_names_that_are_read_are_looked_up():
    class Lazy(Mapping[str, object]):
        def __init__(self) -> None:
            self.asked: list[str] = []

        def __getitem__(self, key: str) -> object:
            self.asked.append(key)
            return {"x": 1}

        def __contains__(self, key: object) -> bool:
            return True

        def __iter__(self) -> Iterator[str]:
            raise AssertionError("nobody asks for all names")

        def __len__(self) -> int:
            return 1

    scope = Lazy()

    assert compile_value({"p": "{{ a.x }}", "q": "none"}, where="here").render(scope) == {"p": 1, "q": "none"}
    assert scope.asked == ["a"]


def test_a_constant_is_returned_as_it_is():
    value = {"a": [1, "x", None]}
    template = compile_value(value, where="here")

    assert template.constant
    assert template.render({}) is value
    assert template.references == ()


def test_rendering_changes_neither_template_nor_scope():
    template = compile_value({"a": ["{{ x }}"]}, where="here")

    assert template.render({"x": 1}) == {"a": [1]}
    assert template.render({"x": 2}) == {"a": [2]}


def test_jinja_is_loaded_when_the_first_template_is_compiled():
    program = (
        "import sys, headgate.core.expression as e; e.compile_value({'a': 'x'}, where='here').render({});"
        "assert 'jinja2' not in sys.modules; e.compile_condition('1', where='here');"
        "assert 'jinja2' in sys.modules"
    )

    subprocess.run([sys.executable, "-c", program], check=True)


# --- Properties ------------------------------------------------------------------------------

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
