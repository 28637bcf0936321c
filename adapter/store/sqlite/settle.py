"""What delivery and operators decide about reports, written to SQLite in plain statements."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapter.alarm import Accepted, Kind, Outcome, Pause
from adapter.clock import SECOND, Micros
from adapter.store import replay as again
from adapter.store.contract import Settled, Settlement
from adapter.store.records import attempts_to_json, provenance_to_json
from adapter.store.sqlite.disk import DiskReserve
from adapter.store.sqlite.recovery import checksum

_REPORT: Final = """SELECT alarm, outcome, attempts, refused, attempt_log, provenance, provenance_body,
    pending FROM report JOIN alarm ON alarm.id = report.alarm WHERE seq = ?"""
_UPDATE_REPORT: Final = """UPDATE report SET outcome = ?, done = ?, attempts = ?, refused = ?, attempt_log = ?,
    provenance = ?, provenance_body = ? WHERE seq = ?"""
_NEXT: Final = "SELECT min(seq) FROM report WHERE alarm = ? AND seq > ? AND outcome IS NULL"
_ACCEPTED: Final = """UPDATE alarm SET accepted_body = ?, accepted_status = ?, accepted_at = ?, accepted_crc = ?,
    last_accepted_at = ?,
    maybe_sent_episode = CASE WHEN maybe_sent_episode = ? THEN 0 ELSE maybe_sent_episode END WHERE id = ?"""
_LEAVE: Final = """UPDATE alarm SET pending = pending - 1, head = ?, due_at = ?, earlier_outcome = ?,
    earlier_episode = ? WHERE id = ?"""
_LEAVE_ACCEPTED: Final = """UPDATE alarm SET pending = pending - 1, head = ?, due_at = ?, earlier_outcome = ?,
    earlier_episode = ?, accepted_body = ?, accepted_status = ?, accepted_at = ?, accepted_crc = ?,
    last_accepted_at = ?,
    maybe_sent_episode = CASE WHEN maybe_sent_episode = ? THEN 0 ELSE maybe_sent_episode END WHERE id = ?"""
_MAKE_WAY: Final = """DELETE FROM report WHERE seq IN (SELECT seq FROM report INDEXED BY report_done
    WHERE outcome IS NOT NULL AND outcome <> 'dead' ORDER BY done LIMIT ?)"""
_COUNTS: Final = "SELECT pending, open_alarms, dead FROM sums WHERE integration = ?"


@dataclass(slots=True)
class _Counts:
    """Of one integration, while a batch is settled."""

    pending: int
    open_alarms: int
    dead: int


def settle(
    connection: sqlite3.Connection, settlements: Sequence[Settlement], *, tick: int, reserve: DiskReserve
) -> list[Settled]:
    """Apply them in order. `tick` is the steady time now."""
    reserve.refresh(connection)
    if reserve.reached:
        # A settled report grows by what was sent. The oldest history is deleted, so that a full file can drain.
        connection.execute(_MAKE_WAY, (2 * len(settlements),))
    counts: dict[str, _Counts] = {}
    done = []
    for settlement in settlements:
        name = settlement.claim.report.integration
        if name not in counts:
            counts[name] = _Counts(*(connection.execute(_COUNTS, (name,)).fetchone() or (0, 0, 0)))
        done.append(_settle(connection, settlement, tick, counts[name]))
    connection.executemany(
        "UPDATE sums SET pending = ?, dead = ? WHERE integration = ?",
        [(count.pending, count.dead, name) for name, count in counts.items()],
    )
    return done


def _settle(connection: sqlite3.Connection, settlement: Settlement, tick: int, counts: _Counts) -> Settled:
    report, accepted = settlement.claim.report, settlement.accepted
    row = connection.execute(_REPORT, (report.seq,)).fetchone()
    counted = row is not None and row[1] is None
    if row is not None:
        alarm, pending = row[0], row[-1]
        due_at = tick + int(settlement.delay * SECOND)
        _note(connection, settlement, row)
        if counted and settlement.outcome is not None:
            head = connection.execute(_NEXT, (alarm, report.seq)).fetchone()[0] if pending > 1 else None
            _leave(connection, settlement, alarm, head, due_at)
            counts.pending -= 1
            counts.dead += settlement.outcome is Outcome.DEAD
        else:
            if counted:
                connection.execute("UPDATE alarm SET due_at = ? WHERE id = ?", (due_at, alarm))
            if accepted is not None:
                connection.execute(_ACCEPTED, (*_columns(accepted), report.episode, alarm))
        if accepted is None and _doubts(settlement):
            connection.execute("UPDATE alarm SET maybe_sent_episode = ? WHERE id = ?", (report.episode, alarm))
    return Settled(counted=counted, reasserted=False, pending=counts.pending, open_alarms=counts.open_alarms)


def _doubts(settlement: Settlement) -> bool:
    """Whether the episode is in doubt from now on. The doubt of a claim may be known by its seq alone, which leaves."""
    carried = settlement.outcome is not None and settlement.claim.maybe_sent
    return carried or any(attempt.ambiguous for attempt in settlement.attempts)


def _note(connection: sqlite3.Connection, settlement: Settlement, row: tuple[Any, ...]) -> None:
    """What was tried and made, whatever it came to."""
    _, outcome, attempts, refused, log, made, made_body, _ = row
    if outcome is None and settlement.outcome is not None:
        outcome = settlement.outcome.value
    if settlement.provenance is not None:
        made, made_body = provenance_to_json(settlement.provenance), settlement.provenance.body
    log = attempts_to_json(log, settlement.attempts)
    connection.execute(
        _UPDATE_REPORT,
        (
            outcome,
            settlement.at,
            attempts + len(settlement.attempts),
            refused or settlement.refused,
            log,
            made,
            made_body,
            settlement.claim.report.seq,
        ),
    )


def _leave(connection: sqlite3.Connection, settlement: Settlement, alarm: int, head: int | None, due_at: int) -> None:
    """The report leaves the pending ones; the next of its alarm, if any, becomes the head."""
    assert settlement.outcome is not None
    episode = settlement.claim.report.episode
    values = (head, due_at, settlement.outcome.value, episode)
    if settlement.accepted is None:
        connection.execute(_LEAVE, (*values, alarm))
    else:
        connection.execute(_LEAVE_ACCEPTED, (*values, *_columns(settlement.accepted), episode, alarm))


def _columns(accepted: Accepted) -> tuple[bytes, str, Micros, int, Micros]:
    return accepted.body, accepted.status, accepted.at, zlib.crc32(accepted.body), accepted.at


def set_pause(connection: sqlite3.Connection, integration: str, pause: Pause | None, *, automatic: bool) -> None:
    connection.execute("INSERT INTO sums (integration) VALUES (?) ON CONFLICT DO NOTHING", (integration,))
    connection.execute(
        "DELETE FROM pause WHERE integration = ? AND NOT (? AND reason = 'operator')", (integration, automatic)
    )
    if pause is not None:
        connection.execute(
            "INSERT OR IGNORE INTO pause VALUES (?, ?, ?, ?, ?)",
            (integration, pause.reason, pause.since, pause.by, pause.detail),
        )


def replay(
    connection: sqlite3.Connection, seqs: Sequence[int], *, as_sent: bool, now: Micros, tick: int
) -> dict[int, tuple[Kind, ...]]:
    """Owe dead letters again. `now` is wall time, `tick` the steady one."""
    chosen: dict[int, list[int]] = {}
    for seq in sorted(set(seqs)):
        alarm = _letter(connection, seq)
        if alarm is not None:
            chosen.setdefault(alarm, []).append(seq)
    kinds: dict[int, tuple[Kind, ...]] = {}
    for alarm, letters in chosen.items():
        for owed in _replay_alarm(connection, alarm, letters, as_sent=as_sent, now=now, tick=tick):
            kinds[owed.asked] = (*kinds.get(owed.asked, ()), owed.kind)
    return kinds


def _letter(connection: sqlite3.Connection, seq: int) -> int | None:
    """The alarm of a dead letter that still waits for a person."""
    row = connection.execute(
        "SELECT alarm FROM report WHERE seq = ? AND outcome = 'dead' AND handled IS NULL", (seq,)
    ).fetchone()
    return None if row is None else int(row[0])


def _replay_alarm(
    connection: sqlite3.Connection, alarm: int, letters: Sequence[int], *, as_sent: bool, now: Micros, tick: int
) -> list[again.Owed]:
    rows = connection.execute(
        "SELECT seq, kind, coc_alarm_id, outcome FROM report WHERE alarm = ? AND seq >= ?", (alarm, min(letters))
    ).fetchall()
    trail = {
        seq: again.Past(seq, Kind(kind), coc_alarm_id, None if outcome is None else Outcome(outcome))
        for seq, kind, coc_alarm_id, outcome in rows
    }
    owed = again.replayed([trail[seq] for seq in letters], trail.values())
    last = connection.execute("SELECT seq FROM counter").fetchone()[0]
    for seq, one in enumerate(owed, start=last + 1):
        _copy(connection, one, seq, now, as_sent=as_sent and one.kind is not Kind.REASSERT)
    connection.execute("UPDATE counter SET seq = ?", (last + len(owed),))
    connection.executemany("UPDATE report SET handled = 'replayed' WHERE seq = ?", [(seq,) for seq in letters])
    connection.execute(
        """UPDATE alarm SET pending = pending + ?, due_at = CASE WHEN head IS NULL THEN ? ELSE due_at END,
           head = coalesce(head, ?) WHERE id = ?""",
        (len(owed), tick, last + 1, alarm),
    )
    connection.execute(
        """UPDATE sums SET pending = pending + ?, dead = dead - ?
           WHERE integration = (SELECT integration FROM alarm WHERE id = ?)""",
        (len(owed), len(letters), alarm),
    )
    return owed


def _copy(connection: sqlite3.Connection, owed: again.Owed, seq: int, now: Micros, *, as_sent: bool) -> None:
    raw, made_body = connection.execute(
        "SELECT raw, provenance_body FROM report WHERE seq = ?", (owed.source,)
    ).fetchone()
    body = made_body if as_sent else None
    connection.execute(
        """INSERT INTO report (seq, integration, alarm, episode, kind, coc_alarm_id, received, webhook, crc, body, raw)
           SELECT ?, integration, alarm, episode, ?, coc_alarm_id, ?, 0, ?, ?, raw FROM report WHERE seq = ?""",
        (seq, owed.kind.value, now, checksum(raw, body), body, owed.source),
    )


def discard(connection: sqlite3.Connection, seqs: Sequence[int]) -> list[int]:
    """Take dead letters off the list; those that were on it."""
    found = []
    for seq in sorted(set(seqs)):
        alarm = _letter(connection, seq)
        if alarm is not None:
            found.append(seq)
            connection.execute("UPDATE report SET handled = 'discarded' WHERE seq = ?", (seq,))
            connection.execute(
                "UPDATE sums SET dead = dead - 1 WHERE integration = (SELECT integration FROM alarm WHERE id = ?)",
                (alarm,),
            )
    return found
