"""What differs from run to run, named, and the word that stands for it in what is recorded."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import NamedTuple

from tests.stage import REPOSITORY

_VERSION = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]


class Rule(NamedTuple):
    """Every match of `pattern` is recorded as `shown`."""

    pattern: re.Pattern[str]
    shown: str

    def on(self, text: str) -> str:
        return self.pattern.sub(self.shown, text)


def rule(pattern: str, shown: str) -> Rule:
    return Rule(re.compile(pattern, re.MULTILINE), shown)


# The release, wherever it is written out: help, page of links, API documents.
VERSION = rule(rf"\b{re.escape(_VERSION)}\b", "VERSION")

# The digest of the mappings in force: it changes with each edit of a shipped mapping.
REVISION = rule(r"(mapping_?[rR]evision\W{1,6}|mapping revision |\brevision=\")[0-9a-f]{12}\b", r"\1REVISION")


def place(folder: Path, shown: str) -> Rule:
    """A folder that each run or each machine has somewhere else."""
    return rule(re.escape(str(folder)), shown)


# The folder of the sources, where the shipped mappings are when nothing is installed.
SOURCES = place(REPOSITORY, "SOURCES")
