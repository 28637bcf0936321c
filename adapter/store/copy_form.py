"""What travels from one store to another: rows by column name, in one form that every backend reads and writes.

Names and types are those of the columns in migrations/postgres, with text of alerts as str; `sound` says whether a
report's bytes still matched their checksum. Sums, queues and leases do not travel: they are made anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

PAGE: Final = 500  # rows held in memory at a time
TABLES: Final = ("pause", "webhook", "alarm", "report", "reject")

Row = dict[str, Any]
Rows = Sequence[Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """How many rows of each kind there are in the target now."""

    alarms: int
    reports: int
    pending: int  # of the reports
    dead: int  # of the reports: dead letters that wait for a person
    webhooks: int
    rejects: int
    pauses: int
