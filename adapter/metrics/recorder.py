"""Counts what happens: each method is one event, called from the event loop (`committed` from any thread).

The law of conservation holds at any scrape, because counters and gauge move in the same call, with no `await` between.
"""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from adapter.alarm import Kind, News, Outcome
from adapter.alertmanager import Webhook
from adapter.clock import SECOND, Clock, Micros, SystemClock
from adapter.coc.verdict import Reason
from adapter.metrics.declared import (
    BACKENDS,
    BREAKER_STATES,
    CARRIED,
    CODES,
    FIELDS,
    OTHER,
    PAUSES,
    REFUSALS,
    UNKNOWN,
    Series,
    at_zero,
)
from adapter.store.contract import Receipt, Settled, Settlement
from adapter.store.views import Counts

Breaker = Literal["closed", "open", "half_open"]

_NOTHING: Final = Counts(pending=0, open_alarms=0, oldest=None)
_EXEMPLAR_CHARACTERS: Final = 128 - len("alarm_id")  # OpenMetrics bounds names and values together


class Metrics:
    """What the adapter tells Prometheus. Several may live in one process, each on its own registry."""

    def __init__(self, integrations: Iterable[str], clock: Clock | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._clock = clock or SystemClock()
        self._series = Series(self.registry)
        self._queues: dict[str, _Queue] = {}
        for name in integrations:
            self._queue(name)
        at_zero(self._series.webhooks, (UNKNOWN,), CODES)

    def _queue(self, integration: str) -> _Queue:
        # Also for an integration that left the configuration while the store still owes its reports.
        queue = self._queues.get(integration)
        if queue is None:
            self._series.start_integration(integration)
            queue = self._queues[integration] = _Queue(self._series, integration, self._clock)
            self._series.breaker.labels(integration, "closed").set(1)
        return queue

    # Intake

    def webhook_answered(self, integration: str | None, code: int, seconds: float) -> None:
        name = integration if integration and integration in self._queues else UNKNOWN
        self._series.webhooks.labels(name, str(code) if str(code) in CODES else OTHER).inc()
        self._series.webhook_duration.observe(seconds)

    def webhook_accepted(self, integration: str, webhook: Webhook, receipt: Receipt) -> None:
        queue, series = self._queue(integration), self._series
        firing = sum(alert.status == "firing" for alert in webhook.alerts)
        unusable = len(webhook.rejects)
        received = {"firing": firing, "resolved": len(webhook.alerts) - firing, "unusable": unusable}
        for status, count in received.items():
            series.received.labels(integration, status).inc(count)
        for news, count in {**receipt.news, News.REJECTED: unusable}.items():
            series.alerts.labels(integration, news).inc(count)
        self._enqueued(integration, (kind for _, kind in receipt.owed))
        series.reports.labels(integration, Outcome.SUPERSEDED).inc(receipt.superseded)
        queue.set(receipt.pending, receipt.open_alarms)
        series.truncated.inc(webhook.truncated)

    def _enqueued(self, integration: str, kinds: Iterable[str]) -> None:
        for kind, count in Tally(kinds).items():
            self._series.enqueued.labels(integration, kind).inc(count)

    def access_refused(self, reason: str) -> None:
        self._series.refused.labels(reason if reason in REFUSALS else OTHER).inc()

    # Delivery

    def carried(self, integration: str, counts: Counts, *, shared: bool = False) -> None:
        """At start: what it found pending counts as enqueued, unless `shared` replicas have counted it already."""
        queue = self._queue(integration)
        if not shared:
            self._series.enqueued.labels(integration, CARRIED).inc(counts.pending)
        queue.set(counts.pending, counts.open_alarms)
        queue.refresh(counts, self._clock.now())

    def report_settled(self, settlement: Settlement, settled: Settled) -> None:
        """Counted once, under the outcome with which the report left; a retry moves only the gauges."""
        report, outcome, series = settlement.claim.report, settlement.outcome, self._series
        name = report.integration
        queue = self._queue(name)
        if settled.reasserted:
            series.enqueued.labels(name, Kind.REASSERT).inc()
        if outcome is not None and settled.counted:
            series.reports.labels(name, outcome).inc()
            if outcome is Outcome.DEAD:
                series.dead.labels(name).inc()
            if outcome is Outcome.DELIVERED:
                alarm_id = report.coc_alarm_id
                exemplar = {"alarm_id": alarm_id} if len(alarm_id) <= _EXEMPLAR_CHARACTERS else None
                series.latency.observe(max(0, settlement.at - report.received) / SECOND, exemplar)
            if settlement.provenance is not None:
                for field, reason in settlement.provenance.fallbacks:
                    series.fallbacks.labels(_label(field), reason).inc()
                for field in settlement.provenance.clipped:
                    series.clipped.labels(_label(field)).inc()
        queue.set(settled.pending, settled.open_alarms)

    def replayed(self, integration: str, kinds: Sequence[Kind]) -> None:
        """Dead letters were enqueued again as reports of these kinds, right before this call."""
        self._enqueued(integration, kinds)
        self._queue(integration).add(len(kinds))

    def coc_answered(self, integration: str, reason: str, seconds: float) -> None:
        self._series.requests.labels(integration, reason if reason in tuple(Reason) else Reason.UNEXPECTED).inc()
        self._series.request_duration.observe(seconds)

    def paused(self, integration: str, reason: str | None) -> None:
        """Paused for this reason, or resumed with None."""
        _choose(self._series.paused, PAUSES, reason, integration)

    def breaker(self, integration: str, state: Breaker) -> None:
        _choose(self._series.breaker, BREAKER_STATES, state, integration)

    # Mapping

    def rendered(self, alarms: int, seconds: float) -> None:
        """One call of the rendering child."""
        self._series.render.observe(seconds)
        self._series.rendered.inc(alarms)

    def reloaded(self, ok: bool, revision: str, now_seconds: float) -> None:
        """A load of configuration and mappings ended; `revision` is the one in force after it."""
        self._series.reload_successful.set(int(ok))
        if ok:
            self._series.reload_timestamp.set(now_seconds)
        self._series.revision.clear()
        self._series.revision.labels(revision).set(1)

    # Store

    def store_opened(self, backend: Literal["sqlite", "postgresql", "memory"], backlog: int) -> None:
        """`backlog`: the bound on pending reports, all integrations together."""
        _choose(self._series.backend, BACKENDS, backend)
        self._series.backlog_limit.set(backlog)

    def committed(self, seconds: float) -> None:
        self._series.commit.observe(seconds)

    def store_size(self, bytes: int, free: int | None = None, warnings: int = 0) -> None:
        """`free`: by how much it can still grow, None where that is unknown. `warnings`: how many it has at present."""
        self._series.store_bytes.set(bytes)
        self._series.store_free.set(math.nan if free is None else free)
        self._series.store_warnings.set(warnings)

    def backlog(self, counts: Mapping[str, Counts], now: Micros, *, shared: bool = False) -> None:
        """What the store counted at `now`: the oldest pending report and the dead letters.

        With `shared` (several replicas) also what is pending and open, which others change too. For a store of one
        process these gauges move only together with their counters, else a scrape in between breaks the law.
        """
        for name in {*self._queues, *counts}:
            queue, count = self._queue(name), counts.get(name, _NOTHING)
            if shared:
                queue.set(count.pending, count.open_alarms)
            queue.refresh(count, now)

    # The event loop

    def loop_lagged(self, seconds: float) -> None:
        self._series.lag.observe(max(0.0, seconds))


class _Queue:
    """The gauges of one integration's pending reports, and since when the oldest of them waits."""

    def __init__(self, series: Series, name: str, clock: Clock) -> None:
        self._clock = clock
        self._count = 0
        self._oldest: float | None = None  # when the oldest pending report came, on the steady clock
        self._pending, self._open, self._dead = (
            gauge.labels(name) for gauge in (series.pending, series.open, series.dead)
        )
        # Computed at scrape time, so that it grows even when the loop that refreshes the gauges hangs.
        series.oldest.labels(name).set_function(self._age)

    def set(self, pending: int, open_alarms: int) -> None:
        self._open.set(open_alarms)
        self.add(pending - self._count)

    def add(self, count: int) -> None:
        self._count += count
        self._pending.set(self._count)
        if not self._count:
            self._oldest = None
        elif self._oldest is None:
            self._oldest = self._clock.monotonic()

    def refresh(self, counts: Counts, now: Micros) -> None:
        self._dead.set(counts.dead)
        if counts.oldest is not None and self._oldest is not None:
            self._oldest = self._clock.monotonic() - (now - counts.oldest) / SECOND

    def _age(self) -> float:
        return 0.0 if self._oldest is None else max(0.0, self._clock.monotonic() - self._oldest)


def _choose(gauge: Gauge, values: Sequence[str], chosen: str | None, *labels: str) -> None:
    if chosen is not None and chosen not in values:
        raise ValueError(f"{chosen!r} is none of {', '.join(values)}")
    for value in values:
        gauge.labels(*labels, value).set(int(value == chosen))


def _label(field: str) -> str:
    # `additional.KEY` carries the SRE's words, so only `additional` is kept.
    field = field.partition(".")[0]
    return field if field in FIELDS else OTHER
