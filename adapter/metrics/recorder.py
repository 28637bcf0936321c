"""Counts what happens: each method is one event, called from the event loop (`committed` from any thread)."""

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
from adapter.clock import SECOND, Clock, SystemClock
from adapter.coc.verdict import Reason
from adapter.mapping.render.request import Reason as FallbackReason
from adapter.metrics.declared import (
    BACKENDS,
    BREAKER_STATES,
    CARRIED,
    CODES,
    FIELDS,
    KINDS,
    OTHER,
    PAUSES,
    REFUSALS,
    STATUSES,
    UNKNOWN,
    Series,
    children,
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
        series = self._series = Series(self.registry)
        self._refused = children(series.refused, REFUSALS)
        self._backend = children(series.backend, BACKENDS)
        self._clipped = children(series.clipped, FIELDS)
        self._fallbacks = {field: children(series.fallbacks, FallbackReason, field) for field in FIELDS}
        self._integrations: dict[str, _Integration] = {}
        for name in integrations:
            self._integration(name)
        self._unknown_webhooks = children(series.webhooks, CODES, UNKNOWN)

    def _integration(self, name: str) -> _Integration:
        # Also for an integration that left the configuration while the store still owes its reports.
        if name not in self._integrations:
            self._integrations[name] = _Integration(self._series, name, self._clock)
        return self._integrations[name]

    # Intake

    def webhook_answered(self, integration: str | None, code: int, seconds: float) -> None:
        known = self._integrations.get(integration or "")
        webhooks = known.webhooks if known else self._unknown_webhooks
        webhooks.get(str(code), webhooks[OTHER]).inc()
        self._series.webhook_duration.observe(seconds)

    def webhook_accepted(self, integration: str, webhook: Webhook, receipt: Receipt) -> None:
        series = self._integration(integration)
        firing = sum(alert.status == "firing" for alert in webhook.alerts)
        unusable = len(webhook.rejects)
        series.received["firing"].inc(firing)
        series.received["resolved"].inc(len(webhook.alerts) - firing)
        series.received["unusable"].inc(unusable)
        for news, count in {**receipt.news, News.REJECTED: unusable}.items():
            series.alerts[news].inc(count)
        series.enqueue(kind for _, kind in receipt.owed)
        series.reports[Outcome.SUPERSEDED].inc(receipt.superseded)
        series.set(receipt.pending, receipt.open_alarms)
        self._series.truncated.inc(webhook.truncated)

    def access_refused(self, reason: str) -> None:
        self._refused.get(reason, self._refused[OTHER]).inc()

    # Delivery

    def carried(self, integration: str, counts: Counts, *, shared: bool = False) -> None:
        """At start: what it found pending counts as enqueued, unless `shared` replicas have counted it already."""
        series = self._integration(integration)
        if not shared:
            series.enqueued[CARRIED].inc(counts.pending)
        series.set(counts.pending, counts.open_alarms)
        series.refresh(counts)

    def report_settled(self, settlement: Settlement, settled: Settled) -> None:
        """Counted once, under the outcome with which the report left; a retry moves only the gauges."""
        report, outcome = settlement.claim.report, settlement.outcome
        series = self._integration(report.integration)
        if settled.reasserted:
            series.enqueued[Kind.REASSERT].inc()
        if outcome is not None and settled.counted:
            series.reports[outcome].inc()
            if outcome is Outcome.DEAD:
                series.dead.inc()
            if outcome is Outcome.DELIVERED:
                alarm_id = report.coc_alarm_id
                exemplar = {"alarm_id": alarm_id} if len(alarm_id) <= _EXEMPLAR_CHARACTERS else None
                self._series.latency.observe(max(0, settlement.at - report.received) / SECOND, exemplar)
            if settlement.provenance is not None:
                for field, reason in settlement.provenance.fallbacks:
                    self._fallbacks[_label(field)][reason].inc()
                for field in settlement.provenance.clipped:
                    self._clipped[_label(field)].inc()
        series.set(settled.pending, settled.open_alarms)

    def replayed(self, integration: str, kinds: Sequence[Kind]) -> None:
        """Dead letters were enqueued again as reports of these kinds, right before this call."""
        series = self._integration(integration)
        series.enqueue(kinds)
        series.add(len(kinds))

    def coc_answered(self, integration: str, reason: str, seconds: float) -> None:
        requests = self._integration(integration).requests
        requests.get(reason, requests[Reason.UNEXPECTED]).inc()
        self._series.request_duration.observe(seconds)

    def paused(self, integration: str, reason: str | None) -> None:
        """Paused for this reason, or resumed with None."""
        _choose(self._integration(integration).paused, reason)

    def breaker(self, integration: str, state: Breaker) -> None:
        _choose(self._integration(integration).breaker, state)

    # Mapping

    def rendered(self, alarms: int, seconds: float) -> None:
        """One call of the rendering child."""
        self._series.render.observe(seconds)
        self._series.rendered.inc(alarms)

    def reloaded(self, ok: bool, revision: str) -> None:
        """A load of configuration and mappings ended; `revision` is the one in force after it."""
        self._series.reload_successful.set(int(ok))
        if ok:
            self._series.reload_timestamp.set(self._clock.now() / SECOND)
        self._series.revision.clear()
        self._series.revision.labels(revision).set(1)

    # Store

    def store_opened(self, backend: Literal["sqlite", "postgresql", "memory"], backlog: int) -> None:
        """`backlog`: the bound on pending reports, all integrations together."""
        _choose(self._backend, backend)
        self._series.backlog_limit.set(backlog)

    def committed(self, seconds: float) -> None:
        self._series.commit.observe(seconds)

    def store_size(self, bytes: int, free: int | None = None, warnings: int = 0) -> None:
        """`free`: by how much it can still grow, None where that is unknown. `warnings`: how many it has at present."""
        self._series.store_bytes.set(bytes)
        self._series.store_free.set(math.nan if free is None else free)
        self._series.store_warnings.set(warnings)

    def backlog(self, counts: Mapping[str, Counts], *, shared: bool = False) -> None:
        """What the store counted just now: the oldest pending report and the dead letters.

        With `shared` (several replicas) also what is pending and open, which others change too. For a store of one
        process these gauges move only together with their counters, else a scrape in between breaks the law.
        """
        for name in {*self._integrations, *counts}:
            series, count = self._integration(name), counts.get(name, _NOTHING)
            if shared:
                series.set(count.pending, count.open_alarms)
            series.refresh(count)

    # The event loop

    def loop_lagged(self, seconds: float) -> None:
        self._series.lag.observe(max(0.0, seconds))


class _Integration:
    """The series of one integration, from the start with every label value, and since when its oldest report waits."""

    def __init__(self, series: Series, name: str, clock: Clock) -> None:
        self.webhooks = children(series.webhooks, CODES, name)
        self.received = children(series.received, STATUSES, name)
        self.alerts = children(series.alerts, News, name)
        self.reports = children(series.reports, Outcome, name)
        self.enqueued = children(series.enqueued, KINDS, name)
        self.requests = children(series.requests, Reason, name)
        self.paused = children(series.paused, PAUSES, name)
        self.breaker = children(series.breaker, BREAKER_STATES, name)
        self.dead = series.dead.labels(name)
        self._pending, self._open = series.pending.labels(name), series.open.labels(name)
        self._clock = clock
        self._count = 0
        self._oldest: float | None = None  # when the oldest pending report came, on the steady clock
        # Computed at scrape time, so that it grows even when the loop that refreshes the gauges hangs.
        series.oldest.labels(name).set_function(self._age)
        _choose(self.breaker, "closed")

    def enqueue(self, kinds: Iterable[str]) -> None:
        for kind, count in Tally(kinds).items():
            self.enqueued[kind].inc(count)

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

    def refresh(self, counts: Counts) -> None:
        self.dead.set(counts.dead)
        if counts.oldest is not None and self._oldest is not None:
            self._oldest = self._clock.monotonic() - (self._clock.now() - counts.oldest) / SECOND

    def _age(self) -> float:
        return 0.0 if self._oldest is None else max(0.0, self._clock.monotonic() - self._oldest)


def _choose(gauges: Mapping[str, Gauge], chosen: str | None) -> None:
    if chosen is not None and chosen not in gauges:
        raise ValueError(f"{chosen!r} is none of {', '.join(gauges)}")
    for value, gauge in gauges.items():
        gauge.set(int(value == chosen))


def _label(field: str) -> str:
    # `additional.KEY` carries the SRE's words, so only `additional` is kept.
    field = field.partition(".")[0]
    return field if field in FIELDS else OTHER
