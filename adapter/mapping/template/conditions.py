"""Finds conditions that do not mean what they seem to: always true or false, or a search in a text (pure).

All are warnings: such a condition works, and a set in production may have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Final, NamedTuple

from jinja2 import nodes
from jinja2.visitor import NodeVisitor

from adapter.mapping.template.kinds import Kinds, constant_of, written
from adapter.mapping.template.syntax import Mistake

_WORDS: Final = re.compile(r"[^\s,;|]+")
_UNKNOWN: Final = object()
_MOST: Final = 50  # operands of one `and` or `or` that are compared with one another
_NEGATED: Final = {"eq": "ne", "ne": "eq", "in": "notin", "notin": "in"}
_SIGNS: Final = {"eq": "==", "ne": "!=", "gt": ">", "gteq": ">=", "lt": "<", "lteq": "<="}


def mistakes(tree: nodes.Template, kinds: Kinds, *, condition: bool) -> list[Mistake]:
    """Those of a template; `condition`: its one output is the condition of a rule."""
    visitor = _Conditions(kinds, condition)
    if condition:
        visitor.truth(next(tree.find_all(nodes.Output)).nodes[0])
    else:
        visitor.visit(tree)
    return visitor.mistakes


def always(node: nodes.Node) -> bool | None:
    """The truth of a literal; None where it differs between alerts or cannot be seen."""
    value = _value(node)
    return None if value is _UNKNOWN else bool(value)


class _Conditions(NodeVisitor):
    def __init__(self, kinds: Kinds, condition: bool) -> None:
        self.mistakes: list[Mistake] = []
        self._kinds = kinds
        self._condition = condition

    def _add(self, node: nodes.Node, message: str, hint: str) -> None:
        self.mistakes.append(Mistake(_start(node), message, hint, refuses=False))

    def truth(self, node: nodes.Node) -> None:
        """A value that is taken for true or false."""
        if _is_literal(node):
            self._add(node, _always_text("the condition is", node), "")
            return
        if isinstance(node, nodes.Or | nodes.And):
            self._chain(node)
        elif isinstance(node, nodes.Not):
            self.truth(node.node)
        else:
            self.visit(node)

    def _chain(self, node: nodes.Or | nodes.And) -> None:
        word = "or" if isinstance(node, nodes.Or) else "and"
        operands = list(_operands(node, type(node)))
        reported = False
        for operand in operands:
            if not _is_literal(operand):
                self.truth(operand)
            elif not reported:
                reported = True
                self._add(operand, _alone(operand, word, first=operand is operands[0]), _joined(operands))
        self._contradiction(node, word, operands)

    def _contradiction(self, node: nodes.Expr, word: str, operands: Sequence[nodes.Expr]) -> None:
        for one, other in combinations([atom for operand in operands[:_MOST] if (atom := _atom(operand))], 2):
            if one.key != other.key:
                continue
            shown = ", ".join(map(written, (*one.literals, *other.literals)))
            positive = word == "and"
            if one.positive is other.positive is positive and not one.values & other.values:
                hint = f"write `{written(one.subject)} {'in' if positive else 'not in'} [{shown}]`"
            elif one.positive is not other.positive and _covers(one, other, positive):
                hint = "one of the two is enough"
            else:
                continue
            says = "is never true: one value cannot be both" if positive else "is always true: no value is both"
            self._add(node, f"this `{word}` {says}", hint)
            return

    def visit_If(self, node: nodes.If) -> None:
        self.truth(node.test)
        for part in (*node.body, *node.elif_, *node.else_):
            self.visit(part)

    def visit_CondExpr(self, node: nodes.CondExpr) -> None:
        self.truth(node.test)
        for part in (node.expr1, node.expr2):
            if part is not None:
                self.visit(part)

    def visit_For(self, node: nodes.For) -> None:
        if node.test is not None:
            self.truth(node.test)
        for part in (node.iter, *node.body, *node.else_):
            self.visit(part)

    def visit_Or(self, node: nodes.Or) -> None:
        """A value such as `labels.team or 'ops'`, unless what stands beside the text is true or false."""
        if isinstance(node.left, nodes.Compare | nodes.Test | nodes.Not) and _is_literal(node.right):
            self._chain(node)
        else:
            self.generic_visit(node)

    def visit_Not(self, node: nodes.Not) -> None:
        self.truth(node.node)

    def visit_Test(self, node: nodes.Test) -> None:
        if node.name == "in" and node.args:
            self._within(node, node.node, node.args[0])
        self.generic_visit(node)

    def visit_Compare(self, node: nodes.Compare) -> None:
        if _is_literal(node):
            self._add(node, _always_text("two literals are compared:", node), "write a label as labels.NAME")
            return
        left = node.expr
        for operand in node.ops:
            self._compared(left, operand)
            left = operand.expr
        self.generic_visit(node)

    def _compared(self, left: nodes.Expr, operand: nodes.Operand) -> None:
        right, op = operand.expr, operand.op
        for side, other in ((right, left), (left, right)):
            if isinstance(side, nodes.Or | nodes.And) and _is_literal(side):
                texts = list(_operands(side, type(side)))
                first = texts[0] if isinstance(side, nodes.Or) else texts[-1]
                word = "or" if isinstance(side, nodes.Or) else "and"
                sign = "not in" if op in ("ne", "notin") else "in"
                listed = f"write `{written(other)} {sign} [{', '.join(map(written, texts))}]`"
                self._add(side, f"a `{word}` of literals is one of them: only {written(first)} is compared", listed)
                return
        if op in ("in", "notin"):
            self._within(right, left, right, "not in" if op == "notin" else "in")
        else:
            self._numbers(left, op, right)

    def _within(self, at: nodes.Expr, left: nodes.Expr, right: nodes.Expr, word: str = "in") -> None:
        if isinstance(right, nodes.List | nodes.Tuple):
            odd = next((item for item in right.items if self._differs(left, item)), None)
            if odd is not None:
                self._add(odd, f"a label is text and never equal to {written(odd)}", f'write "{written(odd)}"')
            return
        if not self._kinds.is_text(right) or self._is_fixed(left):
            return
        if not self._condition and self._kinds.mentions(right, "annotations"):
            return  # such as a summary that the description does not hold
        message = f"`{word}` a text looks for a piece of it, and an empty label is in every text"
        text = constant_of(right)
        if isinstance(left, nodes.Const):
            self._add(left, message, "write the label alone, or `not` before it")
        elif isinstance(text, str):
            listed = ", ".join(f'"{found}"' for found in _WORDS.findall(text)[:20])
            self._add(at, message, f"for one of several write `{written(left)} {word} [{listed}]`")
        else:
            sign = "!=" if word == "not in" else "=="
            shown = written(right)
            hint = f'write `{written(left)} {sign} {shown}`, or name the piece: `"..." {word} {shown}`'
            if "…" in shown:
                hint = f'for one of several write `{written(left)} {word} ["...", "..."]`'
            self._add(at, message, hint)

    def _is_fixed(self, node: nodes.Node) -> bool:
        """Whether a piece to look for is never empty: a literal, a fixed entry of a table; or cannot be known."""
        if _is_literal(node):
            return bool(constant_of(node) != "")
        if isinstance(node, nodes.Name):
            return self._kinds.of(node).name == "unknown"
        while isinstance(node, nodes.Getattr | nodes.Getitem):
            if isinstance(node, nodes.Getitem) and constant_of(node.arg) is None:
                return False
            node = node.node
        return isinstance(node, nodes.Name) and node.name == "lookup"

    def _differs(self, left: nodes.Expr, right: nodes.Expr) -> bool:
        """Whether a text is compared with a literal that is none."""
        return isinstance(right, nodes.Const) and not isinstance(right.value, str) and self._kinds.is_text(left)

    def _numbers(self, left: nodes.Expr, op: str, right: nodes.Expr) -> None:
        for text, other in ((left, right), (right, left)):
            if not self._differs(text, other):
                continue
            value, shown, sign = constant_of(other), written(text), _SIGNS[op]
            if value is None:
                hint = f"write `{'not ' if op == 'eq' else ''}{shown}`"
                self._add(other, "what is absent is empty text, never `none`", hint)
            elif op in ("eq", "ne"):
                literal = str(value).lower() if isinstance(value, bool) else str(value)
                hint = f'write `{shown} {sign} "{literal}"`'
                self._add(other, f"a label is text and never equal to {literal}", hint)
            else:
                hint = f"write `({shown} | float) {sign} {value}`"
                self._add(other, "a text cannot be compared with a number", hint)


def _is_literal(node: nodes.Node) -> bool:
    """A literal, or built only of literals."""
    names = (nodes.Name, nodes.TemplateData)
    return not isinstance(node, names) and next(node.find_all(names), None) is None


def _value(node: nodes.Node) -> Any:
    """What a simple literal comes to; nothing is computed that could take long."""
    match node:
        case nodes.Const():
            return node.value
        case nodes.List() | nodes.Tuple():
            return [_value(item) for item in node.items]
        case nodes.Not():
            value = _value(node.node)
            return value if value is _UNKNOWN else not value
        case nodes.Or() | nodes.And():
            left, right = _value(node.left), _value(node.right)
            if _UNKNOWN in (left, right):
                return _UNKNOWN
            return (left or right) if isinstance(node, nodes.Or) else (left and right)
        case nodes.Compare(ops=[nodes.Operand(op="eq" | "ne" | "in" | "notin" as op)]):
            left, right = _value(node.expr), _value(node.ops[0].expr)
            if _UNKNOWN in (left, right) or (op in ("in", "notin") and not isinstance(right, str | list)):
                return _UNKNOWN
            equal = left == right if op in ("eq", "ne") else isinstance(right, list) and left in right
            return equal is (op in ("eq", "in"))
    return _UNKNOWN


def _always_text(what: str, node: nodes.Node) -> str:
    value = always(node)
    return f"{what} {'the same for every alert' if value is None else f'always {str(value).lower()}'}"


def _alone(literal: nodes.Expr, word: str, *, first: bool) -> str:
    """What a literal beside `or` or `and` does."""
    shown = written(literal)
    if "…" in shown:
        shown = "a literal"
    message = f"{shown} {'before' if first else 'after'} `{word}` is compared with nothing"
    value = always(literal)
    if value is None:
        return message
    return f"{message}: " + (f"this is always {str(value).lower()}" if value is (word == "or") else "it has no effect")


def _operands(node: nodes.Expr, kind: type[nodes.Expr]) -> Iterator[nodes.Expr]:
    if isinstance(node, kind) and isinstance(node, nodes.Or | nodes.And):
        yield from _operands(node.left, kind)
        yield from _operands(node.right, kind)
    else:
        yield node


class _Atom(NamedTuple):
    """One expression that is, or is not, one of some values."""

    key: str
    subject: nodes.Expr
    literals: Sequence[nodes.Expr]
    values: frozenset[Any]
    positive: bool


def _atom(node: nodes.Expr) -> _Atom | None:
    negated = False
    while isinstance(node, nodes.Not):
        node, negated = node.node, not negated
    if not isinstance(node, nodes.Compare) or len(node.ops) != 1 or node.ops[0].op not in _NEGATED:
        return None
    subject, literal, op = node.expr, node.ops[0].expr, node.ops[0].op
    if isinstance(subject, nodes.Const) and op in ("eq", "ne"):
        subject, literal = literal, subject
    literals = literal.items if op in ("in", "notin") and isinstance(literal, nodes.List | nodes.Tuple) else [literal]
    if not all(isinstance(item, nodes.Const) for item in literals) or _is_literal(subject):
        return None
    if op in ("in", "notin") and literals == [literal]:
        return None  # a search in a text
    values = frozenset(constant_of(item) for item in literals)
    return _Atom(repr(subject), subject, literals, values, (op in ("eq", "in")) is not negated)


def _covers(one: _Atom, other: _Atom, both: bool) -> bool:
    """Of "is one of these" and "is none of those", whether they exclude one another, or one of them always holds."""
    these, those = (one, other) if one.positive else (other, one)
    return these.values <= those.values if both else those.values <= these.values


def _joined(operands: Sequence[nodes.Expr]) -> str:
    """One comparison with all that was meant, where the operands show it."""
    atom = next((atom for operand in operands if (atom := _atom(operand))), None)
    if atom is None:
        return "write a label as labels.NAME"
    others = [operand for operand in operands if _is_literal(operand)]
    listed = ", ".join(map(written, (*atom.literals, *others)))
    return f"write `{written(atom.subject)} {'in' if atom.positive else 'not in'} [{listed}]`"


def _start(node: nodes.Node) -> int:
    """Where an expression begins: Jinja2 gives an operator's node the place of the operator."""
    first = min((child.lineno for child in node.find_all(nodes.Expr)), default=node.lineno)
    return min(first, node.lineno) - 1
