"""What is wrong with an expression, said so that its author finds it; and that none stalls the engine."""

from __future__ import annotations

import time
import traceback

import pytest
from tests.core.expressions import render, value_of

from headgate.core.errors import Unavailable
from headgate.core.expression import ExpressionError, compile_value
from headgate.core.scope import View


def wrong(text: str) -> str:
    with pytest.raises(ExpressionError) as caught:
        value_of(text)
    return str(caught.value)


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
