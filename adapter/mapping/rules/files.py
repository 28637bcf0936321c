"""A directory of mapping files as one consistent reading, a Kubernetes ConfigMap included.

A ConfigMap is mounted as links through a hidden `..data`, which is swapped as a whole: a reading during which anything
moved is done again. The revision is the digest of names and contents.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final, NamedTuple

from adapter.errors import Finding, MappingError

SUFFIXES: Final = (".yaml", ".yml")
_TRIES: Final = 5


class Snapshot(NamedTuple):
    """The mapping files of a directory in name order, and the digest of all of them."""

    directory: Path
    files: tuple[tuple[str, bytes], ...]
    revision: str  # 12 hexadecimal digits


def snapshot(directory: Path) -> Snapshot:
    """Read the set; MappingError when there is none. Subfolders and hidden entries are not mapping files."""
    try:
        for _ in range(_TRIES):
            before = _look(directory)
            files = tuple((path.name, path.read_bytes()) for path, *_ in before)
            if _look(directory) == before:
                break
        else:
            raise MappingError([Finding(str(directory), 0, 0, "the files keep changing while they are read")])
    except OSError as exc:
        what = f"cannot be read: {exc.strerror or exc}"
        raise MappingError([Finding(str(exc.filename or directory), 0, 0, what)]) from exc
    if not files:
        message = "no mapping file here: a name ends in .yaml or .yml and does not start with a dot"
        raise MappingError([Finding(str(directory), 0, 0, message)])
    return Snapshot(directory, files, _digest(files))


def _look(directory: Path) -> list[tuple[Path, Path, int, int]]:
    """Every mapping file with what tells whether it was touched."""
    seen = []
    for path in sorted(directory.iterdir(), key=lambda entry: entry.name):
        if path.suffix in SUFFIXES and not path.name.startswith(".") and path.is_file():
            stat = path.stat()
            seen.append((path, path.resolve(), stat.st_mtime_ns, stat.st_size))
    return seen


def _digest(files: tuple[tuple[str, bytes], ...]) -> str:
    digest = hashlib.blake2b(digest_size=6)
    for name, content in files:
        digest.update(f"{len(name)}:{name}:{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()
