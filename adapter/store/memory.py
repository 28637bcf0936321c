"""The contract in plain Python: the URL `memory:` for dry runs, and the model that the other stores are tested by.

Nothing is durable. No call waits for anything, so each is one transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from adapter.alarm import Alarm, Kind, Outcome, Pause, Priority, Report, Status
from adapter.alertmanager import REJECTS_KEPT, Reject, pack
from adapter.clock import SECOND, Clock, Micros
from adapter.errors import StoreUnavailable
from adapter.store.backlog import Backlog, Waiting
from adapter.store.contract import Claim, Claims, Intake, Pruned, Receipt, Retention, Settled, Settlement
from adapter.store.moving import Merged, Side, merged, owed_again
from adapter.store.plan import OwedReport, accept_result, check_backlog, plan_of
from adapter.store.recent import TALLIES, page_of
from adapter.store.records import KEPT_ATTEMPTS, labels_to_json, refusal, tracked_of
from adapter.store.replay import Owed, Past, kinds_by_letter, replayed
from adapter.store.settlement import AlarmState, ReportState, apply
from adapter.store.views import (
    BOUNDS,
    AlarmQuery,
    AlarmRow,
    Bounds,
    Counts,
    Page,
    RecentRow,
    Refusal,
    RejectRow,
    Removed,
    ReportRow,
    Tally,
    TrackedAlarm,
)


@dataclass(slots=True, kw_only=True, eq=False)
class _Alarm:
    row: AlarmRow
    earlier_episode: int = 0
    earlier_outcome: Outcome | None = None
    maybe_sent_episode: int = 0
    due: Micros = 0  # monotonic, of the first pending report
    queue: list[_Report] = field(default_factory=list)  # pending, in order
    trail: list[_Report] = field(default_factory=list)  # all of them

    def update(self, **changes: Any) -> None:
        self.row = replace(self.row, **changes)

    @property
    def state(self) -> AlarmState:
        episodes = self.earlier_episode, self.earlier_outcome, self.maybe_sent_episode
        return AlarmState(self.row.alarm.pending, self.row.accepted, *episodes, self.row.fell_back)

    def take(self, state: AlarmState) -> None:
        """All but `pending`."""
        _, accepted, self.earlier_episode, self.earlier_outcome, self.maybe_sent_episode, fell_back = state
        self.update(accepted=accepted, fell_back=fell_back)

    @property
    def shown(self) -> AlarmRow:
        of_now = self.earlier_episode == self.row.alarm.episode
        return replace(self.row, dropped=of_now and self.earlier_outcome is Outcome.DROPPED)


@dataclass(slots=True, kw_only=True, eq=False)
class _Report:
    alarm: _Alarm
    row: ReportRow
    discarded: bool = False

    def update(self, **changes: Any) -> None:
        self.row = replace(self.row, **changes)

    @property
    def seq(self) -> int:
        return self.row.report.seq

    @property
    def is_letter(self) -> bool:
        """A dead letter that waits for a person."""
        return self.row.outcome is Outcome.DEAD and not self.row.replayed and not self.discarded

    @property
    def past(self) -> Past:
        return Past(self.seq, self.row.report.kind, self.row.report.coc_alarm_id, self.row.outcome)


class MemoryStore:
    """A Store."""

    def __init__(self, *, backlog: int, clock: Clock, integrations: Collection[str] = ()) -> None:
        self._backlog = Backlog(backlog, frozenset(integrations))
        self._clock = clock
        self._closed = False
        self._last_id: Counter[str] = Counter()  # by kind of row
        self._alarms: dict[tuple[str, str], _Alarm] = {}
        self._reports: dict[int, _Report] = {}
        self._claimed: set[int] = set()  # seqs
        self._maybe_sent_upto = 0  # the last seq that waited when a process ended with claims out
        self._pauses: dict[str, Pause] = {}
        self._senders: dict[int, tuple[Micros, dict[str, Any]]] = {}
        self._rejects: list[RejectRow] = []
        self._directories: dict[str, tuple[Micros, bytes]] = {}

    # intake

    async def accept(self, intake: Intake) -> Receipt:
        self._check_open()
        name, at, webhook = intake.integration, intake.received, intake.webhook
        names = {alert.fingerprint for alert in webhook.alerts if (name, alert.fingerprint) in self._alarms}
        alarms = {fingerprint: self._alarms[name, fingerprint] for fingerprint in names}
        known, waiting = {fingerprint: alarm.row.alarm for fingerprint, alarm in alarms.items()}, self._waiting()
        plan = plan_of(
            known, intake, lambda name: alarms[name].row.last_seen if name in alarms else 0,
            refreshes=self._backlog.has_room(waiting, len(webhook.alerts)),
        )  # fmt: skip
        plan.compare({name: labels_to_json(alarms[name].row.labels) for name in plan.first_labels})
        last = {fingerprint: alarms[fingerprint].queue[-1] for fingerprint in plan.replaceable}
        plan.supersede({fingerprint: report.seq for fingerprint, report in last.items() if self._is_untried(report)})
        check_backlog(plan, pending=self._backlog.taken(name, waiting), bound=self._backlog.bound)

        id_ = self._keep_sender(intake) if plan.owed or webhook.rejects else 0
        for fingerprint, change in plan.alarms.items():
            alarm = alarms[fingerprint] = alarms.get(fingerprint) or self._new_alarm(change.alarm, intake)
            if alarm.row.alarm.refreshing and not change.alarm.refreshing:
                alarm.due = max(alarm.due, self._ticks())
            conflicts = alarm.row.conflicts + plan.conflicts[fingerprint]
            alarm.update(alarm=change.alarm, labels=change.labels, last_seen=at, conflicts=conflicts)
        group_json = webhook.group.as_json()
        for owed in plan.owed:
            report = self._owe(alarms[owed.alarm.fingerprint], owed, pack(owed.alert, group_json), at, id_)
            if owed.superseded:
                self._supersede(report, at)
        for seq in plan.superseded:  # after what replaces it, so that the alarm keeps its place in the queue
            self._supersede(self._reports[seq], at)
        for fingerprint in plan.repeated:
            alarms[fingerprint].update(last_seen=at, repeats=alarms[fingerprint].row.repeats + 1)
        for fingerprint in plan.stale:
            alarms[fingerprint].update(last_seen=at, stale=alarms[fingerprint].row.stale + 1)
        self._keep_rejects(name, at, webhook.rejects)
        ids = {fingerprint: alarm.row.id for fingerprint, alarm in alarms.items()}
        return accept_result(plan, intake, ids, webhook=id_, **self._sums(name)).receipt

    def _waiting(self) -> dict[str, Waiting]:
        waiting: dict[str, Waiting] = {}
        for (name, _), alarm in self._alarms.items():
            pending, refreshing = waiting.get(name, Waiting())
            waiting[name] = Waiting(pending + alarm.row.alarm.pending, refreshing + alarm.row.alarm.refreshing)
        return waiting

    def _sums(self, name: str) -> dict[str, int]:
        """Of one integration."""
        alarms = [alarm.row.alarm for (integration, _), alarm in self._alarms.items() if integration == name]
        firing = [alarm for alarm in alarms if alarm.status is Status.FIRING]
        return {"pending": sum(alarm.pending for alarm in alarms), "open_alarms": len(firing)}

    def _is_untried(self, report: _Report) -> bool:
        tried = report.row.report.attempts > 0 or report.seq in self._claimed
        return report.row.report.kind is Kind.UPDATE and not tried

    def _new_alarm(self, alarm: Alarm, intake: Intake) -> _Alarm:
        name, at, id_ = intake.integration, intake.received, self._next_id("alarm")
        row = AlarmRow(id=id_, integration=name, alarm=alarm, labels={}, first_seen=at, last_seen=at)
        self._alarms[name, alarm.fingerprint] = new = _Alarm(row=row)
        return new

    def _owe(self, alarm: _Alarm, owed: OwedReport, raw: bytes, at: Micros, webhook: int) -> _Report:
        report = Report(
            seq=self._next_id("report"),
            integration=alarm.row.integration,
            fingerprint=owed.alarm.fingerprint,
            episode=owed.alarm.episode,
            kind=owed.kind,
            coc_alarm_id=owed.alarm.coc_alarm_id,
            raw=raw,
            received=at,
            webhook=webhook,
        )
        return self._append(alarm, report)

    def _append(self, alarm: _Alarm, report: Report) -> _Report:
        new = self._reports[report.seq] = _Report(alarm=alarm, row=ReportRow(report=report))
        if not alarm.queue:
            alarm.due = self._ticks()
        alarm.queue.append(new)
        alarm.trail.append(new)
        return new

    def _supersede(self, report: _Report, at: Micros) -> None:
        report.update(outcome=Outcome.SUPERSEDED, done=at)
        report.alarm.queue.remove(report)
        if report.seq <= self._maybe_sent_upto:
            report.alarm.maybe_sent_episode = report.row.report.episode

    def _keep_sender(self, intake: Intake) -> int:
        id_, group = self._next_id("webhook"), intake.webhook.group
        sender = {"receiver": group.receiver, "externalURL": group.externalURL, "alerts": len(intake.webhook.alerts)}
        self._senders[id_] = intake.received, sender
        return id_

    async def reject(self, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
        self._check_open()
        self._keep_rejects(integration, received, rejects)

    def _keep_rejects(self, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
        for reject in rejects:
            id_ = self._next_id("reject")
            row = RejectRow(id=id_, integration=integration, received=received, reason=reject.reason, head=reject.head)
            self._rejects.append(row)
        del self._rejects[:-REJECTS_KEPT]

    # delivery

    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        self._check_open()
        now = self._ticks()
        waiting = [
            alarm
            for (name, _), alarm in self._alarms.items()
            if name == integration and alarm.queue and alarm.queue[0].seq not in self._claimed
        ]
        waiting.sort(key=lambda alarm: (alarm.row.alarm.priority, alarm.due, alarm.row.id))
        due = [alarm for alarm in waiting if ignore_delay or alarm.due <= now][:limit]
        later = [alarm.due for alarm in waiting if alarm.due > now and not ignore_delay]
        claims = tuple([self._claim(alarm) for alarm in due])
        return Claims(claims=claims, next_due=(min(later) - now) / SECOND if later and len(claims) < limit else None)

    def _claim(self, alarm: _Alarm) -> Claim:
        report = alarm.queue[0].row.report
        self._claimed.add(report.seq)
        return Claim(
            report=report,
            accepted=alarm.row.accepted,
            earlier=alarm.earlier_outcome if alarm.earlier_episode == report.episode else None,
            maybe_sent=alarm.maybe_sent_episode == report.episode or report.seq <= self._maybe_sent_upto,
        )

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        self._check_open()
        return [self._settle(settlement) for settlement in settlements]

    def _settle(self, settlement: Settlement) -> Settled:
        name, seq = settlement.claim.report.integration, settlement.claim.report.seq
        self._claimed.discard(seq)
        counted = seq in self._reports and self._apply(self._reports[seq], settlement)
        return Settled(counted=counted, reasserted=False, **self._sums(name))

    def _apply(self, report: _Report, settlement: Settlement) -> bool:
        alarm, row = report.alarm, report.row
        before = alarm.state
        state = ReportState(row.outcome, row.done, row.report.attempts, row.report.refused)
        applied = apply(before, state, settlement, lease_held=True)
        accepted = applied.alarm.accepted
        alarm.take(applied.alarm)
        after = alarm.row.alarm._replace(pending=applied.alarm.pending, last_accepted_at=accepted.at if accepted else 0)
        alarm.update(alarm=after)
        report.update(
            report=replace(row.report, attempts=applied.report.attempts, refused=applied.report.refused),
            outcome=applied.report.outcome,
            done=applied.report.done,
            attempts=(row.attempts + settlement.attempts)[-KEPT_ATTEMPTS:],
            provenance=settlement.provenance or row.provenance,
        )
        if applied.counted:
            alarm.due = self._ticks() + int(settlement.delay * SECOND)
        if applied.left:
            alarm.queue.remove(report)
        return applied.counted

    async def pauses(self) -> dict[str, Pause]:
        self._check_open()
        return dict(self._pauses)

    async def set_pause(self, integration: str, pause: Pause | None, *, automatic: bool = False) -> Pause | None:
        self._check_open()
        before = self._pauses.pop(integration, None)
        after = before if automatic and before is not None and not before.automatic else pause
        if after is not None:
            self._pauses[integration] = after
        return after

    def restart(self, *, killed: bool) -> None:
        """What the end of the process and a new start do to a store that outlives it; `killed`: it ended by a crash."""
        if killed or self._claimed:
            self._maybe_sent_upto = self._last_id["report"]
        self._claimed.clear()
        waiting = [alarm for alarm in self._alarms.values() if alarm.queue]
        last_due = max((alarm.due for alarm in waiting), default=0)
        for alarm in waiting:  # all are due at once, in the order they were
            alarm.due += self._ticks() - last_due

    # views

    async def counts(self) -> dict[str, Counts]:
        self._check_open()
        names = dict.fromkeys([name for name, _ in self._alarms] + list(self._pauses))
        return {name: self._counts(name) for name in names}

    def _counts(self, name: str) -> Counts:
        reports = [report for report in self._reports.values() if report.alarm.row.integration == name]
        return Counts(
            **self._sums(name),
            oldest=next((report.row.report.received for report in reports if report.row.outcome is None), None),
            refreshing=self._waiting().get(name, Waiting()).refreshing,
            dead=sum(report.is_letter for report in reports),
        )

    async def alarms(self, query: AlarmQuery) -> list[AlarmRow]:
        self._check_open()
        rows = sorted((alarm.shown for alarm in self._alarms.values()), key=lambda row: row.id)
        return list(filter(query.matches, rows))[: query.limit]

    async def recent_alarms(self, query: AlarmQuery, bounds: Bounds = BOUNDS) -> Page:
        """All that match, whatever `bounds`."""
        self._check_open()
        rows = sorted((alarm.shown for alarm in self._alarms.values()), key=lambda row: row.place, reverse=True)
        return page_of(list(filter(query.matches, rows))[: query.limit + 1], query, None)

    async def tallies(self, integration: str | None, bounds: Bounds = BOUNDS) -> dict[str, Tally]:
        self._check_open()
        rows = [alarm.shown for (name, _), alarm in self._alarms.items() if integration in (None, name)]
        return {name: Tally(sum(map(query.matches, rows)), False) for name, query in TALLIES.items()}

    async def trail(
        self, integration: str, fingerprint: str, limit: int = 50, before: int | None = None
    ) -> list[ReportRow]:
        self._check_open()
        alarm = self._alarms.get((integration, fingerprint))
        reports = [report for report in reversed(alarm.trail) if before is None or report.seq < before] if alarm else []
        return [self._shown(report) for report in reports[:limit]]

    async def dead_letters(self, integration: str | None, after: int, limit: int) -> list[ReportRow]:
        self._check_open()
        letters = [report for seq, report in self._reports.items() if seq > after and report.is_letter]
        wanted = [letter for letter in letters if integration in (None, letter.alarm.row.integration)]
        return [self._shown(letter) for letter in wanted[:limit]]

    async def recent(self, reports: int) -> list[RecentRow]:
        self._check_open()
        newest: dict[int, _Report] = {}
        for report in sorted(self._reports.values(), key=lambda one: -one.seq)[:reports]:
            newest.setdefault(report.alarm.row.id, report)
        return [_recent_row(report) for report in newest.values()]

    async def reports(self, seqs: Sequence[int]) -> list[ReportRow]:
        self._check_open()
        return [self._shown(self._reports[seq]) for seq in sorted(set(seqs)) if seq in self._reports]

    def _shown(self, report: _Report) -> ReportRow:
        is_head = report.row.outcome is None and report.alarm.queue[0] is report
        return replace(
            report.row,
            due_in=(report.alarm.due - self._ticks()) / SECOND if is_head else None,
            sender=self._senders.get(report.row.report.webhook, (0, {}))[1],
        )

    async def replay(self, seqs: Sequence[int], *, as_sent: bool) -> dict[int, tuple[Kind, ...]]:
        self._check_open()
        letters = self._letters(seqs)
        asked = [letter.seq for letter in letters]
        replays: list[Owed] = []
        for alarm in dict.fromkeys(letter.alarm for letter in letters):
            owed = replayed(asked, [report.past for report in alarm.trail])
            for one in owed:
                self._append(alarm, self._copy(self._reports[one.source].row, one.kind, as_sent=as_sent))
            alarm.update(alarm=alarm.row.alarm._replace(pending=len(alarm.queue), priority=Priority.NEWS))
            replays += owed
        for letter in letters:
            letter.update(replayed=True)
        return kinds_by_letter(replays)

    def _copy(self, source: ReportRow, kind: Kind, *, as_sent: bool) -> Report:
        body = source.provenance.body if as_sent and source.provenance and kind is not Kind.REASSERT else None
        seq, now = self._next_id("report"), self._clock.now()
        return replace(source.report, seq=seq, kind=kind, received=now, webhook=0, attempts=0, refused=False, body=body)

    async def discard(self, seqs: Sequence[int]) -> list[int]:
        self._check_open()
        letters = self._letters(seqs)
        for letter in letters:
            letter.discarded = True
        return [letter.seq for letter in letters]

    def _letters(self, seqs: Sequence[int]) -> list[_Report]:
        found = [self._reports[seq] for seq in sorted(set(seqs)) if seq in self._reports]
        return [report for report in found if report.is_letter]

    async def refusals(self, integration: str | None, after: int, limit: int) -> list[Refusal]:
        rows = await self.dead_letters(integration, after, limit)
        alarms = [self._reports[row.report.seq].alarm.row for row in rows]
        return [
            refusal(row.report.seq, alarm.integration, alarm.id, row.done, row.attempts)
            for row, alarm in zip(rows, alarms, strict=True)
        ]

    async def rejects(
        self, after: int, limit: int, *, integration: str | None = None, before: int | None = None
    ) -> list[RejectRow]:
        self._check_open()
        rows = [row for row in self._rejects if row.id > after and integration in (None, row.integration)]
        if before is not None:
            rows = [row for row in reversed(rows) if row.id < before]
        return rows[:limit]

    # directories of applications

    async def directories_fetched(self) -> dict[str, Micros]:
        self._check_open()
        return {name: fetched for name, (fetched, _) in self._directories.items()}

    async def directory(self, integration: str) -> bytes | None:
        self._check_open()
        return self._directories.get(integration, (0, None))[1]

    async def keep_directory(self, integration: str, fetched: Micros, nodes: bytes) -> None:
        self._check_open()
        self._directories[integration] = fetched, nodes

    async def held(self, integration: str) -> list[int]:
        self._check_open()
        return sorted(alarm.row.id for (name, _), alarm in self._alarms.items() if name == integration)

    async def discard_alarms(self, integration: str, ids: Sequence[int], now: Micros) -> Removed:
        self._check_open()
        removed = Removed()
        for alarm in self._chosen(integration, ids):
            known, letters = alarm.row.alarm, [report for report in alarm.trail if report.is_letter]
            is_open, pending = known.status is Status.FIRING, len(alarm.queue)
            self._leave(alarm, alarm.queue, Outcome.DISCARDED, now)
            for letter in letters:
                letter.discarded = True
            after = known._replace(status=Status.RESOLVED, ends=now if is_open else known.ends, pending=0)
            alarm.update(alarm=after)
            changed = bool(is_open or pending or letters)
            removed = removed.plus(Removed(changed, is_open, pending, len(letters)))
        return removed

    async def move_alarms(self, integration: str, ids: Sequence[int], to: str, now: Micros) -> Removed:
        self._check_open()
        removed = Removed()
        for alarm in self._chosen(integration, ids):
            removed = removed.plus(self._move(alarm, to, now))
        return removed

    def _move(self, alarm: _Alarm, to: str, now: Micros) -> Removed:
        known, letters = alarm.row.alarm, sum(report.is_letter for report in alarm.trail)
        other = self._alarms.get((to, known.fingerprint))
        before = other.row.alarm if other else known._replace(status=Status.RESOLVED, pending=0)
        moved, result = self._side(alarm), merged(self._side(alarm), self._side(other) if other else None)
        newest = moved if result.moved_is_newer or other is None else self._side(other)
        labels = (alarm if result.moved_is_newer or other is None else other).row.labels
        last = self._reports[newest.last_owed].row.report.raw if newest.last_owed else None
        del self._alarms[alarm.row.integration, known.fingerprint]
        for report in [report for report in alarm.queue if report.seq == result.told_as_alarm]:
            report.update(report=replace(report.row.report, kind=Kind.ALARM))
        taken = self._merge(alarm, other, result, now) if other else alarm
        self._alarms[to, known.fingerprint] = taken
        taken.update(integration=to, alarm=result.alarm, accepted=result.state.accepted, labels=labels)
        for report in taken.trail:
            report.update(report=replace(report.row.report, integration=to))
        if result.owed is not None:
            raw, body = owed_again(newest, labels, last)
            owed = Report(
                seq=self._next_id("report"), integration=to, fingerprint=known.fingerprint, raw=raw, body=body,
                episode=result.alarm.episode, kind=result.owed, coc_alarm_id=result.alarm.coc_alarm_id, received=now,
                webhook=0,
            )  # fmt: skip
            self._append(taken, owed)
        firing, after = known.status is Status.FIRING, result.alarm
        taken_open = (after.status is Status.FIRING) - (before.status is Status.FIRING)
        more = after.pending - before.pending
        return Removed(1, firing, known.pending, letters, taken_open, more, result.owed is not None)

    def _merge(self, alarm: _Alarm, other: _Alarm, result: Merged, now: Micros) -> _Alarm:
        self._leave(
            alarm, [report for report in alarm.queue if report.seq in result.superseded], Outcome.SUPERSEDED, now
        )
        for report in alarm.queue:
            if result.one_episode:
                report.update(report=replace(report.row.report, coc_alarm_id=result.alarm.coc_alarm_id))
        for one, more in ((alarm, result.moved_episodes), (other, result.other_episodes)):
            for report in one.trail:
                report.update(report=replace(report.row.report, episode=report.row.report.episode + more))
        for report in alarm.trail:
            report.alarm = other
        other.due = min((one.due for one in (alarm, other) if one.queue), default=other.due)
        other.trail = sorted(alarm.trail + other.trail, key=lambda report: report.seq)
        other.queue = [report for report in other.trail if report.row.outcome is None]
        other.take(result.state)
        other.update(
            first_seen=min(alarm.row.first_seen, other.row.first_seen),
            last_seen=max(alarm.row.last_seen, other.row.last_seen),
            conflicts=other.row.conflicts + alarm.row.conflicts,
        )
        return other

    def _side(self, alarm: _Alarm) -> Side:
        sent = [
            report.seq
            for report in alarm.trail
            if report.row.report.attempts or report.seq in self._claimed
            or report.row.outcome not in (None, Outcome.SUPERSEDED)
        ]  # fmt: skip
        return Side(
            alarm.row.alarm,
            alarm.state,
            alarm.row.last_seen,
            last_owed=max((report.seq for report in alarm.trail), default=0),
            last_sent=max(sent, default=0),
            waiting=tuple([(report.seq, report.row.report.kind) for report in alarm.queue]),
        )

    def _chosen(self, integration: str, ids: Sequence[int]) -> list[_Alarm]:
        wanted = set(ids)
        held = [alarm for (name, _), alarm in self._alarms.items() if name == integration and alarm.row.id in wanted]
        return sorted(held, key=lambda one: one.row.id)

    def _leave(self, alarm: _Alarm, reports: Sequence[_Report], outcome: Outcome, now: Micros) -> None:
        for report in reports:
            report.update(outcome=outcome, done=now)
        alarm.queue = [report for report in alarm.queue if report.row.outcome is None]

    # reconciling

    async def tracked(self, integration: str, status: Status, after: int, limit: int) -> list[TrackedAlarm]:
        self._check_open()
        rows = [alarm.row for (name, _), alarm in self._alarms.items() if name == integration]
        wanted = [row for row in rows if row.alarm.status is status and row.id > after]
        if status is Status.RESOLVED:
            wanted = [row for row in wanted if row.alarm.reconciled]
        return [tracked_of(row) for row in sorted(wanted, key=lambda row: row.id)[:limit]]

    async def known(self, integration: str, fingerprints: Sequence[str]) -> dict[str, TrackedAlarm]:
        self._check_open()
        found = {name: self._alarms.get((integration, name)) for name in fingerprints}
        return {name: tracked_of(alarm.row) for name, alarm in found.items() if alarm is not None}

    async def unseen(self, before: Micros) -> dict[str, int]:
        self._check_open()
        return Counter(alarm.row.integration for alarm in self._alarms.values() if alarm.row.is_unseen(before))

    # upkeep

    async def maintain(self, now: Micros, retention: Retention) -> Pruned:
        self._check_open()
        before = self._sizes()
        for seq, report in list(self._reports.items()):
            kept = retention.dead if report.row.outcome is Outcome.DEAD else retention.delivered
            if report.row.outcome is not None and report.row.done < now - kept:
                report.alarm.trail.remove(report)
                del self._reports[seq]
        for key, alarm in list(self._alarms.items()):
            resolved = alarm.row.alarm.status is Status.RESOLVED
            if resolved and not alarm.trail and alarm.row.last_seen < now - retention.resolved:
                del self._alarms[key]
        kept_from = now - retention.delivered
        self._senders = {id_: sender for id_, sender in self._senders.items() if sender[0] >= kept_from}
        self._rejects = [row for row in self._rejects if row.received >= kept_from]
        return Pruned(*(had - has for had, has in zip(before, self._sizes(), strict=True)))

    def _sizes(self) -> Pruned:
        dead = sum(report.row.outcome is Outcome.DEAD for report in self._reports.values())
        return Pruned(len(self._reports) - dead, dead, len(self._alarms), len(self._senders), len(self._rejects))

    async def probe(self) -> None:
        self._check_open()

    async def size(self) -> int:
        self._check_open()
        return 0

    def describe(self) -> dict[str, Any]:
        return {"backend": "memory", "place": "memory:", "warnings": ["memory: nothing survives a restart"]}

    async def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreUnavailable("the store is closed")

    def _ticks(self) -> Micros:
        return int(self._clock.monotonic() * SECOND)

    def _next_id(self, kind: str) -> int:
        self._last_id[kind] += 1
        return self._last_id[kind]


def _recent_row(report: _Report) -> RecentRow:
    alarm, made = report.alarm.row, report.row.provenance
    return RecentRow(
        seq=report.seq,
        integration=alarm.integration,
        fingerprint=alarm.alarm.fingerprint,
        status=alarm.alarm.status,
        labels=alarm.labels,
        rule=made.rule if made else None,
        rendered=made is not None,
        fell_back=made is not None and bool(made.fallbacks),
    )
