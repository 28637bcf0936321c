"""The rules as read: frozen, plain, and aware of where each template stands in its file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from adapter.coc.fields import ADDITIONAL, BY_NAME
from adapter.errors import Finding
from adapter.yamlfile import Loc, YamlFile

NOTES: Final = ("rule", "mapping", "mappingRevision", "fingerprint", "generatorURL", "externalURL", "fallback")
RESERVED: Final = frozenset((*NOTES, *BY_NAME, ADDITIONAL))
"""Keys of `additional` that the adapter sets itself; a field's own name holds the full text of a clipped field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule with the defaults of its file. Keys of `fields` are COC's fields, and `additional.KEY`."""

    name: str
    when: str | None
    drop: bool
    fields: Mapping[str, str]
    loc: Loc  # of the rule
    locs: Mapping[str, Loc]  # of each field's text, which may stand in `defaults`


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingFile:
    """One file: its lookup tables and its rules, top to bottom."""

    source: YamlFile
    name: str
    lookup: Mapping[str, Any]
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """All files of a revision, in name order. `warnings` do not refuse it, but `check` reports them."""

    revision: str
    files: tuple[MappingFile, ...]
    warnings: tuple[Finding, ...]

    def as_data(self) -> dict[str, Any]:
        """What the rendering child gets."""
        return {
            "revision": self.revision,
            "files": [
                {
                    "name": file.name,
                    "lookup": file.lookup,
                    "rules": [
                        {"name": rule.name, "when": rule.when, "drop": rule.drop, "fields": dict(rule.fields)}
                        for rule in file.rules
                    ],
                }
                for file in self.files
            ],
        }

    def finding(self, file: int, rule: int, field: str, message: str) -> Finding:
        """A finding at one template of the set."""
        owner = self.files[file]
        found = owner.rules[rule]
        loc = (*found.loc, "when") if field == "when" else found.locs.get(field, found.loc)
        return owner.source.finding(loc, message)
