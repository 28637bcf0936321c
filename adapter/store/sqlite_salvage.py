"""A damaged file is put aside, never deleted, and whatever of it can still be read starts a new one.

Kept are the alarms, the pending reports and the dead letters; the history of what was delivered stays in the old
file. Rows are read by ranges of their ids: a range that cannot be read is halved until only the unreadable rows are
left out. The new file is made complete under another name first, so that a crash at any point leaves either the old
file to begin again with, or the new one to finish with.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from adapter.alarm import Alarm, Kind, Outcome, Status
from adapter.alertmanager import unpack
from adapter.clock import Micros
from adapter.store.jsonform import labels_from_json, labels_to_json, rebuilt
from adapter.store.sqlite_files import companions, sync_folder
from adapter.store.sqlite_settle import checksum

_CHUNK: Final = 256
_GAP: Final = 2**32
_FAILURES: Final = 20_000  # failed reads after which the rest of a table is given up

_OUTCOMES: Final = {None, *(outcome.value for outcome in Outcome)}
_KINDS: Final = {kind.value for kind in Kind}
_STATUSES: Final = {status.value for status in Status}


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What was saved, for the operator."""

    old: str  # name of the file put aside
    at: float  # when, seconds since the epoch
    alarms: int
    pending: int
    dead: int


def finish(path: Path) -> str | None:
    """Complete a recovery that a crash cut short; the name of the old file when one was put aside."""
    _made(path, "salvage").unlink(missing_ok=True)
    new = _made(path, "recovered")
    if not new.exists():
        return None
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
    aside = path.with_name(f"{path.name}.corrupt-{stamp}-{time.time_ns() % 1_000_000:06}")
    for file, target in zip(companions(path), companions(aside), strict=True):
        if file.exists():
            file.rename(target)
    sync_folder(path.parent)
    new.rename(path)
    sync_folder(path.parent)
    return aside.name


def recover(path: Path, create: Callable[[Path], sqlite3.Connection], now: Micros) -> Salvaged:
    """Salvage into a new file and put the old one aside; `create` makes an empty store at a path."""
    partial = _made(path, "salvage")
    for file in companions(partial):
        file.unlink(missing_ok=True)
    new = create(partial)
    try:
        new.execute("BEGIN IMMEDIATE")
        with contextlib.closing(_open_old(path)) as old:
            _copy_all(old, new)
        new.execute(_IDS)
        _adopt_orphans(new)
        new.execute(_IDS)
        _remake_lost(new, now)
        for statement in _COUNTS:
            new.execute(statement)
        alarms, pending, dead = _count(new)
        new.execute("COMMIT")
        new.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        new.close()
    partial.rename(_made(path, "recovered"))
    sync_folder(path.parent)
    aside = finish(path)
    return Salvaged(aside or "", time.time(), alarms, pending, dead)


def _made(path: Path, what: str) -> Path:
    return path.with_name(f"{path.name}.{what}")


