"""Templates and conditions of a definition, compiled once: what they mean, what they read, what is wrong
with them.

A string that is one whole `{{ … }}` keeps its value's type, any other text with templates becomes text,
anything without templates is passed through untouched. No expression can stall the engine: see
`template_sandbox`. Jinja is loaded when the first text is compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import msgspec

from headgate.core.errors import Invalid, Problem, Refused, Unavailable
from headgate.core.scope import View

if TYPE_CHECKING:
    from headgate.core.template_syntax import Code
    from headgate.core.template_values import Bound

__all__ = ["Expression", "ExpressionError", "Reference", "Template", "compile_condition", "compile_value"]

Scope = Mapping[str, object]
SHOWN_MAX = 160


class ExpressionError(Invalid):
    """An expression cannot be read, or cannot be calculated with what its names mean now.

    `where` names the place in the definition, `expression` is its text, `line` and `column` (from 1) the
    place in it.
    """

    code = "expression_error"

    def __init__(self, expression: str, where: str, wrong: str, *, offset: int = 0) -> None:
        self.expression = expression
        self.where = where
        self.line = expression.count("\n", 0, offset) + 1
        self.column = offset - (expression.rfind("\n", 0, offset) + 1) + 1
        place = f" (line {self.line}, column {self.column})"
        problem = f"{wrong}, in {_excerpt(expression, offset)!r}{place}"
        super().__init__(f"{where}: {problem}", (Problem(problem, path=where),))


class Reference(msgspec.Struct, frozen=True):
    """A name that an expression reads, with the fields after it as far as they are written down.

    `fetch[*].out` is root `fetch`, path `("[*]", "out")`. `offset` is the place in the expression's text.
    """

    root: str
    path: tuple[str | int, ...] = ()
    offset: int = 0


class Expression:
    """A compiled condition."""

    __slots__ = ("_leaf", "references", "roots", "text")

    def __init__(self, text: str, leaf: _Leaf) -> None:
        self.text = text
        self.references = leaf.references
        self.roots = leaf.roots
        self._leaf = leaf

    def value(self, scope: Scope) -> object:
        """Return the plain JSON value. Raises `ExpressionError`."""
        return self._leaf.render(scope, _bound())

    def truth(self, scope: Scope) -> bool:
        """Return whether the condition holds: true, non-zero numbers, text but "" and "false", what is not
        empty. Raises `ExpressionError`."""
        value = self._leaf.render(scope, _bound())
        return value not in ("", "false") if isinstance(value, str) else bool(value)


class Template:
    """A compiled JSON value. `constant`: nothing is to be rendered; `render` returns the value itself."""

    __slots__ = ("_render", "_value", "constant", "references", "roots")

    def __init__(self, value: object, render: _Render | None, leaves: Iterable[_Leaf]) -> None:
        self.constant = render is None
        self.references = tuple(dict.fromkeys(reference for leaf in leaves for reference in leaf.references))
        self.roots = frozenset[str]().union(*(leaf.roots for leaf in leaves))
        self._value = value
        self._render = render

    def render(self, scope: Scope) -> object:
        """Return the plain JSON value; parts without templates are shared with the definition: do not
        change them. Raises `ExpressionError`, whose `where` names the place inside the value."""
        return self._value if self._render is None else self._render(scope, _bound())


def compile_condition(text: str, *, where: str, names: frozenset[str] = frozenset()) -> Expression:
    """Compile a condition: `{{ expr }}`, a bare expression, or text around templates, read as one
    expression.

    `names` are the keys of the workflow's activities: one with hyphens is read as a name, not as a
    subtraction. Raises `ExpressionError`.
    """
    from headgate.core.template_syntax import compile_expression_text  # loads Jinja

    return Expression(text, _Leaf(text, where, names, compile_expression_text))


def compile_value(value: object, *, where: str, names: frozenset[str] = frozenset()) -> Template:
    """Compile a JSON value whose texts may hold templates (not its keys). `names` as for
    `compile_condition`.

    Raises `ExpressionError`.
    """
    leaves: list[_Leaf] = []
    return Template(value, _compile(value, where, names, leaves), leaves)


_Render = Callable[[Scope, "Bound"], object]


def _compile(value: object, where: str, names: frozenset[str], leaves: list[_Leaf]) -> _Render | None:
    """Return what renders `value`; None where there is nothing to render."""
    if isinstance(value, str):
        if "{{" not in value and "{%" not in value:
            return None
        from headgate.core.template_syntax import compile_template_text  # loads Jinja

        leaf = _Leaf(value, where, names, compile_template_text)
        leaves.append(leaf)
        return leaf.render
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        parts = {name: _compile(field, f"{where}.{name}", names, leaves) for name, field in fields.items()}
        return _rendered(fields, {name: part for name, part in parts.items() if part})
    if isinstance(value, list | tuple):
        items = list(cast("Iterable[object]", value))
        listed = [_compile(item, f"{where}[{index}]", names, leaves) for index, item in enumerate(items)]
        return _rendered(items, {index: part for index, part in enumerate(listed) if part})
    return None


def _rendered(whole: dict[str, object] | list[object], parts: Mapping[Any, _Render]) -> _Render | None:
    """Return what puts the rendered `parts` into a copy of `whole`: at their names, or at their indexes."""

    def render(scope: Scope, bound: Bound) -> object:
        rendered: Any = whole.copy()
        for at, part in parts.items():
            rendered[at] = part(scope, bound)
        return rendered

    return render if parts else None


class _Leaf:
    """One compiled text, and where it stands in the definition."""

    __slots__ = ("_code", "_text", "_where", "references", "roots")

    def __init__(
        self,
        text: str,
        where: str,
        names: frozenset[str],
        compile_text: Callable[[str, frozenset[str]], Code],
    ) -> None:
        from jinja2.exceptions import TemplateSyntaxError  # loaded by whoever compiles

        try:
            self._code = compile_text(text, names)
        except TemplateSyntaxError as error:
            raise ExpressionError(text, where, error.message or "it cannot be read", offset=error.lineno) from None
        except (RecursionError, MemoryError, SyntaxError):
            raise ExpressionError(text, where, "it is nested too deeply") from None
        except ValueError as error:
            raise ExpressionError(text, where, f"it cannot be read: {error}") from None
        self._text = text
        self._where = where
        self.references = tuple(Reference(*found) for found in self._code.found)
        self.roots = self._code.roots

    def render(self, scope: Scope, bound: Bound) -> object:
        """Return the plain value or the text. Raises `ExpressionError`."""
        try:
            return self._native(scope, bound) if self._code.native else self._printed(scope, bound)
        except (Refused, Unavailable):
            raise  # a view could not load its output: not the expression's fault
        except Exception as error:  # noqa: BLE001  # whatever goes wrong is the expression's error
            # Not chained: the cause's text may hold a secret, and a log would print it.
            raise self._explained(error, scope) from None

    def _native(self, scope: Scope, bound: Bound) -> object:
        value = next(self._code.run(scope, bound))
        kind = type(value)
        if kind is str or kind is bool or value is None:
            return value
        if self._code.bare and kind in _PLAIN:
            return value
        return _plain(value, bound)

    def _printed(self, scope: Scope, bound: Bound) -> str:
        pieces: list[str] = []
        for piece in self._code.run(scope, bound):
            bound.write(len(piece))
            pieces.append(piece)
        text = "".join(pieces)
        return text if text.isascii() else _plain(text, bound)

    def _explained(self, error: Exception, scope: Scope) -> ExpressionError:
        offset = self._offset(error.__traceback__)
        return ExpressionError(self._text, self._where, _reason(error, scope, self.roots), offset=offset)

    def _offset(self, trace: TracebackType | None) -> int:
        """Return the place in the text of the generated code's line that failed."""
        offset = 0
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "<template>":
                offset = self._code.offset_of_line(trace.tb_lineno)
            trace = trace.tb_next
        return min(offset, len(self._text))


