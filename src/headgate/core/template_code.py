"""The code generator: Jinja's own, except that every operation with a rule of ours becomes a call of the
sandbox."""

from __future__ import annotations

from typing import Any

from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame

from headgate.core.template_sandbox import Sandbox, show_name

__all__ = ["NativeGenerator", "TextGenerator"]


class TextGenerator(CodeGenerator):
    """Jinja's code generator; what has a rule of ours becomes a call of the sandbox."""

    printing = "environment.show(context, "
    nothing: str | None = ""
    """The value of `x if y` without an else."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(sandbox, None, None, optimized=False)
        self.read_names: set[str] = set()
        """Names that come from outside of the text."""

    def enter_frame(self, frame: Frame) -> None:
        super().enter_frame(frame)
        self.read_names |= {name for action, name in frame.symbols.loads.values() if action == "resolve" and name}

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        if isinstance(node, nodes.TemplateData):
            return node.data
        raise nodes.Impossible  # nothing is calculated while compiling: it would be outside any bound

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write(self.printing)

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        self.write(")")

    def _write_call(self, method: str, frame: Frame, *arguments: nodes.Node | str) -> None:
        self.write(f"environment.{method}(")
        for argument in arguments:
            if isinstance(argument, str):
                self.write(argument)
            else:
                self.visit(argument, frame)
            self.write(", ")
        self.write(")")

    def visit_Compare(self, node: nodes.Compare, frame: Frame) -> None:
        if len(node.ops) == 1:
            operand = node.ops[0]
            self._write_call("compare", frame, "context", repr(operand.op), node.expr, operand.expr)
            return
        self.write("environment.compare_chain(context, ")
        self.visit(node.expr, frame)
        for operand in node.ops:
            self.write(f", ({operand.op!r}, ")
            self.visit(operand.expr, frame)
            self.write(")")
        self.write(")")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:
        self.write("environment.concatenate(context, (")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:
        self._write_call("getattr", frame, node.node, repr(show_name(node.attr)))

    def visit_Getitem(self, node: nodes.Getitem, frame: Frame) -> None:
        if not isinstance(node.arg, nodes.Slice):
            self._write_call("getitem", frame, node.node, node.arg)
            return
        self.write("environment.slice_of(context, ")
        self.visit(node.node, frame)
        self.write(", slice(")
        for limit in (node.arg.start, node.arg.stop, node.arg.step):
            if limit is None:
                self.write("None, ")
            else:
                self.visit(limit, frame)
                self.write(", ")
        self.write("))")

    def visit_Not(self, node: nodes.Not, frame: Frame) -> None:
        self.write("(not ")
        self._write_call("truth", frame, node.node)
        self.write(")")

    def visit_And(self, node: nodes.And, frame: Frame) -> None:
        left = self.temporary_identifier()
        self.write("(")
        self.visit(node.right, frame)
        self._write_truth(left, node.left, frame)
        self.write(f" else {left})")

    def visit_Or(self, node: nodes.Or, frame: Frame) -> None:
        left = self.temporary_identifier()
        self.write(f"({left}")
        self._write_truth(left, node.left, frame)
        self.write(" else ")
        self.visit(node.right, frame)
        self.write(")")

    def _write_truth(self, name: str, node: nodes.Expr, frame: Frame) -> None:
        self.write(f" if environment.truth({name} := ")
        self.visit(node, frame)
        self.write(")")

    def visit_CondExpr(self, node: nodes.CondExpr, frame: Frame) -> None:
        # Jinja's own, with the test turned into our idea of truth.
        node.test = nodes.Not(nodes.Not(node.test))
        node.expr2 = node.expr2 or nodes.Const(self.nothing)
        super().visit_CondExpr(node, frame)

    def visit_List(self, node: nodes.List, frame: Frame) -> None:
        self._write_literal(super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:
        self._write_literal(super().visit_Dict, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:
        if node.ctx == "load":
            self._write_literal(super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def _write_literal(self, write: Any, node: nodes.Node, frame: Frame) -> None:
        self.write("environment.built(context, ")
        write(node, frame)
        self.write(")")

    def visit_Call(self, node: nodes.Call, frame: Frame) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # nothing here forwards a caller
        if not isinstance(node.node, nodes.Getattr):
            super().visit_Call(node, frame)
            return
        self.write("environment.call_method(context, ")
        self.visit(node.node.node, frame)
        self.write(f", {node.node.attr!r}")
        self.signature(node, frame)
        self.write(")")


class NativeGenerator(TextGenerator):
    """The same, but a value is handed out as it is instead of being printed."""

    printing = "("
    nothing = None
