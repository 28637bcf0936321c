"""Rules as frozen records. Each knows where its templates stand in its file, for findings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from adapter.coc.fields import ADDITIONAL, BY_NAME
from adapter.errors import Finding
from adapter.mapping.rules.language import WHEN
from adapter.yamlfile import Loc, YamlFile

MOST_FINDINGS: Final = 100  # of a directory; each is logged. About so many are looked for
NOTES: Final = (
    "rule",
    "mapping",
    "mappingRevision",
    "fingerprint",
    "generatorURL",
    "externalURL",
    "fallback",
    "reconciled",
)
RESERVED: Final = frozenset((*NOTES, *BY_NAME, ADDITIONAL))
"""Keys of `additional` that mappings must not set; a field's name holds the full text of that field when clipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule with the defaults of its file."""

    name: str
    when: str | None
    drop: bool
    fields: Mapping[str, tuple[str, Loc]]  # COC's field or `additional.KEY` -> text and its place, maybe in `defaults`
    loc: Loc

    @property
    def size(self) -> int:
        """The characters of its templates, those of defaults too, and a hundred for what is kept about each."""
        return sum(len(text) + 100 for text, _ in self.fields.values())


def _plain(rule: Rule) -> dict[str, Any]:
    return {"name": rule.name, "when": rule.when, "drop": rule.drop, "fields": rule.fields}


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingFile:
    """One file: its lookup tables, and its rules from top to bottom."""

    source: YamlFile
    name: str
    lookup: Mapping[str, Any]
    rules: tuple[Rule, ...]


class Placed(NamedTuple):
    """A template, or the condition of a rule, and where it stands."""

    file: MappingFile
    rule: Rule
    field: str  # or `when`
    loc: Loc


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """All files of a revision, in name order. A revision with `warnings` is accepted; `check` reports them."""

    revision: str
    files: tuple[MappingFile, ...]
    warnings: tuple[Finding, ...]
    texts: Mapping[str, bytes]  # of the files, as they were read, by name

    def line_of(self, mapping: str, rule: str) -> int | None:
        """Where a rule begins in its file; None when there is no such rule."""
        places = [(file.source, one.loc) for file in self.files for one in file.rules
                  if (file.name, one.name) == (mapping, rule)]  # fmt: skip
        return places[0][0].finding(places[0][1], "").line if places else None

    def as_data(self) -> dict[str, Any]:
        """The plain data that the worker process gets."""
        files = [{"name": file.name, "lookup": file.lookup, "rules": [*map(_plain, file.rules)]} for file in self.files]
        return {"revision": self.revision, "files": files}

    def templates(self) -> list[Placed]:
        """Every template by its number: of each rule first the condition, then the fields."""
        return [
            Placed(file, rule, field, loc)
            for file in self.files
            for rule in file.rules
            for field, loc in ((WHEN, (*rule.loc, WHEN)), *((name, loc) for name, (_, loc) in rule.fields.items()))
        ]

    def finding(self, place: int, message: str) -> Finding:
        """A finding at a template by its number."""
        file, _, _, loc = self.templates()[place]
        return file.source.finding(loc, message)
