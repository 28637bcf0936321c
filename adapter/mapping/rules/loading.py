"""Mapping files: a directory -> a RuleSet, or every finding of every file at once."""

from __future__ import annotations

from pathlib import Path

from adapter.errors import Finding, MappingError
from adapter.mapping.rules.files import Snapshot, snapshot
from adapter.mapping.rules.lint import Review
from adapter.mapping.rules.model import MappingFile, Rule, RuleSet
from adapter.mapping.rules.schema import read_file
from adapter.yamlfile import YamlFile

__all__ = ["MappingFile", "Rule", "RuleSet", "load", "parse"]


def load(directory: Path) -> RuleSet:
    """Read and check a directory. MappingError holds the findings of all files, warnings too."""
    return parse(snapshot(directory))


def parse(taken: Snapshot) -> RuleSet:
    """Check a set of files that has been read."""
    files: list[MappingFile] = []
    errors: list[Finding] = []
    for name, content in taken.files:
        shown = str(taken.directory / name)
        try:
            source = YamlFile(shown, content.decode("utf-8-sig"))
        except UnicodeDecodeError as exc:
            errors.append(Finding(shown, 0, 0, f"not UTF-8: byte {exc.start} is not part of a character"))
            continue
        file, wrong = read_file(source, name)
        files.append(file)
        errors += wrong
    review = Review()
    review.files(files)
    errors += review.errors
    if errors:
        raise MappingError([*errors, *review.warnings])
    return RuleSet(revision=taken.revision, files=tuple(files), warnings=tuple(sorted(review.warnings)))
