"""The mapping files in force, and the language that they are written in."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapter.admin.openapi import Call, Operation
from adapter.admin.schemas import LanguageModel, MappingsModel
from adapter.errors import Finding
from adapter.mapping.render.live import LiveMappings
from adapter.mapping.rules.model import RuleSet
from adapter.mapping.tools.case_texts import read_tests
from adapter.mapping.tools.reference import fields, filters, names


@dataclass(frozen=True, slots=True, kw_only=True)
class Mappings:
    mappings: LiveMappings
    folder: str

    def operations(self) -> Sequence[Operation]:
        return (
            Operation("GET", "/api/v1/mappings", "the mapping files in force, their rules, and the tests beside them",
                      self._mappings, MappingsModel),
            Operation("GET", "/api/v1/mappings/language", "the names, filters and fields of the mapping language",
                      self._language, LanguageModel),
        )  # fmt: skip

    async def _mappings(self, call: Call) -> dict[str, Any]:
        rules = self.mappings.rules
        return {
            "revision": rules.revision,
            "files": {name: text.decode(errors="replace") for name, text in rules.texts.items()},
            "tests": await asyncio.to_thread(read_tests, Path(self.folder) / "tests"),
            "rules": list(_rules(rules)),
            "findings": [self._shown(finding) for finding in self.mappings.findings],
        }

    def _shown(self, finding: Finding) -> dict[str, Any]:
        file = Path(finding.file)
        name = "" if file == Path(self.folder) else file.name
        return {
            "file": name, "line": finding.line, "column": finding.col, "severity": finding.severity,
            "message": finding.message, "hint": finding.hint,
        }  # fmt: skip

    async def _language(self, call: Call) -> dict[str, Any]:
        return {"names": names(), "filters": filters(), "fields": fields()}


def _rules(rules: RuleSet) -> Iterator[dict[str, Any]]:
    for file in rules.files:
        for rule in file.rules:
            line = file.source.mark((*rule.loc, "name")).line
            yield {"name": rule.name, "file": file.name, "line": line, "drop": rule.drop}
