"""Making salvaged rows a whole again: alarms without a row, reports that must have been lost, ids and counts."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Final

from adapter.alarm import Alarm, Kind, Status
from adapter.alertmanager import unpack
from adapter.clock import Micros
from adapter.store.records import labels_from_json, labels_to_json, rebuilt
from adapter.store.sqlite.settle import checksum

_IDS: Final = """UPDATE counter SET seq = max(seq, (SELECT ifnull(max(seq), 0) FROM report)),
    alarm = max(alarm, (SELECT ifnull(max(id), 0) FROM alarm)),
    webhook = max(webhook, (SELECT ifnull(max(webhook), 0) FROM report)),
    reject = max(reject, (SELECT ifnull(max(id), 0) FROM reject))"""
_REMADE: Final = """INSERT INTO report (seq, integration, alarm, episode, kind, coc_alarm_id, received, webhook, crc,
    raw) VALUES (ifnull(?, (SELECT seq + 1 FROM counter)), ?, ?, ?, ?, ?, ?, 0, ?, ?)"""
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


def make_whole(new: sqlite3.Connection, now: Micros) -> None:
    new.execute(_IDS)
    _adopt_orphans(new)
    new.execute(_IDS)
    _remake_lost(new, now)
    for statement in _COUNTS:
        new.execute(statement)


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
    """Where an alarm's row counts more pending reports than were found, owe again what brings COC to its state."""
    lost = new.execute(
        """SELECT id, integration, labels, head, accepted_status, fingerprint, status, episode, coc_alarm_id, starts,
               ends, content, revision, heard, pending FROM alarm
           WHERE pending > (SELECT count(*) FROM report WHERE alarm = alarm.id AND outcome IS NULL)"""
    ).fetchall()
    for id_, integration, labels, head, accepted, fingerprint, status, *more in lost:
        alarm = Alarm(fingerprint, Status(status), *more)
        found = new.execute(
            "SELECT seq, kind, episode FROM report WHERE alarm = ? AND outcome IS NULL ORDER BY seq", (id_,)
        ).fetchall()
        names = {}
        with contextlib.suppress(ValueError):
            names = labels_from_json(labels)
        for kind in _missing(alarm, accepted, {kind for _, kind, episode in found if episode == alarm.episode}):
            first = kind is Kind.ALARM and head is not None and all(head < seq for seq, _, _ in found)
            raw = rebuilt(alarm, kind is Kind.OK, names)
            new.execute(
                _REMADE,
                (
                    head if first else None,
                    integration,
                    id_,
                    alarm.episode,
                    kind.value,
                    alarm.coc_alarm_id,
                    now,
                    checksum(raw, None),
                    raw,
                ),
            )
            new.execute("UPDATE counter SET seq = seq + 1")


def _missing(alarm: Alarm, accepted: str | None, waiting: set[str]) -> list[Kind]:
    """What must have been lost, in order, when `waiting` is all that was found of the alarm's episode."""
    kinds = []
    if accepted != "alarm" and Kind.ALARM not in waiting:
        kinds.append(Kind.ALARM)
    elif alarm.status is Status.FIRING and Kind.UPDATE not in waiting:
        kinds.append(Kind.UPDATE)
    if alarm.status is Status.RESOLVED and Kind.OK not in waiting:
        kinds.append(Kind.OK)
    return kinds
