"""From the text of an expression to code that can be run: parsed, checked, asked what it reads, compiled.

The parser knows two operators more than Jinja's (`contains`, `!`); the check refuses what templates here do
not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from jinja2 import nodes
from jinja2.environment import Template
from jinja2.exceptions import TemplateSyntaxError
from jinja2.lexer import Token, TokenStream, describe_token
from jinja2.parser import Parser

from headgate.core.template_code import NativeGenerator, TextGenerator
from headgate.core.template_sandbox import FUNCTIONS, Rendering, Sandbox, show_name, suggestion
from headgate.core.template_tokens import Piece, normal, read_condition, read_template, rewrite
from headgate.core.template_values import Bound

__all__ = ["Code", "Found", "compile_expression_text", "compile_template_text"]


_SANDBOX = Sandbox()

GENERATED = "<template>"
"""The file name of generated code, by which a traceback is searched for the place that failed."""


class Found(NamedTuple):
    """A name that the code reads, with the fields that follow it as far as they are known."""

    root: str
    path: tuple[str | int, ...]
    offset: int


class Code:
    """A compiled text. `run` yields native values or pieces of text, as it was compiled."""

    __slots__ = ("_identifiers", "_template", "bare", "found", "native", "roots")

    def __init__(self, body: list[nodes.Node], names: frozenset[str], *, native: bool) -> None:
        template = nodes.Template(body, lineno=1)
        template.set_environment(_SANDBOX)
        _check(template)
        reads = list(_reads(template))
        _guard(template)
        generator = NativeGenerator(_SANDBOX) if native else TextGenerator(_SANDBOX)
        generator.visit(template)
        identifiers = {name for name in generator.read_names if name not in FUNCTIONS or name in names}
        self.native = native
        self.bare = native and _is_path(body[0])
        """True: the value comes from the scope as it is."""
        self.found = tuple(dict.fromkeys(_references(template, reads, identifiers)))
        self._identifiers = tuple((identifier, show_name(identifier)) for identifier in sorted(identifiers))
        self.roots = frozenset(name for _, name in self._identifiers)
        code = compile(generator.stream.getvalue(), GENERATED, "exec")  # pyright: ignore[reportAttributeAccessIssue]  # a StringIO, for none was given
        self._template = Template.from_code(_SANDBOX, code, {})

    def run(self, scope: Any, bound: Bound) -> Iterator[Any]:
        names = {identifier: scope[name] for identifier, name in self._identifiers if name in scope}
        return self._template.root_render_func(Rendering(_SANDBOX, names, bound))

    def offset_of_line(self, line: int) -> int:
        """Return the place in the text of a line of the generated code."""
        return self._template.get_corresponding_lineno(line)


def compile_expression_text(text: str, names: frozenset[str]) -> Code:
    """Compile a condition: an expression, bare, inside `{{ }}`, or as text around several. Raises
    TemplateSyntaxError."""
    return _expression(text, read_condition(normal(text)), names)


def compile_template_text(text: str, names: frozenset[str]) -> Code:
    """Compile a text with templates; one that is a single `{{ }}` keeps its native type. Raises
    TemplateSyntaxError."""
    text = normal(text)
    pieces = list(read_template(text))
    kinds = [piece.kind for piece in pieces if not (piece is pieces[-1] and piece[1:] == ("data", "\n"))]
    whole = kinds[0] == "variable_begin" and kinds[-1] == "variable_end"
    if whole and not {"data", "block_begin", "comment_begin", "raw_begin"} & set(kinds) and kinds.count(kinds[0]) == 1:
        return _expression(text, pieces[1 : len(kinds) - 1], names)
    parser = _Parser(rewrite(pieces, names))
    return Code(parser.parse().body, names, native=False)


def _expression(text: str, pieces: Iterable[Piece], names: frozenset[str]) -> Code:
    if not text.strip():
        raise TemplateSyntaxError("an expression is empty", 0)
    node = _Parser(rewrite(pieces, names)).parse_all()
    return Code([nodes.Output([node], lineno=node.lineno)], names, native=True)


# --- Parsing ------------------------------------------------------------------------------------------------

_COMPARISONS = frozenset({"eq", "ne", "lt", "lteq", "gt", "gteq"})
_RESERVED = frozenset({"and", "or", "not", "in", "is", "if", "else"})


class _Parser(Parser):
    """Jinja's parser with `x contains y`, `x not contains y` and `!x` (which binds like a minus sign)."""

    def __init__(self, tokens: Iterator[Token]) -> None:
        super().__init__(_SANDBOX, "")
        self.stream = TokenStream(tokens, None, None)

    def parse_all(self) -> nodes.Expr:
        node = self.parse_expression()
        if not self.stream.eos:
            self.fail(f"unexpected {describe_token(self.stream.current)!r} after the expression")
        return node

    def parse_primary(self, with_namespace: bool = False) -> nodes.Expr:
        token = self.stream.current
        if token.type == "name" and token.value in _RESERVED:
            self.fail(f"unexpected {token.value!r}")
        if token.type == "lparen" and self.stream.look().type == "rparen":
            self.fail("an expression is empty")
        return super().parse_primary(with_namespace)

    def parse_compare(self) -> nodes.Expr:
        offset = self.stream.current.lineno
        first = self.parse_math1()
        operands: list[nodes.Operand] = []
        while operator := self._comparison():
            operands.append(nodes.Operand(operator, self.parse_math1(), lineno=offset))
        return nodes.Compare(first, operands, lineno=offset) if operands else first

    def _comparison(self) -> str:
        """Consume a comparing operator and return its name; empty if there is none."""
        if self.stream.current.type in _COMPARISONS:
            return next(self.stream).type
        for word in ("in", "contains"):
            if self.stream.skip_if(f"name:{word}"):
                return word
            if self.stream.current.test("name:not") and self.stream.look().test(f"name:{word}"):
                self.stream.skip(2)
                return f"not{word}"
        return ""

    def parse_unary(self, with_filter: bool = True) -> nodes.Expr:
        if self.stream.current.type == "bang":
            offset = next(self.stream).lineno
            return nodes.Not(self.parse_unary(with_filter), lineno=offset)
        return super().parse_unary(with_filter)


