"""PURE: reads what a person typed: mapping files over the serving ones, tests with their payloads, applications."""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from adapter.application import Index
from adapter.errors import Finding, MappingError
from adapter.mapping.draft.frames import DraftFinding, Place, Posted, Read
from adapter.mapping.rules import files
from adapter.mapping.rules.model import RuleSet
from adapter.mapping.tools.case_file import Case, read_cases
from adapter.nodes import from_data
from adapter.yamlfile import YamlFile

MOST_KEPT: Final = 64  # files, from one keystroke to the next: most of them stay as they were
LARGEST_KEPT: Final = 32 * 1024  # bytes of one


class TriedRule(NamedTuple):
    """A rule of the draft, in the order in which alerts meet them."""

    file: str
    line: int
    condition: str | None
    place: int  # of the condition; the fields follow


class Draft(NamedTuple):
    """What was read. Without `rules` it is refused."""

    answer: Read
    rules: RuleSet | None
    order: Sequence[TriedRule]
    cases: Sequence[Case]
    applications: Mapping[str, Index] | None  # in place of the directories
    numbers: Mapping[tuple[str | None, str | None, str], int]  # of the templates, by file, rule and field


def read(posted: Posted) -> Draft:
    """Everything at once, so that a person sees all findings."""
    rules: RuleSet | None = None
    try:
        rules = files.parse(
            Path(), files.snapshot_of({name: text.encode() for name, text in posted.files.items()}), _yaml
        )
        findings = [*map(draft_finding, rules.warnings)]
    except MappingError as exc:
        findings = [*map(draft_finding, exc.findings)]
    cases, wrong = _cases(posted.tests)
    applications, unread = _applications(posted.applications)
    names = [rule.name for file in (rules.files if rules else ()) for rule in file.rules]
    places = _places(rules) if rules else []
    answer = Read(rules is None, [*findings, *wrong, *unread], places, names)
    numbers: dict[tuple[str | None, str | None, str], int]
    numbers = {(place.file, place.rule, place.field): number for number, place in enumerate(places)}
    return Draft(answer, rules, _order(rules), cases, applications, numbers)


def _yaml(name: str, text: bytes) -> YamlFile:
    return _kept_yaml(name, text) if len(text) < LARGEST_KEPT else YamlFile(name, text)


@lru_cache(MOST_KEPT)
def _kept_yaml(name: str, text: bytes) -> YamlFile:
    return YamlFile(name, text)


def draft_finding(finding: Finding, *, test: bool = False) -> DraftFinding:
    name = "" if finding.file == "." else finding.file  # the folder itself, which has no name here
    return DraftFinding(name, finding.line, finding.col, finding.severity, finding.message, finding.hint, test)


def _cases(tests: Mapping[str, str]) -> tuple[list[Case], list[DraftFinding]]:
    """Those of each file directly in the folder; the files in folders are payloads."""
    cases: list[Case] = []
    findings: list[DraftFinding] = []
    for name, text in sorted(tests.items()):
        if "/" not in name and Path(name).suffix.lower() in files.SUFFIXES:
            found, problems = read_cases(_yaml(name, text.encode()), lambda path: _payload(tests, path))
            cases += found
            findings += [draft_finding(problem, test=True) for problem in problems]
    return cases, findings


def _payload(tests: Mapping[str, str], path: str) -> bytes:
    """Among what was posted; the disk is never looked at."""
    name = posixpath.normpath(path)
    if name not in tests:
        raise FileNotFoundError(errno.ENOENT, f"no {name} was sent with the tests")
    return tests[name].encode()


def _applications(data: Any) -> tuple[dict[str, Index] | None, list[DraftFinding]]:
    if data is None:
        return None, []
    try:
        return {name: directory.index for name, directory in from_data(data).items()}, []
    except ValidationError as exc:
        said = exc.errors(include_url=False)[0]["msg"]
        hint = "a list as `applications list --output=json` prints it, or names and ids"
        return None, [DraftFinding("", 0, 0, "error", f"not applications: {said.lower()}", hint, test=False)]


def _places(rules: RuleSet) -> list[Place]:
    places = []
    for file, rule, field, loc in rules.templates():
        mark = file.source.mark(loc)
        places.append(Place(file.name, mark.line, mark.col, rule.name, field))
    return places


def _order(rules: RuleSet | None) -> list[TriedRule]:
    order: list[TriedRule] = []
    place = 0
    for file in rules.files if rules else ():
        for rule in file.rules:
            order.append(TriedRule(file.name, file.source.mark((*rule.loc, "name")).line, rule.when, place))
            place += 1 + len(rule.fields)
    return order
