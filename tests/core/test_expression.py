"""The expression language, rule by rule."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping

import pytest
from tests.core.expressions import NAMES, render, value_of

from headgate.core.expression import Reference, compile_condition, compile_value


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
