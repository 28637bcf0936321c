"""Reads a directory of mapping files: a consistent snapshot of its bytes, then checked rules or every finding.

A Kubernetes ConfigMap is mounted as links through a hidden `..data`, which is swapped as a whole. A snapshot during
which a file changed is therefore read again. The revision is the digest of names and contents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from adapter.errors import Finding, MappingError
from adapter.files import MAX_BYTES, content
from adapter.mapping.rules.lint import lint
from adapter.mapping.rules.model import MOST_FINDINGS, MappingFile, RuleSet
from adapter.mapping.rules.schema import read_file
from adapter.yamlfile import YamlFile

SUFFIXES: Final = (".yaml", ".yml")  # in any case
MAX_RULES: Final = 16 * 1024 * 1024  # the size of all rules together, see Rule
_ATTEMPTS: Final = 5


class Snapshot(NamedTuple):
    """The mapping files of a directory in name order, and the digest of all of them."""

    files: tuple[tuple[str, bytes], ...]
    revision: str  # 12 hexadecimal digits


def load(directory: Path) -> RuleSet:
    """Read and check a directory. MappingError has the findings of all files, warnings too."""
    return parse(directory, snapshot(directory))


def parse(directory: Path, read: Snapshot, yaml: Callable[[str, bytes], YamlFile] = YamlFile) -> RuleSet:
    """Check the files as they were read from a directory; MappingError as in `load`. `yaml` reads each one's text."""
    files: list[MappingFile] = []
    errors: list[Finding] = []
    left = MAX_RULES
    for name, text in read.files:
        try:
            file, findings = read_file(yaml(str(directory / name), text), name, left)
        except Exception as exc:  # there is no end to what a file may hold
            message = f"the file cannot be read: {type(exc).__name__}: {exc}"
            findings = [Finding(str(directory / name), 0, 0, message)]
        else:
            files.append(file)
            left -= sum(rule.size for rule in file.rules)
        errors += findings
        if left < 0:
            break
    refused, warnings = lint(files)
    if errors or refused:
        found = list(dict.fromkeys((*errors, *refused, *warnings)))  # aliases of one place have the same ones
        raise MappingError(_located(directory, found))
    warned = _located(directory, sorted(set(warnings)))
    return RuleSet(revision=read.revision, files=tuple(files), warnings=tuple(warned), texts=dict(read.files))


def _located(directory: Path, found: Sequence[Finding]) -> list[Finding]:
    """The first hundred, and a finding that there are more."""
    if len(found) <= MOST_FINDINGS:
        return list(found)
    message = f"there are more findings than the {MOST_FINDINGS} that are shown"
    return [*found[:MOST_FINDINGS], Finding(str(directory), 0, 0, message, severity=found[0].severity)]


def snapshot(directory: Path) -> Snapshot:
    """Read the mapping files, without subfolders and hidden entries; MappingError when there are none."""
    try:
        for _ in range(_ATTEMPTS):
            before = _listing(directory)
            _check(directory, before)
            files = tuple((path.name, content(path, MAX_BYTES)) for path, *_ in before)
            if _listing(directory) == before:
                break
        else:
            raise MappingError([Finding(str(directory), 0, 0, "the files keep changing while they are read")])
    except OSError as exc:
        what = f"cannot be read: {exc.strerror or exc}"
        raise MappingError([Finding(str(exc.filename or directory), 0, 0, what)]) from exc
    if not files:
        message = "no mapping file here: a name ends in .yaml or .yml and does not start with a dot"
        raise MappingError([Finding(str(directory), 0, 0, message)])
    return snapshot_of(dict(files))


def overlaid(texts: Mapping[str, bytes], changes: Mapping[str, str | None]) -> tuple[Snapshot, list[Finding]]:
    """Mapping files with some of them replaced, added, or removed by None; and what is wrong with their names."""
    findings = [
        Finding(name, 0, 0, "this is no name of a mapping file", "one ends in .yaml and has no folder before it")
        for name, text in changes.items()
        if text is not None and not (_is_named_like_one(Path(name)) and name.isprintable() and "/" not in name)
    ]
    refused = {finding.file for finding in findings}
    files = {name: text for name, text in texts.items() if name not in changes}
    files |= {name: text.encode() for name, text in changes.items() if text is not None and name not in refused}
    if not files:
        findings.append(Finding("", 0, 0, "no mapping file is left"))
    return snapshot_of(files), findings


def snapshot_of(files: Mapping[str, bytes]) -> Snapshot:
    digest = hashlib.blake2b(digest_size=6)
    ordered = tuple(sorted(files.items()))
    for name, text in ordered:
        digest.update(f"{len(name)}:{name}:{len(text)}:".encode())
        digest.update(text)
    return Snapshot(ordered, digest.hexdigest())


def _is_named_like_one(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _check(directory: Path, listing: Sequence[tuple[Path, Path, int, int]]) -> None:
    for path, *_ in listing:
        if not path.name.isprintable():
            raise MappingError([Finding(str(directory), 0, 0, f"the file name {path.name!r} is not printable text")])
    if sum(size for *_, size in listing if size <= MAX_BYTES) > MAX_BYTES:
        raise MappingError([Finding(str(directory), 0, 0, "the mapping files are larger than 4 MiB together")])


def _listing(directory: Path) -> list[tuple[Path, Path, int, int]]:
    """Every mapping file with its target, time of change and size."""
    entries = []
    for path in sorted(directory.iterdir(), key=lambda entry: entry.name):
        # A folder is passed over, and so is the link of a ConfigMap's file that is being taken away.
        if _is_named_like_one(path) and path.exists() and not path.is_dir():
            stat = path.stat()
            entries.append((path, path.resolve(), stat.st_mtime_ns, stat.st_size))
    return entries