def _open_old(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return connection


def _copy_all(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    _copy_ids(old, new)
    for table, sound in _TABLES.items():
        names = [row[1] for row in new.execute(f"PRAGMA table_info({table})")]
        marks = ", ".join("?" * len(names))
        insert = f"INSERT OR IGNORE INTO {table} ({', '.join(names)}) VALUES ({marks})"  # noqa: S608
        select = f"SELECT {', '.join(names)} FROM {table}"  # noqa: S608
        for values in _rows(old, select, table):
            if sound(dict(zip(names, values, strict=True))):
                with contextlib.suppress(sqlite3.IntegrityError):
                    new.execute(insert, values)


def _copy_ids(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Ids go on where they were; with a gap where that is unknown, so that no claim under way meets a new report."""
    ids: tuple[int, ...] = (_GAP, 0, 0, 0)
    with contextlib.suppress(sqlite3.Error, ValueError, TypeError):
        found = old.execute("SELECT seq, alarm, webhook, reject FROM counter").fetchone()
        ids = tuple(int(id_) for id_ in found)
    new.execute("UPDATE counter SET seq = ?, alarm = ?, webhook = ?, reject = ?", ids)


def _rows(old: sqlite3.Connection, select: str, table: str) -> Iterator[tuple[Any, ...]]:
    if table == "integration":
        with contextlib.suppress(sqlite3.Error):
            yield from old.execute(f"{select} WHERE pause_reason IS NOT NULL")
        return
    key = "seq" if table == "report" else "id"
    wanted = " AND (outcome IS NULL OR outcome = 'dead')" if table == "report" else ""
    statement = f"{select} NOT INDEXED WHERE {key} BETWEEN ? AND ?{wanted}"
    failures = 0
    ranges = [(start, start + _CHUNK - 1) for start in range(_last(old, table, key), -1, -_CHUNK)]
    while ranges and failures < _FAILURES:
        low, high = ranges.pop()
        try:
            yield from old.execute(statement, (low, high)).fetchall()
        except (sqlite3.Error, OverflowError):
            failures += 1
            if low < high:
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]


def _last(old: sqlite3.Connection, table: str, key: str) -> int:
    """The start of the last range, also when the end of the table cannot be read."""
    counter = {"report": "seq", "alarm": "alarm", "intake": "webhook", "reject": "reject"}
    found = [0]
    for query in (
        f"SELECT {counter.get(table, 'id')} FROM counter",  # noqa: S608
        f"SELECT max({key}) FROM {table}",  # noqa: S608
    ):
        with contextlib.suppress(sqlite3.Error, TypeError, ValueError):
            found.append(int(old.execute(query).fetchone()[0]))
    return max(min(last, 2**40) for last in found) // _CHUNK * _CHUNK


def _sound_alarm(row: dict[str, Any]) -> bool:
    numbers = ("id", "episode", "starts", "ends", "heard", "first_seen", "last_seen", "repeats", "stale")
    return (
        row["status"] in _STATUSES
        and all(type(row[name]) is int for name in numbers)
        and all(type(row[name]) is str for name in ("integration", "fingerprint", "coc_alarm_id", "revision", "labels"))
        and type(row["content"]) is bytes
        and type(row["accepted_body"]) in (bytes, type(None))
        and row["earlier"] in _OUTCOMES
    )


def _sound_report(row: dict[str, Any]) -> bool:
    numbers = ("seq", "alarm", "episode", "received", "webhook", "crc", "attempts", "refused")
    return (
        row["kind"] in _KINDS
        and row["outcome"] in _OUTCOMES
        and all(type(row[name]) is int for name in numbers)
        and all(type(row[name]) is str for name in ("integration", "coc_alarm_id"))
        and type(row["raw"]) is bytes
        and type(row["body"]) in (bytes, type(None))
    )


_TABLES: Final[dict[str, Callable[[dict[str, Any]], bool]]] = {
    "integration": lambda row: type(row["name"]) is str,
    "alarm": _sound_alarm,
    "report": _sound_report,
    "reject": lambda row: type(row["head"]) is bytes and type(row["reason"]) is str,
}


def _adopt_orphans(new: sqlite3.Connection) -> None:
    """Reports whose alarm could not be read get it back from the alert they hold."""
    orphans = new.execute(
        """SELECT seq, integration, alarm, episode, kind, coc_alarm_id, raw, crc, body, received FROM report
           WHERE alarm NOT IN (SELECT id FROM alarm) ORDER BY seq"""
    ).fetchall()
    for seq, integration, alarm, episode, kind, coc_alarm_id, raw, crc, body, received in orphans:
        fingerprint, labels = coc_alarm_id, "{}"
        if checksum(raw, body) == crc:
            with contextlib.suppress(ValueError, KeyError):
                alert, _ = unpack(raw)
                fingerprint, labels = alert["fingerprint"], labels_to_json(alert["labels"])
        status = Status.RESOLVED if kind == Kind.OK else Status.FIRING
        values = (alarm, integration, fingerprint, status.value, episode, coc_alarm_id, labels, received, received)
        new.execute(
            """INSERT INTO alarm (id, integration, fingerprint, status, episode, coc_alarm_id, starts, ends, content,
                   revision, pending, due_at, labels, first_seen, last_seen)
               VALUES (?, ?, ?, ?, ?, ?, 0, 0, x'', '', 0, 0, ?, ?, ?)
               ON CONFLICT (id) DO UPDATE SET status = excluded.status, episode = excluded.episode
               ON CONFLICT (integration, fingerprint) DO NOTHING""",
            values,
        )
        new.execute(
            "UPDATE report SET alarm = (SELECT id FROM alarm WHERE integration = ? AND fingerprint = ?) WHERE seq = ?",
            (integration, fingerprint, seq),
        )


def _remake_lost(new: sqlite3.Connection, now: Micros) -> None:
    """An alarm's row also tells which report must have been lost: COC was not told how it stands, and none waits."""
    lost = new.execute(
        """SELECT id, integration, labels, fingerprint, status, episode, coc_alarm_id, starts, ends, content, revision,
               heard, pending FROM alarm
           WHERE CASE status WHEN 'firing' THEN ifnull(accepted_status, 'ok') = 'ok' ELSE accepted_status = 'alarm' END
           AND NOT EXISTS (SELECT 1 FROM report WHERE alarm = alarm.id)"""
    ).fetchall()
    for id_, integration, labels, fingerprint, status, *more in lost:
        alarm = Alarm(fingerprint, Status(status), *more)
        resolved = alarm.status is Status.RESOLVED
        names = {}
        with contextlib.suppress(ValueError):
            names = labels_from_json(labels)
        raw = rebuilt(alarm, resolved, names)
        kind = Kind.OK if resolved else Kind.ALARM
        new.execute(
            """INSERT INTO report (seq, integration, alarm, episode, kind, coc_alarm_id, received, webhook, crc, raw)
               VALUES ((SELECT seq + 1 FROM counter), ?, ?, ?, ?, ?, ?, 0, ?, ?)""",
            (integration, id_, alarm.episode, kind.value, alarm.coc_alarm_id, now, checksum(raw, None), raw),
        )
        new.execute("UPDATE counter SET seq = seq + 1")


_IDS: Final = """UPDATE counter SET seq = max(seq, (SELECT ifnull(max(seq), 0) FROM report)),
    alarm = max(alarm, (SELECT ifnull(max(id), 0) FROM alarm)),
    webhook = max(webhook, (SELECT ifnull(max(webhook), 0) FROM report)),
    reject = max(reject, (SELECT ifnull(max(id), 0) FROM reject))"""
_COUNTS: Final = (
    """UPDATE alarm SET due_at = 0, pending = (SELECT count(*) FROM report WHERE alarm = alarm.id AND outcome IS NULL),
           head = (SELECT min(seq) FROM report WHERE alarm = alarm.id AND outcome IS NULL)""",
    """INSERT OR IGNORE INTO integration (name) SELECT DISTINCT integration FROM alarm
       UNION SELECT DISTINCT integration FROM report""",
    """UPDATE integration SET
           pending = (SELECT count(*) FROM report WHERE integration = name AND outcome IS NULL),
           open_alarms = (SELECT count(*) FROM alarm WHERE integration = name AND status = 'firing'),
           dead = (SELECT count(*) FROM report WHERE integration = name AND outcome = 'dead' AND fate IS NULL)""",
)


def _count(new: sqlite3.Connection) -> tuple[int, int, int]:
    row = new.execute(
        """SELECT (SELECT count(*) FROM alarm), (SELECT count(*) FROM report WHERE outcome IS NULL),
                  (SELECT count(*) FROM report WHERE outcome = 'dead' AND fate IS NULL)"""
    ).fetchone()
    return tuple(row)