_PLAIN = frozenset({int, float, list, dict})


def _plain(value: object, bound: Bound) -> Any:
    if isinstance(value, View):
        return value.plain()
    from headgate.core.template_values import plain  # loaded by whoever compiled

    return plain(value, bound)


def _bound() -> Bound:
    from headgate.core.template_values import Bound  # loaded by whoever compiled

    return Bound()


def _reason(error: Exception, scope: Scope, roots: frozenset[str]) -> str:
    """Return what to tell people. Texts of unforeseen errors may hold values, even secrets, and are left
    out."""
    from jinja2.exceptions import FilterArgumentError, UndefinedError  # loaded by whoever compiled

    from headgate.core.template_sandbox import suggestion
    from headgate.core.template_values import Unsuitable

    if isinstance(error, UndefinedError):
        missing = next((name for name in sorted(roots) if name not in scope and repr(name) in str(error)), None)
        return str(error) + (suggestion(missing, scope) if missing else "")
    if isinstance(error, Unsuitable | Invalid | TypeError | FilterArgumentError):
        return str(error)
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"it cannot be calculated ({type(error).__name__})"


def _excerpt(text: str, offset: int) -> str:
    """Return the template around `offset` of a long text, else the text."""
    if len(text) <= SHOWN_MAX:
        return text
    start = max(text.rfind("{{", 0, offset + 2), text.rfind("{%", 0, offset + 2), 0)
    end = min(
        (place + 2 for place in (text.find("}}", offset), text.find("%}", offset)) if place >= 0),
        default=len(text),
    )
    return text[start:end] if end - start <= SHOWN_MAX else text[start : start + SHOWN_MAX] + "…"
