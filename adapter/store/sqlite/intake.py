"""Webhooks into SQLite: `plan_of` decides what changes, and one statement for each kind of row writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple
from zlib import crc32

from adapter.alarm import Alarm, Kind, Outcome, Status
from adapter.alertmanager import REJECTS_KEPT, Reject, pack
from adapter.clock import Micros
from adapter.errors import StoreUnavailable
from adapter.store.backlog import Backlog, Waiting
from adapter.store.contract import Intake, Receipt
from adapter.store.last_seen import SeenLater, UnderWay
from adapter.store.plan import AcceptResult, Plan, accept_result, check_backlog, plan_of
from adapter.store.records import ALARM_COLUMNS, labels_to_json
from adapter.store.sqlite.claims import SqliteClaims
from adapter.store.sqlite.database import rows_in, write_many
from adapter.store.sqlite.disk import DiskReserve
from adapter.store.sqlite.recovery import DamagedRow
from adapter.store.sqlite.writer import Writer
from adapter.store.tables import check_kept

# Statements are put together from constants alone, which is why S608 is off for them.
_KNOWN: Final = f"""SELECT alarm.id, alarm.head, alarm.due_at, alarm.last_seen, {ALARM_COLUMNS} FROM alarm
    WHERE integration = ? AND fingerprint IN ({{}})"""  # noqa: S608
_LABELS: Final = "SELECT fingerprint, labels FROM alarm WHERE integration = ? AND fingerprint IN ({})"
_CONFLICTS: Final = "UPDATE alarm SET conflicts = conflicts + ? WHERE id = ?"
_COUNTS: Final = """SELECT seq, alarm, webhook, maybe_sent_upto, integration, pending, refreshing, open_alarms
    FROM counter LEFT JOIN sums"""
_LAST_PENDING: Final = """SELECT seq, kind, attempts FROM report WHERE alarm = ? AND outcome IS NULL
    ORDER BY seq DESC LIMIT 1"""
_SUPERSEDE: Final = "UPDATE report SET outcome = 'superseded', done = ? WHERE seq = ?"
_MAYBE_SENT: Final = "UPDATE alarm SET maybe_sent_episode = episode WHERE id = (SELECT alarm FROM report WHERE seq = ?)"
_ALARM: Final = """INSERT INTO alarm (id, integration, fingerprint, status, episode, coc_alarm_id, starts, ends,
    content, revision, pending, priority, origin, receiver, reconciled, changed, head, due_at, labels, first_seen,
    last_seen) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET status = excluded.status, episode = excluded.episode,
    coc_alarm_id = excluded.coc_alarm_id, starts = excluded.starts, ends = excluded.ends, content = excluded.content,
    revision = excluded.revision, pending = excluded.pending, priority = excluded.priority, head = excluded.head,
    due_at = excluded.due_at, labels = excluded.labels, last_seen = excluded.last_seen, origin = excluded.origin,
    receiver = excluded.receiver, reconciled = excluded.reconciled, changed = excluded.changed"""
_REPORT: Final = """INSERT INTO report (seq, integration, alarm, episode, kind, coc_alarm_id, received, webhook, crc,
    outcome, done, raw) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_WEBHOOK: Final = "INSERT INTO webhook VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_LAST_IDS: Final = "UPDATE counter SET seq = ?, alarm = max(alarm, ?), webhook = ?"
_SUMS: Final = """INSERT INTO sums (integration, pending, refreshing, open_alarms) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET pending = excluded.pending, refreshing = excluded.refreshing,
    open_alarms = excluded.open_alarms"""


class _Place(NamedTuple):
    """Where an alarm stands."""

    id: int
    head: int | None  # seq of its first pending report
    due_at: int
    last_seen: Micros


class _Before(NamedTuple):
    """What the transaction starts from."""

    alarms: dict[str, Alarm]  # by fingerprint, like the next one
    places: dict[str, _Place]
    counts: sqlite3.Row  # the last ids
    waiting: dict[str, Waiting]  # by integration
    open_alarms: int


