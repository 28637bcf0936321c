"""Checks one template or condition: its names, members, filters and tests, then by `conditions` and `texts` (pure).

Templates are parsed and never run.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from jinja2 import nodes
from jinja2.visitor import NodeVisitor

from adapter.mapping.rules.filters import time_zone
from adapter.mapping.rules.language import ALERT_NAMES, GROUP_NAMES, HELPERS, NAMES
from adapter.mapping.template import conditions, habits, texts, words
from adapter.mapping.template.kinds import Kinds, beginning, is_text_set, member, written
from adapter.mapping.template.syntax import CHECKER, TOO_DEEP, Mistake, parse_with_offsets
from adapter.yamlfile import nearest

_ABSENCE: Final = ("defined", "undefined", "none")


class Template(NodeVisitor):
    """Parses a template and finds its mistakes, in reading order, so that a name is known after it was set.

    `tree` is None for a template that cannot be parsed; `tables` are the lookup tables it may read.
    """

    def __init__(self, source: str, lookup: Mapping[str, Any], style: str | None, *, expression: bool) -> None:
        """`lookup`: the tables of the file. `style`: how YAML quotes the template, see Mark."""
        self.mistakes: list[Mistake] = []
        self.tables: set[str] = set()
        self._source = source
        self._members = {"lookup": tuple(lookup), "alert": ALERT_NAMES, "group": GROUP_NAMES}
        self._local: dict[str, nodes.Node | None] = {}  # each name with what it is set to, None where that varies
        self._called: set[int] = set()  # the ids of names that are called
        self._used: set[int] = set()  # and of those of which a member is used
        self._compared: set[int] = set()  # the ids of those that a value is compared with
        parsed = parse_with_offsets(source, expression=expression)
        self.tree = None if isinstance(parsed, Mistake) else parsed
        if self.tree is not None:
            try:
                self.visit(self.tree)
                kinds = Kinds(lookup, self._local)
                self.mistakes += conditions.mistakes(self.tree, kinds, condition=expression)
                self.mistakes += texts.mistakes(source, self.tree, kinds, style)
            except RecursionError:
                self.tree, parsed = None, Mistake(0, TOO_DEEP)
        if isinstance(parsed, Mistake):
            self.mistakes = [parsed]
            self.tables.update(lookup)  # any of them may be used

    def _add(self, lineno: int, message: str, hint: str = "", *, refuses: bool = True) -> None:
        self.mistakes.append(Mistake(lineno - 1, message, hint, refuses))

    def visit_Name(self, node: nodes.Name) -> None:
        if node.ctx != "load":
            self._local[node.name] = None
        elif node.name in self._local or (node.name in HELPERS and id(node) in (self._called | self._used)):
            pass
        elif node.name in HELPERS:
            hint = words.name(node.name) or f"call it: {node.name}(...)"
            self._add(node.lineno, f"{node.name!r} is a function of Jinja2, which is never sent or compared", hint)
        elif node.name == "lookup":
            self.tables.update(self._members["lookup"])  # `lookup` as a whole: any table may be read
        elif node.name not in NAMES:
            self._add(node.lineno, f"unknown name {node.name!r}", self._meant(node))

    def _meant(self, node: nodes.Name) -> str:
        name = node.name
        either = f'write labels.{name} for a label, "{name}" for a text'
        if id(node) in self._compared:
            return either
        called = words.function(name) if id(node) in self._called else ""
        if not called and id(node) in self._called and name in CHECKER.filters:
            called = f"write `VALUE | {name}`"
        return called or words.name(name) or nearest(name, NAMES) or either

    def visit_Compare(self, node: nodes.Compare) -> None:
        for operand in node.ops:
            self._compared |= {id(operand.expr), *map(id, operand.expr.iter_child_nodes())}
        self.generic_visit(node)

    def visit_Assign(self, node: nodes.Assign) -> None:
        before = dict(self._local)
        self.generic_visit(node)
        if isinstance(node.target, nodes.Name) and node.target.name not in before:
            self._local[node.target.name] = node.node

    def visit_Sub(self, node: nodes.Sub | nodes.Div) -> None:
        """A label whose name has a dash or a slash; no text can be subtracted or divided."""
        first = beginning(node)
        if meant := habits.dashed(self._source, first - 1):
            self._add(first, f"{meant[0]} is read as a calculation", f"write {meant[1]}")
            return
        if isinstance(node.left, nodes.Getattr) and is_text_set(node.left.node):
            self._add(node.left.lineno + 1, "a text is no number", f"write ({written(node.left)} | float)")
        self.generic_visit(node)

    visit_Div = visit_Sub

    def visit_For(self, node: nodes.For) -> None:
        self._local["loop"] = None
        self.generic_visit(node)

    def visit_Macro(self, node: nodes.Macro) -> None:
        self._local |= dict.fromkeys((node.name, "caller", "varargs", "kwargs"))
        self.generic_visit(node)

    def visit_Getattr(self, node: nodes.Getattr) -> None:
        self._used.add(id(node.node))
        self._member(node, node.attr)

    def visit_Getitem(self, node: nodes.Getitem) -> None:
        self._used.add(id(node.node))
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            self._member(node, node.arg.value)
        else:
            self.generic_visit(node)

    def _member(self, node: nodes.Getattr | nodes.Getitem, name: str) -> None:
        owner = node.node.name if isinstance(node.node, nodes.Name) else ""
        if name.startswith("__") and not is_text_set(node.node):
            self._add(node.lineno + 1, f"{name!r} is out of reach of a template")
        if owner in self._local or owner not in self._members:
            self.generic_visit(node)
            return
        known = self._members[owner]
        message = f"{owner} has no {name!r}"
        hint = words.name(name) or nearest(name, known) or f"it has {', '.join(known) or 'none'}"
        if owner == "lookup":
            # The table that was meant must not be reported as unused.
            self.tables.update([name] if name in known else known)
            message = f"this file has no lookup table {name!r}"
            hint = nearest(name, known) or f"it has {', '.join(known) or 'none'}"
        elif name in NAMES:
            hint = f"write {name} alone"
        if name not in known:
            self._add(node.lineno + 1, message, hint)

    def visit_Call(self, node: nodes.Call) -> None:
        function = node.node
        self._called.add(id(function))
        if isinstance(function, nodes.Getattr) and function.attr in texts.METHODS and is_text_set(function.node):
            hint = "write `| items` for pairs, `| list` for names, [name] for one of them"
            if function.attr == "get" and node.args:
                default = "".join(f" or {written(value)}" for value in node.args[1:2])
                hint = f"write {member(function.node, node.args[0])}{default}"
            self._add(function.lineno + 1, f".{function.attr} is the value named {function.attr!r}, not a method", hint)
        self.generic_visit(node)

    def visit_Filter(self, node: nodes.Filter) -> None:
        self._callable(node, "filter", CHECKER.filters)
        self.generic_visit(node)

    def visit_Test(self, node: nodes.Test) -> None:
        member = node.node
        if node.name in _ABSENCE and isinstance(member, nodes.Getattr | nodes.Getitem) and is_text_set(member.node):
            message = f"{node.name!r} cannot tell: what is absent here is empty text"
            self._add(node.lineno, message, "write the name alone, or `not` before it", refuses=False)
        self._callable(node, "test", CHECKER.tests)
        self.generic_visit(node)

    def _callable(self, node: nodes.Filter | nodes.Test, kind: str, known: dict[str, Any]) -> None:
        if node.name not in known:
            hint = words.filter_(node.name) if kind == "filter" else f'for a text write `== "{node.name}"`, or `!=`'
            if kind == "test" and nearest(node.name, tuple(known)):
                hint = ""
            self._add(node.lineno, f"no {kind} named {node.name!r}", hint or nearest(node.name, tuple(known)))
        elif problem := _argument_problem(node, known[node.name]):
            self._add(node.lineno, f"{kind} {node.name}: {problem}")

    def _refuse(self, node: nodes.Node) -> None:
        self._add(node.lineno, "there is nothing to include, import or extend", "a field stands alone")

    visit_Include = visit_Import = visit_FromImport = visit_Extends = visit_Block = _refuse


# The arguments of filters and tests --------------------------------------------------------------------------------

_PLACEHOLDER: Final = object()


def _argument_problem(node: nodes.Filter | nodes.Test, function: Callable[..., Any]) -> str:
    """What is wrong with the arguments of a call, found without making it; empty when nothing is."""
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        return ""
    function = inspect.unwrap(function)  # Jinja2 wraps some for templates that await, and adds an argument there
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some tests are built-in operators without a signature
        return ""
    arguments = [_PLACEHOLDER] * (len(node.args) + 1 + hasattr(function, "jinja_pass_arg"))
    try:
        signature.bind(*arguments, **{str(pair.key): _PLACEHOLDER for pair in node.kwargs})
    except TypeError as exc:
        return str(exc)
    first = node.args[0] if node.args else None
    return _value_problem(node.name, first.value) if isinstance(first, nodes.Const) else ""


def _value_problem(name: str, value: Any) -> str:
    """What is wrong with the first argument of a filter, where that is written out."""
    try:
        if name in ("regex_search", "regex_replace") and isinstance(value, str):
            re.compile(value)
        elif name == "localtime" and isinstance(value, str):
            time_zone(value)
        elif name == "clip" and not (type(value) is int and value > 0):
            return f"a length is a number above 0, not {value!r}"
    except (re.error, OverflowError, RecursionError) as exc:
        return f"not a regular expression: {exc}"
    except ValueError as exc:
        return str(exc)
    return ""
