"""What kind of value an expression has, as far as that can be seen without an alert (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final, Literal, NamedTuple

from jinja2 import nodes

from adapter.mapping.rules.language import ALERT_NAMES, GROUP_NAMES

TEXT_SETS: Final = ("labels", "annotations", "groupLabels", "commonLabels", "commonAnnotations")
_TEXT_FILTERS: Final = frozenset(
    ("application", "capitalize", "center", "clip", "e", "escape", "filesizeformat", "forceescape", "format", "host",
     "indent", "join", "level", "localtime", "lower", "regex_replace", "regex_search", "replace", "safe", "short_hash",
     "string", "striptags", "title", "tojson", "trim", "truncate", "upper", "urlencode", "urlize", "wordwrap",
     "xmlattr")
)  # fmt: skip
_SAME_KIND: Final = ("default", "d", "first", "last", "reverse")  # of a text they give a text
_MOST: Final = 200  # values of a table that are looked at


class Kind(NamedTuple):
    """`data` is a lookup table or a part of one; None where it is not known."""

    name: Literal["text", "table", "list", "other", "unknown"]
    data: Any = None


TEXT: Final = Kind("text")
UNKNOWN: Final = Kind("unknown")
_TEXT_SET: Final = Kind("table")
_OTHER: Final = Kind("other")


class Kinds:
    """Knows the lookup tables of a file and the names that a template sets."""

    def __init__(self, lookup: Mapping[str, Any], local: Mapping[str, nodes.Node | None]) -> None:
        """`local`: names the template sets, with what each is set to, None where that varies."""
        self._lookup = lookup
        self._local = dict(local)

    def of(self, node: nodes.Node, depth: int = 0) -> Kind:
        if depth > 50:
            return UNKNOWN
        match node:
            case nodes.Const():
                return TEXT if isinstance(node.value, str) else _OTHER
            case nodes.Concat() | nodes.TemplateData():
                return TEXT
            case nodes.List() | nodes.Tuple():
                return Kind("list")
            case nodes.Dict():
                return _TEXT_SET
            case nodes.Compare() | nodes.Test() | nodes.Not():
                return _OTHER
            case nodes.Name():
                return self._name(node, depth)
            case nodes.Getattr() | nodes.Getitem():
                return self._member(node, depth)
            case nodes.Filter() if node.node is not None:
                return self._filter(node, node.node, depth)
            case nodes.CondExpr():
                return _common(self.of(part, depth + 1) for part in (node.expr1, node.expr2) if part is not None)
            case nodes.Or() | nodes.And():
                return _common(self.of(part, depth + 1) for part in (node.left, node.right))
        return UNKNOWN

    def is_text(self, node: nodes.Node) -> bool:
        return self.of(node).name == "text"

    def mentions(self, node: nodes.Node, name: str) -> bool:
        """Whether a value is made of that name, by way of names that the template sets too."""
        seen: set[str] = set()
        left = [node]
        while left:
            part = left.pop()
            names = [part] if isinstance(part, nodes.Name) else part.find_all(nodes.Name)
            for one in names:
                if one.name == name:
                    return True
                value = self._local.get(one.name)
                if value is not None and one.name not in seen:
                    left.append(value)
                seen.add(one.name)
        return False

    def _name(self, node: nodes.Name, depth: int) -> Kind:
        if node.name in self._local:
            value = self._local[node.name]
            if value is None:
                return UNKNOWN
            self._local[node.name] = None  # it may be set to something that has its name
            kind = self.of(value, depth + 1)
            self._local[node.name] = value
            return kind
        if node.name == "integration":
            return TEXT
        if node.name == "lookup":
            return Kind("table", self._lookup)
        return _TEXT_SET if node.name in (*TEXT_SETS, "alert", "group") else UNKNOWN

    def _filter(self, node: nodes.Filter, value: nodes.Expr, depth: int) -> Kind:
        if node.name in _TEXT_FILTERS:
            return TEXT
        if node.name in _SAME_KIND:
            whole = _common(self.of(part, depth + 1) for part in (value, *node.args[:1]))
            return TEXT if whole.name == "text" else UNKNOWN
        return UNKNOWN

    def _member(self, node: nodes.Getattr | nodes.Getitem, depth: int) -> Kind:
        key = node.attr if isinstance(node, nodes.Getattr) else constant_of(node.arg)
        owner = node.node.name if isinstance(node.node, nodes.Name) else ""
        if owner in ("alert", "group") and owner not in self._local:
            return _TEXT_SET if key in TEXT_SETS else TEXT if key in (*ALERT_NAMES, *GROUP_NAMES) else UNKNOWN
        whole = self.of(node.node, depth + 1)
        if whole.name == "text":
            return TEXT  # a character or a slice; a name is a mistake, and what it was meant for is a text too
        if whole.name != "table" or (isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice)):
            return UNKNOWN
        if whole.data is None:
            return TEXT if is_text_set(node.node) else UNKNOWN
        if isinstance(key, str) and key not in whole.data:
            return UNKNOWN if whole.data is self._lookup else TEXT
        if isinstance(key, str):
            return _of_data(whole.data[key])
        return _common(map(_of_data, islice(whole.data.values(), _MOST)))


def constant_of(node: nodes.Node) -> Any:
    """The value of a literal, None for any other expression."""
    return node.value if isinstance(node, nodes.Const) else None


def is_text_set(node: nodes.Node) -> bool:
    """Whether a value is a set of labels or annotations, or a lookup table."""
    if isinstance(node, nodes.Getattr):
        return node.attr in TEXT_SETS or (isinstance(node.node, nodes.Name) and node.node.name == "lookup")
    return isinstance(node, nodes.Name) and node.name in TEXT_SETS


def _of_data(value: Any) -> Kind:
    if isinstance(value, dict):
        return Kind("table", value)
    return Kind("list", value) if isinstance(value, list) else TEXT if isinstance(value, str) else _OTHER


def _common(kinds: Iterable[Kind]) -> Kind:
    found = list(kinds)
    return Kind(found[0].name) if len({kind.name for kind in found}) == 1 else UNKNOWN


def member(owner: nodes.Node, key: nodes.Expr) -> str:
    """A member as a person writes it."""
    name = constant_of(key)
    if isinstance(name, str) and name.isidentifier():
        return f"{written(owner)}.{name}"
    return f"{written(owner)}[{written(key)}]"


def beginning(node: nodes.Node) -> int:
    """The lineno of the first name or literal of a calculation or a member."""
    while isinstance(node, nodes.Sub | nodes.Div | nodes.Getattr | nodes.Getitem):
        node = node.left if isinstance(node, nodes.BinExpr) else node.node
    return node.lineno


def written(node: nodes.Node) -> str:
    """A simple expression as a person writes it, an ellipsis for any other."""
    match node:
        case nodes.Name():
            return node.name
        case nodes.Const():
            return '"' + node.value.replace('"', "'") + '"' if isinstance(node.value, str) else str(node.value)
        case nodes.Getattr():
            return f"{written(node.node)}.{node.attr}"
        case nodes.Getitem(arg=nodes.Const() | nodes.Name() | nodes.Getattr()):
            return f"{written(node.node)}[{written(node.arg)}]"
        case nodes.Filter(args=[], kwargs=[]) if node.node is not None:
            return f"{written(node.node)} | {node.name}"
        case nodes.List() | nodes.Tuple():
            return f"[{', '.join(map(written, node.items))}]"
    return "…"
