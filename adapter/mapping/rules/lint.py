"""Reports what is wrong with rules of the right shape: in each template, and between the rules (pure).

Templates are parsed and never run. An error would make an alarm wrong or fail, and refuses the revision. A warning is
probably not what the author meant, but every alert still becomes an alarm as the language says: `check` reports it, and
a reload accepts it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Final

from jinja2 import nodes
from jinja2.visitor import NodeVisitor

from adapter.coc.fields import BY_NAME, LEVELS, units
from adapter.errors import Finding
from adapter.mapping.rules.filters import time_zone
from adapter.mapping.rules.language import (
    ALERT_NAMES,
    CHECKER,
    GROUP_NAMES,
    HELPERS,
    NAMES,
    TOO_DEEP,
    WHEN,
    Mistake,
    constant,
    parse_with_offsets,
)
from adapter.mapping.rules.model import MOST_FINDINGS, MappingFile, Rule
from adapter.yamlfile import Loc, nearest

FALLS_BACK_TO: Final = {
    "alarmName": "the label alertname",
    "alarmLevel": "the label severity",
    "nameSpace": "the label namespace or job",
    "applicationId": "'unmapped'",
    "alarmDesc": "the annotation description or summary",
}
_BARE: Final = re.compile(r"\s*(?:labels|annotations|alert|group|lookup)[.\[]")
_STRAY: Final = re.compile(r"\}\}|%\}")


def lint(files: Iterable[MappingFile]) -> tuple[list[Finding], list[Finding]]:
    """The errors and the warnings of a set of files in their order."""
    linter = _Linter()
    for file in files:
        try:
            linter.check(file)
        except Exception as exc:  # there is no end to what templates may hold
            linter.errors.append(file.source.finding((), f"the file cannot be checked: {type(exc).__name__}: {exc}"))
    return linter.errors, linter.warnings


class _Linter:
    """Checks one file after another."""

    def __init__(self) -> None:
        self.errors: list[Finding] = []
        self.warnings: list[Finding] = []
        self._catch_all = ""  # the first rule so far, in any file, that takes every alert

    def check(self, file: MappingFile) -> None:
        self._file = file
        self._tables: set[str] = set()  # those that templates use
        self._conditions: dict[str, Rule] = {}  # each with the first rule that has it
        checked: set[Loc] = set()  # a default is checked once, however many rules share it
        for rule in self._file.rules:
            if len(self.errors) > MOST_FINDINGS:
                return
            takes_all = rule.when is None or self._is_always_true((*rule.loc, WHEN), rule.when)
            self._reach(rule)
            if takes_all and not self._catch_all:
                self._catch_all = f"rule {rule.name!r} of {self._file.name}"
            for field, (text, loc) in rule.fields.items():
                if loc not in checked:
                    checked.add(loc)
                    self._field(loc, field, text)
            self._required(rule)
        # A rule that was left out for its shape may use any table.
        if self._file.rules and len(self._file.rules) == len(self._file.source.data["rules"]):
            for table in self._file.lookup:
                if table not in self._tables:
                    self._warn(("lookup", table), f"the lookup table {table!r} is not used", at_key=True)

    def _is_always_true(self, loc: Loc, condition: str) -> bool:
        tree = self._template(loc, condition, expression=True).tree
        value = tree and next(tree.find_all(nodes.Output)).nodes[0]
        if not isinstance(value, nodes.Const):
            return False
        always = bool(value.value)
        self._warn(loc, f"the condition is always {str(always).lower()}")
        return always

    def _reach(self, rule: Rule) -> None:
        first = self._conditions.setdefault(" ".join((rule.when or "").split()), rule)
        if self._catch_all:
            reason = f"{self._catch_all} takes every alert"
        elif first is not rule:
            reason = f"rule {first.name!r} has the same condition"
        else:
            return
        self._warn((*rule.loc, "name"), f"rule {rule.name!r} can never be reached", reason)

    def _required(self, rule: Rule) -> None:
        for field, instead in FALLS_BACK_TO.items():
            if field not in rule.fields and not rule.drop:
                message = f"rule {rule.name!r} does not set {field}, which COC requires"
                self._warn((*rule.loc, "name"), message, f"it falls back to {instead}")

    def _field(self, loc: Loc, field: str, text: str) -> None:
        template = self._template(loc, text, expression=False)
        if template.tree is None or template.mistakes:
            return
        self._report(loc, _literal_mistakes(field, template.tree))
        plain = constant(template.tree)
        if plain is not None and field in BY_NAME and units(plain.strip()) > BY_NAME[field].limit:
            hint = "it will be clipped" if BY_NAME[field].cut else "it will be left out"
            self._warn(loc, f"longer than the {BY_NAME[field].limit} characters COC takes", hint)

    def _template(self, loc: Loc, text: str, *, expression: bool) -> _Template:
        template = _Template(text, self._file.lookup, expression=expression)
        self._tables |= template.tables
        self._report(loc, template.mistakes)
        return template

    def _report(self, loc: Loc, mistakes: Iterable[Mistake]) -> None:
        for offset, message, hint, refuses in mistakes:
            finding = self._file.source.finding(loc, message, hint, offset=offset)
            (self.errors if refuses else self.warnings).append(finding)

    def _warn(self, loc: Loc, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self.warnings.append(self._file.source.finding(loc, message, hint, at_key=at_key))


def _literal_mistakes(field: str, tree: nodes.Template) -> Iterator[Mistake]:
    """Mistakes in the text of a template that is not evaluated."""
    if _BARE.match(constant(tree) or ""):
        yield Mistake(0, "plain text, not a template", "put it in {{ }}")
    for data in tree.find_all(nodes.TemplateData):
        stray = _STRAY.search(data.data)
        if stray:
            yield Mistake(data.lineno - 1 + stray.start(), f"{stray[0]!r} without its beginning", refuses=False)
    if field == "alarmLevel":
        hint = f"one of {', '.join(LEVELS)}; for a severity word write {{{{ labels.severity | level }}}}"
        for lineno, word in _outcomes(tree.body):
            if word not in LEVELS:
                yield Mistake(lineno - 1, f"{word!r} is not a level of COC's", hint)


def _outcomes(body: Sequence[nodes.Node]) -> list[tuple[int, str]]:
    """The values of a template that are written out in it, each with its lineno."""
    if len(body) != 1:
        return []
    node = body[0]
    if isinstance(node, nodes.If):
        branches = [node.body, *(other.body for other in node.elif_), node.else_]
        return [outcome for branch in branches for outcome in _outcomes(branch)]
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


# One template: names, members, filters and tests -------------------------------------------------------------------

_TEXTS: Final = ("labels", "annotations", "groupLabels", "commonLabels", "commonAnnotations")
_METHODS: Final = ("items", "keys", "values", "get")
_ABSENCE: Final = ("defined", "undefined", "none")


class _Template(NodeVisitor):
    """Parses a template and finds its mistakes, in reading order, so that a name is known after it was set.

    `tree` is None for a template that cannot be parsed; `tables` are the lookup tables it may read.
    """

    def __init__(self, source: str, tables: Collection[str], *, expression: bool) -> None:
        """`tables`: the names of the file's lookup tables."""
        self.mistakes: list[Mistake] = []
        self.tables: set[str] = set()
        self._members = {"lookup": tuple(tables), "alert": ALERT_NAMES, "group": GROUP_NAMES}
        self._local: set[str] = set()
        parsed = parse_with_offsets(source, expression=expression)
        self.tree = None if isinstance(parsed, Mistake) else parsed
        if self.tree is not None:
            try:
                self.visit(self.tree)
            except RecursionError:
                self.tree, parsed = None, Mistake(0, TOO_DEEP)
        if isinstance(parsed, Mistake):
            self.mistakes = [parsed]
            self.tables.update(tables)  # any of them may be used

    def _add(self, lineno: int, message: str, hint: str = "", *, refuses: bool = True) -> None:
        self.mistakes.append(Mistake(lineno - 1, message, hint, refuses))

    def visit_Name(self, node: nodes.Name) -> None:
        if node.ctx != "load":
            self._local.add(node.name)
        elif node.name in self._local or node.name in HELPERS:
            pass
        elif node.name == "lookup":
            self.tables.update(self._members["lookup"])  # `lookup` as a whole: any table may be read
        elif node.name not in NAMES:
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
        if owner in self._local or owner not in self._members:
            self.generic_visit(node)
            return
        known = self._members[owner]
        message = f"{owner} has no {name!r}"
        hint = nearest(name, known) or f"it has {', '.join(known) or 'none'}"
        if owner == "lookup":
            # The table that was meant must not be reported as unused.
            self.tables.update([name] if name in known else known)
            message = f"this file has no lookup table {name!r}"
        elif name in NAMES:
            hint = f"write {name} alone"
        if name not in known:
            self._add(node.lineno + 1, message, hint)

    def visit_Call(self, node: nodes.Call) -> None:
        function = node.node
        if isinstance(function, nodes.Getattr) and function.attr in _METHODS and _is_texts(function.node):
            hint = "write `| items` for pairs, `| list` for names, [name] for one of them"
            self._add(function.lineno + 1, f".{function.attr} is the value named {function.attr!r}, not a method", hint)
        self.generic_visit(node)

    def visit_Filter(self, node: nodes.Filter) -> None:
        self._callable(node, "filter", CHECKER.filters)
        self.generic_visit(node)

    def visit_Test(self, node: nodes.Test) -> None:
        member = node.node
        if node.name in _ABSENCE and isinstance(member, nodes.Getattr | nodes.Getitem) and _is_texts(member.node):
            message = f"{node.name!r} cannot tell: what is absent here is empty text"
            self._add(node.lineno, message, "write the name alone, or `not` before it", refuses=False)
        self._callable(node, "test", CHECKER.tests)
        self.generic_visit(node)

    def _callable(self, node: nodes.Filter | nodes.Test, kind: str, known: dict[str, Any]) -> None:
        if node.name not in known:
            self._add(node.lineno, f"no {kind} named {node.name!r}", nearest(node.name, tuple(known)))
        elif problem := _argument_problem(node, known[node.name]):
            self._add(node.lineno, f"{kind} {node.name}: {problem}")

    def _refuse(self, node: nodes.Node) -> None:
        self._add(node.lineno, "there is nothing to include, import or extend", "a field stands alone")

    visit_Include = visit_Import = visit_FromImport = visit_Extends = visit_Block = _refuse


def _is_texts(node: nodes.Expr) -> bool:
    """Whether a value is a set of labels or annotations, or a lookup table."""
    if isinstance(node, nodes.Getattr):
        return node.attr in _TEXTS or (isinstance(node.node, nodes.Name) and node.node.name == "lookup")
    return isinstance(node, nodes.Name) and node.name in _TEXTS


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
