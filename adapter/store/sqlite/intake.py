"""The intake transaction on SQLite: known alarms in, `changes`, rows out, chunk by chunk."""

from __future__ import annotations

import sqlite3
import zlib
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from adapter.alarm import Kind, News, Status
from adapter.alertmanager import Reject
from adapter.clock import Micros
from adapter.store.backlog import Added, refuse_over
from adapter.store.contract import Intake, Receipt
from adapter.store.last_seen import Seen
from adapter.store.plan import Change, changes
from adapter.store.records import labels_to_json
from adapter.store.sqlite.disk import DiskReserve
from adapter.store.sqlite.known import Row, known_alarms, parts
from adapter.store.sqlite.recovery import DamagedRow

REJECTS_KEPT: Final = 1000

_BEFORE: Final = """SELECT maybe_sent_upto, seq, alarm, webhook, (SELECT coalesce(sum(pending), 0) FROM sums), pending,
    open_alarms FROM counter LEFT JOIN sums ON integration = ?"""
_INSERT_ALARM: Final = """INSERT INTO alarm (id, integration, fingerprint, status, episode, coc_alarm_id, starts, ends,
    content, revision, pending, head, due_at, labels, first_seen, last_seen)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_UPDATE_ALARM: Final = """UPDATE alarm SET status = ?, episode = ?, coc_alarm_id = ?, starts = ?, ends = ?, content = ?,
    revision = ?, pending = ?, head = ?, due_at = ?, labels = ?, last_seen = ? WHERE id = ?"""
_INSERT_REPORT: Final = """INSERT INTO report (seq, integration, alarm, episode, kind, coc_alarm_id, received, webhook,
    crc, raw) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_LAST_PENDING: Final = """SELECT seq, kind, attempts FROM report WHERE alarm = ? AND outcome IS NULL
    ORDER BY seq DESC LIMIT 1"""
_SUPERSEDE: Final = "UPDATE report SET outcome = 'superseded', done = ? WHERE seq = ?"
_MAYBE_SENT: Final = "UPDATE alarm SET maybe_sent_episode = episode WHERE id = (SELECT alarm FROM report WHERE seq = ?)"
_INSERT_WEBHOOK: Final = "INSERT INTO webhook VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class AcceptResult(NamedTuple):
    """What the transaction gave; `seen` is to be counted in memory once it is committed."""

    receipt: Receipt
    seen: Seen


@dataclass(slots=True, kw_only=True)
class _Progress:
    """What one webhook has come to so far."""

    seq: int
    alarm: int
    webhook: int
    maybe_sent_upto: int
    added: Added = field(default_factory=Added)
    news: Counter[News] = field(default_factory=Counter)
    owed: list[tuple[str, Kind]] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    stale: list[int] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    superseded: int = 0
    opened: int = 0  # may be negative


def accept(
    connection: sqlite3.Connection,
    intake: Intake,
    *,
    bound: int,
    tick: int,
    busy: Container[int],
    maybe_sent_upto: int,
    reserve: DiskReserve,
) -> AcceptResult:
    """Apply one webhook. `tick` is the steady time now, `busy` holds the seqs that are claimed.

    `maybe_sent_upto`: up to which seq a process before may have sent what waits.
    """
    reserve.refresh(connection)
    rejects = _without_heads(intake.webhook.rejects) if reserve.reached else intake.webhook.rejects
    known_upto, seq, alarm, webhook, total, *counts = connection.execute(_BEFORE, (intake.integration,)).fetchone()
    progress = _Progress(seq=seq, alarm=alarm, webhook=webhook + 1, maybe_sent_upto=max(maybe_sent_upto, known_upto))
    for part in parts(intake):
        known, rows = known_alarms(connection, part)
        try:
            made = changes(known, part)
        except TypeError as exc:
            raise DamagedRow("a row of an alarm holds what was never written") from exc
        superseded = _superseded(connection, made, rows, busy)
        progress.added.count(made, len(superseded))
        if progress.added.reports > 0:
            refuse_over(bound, total, progress.added)
            reserve.require(progress.added.other)
        _write(connection, part, made, rows, superseded, tick, progress)
    if progress.added.reports > 0:
        reserve.check_size(connection, progress.added.other)
    wrote = bool(progress.owed or rejects)
    if wrote:
        _write_intake(connection, intake, progress)
        write_rejects(connection, intake.integration, intake.received, rejects)
    progress.news[News.REJECTED] += len(rejects)
    pending, open_alarms = _count(connection, intake.integration, counts, progress)
    receipt = Receipt(
        webhook=progress.webhook if wrote else 0,
        news=dict(progress.news),
        owed=tuple(progress.owed),
        superseded=progress.superseded,
        pending=pending,
        open_alarms=open_alarms,
    )
    return AcceptResult(receipt, Seen(intake.received, progress.repeated, progress.stale, progress.written))


