"""Rules that replace text which differs between runs by placeholders."""

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


# The version of the release.
VERSION = rule(rf"\b{re.escape(_VERSION)}\b", "VERSION")

# The digest of the mappings in force, which changes with each edit of a built-in mapping. The length is the same.
REVISION = rule(r"([rR]evision\W{1,6})[0-9a-f]{12}\b", r"\1REVISION....")


def place(folder: Path, shown: str) -> Rule:
    """A folder whose path differs between runs or machines."""
    return rule(re.escape(str(folder)), shown)


# The folder of the sources, which has the built-in mappings.
SOURCES = place(REPOSITORY, "SOURCES")

# Times of events, RFC 3339 in UTC with milliseconds, or for people with seconds. The length is the same, so that tables
# keep their widths. The times of alerts (`ALERTS_BEGAN` and later that year) are not replaced.
ALERTS_BEGAN = "2024-02-03T04:05:06Z"
MOMENT = rule(r"\b20(?!24)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "YYYY-MM-DDThh:mm:ss.mmmZ")
MOMENT_IN_WORDS = rule(r"\b20(?!24)\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC", "YYYY-MM-DD hh:mm:ss UTC")

# Ports that the system chose. The product's default ports are not replaced.
PORTS = rule(r"(127\.0\.0\.1:|\[::1\]:|\bport=|\"port\":)(?!987[678]\b)[1-9]\d{3,4}\b", r"\1PORT")