@dataclass(frozen=True, slots=True)
class SqliteIntake:
    """The IntakeStore: promises 1 to 5 and 8."""

    writer: Writer
    claims: SqliteClaims
    reserve: DiskReserve
    check_place: Callable[[], None]
    seen: SeenLater
    tick: Callable[[], int]
    backlog: Backlog
    under_way: UnderWay = field(default_factory=UnderWay)

    async def accept(self, intake: Intake) -> Receipt:
        tick = self.tick()

        def committed(result: AcceptResult) -> Receipt:
            self.seen.add(result.seen)
            return result.receipt

        taken = self.under_way.begin(intake)
        try:
            return await self.writer.commit(lambda connection: self._accept(connection, taken, tick), committed)
        finally:
            self.under_way.end(taken)

    async def reject(self, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
        await self.writer.call(self._reject, integration, received, rejects)

    def _accept(self, connection: sqlite3.Connection, intake: Intake, tick: int) -> AcceptResult:
        self.check_place()
        before = _load(connection, intake)
        plan = self._plan(connection, intake, before)
        webhook = before.counts["webhook"] + 1 if plan.owed or intake.webhook.rejects else 0
        own = before.waiting.get(intake.integration, Waiting())
        pending, refreshing = own.pending + plan.added, own.refreshing + plan.refreshing
        open_alarms = before.open_alarms + plan.opened
        if plan.alarms:
            _write_alarms(connection, intake, plan, before, tick)
            self._write_superseded(connection, intake, plan, before)
            conflicts = [(count, before.places[name].id) for name, count in plan.conflicts.items()]
            write_many(connection, _CONFLICTS, conflicts)
        if webhook:
            _write_reports(connection, intake, plan, before, webhook)
            self._reject(connection, intake.integration, intake.received, intake.webhook.rejects)
        if plan.added or plan.opened or plan.refreshing:
            connection.execute(_SUMS, (intake.integration, pending, refreshing, open_alarms))
        if plan.added_news > 0:
            self.reserve.require(connection, plan.added_other)
        ids = {name: place.id for name, place in before.places.items()}
        return accept_result(plan, intake, ids, webhook=webhook, pending=pending, open_alarms=open_alarms)

    def _plan(self, connection: sqlite3.Connection, intake: Intake, before: _Before) -> Plan:
        """BacklogFull or SpaceLow when its news does not fit; without refreshes when those do not."""
        planned = partial(plan_of, before.alarms, intake, lambda name: self._last_seen(before, name))
        plan = planned(refreshes=self.backlog.has_room(before.waiting, len(intake.webhook.alerts)))
        if plan.added > plan.added_news:
            self.reserve.measure(connection)
            if self.reserve.reached:
                plan = planned(refreshes=False)
        if plan.first_labels:
            rows = rows_in(connection, _LABELS, [*plan.first_labels], intake.integration)
            plan.compare({row["fingerprint"]: row["labels"] for row in rows})
        plan.supersede(self._untried_updates(connection, plan, before))
        taken = self.backlog.taken(intake.integration, before.waiting)
        check_backlog(plan, pending=taken, bound=self.backlog.bound)
        if plan.added_news > 0:
            self.reserve.require(connection, plan.added_other)
        return plan

    def _last_seen(self, before: _Before, name: str) -> Micros:
        place = before.places.get(name)
        return max(place.last_seen, self.seen.last(place.id)) if place else 0

    def _untried_updates(self, connection: sqlite3.Connection, plan: Plan, before: _Before) -> dict[str, int]:
        untried = {}
        for name in plan.replaceable:
            row = connection.execute(_LAST_PENDING, (before.places[name].id,)).fetchone()
            tried = row is None or row["attempts"] or row["seq"] in self.claims.reports
            if not tried and row["kind"] == Kind.UPDATE:
                untried[name] = row["seq"]
        return untried

    def _write_superseded(self, connection: sqlite3.Connection, intake: Intake, plan: Plan, before: _Before) -> None:
        upto = max(self.claims.maybe_sent_upto, before.counts["maybe_sent_upto"])
        write_many(connection, _SUPERSEDE, [(intake.received, seq) for seq in plan.superseded])
        write_many(connection, _MAYBE_SENT, [(seq,) for seq in plan.superseded if seq <= upto])

    def _reject(self, connection: sqlite3.Connection, integration: str, at: Micros, rejects: Sequence[Reject]) -> None:
        """Only the newest stay, and only their reasons when there is little space."""
        if not rejects:
            return
        self.check_place()
        self.reserve.measure(connection)
        kept = rejects[-REJECTS_KEPT:]
        (last,) = connection.execute("UPDATE counter SET reject = reject + ? RETURNING reject", (len(kept),)).fetchone()
        rows = [
            (id_, integration, at, reject.reason, b"" if self.reserve.reached else reject.head)
            for id_, reject in enumerate(kept, start=last - len(kept) + 1)
        ]
        connection.executemany("INSERT INTO reject VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("DELETE FROM reject WHERE id <= ?", (last - REJECTS_KEPT,))


def _load(connection: sqlite3.Connection, intake: Intake) -> _Before:
    counts = connection.execute(_COUNTS).fetchall()
    if not counts:
        raise StoreUnavailable("the store's table counter has lost its row")
    waiting = {name: Waiting(pending, refreshing) for *_, name, pending, refreshing, _ in counts if name is not None}
    open_alarms = next((row["open_alarms"] for row in counts if row["integration"] == intake.integration), 0)
    before = _Before({}, {}, counts[0], waiting, open_alarms)
    names = dict.fromkeys(alert.fingerprint for alert in intake.webhook.alerts)
    try:
        for row in rows_in(connection, _KNOWN, list(names), intake.integration):
            # By position, in the order of Alarm's fields: `alarm_of` would be half the cost of a repeated alert.
            id_, head, due_at, last_seen, name, status, *fields = row
            before.alarms[name] = Alarm(name, Status(status), *fields)
            before.places[name] = _Place(id_, head, due_at, last_seen)
    except ValueError as exc:
        raise DamagedRow("a row of an alarm holds what was never written") from exc
    return before


def _write_alarms(connection: sqlite3.Connection, intake: Intake, plan: Plan, before: _Before, tick: int) -> None:
    """`before` gets the places of the new ones."""
    places = before.places
    new = [name for name in plan.alarms if name not in places]
    places.update((name, _Place(id_, None, tick, 0)) for id_, name in enumerate(new, start=before.counts["alarm"] + 1))
    written = connection.executemany(_ALARM, _alarm_rows(intake, plan, before, tick))
    check_kept("alarm", written.rowcount, len(plan.alarms))


def _alarm_rows(intake: Intake, plan: Plan, before: _Before, tick: int) -> Iterator[tuple[object, ...]]:
    at = intake.received
    owed = reversed(list(enumerate(plan.owed, start=before.counts["seq"] + 1)))
    first_owed = {report.alarm.fingerprint: seq for seq, report in owed if not report.superseded}
    for name, (alarm, labels) in plan.alarms.items():
        id_, head, due_at, _ = before.places[name]
        if head is None:
            head, due_at = first_owed.get(name), tick
        elif head in plan.superseded:  # it keeps its place in the queue
            head = first_owed[name]
        if name in before.alarms and before.alarms[name].refreshing and not alarm.refreshing:
            due_at = max(due_at, tick)
        yield (
            id_, intake.integration, name, alarm.status.value, alarm.episode, alarm.coc_alarm_id, alarm.starts,
            alarm.ends, alarm.content, alarm.revision, alarm.pending, alarm.priority, alarm.origin, alarm.receiver,
            alarm.reconciled, alarm.changed, head, due_at, labels_to_json(labels), at, at,
        )  # fmt: skip


def _write_reports(connection: sqlite3.Connection, intake: Intake, plan: Plan, before: _Before, webhook: int) -> None:
    """Also the webhook itself, and the last ids given out."""
    at, sender, group = intake.received, intake.webhook, intake.webhook.group
    if plan.owed:
        written = connection.executemany(_REPORT, _report_rows(intake, plan, before, webhook))
        check_kept("report", written.rowcount, len(plan.owed))
    last_alarm = max((place.id for place in before.places.values()), default=0)
    connection.execute(_LAST_IDS, (before.counts["seq"] + len(plan.owed), last_alarm, webhook))
    connection.execute(
        _WEBHOOK,
        (webhook, intake.integration, at, group.receiver, group.groupKey, group.externalURL, len(sender.alerts),
         len(plan.owed), sender.truncated, sender.size),
    )  # fmt: skip


def _report_rows(intake: Intake, plan: Plan, before: _Before, webhook: int) -> Iterator[tuple[object, ...]]:
    """One by one: those of a large webhook would take as much memory as the webhook itself."""
    at, group_json = intake.received, intake.webhook.group.as_json()
    for seq, report in enumerate(plan.owed, start=before.counts["seq"] + 1):
        alarm, raw = report.alarm, pack(report.alert, group_json)
        outcome, done = (Outcome.SUPERSEDED.value, at) if report.superseded else (None, None)
        yield (
            seq, intake.integration, before.places[alarm.fingerprint].id, alarm.episode, report.kind.value,
            alarm.coc_alarm_id, at, webhook, crc32(raw), outcome, done, raw,
        )  # fmt: skip