# --- Checking -----------------------------------------------------------------------------------------------

_ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.With,
    nodes.Name, nodes.NSRef, nodes.Const, nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair,
    nodes.Keyword, nodes.CondExpr, nodes.Filter, nodes.Test, nodes.Call, nodes.Getattr,
    nodes.Getitem, nodes.Slice, nodes.Concat, nodes.Compare, nodes.Operand, nodes.BinExpr,
    nodes.UnaryExpr,
)  # a list of names, read as a block  # fmt: skip


def _check(template: nodes.Template) -> None:
    """Refuse what templates here do not have. Raises TemplateSyntaxError."""
    for node in template.find_all(nodes.Node):
        if not isinstance(node, _ALLOWED) or (isinstance(node, nodes.For) and node.recursive):
            word = "recursive" if isinstance(node, nodes.For) else type(node).__name__.lower()
            raise TemplateSyntaxError(f"{word!r} is not part of this template language", node.lineno)
        if isinstance(node, nodes.Filter) and (node.name not in _SANDBOX.filters or node.name == "iterate"):
            raise TemplateSyntaxError(
                f"there is no filter {node.name!r}{suggestion(node.name, _SANDBOX.filters)}", node.lineno
            )
        if isinstance(node, nodes.Test) and node.name not in _SANDBOX.tests:
            raise TemplateSyntaxError(
                f"there is no test {node.name!r}{suggestion(node.name, _SANDBOX.tests)}", node.lineno
            )
        if isinstance(node, nodes.Call):
            _check_call(node)


def _check_call(node: nodes.Call) -> None:
    callee = node.node
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        raise TemplateSyntaxError("arguments cannot be spread with * or **", node.lineno)
    if isinstance(callee, nodes.Name) and callee.name not in FUNCTIONS:
        raise TemplateSyntaxError(
            f"there is no function {callee.name!r}{suggestion(callee.name, FUNCTIONS)}", node.lineno
        )
    if not isinstance(callee, nodes.Name | nodes.Getattr):
        raise TemplateSyntaxError("only functions and methods can be called", node.lineno)


def _guard(template: nodes.Template) -> None:
    """Give every loop its weight, every `if` our idea of truth, and every expression its beginning."""
    for loop in list(template.find_all(nodes.For)):
        weight = sum(_weight(node) for part in loop.body for node in (part, *part.find_all(nodes.Node)))
        weight += sum(1 for _ in loop.test.find_all(nodes.Node)) if loop.test else 0
        arguments: list[nodes.Expr] = [nodes.Const(1 + weight)]
        loop.iter = nodes.Filter(loop.iter, "iterate", arguments, [], None, None, lineno=loop.iter.lineno)
        loop.test = loop.test and nodes.Not(nodes.Not(loop.test))
    for branch in list(template.find_all(nodes.If)):
        branch.test = nodes.Not(nodes.Not(branch.test))
    for output in template.find_all(nodes.Output):
        for printed in output.nodes:
            # An error is shown where the expression begins, not at its last operator.
            printed.lineno = min(node.lineno for node in (printed, *printed.find_all(nodes.Node)))
    template.set_environment(_SANDBOX)


def _weight(node: nodes.Node) -> int:
    return 1 + (len(node.data) // 64 if isinstance(node, nodes.TemplateData) else 0)


# --- References ---------------------------------------------------------------------------------------------


def _is_path(node: nodes.Node) -> bool:
    node = node.nodes[0] if isinstance(node, nodes.Output) else node
    while isinstance(node, nodes.Getattr) or (isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const)):
        node = node.node
    return isinstance(node, nodes.Name)


def _references(template: nodes.Template, reads: Iterable[Found], identifiers: set[str]) -> Iterator[Found]:
    """Yield what is read from the scope. A name that is also assigned somewhere is named without its
    fields."""
    assigned = {name.name for name in template.find_all(nodes.Name) if name.ctx != "load"}
    for found in reads:
        if found.root in identifiers:
            path = (
                ()
                if found.root in assigned
                else tuple(show_name(part) if isinstance(part, str) else part for part in found.path)
            )
            yield Found(show_name(found.root), path, found.offset)


def _reads(node: nodes.Node) -> Iterator[Found]:
    path: list[str | int] = []
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr):
        yield from _reads(node.node.node)
        for argument in (*node.args, *node.kwargs):
            yield from _reads(argument)
        return
    while isinstance(node, nodes.Getattr | nodes.Getitem):
        part = node.attr if isinstance(node, nodes.Getattr) else _constant(node.arg)
        if part is None:
            yield from _reads(node.arg)  # pyright: ignore[reportAttributeAccessIssue]  # an attribute's name is never None
            path = []
        else:
            path.insert(0, part)
        node = node.node
    if isinstance(node, nodes.Name):
        if node.ctx == "load":
            yield Found(node.name, tuple(path), node.lineno)
        return
    for child in node.iter_child_nodes():
        yield from _reads(child)


def _constant(node: nodes.Node) -> str | int | None:
    return node.value if isinstance(node, nodes.Const) and isinstance(node.value, str | int) else None
