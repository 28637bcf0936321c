"""PURE: the frames that the draft process answers beside those of `render.protocol`, which are about the serving rules.

READ      see Posted                    -> see Read
COMPILE   {place: [reason, detail]}, the templates in quarantine  -> null, or [place, message] as LOAD
COMPARE   as RENDER                     -> see Compared; rows for the first alerts, one at least
SERVING   as RENDER                     -> the same without the draft
CASES     the number of the first case  -> list of TestResult from there on; empty when all have run
REHEARSE  numbers of rules              -> {place: [reason, detail]} of what wants too much of a plain alert
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

READ: Final = b"r"
COMPILE: Final = b"c"
COMPARE: Final = b"b"
SERVING: Final = b"s"
CASES: Final = b"t"
REHEARSE: Final = b"o"

SERVING_PLACES: Final = 1 << 24  # added to the numbers of the serving rules' templates
READ_SECONDS: Final = 5.0  # of CPU, to read what was typed


class Posted(NamedTuple):
    """A draft. Names of tests, and of payloads beside them, count from the folder `tests`."""

    files: Mapping[str, str]  # all of them
    tests: Mapping[str, str]
    applications: Any  # in place of the directories, as `nodes.from_data` takes it; None for those


class DraftFinding(NamedTuple):
    """A finding at a posted name; lines and columns count from 1, 0 means the whole file."""

    file: str
    line: int
    column: int
    severity: str
    message: str
    hint: str
    test: bool  # whether `file` is one of the tests


class Place(NamedTuple):
    """Where a template of the draft stands."""

    file: str
    line: int
    column: int
    rule: str
    field: str


class Read(NamedTuple):
    refused: bool  # the draft cannot serve
    findings: Sequence[DraftFinding]
    places: Sequence[Place]  # every template, by its number
    rules: Sequence[str]  # their names


class Compared(NamedTuple):
    rows: list[dict[str, Any]]  # {fingerprint, serving, draft, changed, tried}
    failed: dict[int, tuple[str, str, int]]  # by template of the draft: reason, detail, how many alerts


class TestResult(NamedTuple):
    file: str
    line: int
    name: str
    passed: bool
    message: str  # what is not as expected
