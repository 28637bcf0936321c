"""Reports what is wrong with rules of the right shape: in each template, and between the rules (pure).

Templates are parsed and never run. An error would make an alarm wrong or fail, and refuses the revision. A warning is
probably not what the author meant, but every alert still becomes an alarm as the language says: `check` reports it, and
a reload accepts it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from jinja2 import nodes

from adapter.coc.fields import BY_NAME, LEVELS, units
from adapter.errors import Finding
from adapter.mapping.rules.language import WHEN, constant
from adapter.mapping.rules.model import MOST_FINDINGS, MappingFile, Rule
from adapter.mapping.template import conditions, texts
from adapter.mapping.template.check import Template
from adapter.mapping.template.syntax import Mistake
from adapter.yamlfile import Loc
from adapter.yamltraps import PUNCTUATION, QUOTES

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
        self._warnings: dict[Finding, None] = {}
        self._catch_all = ""  # the first rule so far, in any file, that takes every alert
        self._conditions: dict[str, str] = {}  # each with the first rule, in any file, that has it

    @property
    def warnings(self) -> list[Finding]:
        return [*self._warnings]

    def check(self, file: MappingFile) -> None:
        self._file = file
        self._lookup()
        self._tables: set[str] = set()  # those that templates use
        checked: set[Loc] = set()  # a default is checked once, however many rules share it
        for rule in self._file.rules:
            if len(self.errors) > MOST_FINDINGS:
                return
            self._reach(rule)
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

    def _lookup(self) -> None:
        hint = "write the template in the field: {{ lookup.TABLE[labels.NAME] }} gives what the table holds"
        for loc, text, is_key in texts.leaves(self._file.lookup, ("lookup",)):
            for offset, shown in texts.in_table(text):
                message = f"{shown} in a lookup table is plain text, never rendered"
                if is_key:
                    self._warn(loc, message, hint, at_key=True)
                else:
                    self._report(loc, [Mistake(offset, message, hint, refuses=False)])
            if not is_key:
                self._typographic(loc, text)

    def _typographic(self, loc: Loc, text: str) -> None:
        if len(text) > 1 and text[0] in QUOTES and text[-1] in QUOTES and self._file.source.mark(loc).style is None:
            message = f"{text[0]} and {text[-1]} are typographic quotes, which become part of the value"
            self._warn(loc, message, f"type {PUNCTUATION[text[0]]}")

    def _reach(self, rule: Rule) -> None:
        """Whether anything is left for the rule; what it takes, no later one gets."""
        condition, takes_all = self._condition((*rule.loc, WHEN), rule.when)
        named = f"rule {rule.name!r} of {self._file.name}"
        reason = self._catch_all
        if not reason and condition in self._conditions:
            reason = f"{self._conditions[condition]} has the same condition"
        if reason:
            self._warn((*rule.loc, "name"), f"rule {rule.name!r} can never be reached", reason)
        self._conditions.setdefault(condition, named)
        if takes_all and not self._catch_all:
            self._catch_all = f"{named} takes every alert"

    def _condition(self, loc: Loc, when: str | None) -> tuple[str, bool]:
        """A text that is the same for the same condition, and whether it takes every alert."""
        if when is None:
            return "", True
        template = self._template(loc, when, expression=True)
        tree = template.tree
        if tree is None or any(mistake.refuses for mistake in template.mistakes):
            return f"{loc} of {self._file.name}", False
        condition = next(tree.find_all(nodes.Output)).nodes[0]
        tables = any(name.name == "lookup" for name in tree.find_all(nodes.Name))
        return f"{self._file.name if tables else ''} {_normal(condition, when)}", conditions.always(condition) is True

    def _required(self, rule: Rule) -> None:
        for field, instead in FALLS_BACK_TO.items():
            if field not in rule.fields and not rule.drop:
                message = f"rule {rule.name!r} does not set {field}, which COC requires"
                self._warn((*rule.loc, "name"), message, f"it falls back to {instead}")

    def _field(self, loc: Loc, field: str, text: str) -> None:
        template = self._template(loc, text, expression=False)
        if template.tree is None or any(mistake.refuses for mistake in template.mistakes):
            return
        self._report(loc, _literal_mistakes(field, template.tree))
        self._typographic(loc, text)
        plain = constant(template.tree)
        if plain is not None and field in BY_NAME and units(plain.strip()) > BY_NAME[field].limit:
            hint = "it will be clipped" if BY_NAME[field].cut else "it will be left out"
            self._warn(loc, f"longer than the {BY_NAME[field].limit} characters COC takes", hint)

    def _template(self, loc: Loc, text: str, *, expression: bool) -> Template:
        template = Template(text, self._file.lookup, self._file.source.mark(loc).style, expression=expression)
        self._tables |= template.tables
        self._report(loc, template.mistakes)
        return template

    def _report(self, loc: Loc, mistakes: Iterable[Mistake]) -> None:
        for offset, message, hint, refuses in mistakes:
            finding = self._file.source.finding(loc, message, hint, offset=offset)
            if refuses:
                self.errors.append(finding)
            else:
                self._add_warning(finding)

    def _warn(self, loc: Loc, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self._add_warning(self._file.source.finding(loc, message, hint, at_key=at_key))

    def _add_warning(self, finding: Finding) -> None:
        if len(self._warnings) <= MOST_FINDINGS:  # one more, to tell that there are more
            self._warnings[replace(finding, severity="warning")] = None  # aliases of one place have the same one


def _normal(condition: nodes.Node, written: str) -> str:
    """A condition without its spacing and quotes."""
    try:
        return repr(condition)
    except RecursionError:
        return " ".join(written.split())


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