def _superseded(
    connection: sqlite3.Connection, made: Sequence[Change], rows: dict[str, Row], busy: Container[int]
) -> dict[str, int]:
    """By fingerprint, the untried update that a new one replaces."""
    found = {}
    for change in made:
        if change.step.owed is Kind.UPDATE and change.known is not None and change.known.pending:
            fingerprint = change.known.fingerprint
            last = connection.execute(_LAST_PENDING, (rows[fingerprint].id,)).fetchone()
            if last is not None and last[1] == Kind.UPDATE and last[2] == 0 and last[0] not in busy:
                found[fingerprint] = last[0]
    return found


def _write(
    connection: sqlite3.Connection,
    part: Intake,
    made: Sequence[Change],
    rows: dict[str, Row],
    superseded: dict[str, int],
    tick: int,
    progress: _Progress,
) -> None:
    reports: list[tuple[Any, ...]] = []
    inserted: list[tuple[Any, ...]] = []
    updated: list[tuple[Any, ...]] = []
    at, integration = part.received, part.integration
    for alert, known, (alarm, owed, news), raw in made:
        progress.news[news] += 1
        if alarm is None:
            continue
        if owed is None:
            quiet = progress.stale if news is News.STALE else progress.repeated
            quiet.append(rows[alarm.fingerprint].id)
            if alarm is known:
                continue
        was_open = known is not None and known.status is Status.FIRING
        progress.opened += (alarm.status is Status.FIRING) - was_open
        row = rows.get(alarm.fingerprint)
        if row is None:
            progress.alarm += 1
            row = Row(progress.alarm, None, 0)
        id_, head, due_at = row
        progress.written.append(id_)
        pending = alarm.pending
        if owed is not None:
            progress.seq += 1
            seq = progress.seq
            progress.owed.append((alarm.fingerprint, owed))
            old = superseded.get(alarm.fingerprint)
            pending += old is None
            if head is None:
                head, due_at = seq, tick
            elif head == old:
                head = seq
            crc = zlib.crc32(raw)
            reports.append(
                (seq, integration, id_, alarm.episode, owed.value, alarm.coc_alarm_id, at, progress.webhook, crc, raw)
            )
        content = (alarm.status.value, alarm.episode, alarm.coc_alarm_id, *alarm[4:8])
        state = (pending, head, due_at, labels_to_json(alert.labels))
        if known is None:
            inserted.append((id_, integration, alarm.fingerprint, *content, *state, at, at))
        else:
            updated.append((*content, *state, at, id_))
    for statement, written in (
        (_SUPERSEDE, [(at, seq) for seq in superseded.values()]),
        (_INSERT_ALARM, inserted),
        (_UPDATE_ALARM, updated),
        (_INSERT_REPORT, reports),
        (_MAYBE_SENT, [(seq,) for seq in superseded.values() if seq <= progress.maybe_sent_upto]),
    ):
        if written:
            connection.executemany(statement, written)
    progress.superseded += len(superseded)


def _write_intake(connection: sqlite3.Connection, intake: Intake, progress: _Progress) -> None:
    webhook, group = intake.webhook, intake.webhook.group
    connection.execute(
        _INSERT_WEBHOOK,
        (
            progress.webhook,
            intake.integration,
            intake.received,
            group.receiver,
            group.groupKey,
            group.externalURL,
            len(webhook.alerts),
            len(progress.owed),
            webhook.truncated,
            webhook.size,
        ),
    )
    connection.execute(
        "UPDATE counter SET seq = ?, alarm = ?, webhook = ?", (progress.seq, progress.alarm, progress.webhook)
    )


def write_rejects(connection: sqlite3.Connection, integration: str, at: Micros, rejects: Sequence[Reject]) -> None:
    """Keep rejects; only the newest ones stay."""
    if not rejects:
        return
    last = connection.execute("SELECT reject FROM counter").fetchone()[0]
    kept = rejects[-REJECTS_KEPT:]
    connection.executemany(
        "INSERT INTO reject VALUES (?, ?, ?, ?, ?)",
        [(last + n, integration, at, reject.reason, reject.head) for n, reject in enumerate(kept, start=1)],
    )
    last += len(kept)
    connection.execute("UPDATE counter SET reject = ?", (last,))
    connection.execute("DELETE FROM reject WHERE id <= ?", (last - REJECTS_KEPT,))


def _without_heads(rejects: Sequence[Reject]) -> list[Reject]:
    """What there is room for when there is little."""
    return [Reject(reason=reject.reason, head=b"") for reject in rejects]


def _count(
    connection: sqlite3.Connection, integration: str, before: Sequence[int | None], progress: _Progress
) -> tuple[int, int]:
    """The integration's pending reports and open alarms after this webhook; `before` holds None where it is new."""
    pending = (before[0] or 0) + len(progress.owed) - progress.superseded
    open_alarms = (before[1] or 0) + progress.opened
    if before[0] is None and progress.owed:
        connection.execute(
            "INSERT INTO sums (integration, pending, open_alarms) VALUES (?, ?, ?)", (integration, pending, open_alarms)
        )
    elif [pending, open_alarms] != before and before[0] is not None:
        connection.execute(
            "UPDATE sums SET pending = ?, open_alarms = ? WHERE integration = ?", (pending, open_alarms, integration)
        )
    return pending, open_alarms
