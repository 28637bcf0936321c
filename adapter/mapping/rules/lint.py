"""PURE: what is wrong with rules that have the right shape: their templates, and how the rules stand to each other.

An error would make an alarm wrong or fail, and refuses the revision. A warning is something nobody wants at night, but
by which every alert still becomes an alarm as the language says: `check` reports it, a reload goes on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from jinja2 import nodes

from adapter.coc.fields import BY_NAME, LEVELS, units
from adapter.errors import Finding
from adapter.mapping.rules.inspector import Looked, look_at, outcomes
from adapter.mapping.rules.language import WHEN, constant
from adapter.mapping.rules.locate import position
from adapter.mapping.rules.model import MappingFile, Rule
from adapter.mapping.rules.syntax import Mistake
from adapter.yamlfile import Loc

FALLS_BACK_TO: Final = {
    "alarmName": "the label alertname",
    "alarmLevel": "the label severity",
    "nameSpace": "the label namespace or job",
    "applicationId": "'unmapped'",
    "alarmDesc": "the annotation description or summary",
}
_BARE: Final = re.compile(r"\s*(?:labels|annotations|alert|group|lookup)[.\[]")
_STRAY: Final = re.compile(r"\}\}|%\}")


class Review:
    """Goes through the files of a set in order."""

    def __init__(self) -> None:
        self.errors: list[Finding] = []
        self.warnings: list[Finding] = []
        self._taken_all = ""  # what takes every alert that comes so far

    def files(self, files: Sequence[MappingFile]) -> None:
        for file in files:
            self._file(file)

    def _file(self, file: MappingFile) -> None:
        used: set[str] = set()
        conditions: dict[str, str] = {}
        looked_at: dict[tuple[Loc, str], Looked] = {}  # a default is looked at once, however many rules share it
        for rule in file.rules:
            condition = self._condition(file, rule, used)
            self._reach(file, rule, condition, conditions)
            for field, text in rule.fields.items():
                loc = rule.locs[field]
                if (loc, field) not in looked_at:
                    looked_at[loc, field] = self._field(file, field, text, loc)
                used.update(looked_at[loc, field].tables)
            self._required(file, rule)
        for table in file.lookup:
            if table not in used:
                finding = file.source.finding(("lookup", table), f"the lookup table {table!r} is not used", at_key=True)
                self.warnings.append(finding)

    def _condition(self, file: MappingFile, rule: Rule, used: set[str]) -> bool | None:
        """What the condition always is, where that can be told; a rule without one takes all."""
        if rule.when is None:
            return True
        looked = look_at(rule.when, file.lookup, expression=True)
        used.update(looked.tables)
        loc = (*rule.loc, WHEN)
        self._mistakes(file, loc, rule.when, looked.mistakes)
        if looked.tree is None:
            return None
        (output,) = looked.tree.find_all(nodes.Output)
        condition = output.nodes[0]
        if not isinstance(condition, nodes.Const):
            return None
        always = bool(condition.value)
        told = "true" if always else "false"
        self.warnings.append(file.source.finding(loc, f"the condition is always {told}"))
        return always

    def _reach(self, file: MappingFile, rule: Rule, condition: bool | None, seen: dict[str, str]) -> None:
        loc = (*rule.loc, "name")
        key = " ".join((rule.when or "").split())
        if self._taken_all:
            what = f"rule {rule.name!r} can never be reached"
            self.warnings.append(file.source.finding(loc, what, f"{self._taken_all} takes every alert"))
        elif rule.when is not None and key in seen:
            what = f"rule {rule.name!r} can never be reached"
            self.warnings.append(file.source.finding(loc, what, f"{seen[key]} has the same condition"))
        seen.setdefault(key, f"rule {rule.name!r}")
        if condition is True and not self._taken_all:
            self._taken_all = f"rule {rule.name!r} of {file.name}"

    def _required(self, file: MappingFile, rule: Rule) -> None:
        if not rule.fields:  # it drops, or structure has said already that it does nothing
            return
        for field, instead in FALLS_BACK_TO.items():
            if field not in rule.fields:
                what = f"rule {rule.name!r} does not set {field}, which COC requires"
                finding = file.source.finding((*rule.loc, "name"), what, f"it falls back to {instead}")
                self.warnings.append(finding)

    def _field(self, file: MappingFile, field: str, text: str, loc: Loc) -> Looked:
        looked = look_at(text, file.lookup, expression=False)
        self._mistakes(file, loc, text, looked.mistakes)
        if looked.tree is not None and not looked.mistakes:
            self._literal(file, field, text, loc, looked.tree)
        return looked

    def _literal(self, file: MappingFile, field: str, text: str, loc: Loc, tree: nodes.Template) -> None:
        plain = constant(tree)
        if plain is not None and _BARE.match(plain):
            self._mistakes(file, loc, text, [Mistake(0, "plain text, not a template", "put it in {{ }}")])
        if plain is not None and field in BY_NAME and units(plain.strip()) > BY_NAME[field].limit:
            what = f"longer than the {BY_NAME[field].limit} characters COC takes"
            hint = "it will be clipped" if BY_NAME[field].cut else "it will be left out"
            self.warnings.append(file.source.finding(loc, what, hint))
        for data in tree.find_all(nodes.TemplateData):
            stray = _STRAY.search(data.data)
            if stray:
                offset = data.lineno - 1 + stray.start()
                self._mistakes(file, loc, text, [Mistake(offset, f"{stray[0]!r} without its beginning", refuses=False)])
        if field == "alarmLevel":
            wrong = [(at, word) for at, word in outcomes(tree.body) if word not in LEVELS]
            hint = f"one of {', '.join(LEVELS)}; for a severity word write {{{{ labels.severity | level }}}}"
            self._mistakes(
                file, loc, text, [Mistake(at - 1, f"{word!r} is not a level of COC's", hint) for at, word in wrong]
            )

    def _mistakes(self, file: MappingFile, loc: Loc, text: str, mistakes: Sequence[Mistake]) -> None:
        for offset, message, hint, refuses in mistakes:
            line, col = position(file.source, file.source.mark(loc), text, offset)
            (self.errors if refuses else self.warnings).append(file.source.finding_at(line, col, message, hint))
