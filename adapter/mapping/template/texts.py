"""Finds what texts in a template cannot do or hold: methods, control characters, braces of other languages (pure)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

from jinja2 import nodes
from jinja2.visitor import NodeVisitor

from adapter.mapping.rules.language import NAMES
from adapter.mapping.template import habits, words
from adapter.mapping.template.kinds import Kinds, beginning, constant_of, is_text_set, written
from adapter.mapping.template.syntax import Mistake
from adapter.yamlfile import Loc

_LITERAL: Final = re.compile(r"(?:(?:\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')\s*)+", re.S)  # side by side they are one
_PIECE: Final = re.compile(r"\\.|.", re.S)
_ESCAPES: Final = {"\x07": "a", "\x08": "b", "\x0b": "v", "\x0c": "f", "\r": "r", "\x1b": "e", "\x00": "0"}
_STYLES: Final = {'"': "in double quotes", "'": "in single quotes", "|": "in a block", ">": "in a block"}
METHODS: Final = ("items", "keys", "values", "get")  # of a table; the finding names what to write instead
LONGEST_SHOWN: Final = 60  # characters of a corrected text; of a longer one only the escape is shown

_ROOT: Final = re.compile(r"[.\[|\s]")
_STRANGE: Final = re.compile(
    r"\$\{\s{0,5}(?P<shell>[^{}]{1,100}?)\s{0,5}\}|\#\{\s{0,5}(?P<ruby>[^{}]{1,100}?)\s{0,5}\}"
    r"|%\((?P<python>\w{1,100})\)[sdifr]|\$(?P<go>(?:labels|annotations|alert|group|externalLabels)\.\w{1,100}|value\b)"
    r"|｛{1,2}\s{0,5}(?P<wide>[^{}｛｝]{1,100}?)\s{0,5}｝{1,2}"
    r"|(?<![{$%#])\{\s{0,5}(?P<brace>(?:labels|annotations|alert|group|lookup)[.\[][^{}]{1,100}?|\w{1,40})\s{0,5}\}(?!\})"
)


def mistakes(source: str, tree: nodes.Template, kinds: Kinds, style: str | None) -> list[Mistake]:
    """`style`: how YAML quotes the template."""
    visitor = _Members(source, kinds)
    visitor.visit(tree)
    return [*visitor.mistakes, *_controls(source, tree, style), *_strange_braces(tree)]


class _Members(NodeVisitor):
    """Members of texts, which are out of reach, and values that are never sent."""

    def __init__(self, source: str, kinds: Kinds) -> None:
        self.mistakes: list[Mistake] = []
        self._source = source
        self._kinds = kinds

    def visit_Call(self, node: nodes.Call) -> None:
        function = node.node
        if isinstance(function, nodes.Getattr) and self._kinds.is_text(function.node):
            given = [value for item in node.args if isinstance(value := constant_of(item), str)]
            self._method(function, given)
            for part in (function.node, *node.args):
                self.visit(part)
        elif self._kinds.is_text(function) and not (isinstance(function, nodes.Getattr) and function.attr in METHODS):
            shown = written(function)
            self.mistakes.append(
                Mistake(
                    function.lineno - 1, f"{shown} is a text, which cannot be called", f"write {shown}", refuses=False
                )
            )
        else:
            self.generic_visit(node)

    def _method(self, node: nodes.Getattr, arguments: list[str]) -> None:
        """A method that is called worked in a version before: a set in production may have it."""
        text = written(node.node)
        hint = words.method(text, node.attr, arguments) or f"write `{text} | FILTER`"
        self.mistakes.append(Mistake(node.lineno, f"a text has no methods: .{node.attr}()", hint, refuses=False))

    def visit_Getattr(self, node: nodes.Getattr) -> None:
        self._member(node, node.attr)

    def visit_Getitem(self, node: nodes.Getitem) -> None:
        key = constant_of(node.arg)
        if isinstance(key, str):
            self._member(node, key)
        else:
            self.generic_visit(node)

    def visit_Filter(self, node: nodes.Filter) -> None:
        key = constant_of(node.args[0]) if node.name == "attr" and node.args else None
        if isinstance(key, str) and node.node is not None and self._kinds.is_text(node.node):
            hint = words.method(written(node.node), key, []) or "a text has characters only, such as `[0:8]`"
            self.mistakes.append(Mistake(node.lineno - 1, f"a text has no {key!r}", hint))
        self.generic_visit(node)

    def _member(self, node: nodes.Getattr | nodes.Getitem, name: str) -> None:
        if not self._kinds.is_text(node.node) or name.startswith("__"):
            self.generic_visit(node)
            return
        method, (owner, path) = words.method(written(node.node), name, []), _path(node)
        label = owner and f'{owner}["{".".join(path)}"]'
        hint = f"{method}, or {label} for a label of that name" if method and label else method or f"write {label}"
        if not method and not label:
            hint = "a text has characters only, such as `[0:8]`"
        self.mistakes.append(Mistake(node.lineno, f"a text has no {name!r}", hint))

    def visit_Sub(self, node: nodes.Sub | nodes.Div) -> None:
        if not habits.dashed(self._source, beginning(node) - 1):  # else there is a finding already
            self.generic_visit(node)

    visit_Div = visit_Sub

    def visit_Output(self, node: nodes.Output) -> None:
        for value in node.nodes:
            self._sent(value)
        self.generic_visit(node)

    def visit_Concat(self, node: nodes.Concat) -> None:
        for value in node.nodes:
            self._sent(value)
        self.generic_visit(node)

    def _sent(self, node: nodes.Expr) -> None:
        kind = self._kinds.of(node).name
        if kind in ("table", "list"):
            shown = written(node)
            hint = f"write {shown}.NAME, or for all `{{% for name, value in {shown} | dictsort %}}`"
            if kind == "list":
                hint = f'write `{shown} | join(", ")`'
            self.mistakes.append(
                Mistake(node.lineno - 1, f"{shown} is a {kind}, which is never sent", hint, refuses=False)
            )


def _path(node: nodes.Expr) -> tuple[str, list[str]]:
    """The set of texts and the names behind it, as in labels.service.name; no set where there is none."""
    path: list[str] = []
    while isinstance(node, nodes.Getattr | nodes.Getitem) and not is_text_set(node):
        name = node.attr if isinstance(node, nodes.Getattr) else constant_of(node.arg)
        if not isinstance(name, str):
            return "", path
        path.insert(0, name)
        node = node.node
    return (written(node) if is_text_set(node) else ""), path


# Control characters ------------------------------------------------------------------------------------------------


def _controls(source: str, tree: nodes.Template, style: str | None) -> Iterator[Mistake]:
    """Texts of Jinja2 with a control character, which an escape such as "\\1" or "\\b" has made."""
    for node in tree.find_all(nodes.Const):
        found = _LITERAL.match(source, node.lineno - 1) if isinstance(node.value, str) else None
        if not found or not any(_is_control(char) for char in node.value):
            continue
        pieces = [(piece, _escaped(piece)) for piece in _PIECE.findall(found[0].rstrip())]
        wrong = next((right for piece, right in pieces if right != piece), None)
        if wrong is None:
            continue
        whole = "".join(right for _, right in pieces)
        shown = whole if len(whole) <= LONGEST_SHOWN else f"{whole[0]}{wrong}{whole[0]}"
        spelled = shown.replace("\\", "\\\\") if style == '"' else shown.replace("'", "''") if style == "'" else shown
        where = _STYLES.get(style or "", "here")
        message = f"{wrong[1:]} is a control character in a text of Jinja2"
        yield Mistake(node.lineno - 1, message, f"{where} write {spelled}", refuses=False)


def _is_control(char: str) -> bool:
    return len(char) == 1 and unicodedata.category(char) == "Cc" and char not in "\n\t"


def _escaped(piece: str) -> str:
    """A character of a literal as it is written, its backslash doubled where it makes a control character."""
    if _is_control(piece):  # YAML has read the escape already
        return f"\\\\{_ESCAPES.get(piece) or f'x{ord(piece):02x}'}"
    if len(piece) == 2 and (piece[1] in "01234567abfvr" or piece[1] == "x"):
        return f"\\{piece}"
    return piece


# Braces and variables of other languages ----------------------------------------------------------------------------


def _strange_braces(tree: nodes.Template) -> Iterator[Mistake]:
    for data in tree.find_all(nodes.TemplateData):
        for offset, shown, hint in strange(data.data):
            yield Mistake(data.lineno - 1 + offset, f"{shown} is plain text here", hint, refuses=False)


def strange(text: str) -> Iterator[tuple[int, str, str]]:
    """Offset, text and correction of what looks like a value in another language."""
    for found in _STRANGE.finditer(text):
        inside = next(group for group in found.groups() if group)
        root = _ROOT.split(inside, maxsplit=1)[0]
        ours = words.name(root).removeprefix("write ") if root not in NAMES else root
        if found["brace"] and not ours:
            continue  # such as {docs}
        if " " in ours:
            yield found.start(), found[0], ours
        else:
            yield found.start(), found[0], f"write {{{{ {(ours or f'labels.{root}') + inside[len(root) :]} }}}}"


def leaves(value: Any, loc: Loc) -> Iterator[tuple[Loc, str, bool]]:
    """The texts of a lookup table with their places; True for a key."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(key, str):
                yield (*loc, key), key, True
            yield from leaves(item, (*loc, key))
    elif isinstance(value, str):
        yield loc, value, False


def in_table(text: str) -> list[tuple[int, str]]:
    """What looks like a template in a text that is never rendered, with its offset."""
    at = min((at for brace in ("{{", "{%") if (at := text.find(brace)) >= 0), default=-1)
    return [(at, text[at : at + 40])] if at >= 0 else [(offset, shown) for offset, shown, _ in strange(text)]
