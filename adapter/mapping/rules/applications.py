"""PURE: finds the applications that rules name by literal text, in templates and in the lookup tables they read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from jinja2 import nodes

from adapter.errors import Finding
from adapter.mapping.rules.language import WHEN
from adapter.mapping.rules.model import MappingFile
from adapter.mapping.template.syntax import Mistake, parse_with_offsets
from adapter.yamlfile import Loc

FIELD: Final = "applicationId"
FILTER: Final = "application"
_DEFAULTS: Final = ("default", "d")
_SAME: Final = ("trim", "string", "lower", "upper", "title", "capitalize")  # the filter does not tell these apart


class Named(NamedTuple):
    """One literal. `filtered`: it meets the filter `application`; else it is what applicationId becomes."""

    text: str
    filtered: bool
    file: MappingFile
    loc: Loc
    offset: int  # of the literal, in characters of the template; 0 for a value of a lookup table

    def finding(self, message: str, hint: str = "") -> Finding:
        return self.file.source.finding(self.loc, message, hint, offset=self.offset)


def named_applications(files: Iterable[MappingFile]) -> list[Named]:
    """Each literal once, in the order of the files and their rules."""
    found: dict[tuple[str, bool, str, Loc, int], Named] = {}
    for file in files:
        for rule in file.rules:
            sources = {WHEN: (rule.when or "", (*rule.loc, WHEN)), **rule.fields}
            for field, (text, loc) in sources.items():
                with suppress(RecursionError):
                    for named in _Template(file, loc, text, expression=field == WHEN).named(field):
                        key = (named.text, named.filtered, file.name, named.loc, named.offset)
                        found.setdefault(key, named)
    return list(found.values())


class _Template:
    def __init__(self, file: MappingFile, loc: Loc, text: str, *, expression: bool) -> None:
        self._file, self._loc = file, loc
        tree = parse_with_offsets(text, expression=expression) if text else Mistake(0, "")
        self._tree = nodes.Template([]) if isinstance(tree, Mistake) else tree
        self._set: dict[str, list[nodes.Expr]] = {}  # what the template gives its own names
        for node in self._tree.find_all(nodes.Assign):
            if isinstance(node.target, nodes.Name) and isinstance(node.node, nodes.Expr):
                self._set.setdefault(node.target.name, []).append(node.node)

    def named(self, field: str) -> Iterator[Named]:
        for node in self._tree.find_all(nodes.Filter):
            if node.name == FILTER and node.node is not None:
                yield from self._literals(node.node, filtered=True)
        if field == FIELD:
            for output in self._tree.find_all(nodes.Output):
                pieces = [n for n in output.nodes if not (isinstance(n, nodes.TemplateData) and not n.data.strip())]
                if len(pieces) == 1:
                    yield from self._literals(pieces[0], filtered=False)

    def _literals(self, node: nodes.Expr, *, filtered: bool, inside: tuple[str, ...] = ()) -> Iterator[Named]:
        """The texts that an expression may become; `inside`: names of the template that are being looked into."""
        if isinstance(node, nodes.TemplateData):
            blank = len(node.data) - len(node.data.lstrip())
            yield Named(node.data.strip(), filtered, self._file, self._loc, node.lineno - 1 + blank)
        elif isinstance(node, nodes.Const) and isinstance(node.value, str | int):
            yield Named(str(node.value).strip(), filtered, self._file, self._loc, node.lineno - 1)
        elif isinstance(node, nodes.Getattr | nodes.Getitem):
            yield from self._values(node, filtered)
        elif isinstance(node, nodes.Name) and node.name not in inside:
            for value in self._set.get(node.name, ()):
                yield from self._literals(value, filtered=filtered, inside=(*inside, node.name))
        else:
            for part in _parts(node):
                yield from self._literals(part, filtered=filtered, inside=inside)

    def _values(self, node: nodes.Getattr | nodes.Getitem, filtered: bool) -> Iterator[Named]:
        """What a lookup table may give: one value for a key that is written out, else all of them."""
        keys: list[str | None] = []
        owner: nodes.Node = node
        while isinstance(owner, nodes.Getattr | nodes.Getitem):
            arg = owner.attr if isinstance(owner, nodes.Getattr) else owner.arg
            keys.insert(0, arg if isinstance(arg, str) else str(arg.value) if isinstance(arg, nodes.Const) else None)
            owner = owner.node
        if isinstance(owner, nodes.Name) and owner.name == "lookup":
            for loc, value in _leaves(self._file.lookup, keys, ("lookup",)):
                yield Named(value.strip(), filtered, self._file, loc, 0)


def _parts(node: nodes.Expr) -> Sequence[nodes.Expr]:
    """The expressions whose value an expression may have."""
    match node:
        case nodes.CondExpr(expr1=first, expr2=second):
            return [first, second] if second is not None else [first]
        case nodes.Or(left=left, right=right):
            return [left, right]
        case nodes.And(right=right):
            return [right]
        case nodes.Filter(name=name, node=inner, args=args) if name in _DEFAULTS and inner is not None:
            return [inner, *args[:1]]
        case nodes.Filter(name=name, node=inner) if name in _SAME and inner is not None:
            return [inner]
    return []


def _leaves(value: Any, keys: Sequence[str | None], loc: Loc) -> Iterator[tuple[Loc, str]]:
    if isinstance(value, Mapping) and keys:
        for name, inner in value.items():
            if keys[0] in (None, name):
                yield from _leaves(inner, keys[1:], (*loc, name))
    elif not keys and isinstance(value, str | int):
        yield loc, str(value)
