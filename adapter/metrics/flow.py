"""The series of one integration, looked up once: the hot path touches no label."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from prometheus_client import Counter

from adapter.alarm import Kind, News, Outcome
from adapter.alertmanager import Webhook
from adapter.clock import SECOND, Clock, Micros
from adapter.coc.verdict import Reason
from adapter.metrics.declared import BREAKER_STATES, KINDS, PAUSES, STATUSES, Series, each
from adapter.store.contract import Receipt, Settled
from adapter.store.views import Counts

_Value = TypeVar("_Value", bound=str)


class Flow:
    """What came for one integration, what of it is owed, and what became of that."""

    def __init__(self, series: Series, name: str, clock: Clock) -> None:
        self._clock = clock
        self._waiting = 0  # reports that are pending
        self._oldest: float | None = None  # when the oldest pending report came, on the steady clock
        self._received = each(partial(series.received.labels, name), STATUSES)
        self._alerts = each(partial(series.alerts.labels, name), News)
        self._reports = each(partial(series.reports.labels, name), Outcome)
        self.enqueued = each(partial(series.enqueued.labels, name), KINDS)
        self._pending = series.pending.labels(name)
        self._open = series.open.labels(name)
        self._dead = series.dead.labels(name)
        self.requests = each(partial(series.requests.labels, name), Reason)
        self.pauses = each(partial(series.paused.labels, name), PAUSES)
        self.breaker = each(partial(series.breaker.labels, name), BREAKER_STATES)
        self.breaker["closed"].set(1)
        # Computed at scrape time, so that it grows even when what hangs is the loop that looks at the store.
        series.oldest.labels(name).set_function(self._age)

    def accepted(self, webhook: Webhook, receipt: Receipt) -> None:
        firing = sum(alert.status == "firing" for alert in webhook.alerts)
        unusable = len(webhook.rejects)
        received = {"firing": firing, "resolved": len(webhook.alerts) - firing, "unusable": unusable}
        _add(self._received, received)
        _add(self._alerts, {**receipt.news, News.REJECTED: unusable})
        _add(self.enqueued, _tally(kind for _, kind in receipt.owed))
        _add(self._reports, {Outcome.SUPERSEDED: receipt.superseded})
        self.stand(receipt.pending, receipt.open_alarms)

    def settled(self, outcome: Outcome | None, settled: Settled) -> None:
        if outcome is not None and settled.counted:
            self._reports[outcome].inc()
            if outcome is Outcome.DEAD:
                self._dead.inc()
        if settled.reasserted:
            self.enqueued[Kind.REASSERT].inc()
        self.stand(settled.pending, settled.open_alarms)

    def owed(self, kinds: Sequence[Kind]) -> None:
        _add(self.enqueued, _tally(kinds))
        self._wait(self._waiting + len(kinds))

    def stand(self, pending: int, open_alarms: int) -> None:
        self._wait(pending)
        self._open.set(open_alarms)

    def look(self, found: Counts, now: Micros) -> None:
        self._dead.set(found.dead)
        if found.oldest is not None and self._oldest is not None:
            self._oldest = self._clock.monotonic() - (now - found.oldest) / SECOND

    def _wait(self, pending: int) -> None:
        self._waiting = pending
        self._pending.set(pending)
        if not pending:
            self._oldest = None
        elif self._oldest is None:
            self._oldest = self._clock.monotonic()

    def _age(self) -> float:
        return 0.0 if self._oldest is None else max(0.0, self._clock.monotonic() - self._oldest)


def _tally(kinds: Iterable[Kind]) -> dict[Kind, int]:
    # A plain dict: collections.Counter costs more than all the counting for the few reports of a webhook.
    found: dict[Kind, int] = {}
    for kind in kinds:
        found[kind] = found.get(kind, 0) + 1
    return found


def _add(counters: Mapping[str, Counter], numbers: Mapping[_Value, int]) -> None:
    """Zeros are most of them and are left out: an `inc` takes a lock."""
    for value, number in numbers.items():
        if number:
            counters[value].inc(number)
