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

# The digest of the mappings in force: it changes with each edit of a shipped mapping. As long as what it stands for.
REVISION = rule(r"([rR]evision\W{1,6})[0-9a-f]{12}\b", r"\1REVISION....")


def place(folder: Path, shown: str) -> Rule:
    """A folder that each run or each machine has somewhere else."""
    return rule(re.escape(str(folder)), shown)


# The folder of the sources, where the shipped mappings are when nothing is installed.
SOURCES = place(REPOSITORY, "SOURCES")

# When something happened, RFC 3339 in UTC to the millisecond, or in words to the second: as long as the time itself,
# so that tables keep their shape. What alerts say of themselves (`ALERTS_BEGAN` and later that year) stays.
ALERTS_BEGAN = "2024-02-03T04:05:06Z"
MOMENT = rule(r"\b20(?!24)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "YYYY-MM-DDThh:mm:ss.mmmZ")
MOMENT_IN_WORDS = rule(r"\b20(?!24)\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC", "YYYY-MM-DD hh:mm:ss UTC")

# Ports of listeners and of the sandbox are the system's choice; those that the product itself names stay.
PORTS = rule(r"(127\.0\.0\.1:|\[::1\]:|\bport=|\"port\":)(?!987[678]\b)[1-9]\d{3,4}\b", r"\1PORT")
