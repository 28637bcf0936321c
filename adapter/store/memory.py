"""The contract in plain Python: no durability, for dry runs and tests, and the model the other stores are held to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from adapter.alarm import Kind, Pause
from adapter.alertmanager import Reject
from adapter.clock import Clock, Micros
from adapter.errors import StoreUnavailable
from adapter.store import memory_audit, memory_intake
from adapter.store.contract import Claim, Claims, Intake, Receipt, Retention, Settled, Settlement
from adapter.store.memory_state import HeldAlarm, State
from adapter.store.records import KEPT_ATTEMPTS
from adapter.store.views import AlarmQuery, AlarmRow, Counts, RejectRow, ReportRow


class MemoryStore:
    """A Store. Its calls never wait, so each is one step for everybody else."""

    def __init__(self, *, backlog: int, clock: Clock) -> None:
        self._bound = backlog
        self._clock = clock
        self._closed = False
        self._state = State()

    # intake

    async def accept(self, intake: Intake) -> Receipt:
        self._check_open()
        return memory_intake.accept(self._state, intake, bound=self._bound, now=self._clock.monotonic())

    async def reject(self, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
        self._check_open()
        self._state.keep(integration, received, rejects)

    # delivery

    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        self._check_open()
        now = self._clock.monotonic()
        busy = {entry.id for entry in self._state.in_flight.values()}
        waiting = [e for e in self._state.queued.values() if e.integration == integration and e.id not in busy]
        waiting.sort(key=lambda entry: (entry.due, entry.id))
        due = [entry for entry in waiting if ignore_delay or entry.due <= now][:limit]
        later = [entry.due for entry in waiting if entry.due > now and not ignore_delay]
        claims = tuple(self._claim(entry) for entry in due)
        next_due = later[0] - now if later and len(claims) < limit else None
        return Claims(claims=claims, next_due=next_due)

    def _claim(self, entry: HeldAlarm) -> Claim:
        report = entry.queue[0].report
        self._state.in_flight[report.seq] = entry
        episode, outcome = entry.earlier
        return Claim(
            report=report,
            accepted=entry.accepted,
            earlier=outcome if episode == report.episode else None,
            maybe_sent=entry.doubt == report.episode or report.seq <= self._state.doubtful,
        )

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        self._check_open()
        return [self._settle(settlement) for settlement in settlements]

    def _settle(self, settlement: Settlement) -> Settled:
        report = settlement.claim.report
        self._state.in_flight.pop(report.seq, None)
        name = report.integration
        if report.seq not in self._state.reports:
            return Settled(
                counted=False, reasserted=False, pending=self._state.pending[name], open_alarms=self._state.open[name]
            )
        entry, row = self._state.reports[report.seq]
        counted = row.outcome is None
        row.attempts = (row.attempts + settlement.attempts)[-KEPT_ATTEMPTS:]
        row.provenance = settlement.provenance or row.provenance
        row.report = replace(
            row.report,
            attempts=row.report.attempts + len(settlement.attempts),
            refused=row.report.refused or settlement.refused,
        )
        if settlement.accepted is not None:
            entry.accepted = settlement.accepted
            entry.alarm = entry.alarm._replace(last_accepted_at=settlement.accepted.at)
            entry.doubt = 0 if entry.doubt == report.episode else entry.doubt
        elif any(attempt.ambiguous for attempt in settlement.attempts) or (
            settlement.outcome is not None and settlement.claim.maybe_sent
        ):
            entry.doubt = report.episode
        if counted:
            entry.due = self._clock.monotonic() + settlement.delay
            if settlement.outcome is not None:
                self._state.leave(entry, row, settlement.outcome, settlement.at)
                entry.earlier = (report.episode, settlement.outcome)
                entry.alarm = entry.alarm._replace(pending=len(entry.queue))
        return Settled(
            counted=counted, reasserted=False, pending=self._state.pending[name], open_alarms=self._state.open[name]
        )

    async def pauses(self) -> dict[str, Pause]:
        self._check_open()
        return dict(self._state.pauses)

    async def set_pause(self, integration: str, pause: Pause | None, *, automatic: bool = False) -> Pause | None:
        self._check_open()
        before = self._state.pauses.pop(integration, None)
        after = before if automatic and before is not None and not before.automatic else pause
        if after is not None:
            self._state.pauses[integration] = after
        return after

    def forget_claims(self, *, orderly: bool = False) -> None:
        """What a crash does to a store that outlives it: whatever was claimed or delayed is due at once, and in doubt.

        With `orderly` what an end does that gave all claims back.
        """
        if not orderly:
            self._state.doubtful = self._state.seq
        self._state.in_flight.clear()
        for entry in self._state.alarms.values():
            entry.due = min(entry.due, self._clock.monotonic())

    # views

    async def counts(self) -> dict[str, Counts]:
        self._check_open()
        return memory_audit.counts(self._state)

    async def alarms(self, query: AlarmQuery) -> list[AlarmRow]:
        self._check_open()
        return memory_audit.alarms(self._state, query)

    async def trail(self, integration: str, fingerprint: str, limit: int = 50) -> list[ReportRow]:
        self._check_open()
        return memory_audit.trail(self._state, integration, fingerprint, limit, self._clock.monotonic())

    async def dead_letters(self, integration: str | None, after: int, limit: int) -> list[ReportRow]:
        self._check_open()
        return memory_audit.dead_letters(self._state, integration, after, limit, self._clock.monotonic())

    async def replay(self, seqs: Sequence[int], *, as_sent: bool) -> dict[int, tuple[Kind, ...]]:
        self._check_open()
        wall, now = self._clock.now(), self._clock.monotonic()
        return memory_audit.replay(self._state, seqs, as_sent=as_sent, wall=wall, now=now)

    async def discard(self, seqs: Sequence[int]) -> list[int]:
        self._check_open()
        return memory_audit.discard(self._state, seqs)

    async def rejects(self, after: int, limit: int) -> list[RejectRow]:
        self._check_open()
        return memory_audit.rejects(self._state, after, limit)

    # upkeep

    async def maintain(self, now: Micros, retention: Retention) -> None:
        self._check_open()
        memory_audit.prune(self._state, now, retention)

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
