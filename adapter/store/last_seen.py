"""What alerts were seen that no row says yet: those that changed nothing, and those of webhooks being committed.

When the former were last seen is kept in memory (promise 5) and written in batches by `maintain`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Final, NamedTuple

from adapter.clock import Micros
from adapter.store.contract import Intake
from adapter.store.views import AlarmRow, TrackedAlarm

BATCH: Final = 1000

Tally = tuple[Micros, int, int]
"""Last seen, repeats and stale alerts since it was last written."""


class Seen(NamedTuple):
    """When a webhook was received, and the ids of its alarms."""

    at: Micros
    repeated: Sequence[int]  # whose alerts changed nothing that matters
    stale: Sequence[int]  # whose alerts are older than what is known
    written: Sequence[int] = ()  # whose rows hold `at` already


class SeenLater:
    """By alarm id. Used in the event loop, where nothing else is said.

    Filled by C functions, because a repeat must cost next to nothing.
    """

    def __init__(self) -> None:
        self._last: dict[int, Micros] = {}
        self._repeats: Counter[int] = Counter()
        self._stale: Counter[int] = Counter()

    def add(self, seen: Seen) -> None:
        self._last.update(dict.fromkeys(seen.repeated, seen.at))
        self._repeats.update(seen.repeated)
        if seen.stale:
            self._last.update(dict.fromkeys(seen.stale, seen.at))
            self._stale.update(seen.stale)
        for alarm in seen.written:
            if alarm in self._last:
                self._last[alarm] = seen.at

    def joined(self, alarm: int, at: Micros) -> None:
        """Another alarm, last seen then, has become one with it."""
        if alarm in self._last:
            self._last[alarm] = max(self._last[alarm], at)

    def last(self, alarm: int) -> Micros:
        """Since it was last written; 0 when nothing came. From any thread."""
        return self._last.get(alarm, 0)

    def take(self) -> dict[int, Tally]:
        """Remove at most BATCH of them, which the caller writes or puts back."""
        return {
            alarm: (self._last.pop(alarm), self._repeats.pop(alarm, 0), self._stale.pop(alarm, 0))
            for alarm in list(islice(self._last, BATCH))
        }

    def put_back(self, taken: dict[int, Tally]) -> None:
        for alarm, (at, repeats, stale) in taken.items():
            self._last.setdefault(alarm, at)
            self._repeats[alarm] += repeats
            self._stale[alarm] += stale

    def tracked(self, rows: list[TrackedAlarm]) -> list[TrackedAlarm]:
        return [row._replace(last_seen=self._last[row.id]) if row.id in self._last else row for row in rows]

    def shown(self, row: AlarmRow) -> AlarmRow:
        """The row with what is not written yet. From any thread."""
        last = self._last.get(row.id)
        if last is None:
            return row
        repeats, stale = row.repeats + self._repeats[row.id], row.stale + self._stale[row.id]
        return replace(row, last_seen=last, repeats=repeats, stale=stale)


class UnderWay:
    """Webhooks that are being committed: SeenLater has nothing of them yet (promise 14).

    Used in the event loop alone. `begin` before a commit, `end` after it.
    """

    def __init__(self) -> None:
        self._intakes: dict[int, Intake] = {}

    def begin(self, intake: Intake) -> Intake:
        """The intake to commit: where it expects something, without the alerts that such webhooks name."""
        if intake.expected is not None:
            named = {
                alert.fingerprint
                for other in self._intakes.values()
                if other.integration == intake.integration
                for alert in other.webhook.alerts
            }
            alerts = tuple(alert for alert in intake.webhook.alerts if alert.fingerprint not in named)
            intake = replace(intake, webhook=replace(intake.webhook, alerts=alerts))
        self._intakes[id(intake)] = intake
        return intake

    def end(self, intake: Intake) -> None:
        del self._intakes[id(intake)]
