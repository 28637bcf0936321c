"""PURE: what is wrong with one template, told without running it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final, NamedTuple

from jinja2 import nodes
from jinja2.visitor import NodeVisitor

from adapter.mapping.rules.language import ALERT_NAMES, GROUP_NAMES, HELPERS, NAMES
from adapter.mapping.rules.signatures import argument_mistake
from adapter.mapping.rules.syntax import ENVIRONMENT, Mistake, tree_of
from adapter.yamlfile import nearest

_KNOWN: Final = {*NAMES, *HELPERS}
_RECORDS: Final = {"alert": ALERT_NAMES, "group": GROUP_NAMES}
_TEXTS: Final = ("labels", "annotations", "groupLabels", "commonLabels", "commonAnnotations")
_METHODS: Final = ("items", "keys", "values", "get")
_ABSENCE: Final = ("defined", "undefined", "none")


class Looked(NamedTuple):
    """One template looked at: its tree (None when it has none), what is wrong, and the lookup tables it may read."""

    tree: nodes.Template | None
    mistakes: Sequence[Mistake]
    tables: Collection[str]


def look_at(source: str, tables: Collection[str], *, expression: bool) -> Looked:
    """`tables`: the names of the file's lookup tables."""
    tree = tree_of(source, expression=expression)
    if isinstance(tree, Mistake):
        return Looked(None, [tree], tables)
    inspector = _Inspector(tables)
    inspector.visit(tree)
    return Looked(tree, inspector.mistakes, inspector.used)


class _Inspector(NodeVisitor):
    """Visits in reading order, so that a name set further up is known further down."""

    def __init__(self, tables: Collection[str]) -> None:
        self.mistakes: list[Mistake] = []
        self.used: set[str] = set()
        self._tables = tables
        self._local: set[str] = set()

    def _add(self, lineno: int, message: str, hint: str = "") -> None:
        self.mistakes.append(Mistake(max(0, lineno - 1), message, hint))

    def visit_Name(self, node: nodes.Name) -> None:
        if node.ctx != "load":
            self._local.add(node.name)
        elif node.name == "lookup" and "lookup" not in self._local:
            self.used.update(self._tables)  # as a whole: any table may be meant
        elif node.name not in _KNOWN and node.name not in self._local:
            hint = nearest(node.name, NAMES) or f"known are {', '.join(NAMES)}; text goes in quotes"
            self._add(node.lineno, f"unknown name {node.name!r}", hint)

    def visit_For(self, node: nodes.For) -> None:
        self._local.add("loop")
        self.generic_visit(node)

    def visit_Macro(self, node: nodes.Macro) -> None:
        self._local |= {node.name, "caller", "varargs", "kwargs"}
        self.generic_visit(node)

    def visit_Getattr(self, node: nodes.Getattr) -> None:
        self._member(node, node.attr)

    def visit_Getitem(self, node: nodes.Getitem) -> None:
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            self._member(node, node.arg.value)
        else:
            self.generic_visit(node)

    def _member(self, node: nodes.Getattr | nodes.Getitem, name: str) -> None:
        owner = node.node.name if isinstance(node.node, nodes.Name) else ""
        if name.startswith("__") and not _is_texts(node.node):
            self._add(node.lineno + 1, f"{name!r} is out of reach of a template")
        if not owner or owner in self._local:
            self.generic_visit(node)
        elif owner == "lookup":
            self._table(node.lineno + 1, name)
        elif owner in _RECORDS:
            self._record(node.lineno + 1, owner, name)
        else:
            self.generic_visit(node)

    def _table(self, lineno: int, name: str) -> None:
        if name in self._tables:
            self.used.add(name)
        else:
            self.used.update(self._tables)  # the one that was meant is not to be called unused
            known = tuple(self._tables)
            hint = nearest(name, known) or (f"it has {', '.join(known)}" if known else "it has none")
            self._add(lineno, f"this file has no lookup table {name!r}", hint)

    def _record(self, lineno: int, owner: str, name: str) -> None:
        known = _RECORDS[owner]
        if name not in known:
            hint = f"write {name} alone" if name in NAMES else nearest(name, known) or f"it has {', '.join(known)}"
            self._add(lineno, f"{owner} has no {name!r}", hint)

    def visit_Call(self, node: nodes.Call) -> None:
        called = node.node
        if isinstance(called, nodes.Getattr) and called.attr in _METHODS and _is_texts(called.node):
            hint = "write `| items` for pairs, `| list` for names, [name] for one of them"
            self._add(called.lineno + 1, f".{called.attr} is the value named {called.attr!r}, not a method", hint)
        self.generic_visit(node)

    def visit_Filter(self, node: nodes.Filter) -> None:
        self._callable(node, "filter", ENVIRONMENT.filters)
        self.generic_visit(node)

    def visit_Test(self, node: nodes.Test) -> None:
        member = node.node
        if node.name in _ABSENCE and isinstance(member, nodes.Getattr | nodes.Getitem) and _is_texts(member.node):
            what = f"{node.name!r} cannot tell: what is absent here is empty text"
            self.mistakes.append(Mistake(node.lineno - 1, what, "write the name alone, or `not` before it", False))
        self._callable(node, "test", ENVIRONMENT.tests)
        self.generic_visit(node)

    def _callable(self, node: nodes.Filter | nodes.Test, what: str, known: dict[str, Any]) -> None:
        if node.name not in known:
            self._add(node.lineno, f"no {what} named {node.name!r}", nearest(node.name, tuple(known)))
            return
        wrong = argument_mistake(node, known[node.name])
        if wrong:
            self._add(node.lineno, f"{what} {node.name}: {wrong}")

    def _alone(self, node: nodes.Node) -> None:
        self._add(node.lineno, "there is nothing to include, import or extend", "a field stands alone")

    visit_Include = visit_Import = visit_FromImport = visit_Extends = visit_Block = _alone


def _is_texts(node: nodes.Expr) -> bool:
    """Labels, annotations, what a group has of both, or a lookup table."""
    if isinstance(node, nodes.Getattr):
        return node.attr in _TEXTS or (isinstance(node.node, nodes.Name) and node.node.name == "lookup")
    return isinstance(node, nodes.Name) and node.name in _TEXTS


def outcomes(body: Sequence[nodes.Node]) -> list[tuple[int, str]]:
    """The texts a template may come to that stand in it literally, each with its lineno; others are not told."""
    if len(body) != 1:
        return []
    node = body[0]
    if isinstance(node, nodes.If):
        branches = [node.body, *(other.body for other in node.elif_), node.else_]
        return [found for branch in branches for found in outcomes(branch)]
    if isinstance(node, nodes.Output):
        pieces = [n for n in node.nodes if not (isinstance(n, nodes.TemplateData) and not n.data.strip())]
        return _texts(pieces[0]) if len(pieces) == 1 else []
    return []


def _texts(node: nodes.Node) -> list[tuple[int, str]]:
    if isinstance(node, nodes.TemplateData):
        return [(node.lineno + len(node.data) - len(node.data.lstrip()), node.data.strip())]
    if isinstance(node, nodes.Const):
        return [(node.lineno, str(node.value))]
    if isinstance(node, nodes.CondExpr):
        return _texts(node.expr1) + (_texts(node.expr2) if node.expr2 else [])
    if isinstance(node, nodes.Or):
        return _texts(node.right)
    return []
