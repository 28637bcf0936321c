"""What the memory store holds, and the two steps every change is made of: a report is owed, a report leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from adapter.alarm import Accepted, Alarm, Attempt, Outcome, Pause, Report
from adapter.alertmanager import Reject
from adapter.clock import Micros
from adapter.store.views import Provenance, RejectRow

_REJECTS_KEPT: Final = 1000


@dataclass(slots=True, kw_only=True)
class HeldReport:
    report: Report
    outcome: Outcome | None = None
    fate: str = ""  # of a dead letter: "replayed" or "discarded"
    done: Micros = 0
    provenance: Provenance | None = None
    attempts: tuple[Attempt, ...] = ()


@dataclass(slots=True, kw_only=True)
class HeldAlarm:
    id: int
    integration: str
    alarm: Alarm
    labels: dict[str, str]
    first_seen: Micros
    last_seen: Micros
    repeats: int = 0
    stale: int = 0
    accepted: Accepted | None = None
    due: float = 0.0  # monotonic; of the head
    earlier: tuple[int, Outcome] = (0, Outcome.DELIVERED)  # episode and outcome of the last settled report
    doubt: int = 0  # the last episode with an ambiguous attempt
    queue: list[HeldReport] = field(default_factory=list)  # pending, in order
    trail: list[HeldReport] = field(default_factory=list)  # all of them


class State:
    """Everything by its key. `now` of the methods is monotonic seconds."""

    def __init__(self) -> None:
        self.seq = self.webhook = self.reject = self.alarm = 0
        self.doubtful = 0  # the last seq that waited when claims were forgotten
        self.alarms: dict[tuple[str, str], HeldAlarm] = {}
        self.reports: dict[int, tuple[HeldAlarm, HeldReport]] = {}
        self.in_flight: dict[int, HeldAlarm] = {}  # by seq
        self.queued: dict[int, HeldAlarm] = {}  # alarms with pending reports, by id
        self.pending: Counter[str] = Counter()
        self.open: Counter[str] = Counter()
        self.pauses: dict[str, Pause] = {}
        self.senders: dict[int, tuple[Micros, dict[str, Any]]] = {}
        self.rejects: list[RejectRow] = []

    def append(self, entry: HeldAlarm, row: HeldReport, now: float) -> None:
        self.seq += 1
        row.report = replace(row.report, seq=self.seq)
        if not entry.queue:
            entry.due = now
        entry.trail.append(row)
        entry.queue.append(row)
        self.queued[entry.id] = entry
        self.reports[self.seq] = (entry, row)
        self.pending[entry.integration] += 1

    def leave(self, entry: HeldAlarm, row: HeldReport, outcome: Outcome, at: Micros) -> None:
        row.outcome, row.done = outcome, at
        entry.queue.remove(row)
        if not entry.queue:
            del self.queued[entry.id]
        self.pending[entry.integration] -= 1

    def keep(self, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
        for reject in rejects:
            self.reject += 1
            self.rejects.append(
                RejectRow(
                    id=self.reject, integration=integration, received=received, reason=reject.reason, head=reject.head
                )
            )
        del self.rejects[:-_REJECTS_KEPT]
