"""What counts as damage to a SQLite file, whether SQLite notices it or a row that cannot be right tells."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from adapter.alarm import Kind, Outcome, Status

_CODES: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_KINDS: Final = {kind.value for kind in Kind}
_OUTCOMES: Final = {None, *(outcome.value for outcome in Outcome)}
_STATUSES: Final = {status.value for status in Status}

_ALARM_NUMBERS: Final = (
    "id", "episode", "starts", "ends", "heard", "pending", "due_at", "first_seen", "last_seen", "repeats", "stale",
    "earlier_episode", "doubt_episode",
)  # fmt: skip
_ALARM_TEXTS: Final = ("integration", "fingerprint", "coc_alarm_id", "revision", "labels")
_REPORT_NUMBERS: Final = ("seq", "alarm", "episode", "received", "webhook", "crc", "attempts", "refused")
_REPORT_TEXTS: Final = ("integration", "coc_alarm_id")


class DamagedRow(sqlite3.DatabaseError):
    """A row holds what was never written; SQLite itself checks only the structure around it."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    sqlite_errorname = "SQLITE_CORRUPT"


def code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for what the Python module says by itself, such as text that is no UTF-8."""
    return (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF


def is_damage(error: sqlite3.Error) -> bool:
    return code(error) in _CODES or is_damaged_row(error)


def is_damaged_row(error: sqlite3.Error) -> bool:
    undecodable = isinstance(error, sqlite3.OperationalError) and code(error) == 0 and "decode" in str(error)
    return isinstance(error, DamagedRow) or undecodable


def sound_alarm(row: Mapping[str, Any]) -> bool:
    """Whether every column holds what we could have written."""
    return (
        row["status"] in _STATUSES
        and all(type(row[name]) is int for name in _ALARM_NUMBERS)
        and all(type(row[name]) is str for name in _ALARM_TEXTS)
        and type(row["content"]) is bytes
        and type(row["accepted_body"]) in (bytes, type(None))
        and row["accepted_status"] in ("alarm", "ok", None)
        and type(row["accepted_at"]) in (int, type(None))
        and row["earlier"] in _OUTCOMES
    )


def sound_report(row: Mapping[str, Any]) -> bool:
    """The same for a report, but for its raw bytes: those have a checksum."""
    return (
        row["kind"] in _KINDS
        and row["outcome"] in _OUTCOMES
        and row["fate"] in ("replayed", "discarded", None)
        and all(type(row[name]) is int for name in _REPORT_NUMBERS)
        and all(type(row[name]) is str for name in _REPORT_TEXTS)
        and type(row["raw"]) is bytes
        and type(row["body"]) in (bytes, type(None))
        and type(row["made_body"]) in (bytes, type(None))
    )
