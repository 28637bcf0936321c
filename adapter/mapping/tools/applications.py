"""`check --online`: whether COC lists the applications that mapping files name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

from adapter.application import Directory, Lookup, is_id
from adapter.errors import Finding
from adapter.mapping.rules.applications import Named, named_applications
from adapter.mapping.rules.model import MOST_FINDINGS, RuleSet

OFFERED: Final = 3


def not_listed(rules: RuleSet, directories: Sequence[Directory]) -> list[Finding]:
    """A finding for each literal id or name that is in none of the directories, or ambiguous in those that have it."""
    findings: list[Finding] = []
    for named in named_applications(rules.files):
        if len(findings) < MOST_FINDINGS and (finding := _finding(named, directories)):
            findings.append(finding)
    return sorted(findings)


def _finding(named: Named, directories: Sequence[Directory]) -> Finding | None:
    text = named.text
    if not text or not (named.filtered or is_id(text)):
        return None
    lookups = {directory.index.find(text)[1] for directory in directories}
    if Lookup.ID in lookups or (named.filtered and Lookup.NAME in lookups):
        return None
    if named.filtered and Lookup.AMBIGUOUS in lookups:
        ways = [way for directory in directories for way in directory.named(text)]
        return named.finding(f"{text!r} names several applications", _offer("write one of", ways))
    if is_id(text):
        shown = {id_: name for directory in directories for id_, name in directory.index.shown.items()}
        near = [f"{id_} ({shown[id_]})" for id_ in _close(text, shown)]
        return named.finding(f"COC lists no application with the id {text!r}", _offer("nearest:", near))
    names = (way for directory in directories for way in (*directory.ways, *directory.names))
    return named.finding(f"COC lists no application named {text!r}", _offer("nearest:", _close(text, names)))


def _close(text: str, known: Iterable[str]) -> list[str]:
    folded = {name.casefold(): name for name in known}
    return [folded[name] for name in get_close_matches(text.casefold(), folded, n=OFFERED, cutoff=0.6)]


def _offer(words: str, texts: Sequence[str]) -> str:
    return f"{words} {', '.join(map(repr, texts[:OFFERED]))}" if texts else ""
