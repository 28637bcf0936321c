"""What SQLite knows of the alarms of a webhook, read in chunks."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple

from adapter.alarm import Alarm, Status
from adapter.alertmanager import Alert
from adapter.store.contract import Intake
from adapter.store.sqlite.recovery import DamagedRow

CHUNK: Final = 50  # alerts looked at in one go

_KNOWN: Final = """SELECT fingerprint, status, episode, coc_alarm_id, starts, ends, content, revision,
    last_accepted_at, pending, id, head, due_at FROM alarm WHERE integration = ? AND fingerprint IN ({})"""
_KNOWN_BY_SIZE: Final = {size: _KNOWN.format(", ".join("?" * size)) for size in (1, 10, CHUNK)}
_STATUS: Final = {str(status): status for status in Status}


class Row(NamedTuple):
    id: int
    head: int | None
    due_at: int


def parts(intake: Intake) -> Iterator[Intake]:
    """The webhook in parts of at most CHUNK alerts in which no fingerprint appears twice."""
    alerts = intake.webhook.alerts
    if len(alerts) <= CHUNK and len({alert.fingerprint for alert in alerts}) == len(alerts):
        if alerts:
            yield intake
        return
    part: list[Alert] = []
    names: set[str] = set()
    for alert in alerts:
        if len(part) == CHUNK or alert.fingerprint in names:
            yield replace(intake, webhook=replace(intake.webhook, alerts=tuple(part)))
            part, names = [], set()
        part.append(alert)
        names.add(alert.fingerprint)
    yield replace(intake, webhook=replace(intake.webhook, alerts=tuple(part)))


def known_alarms(connection: sqlite3.Connection, part: Intake) -> tuple[dict[str, Alarm], dict[str, Row]]:
    names = [alert.fingerprint for alert in part.webhook.alerts]
    size = next(size for size in _KNOWN_BY_SIZE if size >= len(names))
    names += names[-1:] * (size - len(names))
    known: dict[str, Alarm] = {}
    rows: dict[str, Row] = {}
    for row in connection.execute(_KNOWN_BY_SIZE[size], (part.integration, *names)):
        status = _STATUS.get(row[1])
        if status is None:
            raise DamagedRow("an alarm's row holds a status that was never written")
        fingerprint = row[0]
        known[fingerprint] = Alarm(fingerprint, status, *row[2:10])
        rows[fingerprint] = Row(*row[10:])
    return known, rows
