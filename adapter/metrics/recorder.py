"""The verbs: each is something that happened, told in one call, from the event loop (`committed`: any thread)."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from adapter.alarm import Kind, Outcome, Report
from adapter.alertmanager import Webhook
from adapter.clock import SECOND, Clock, Micros, SystemClock
from adapter.coc.verdict import Reason
from adapter.mapping.render.request import Reason as FallbackReason
from adapter.metrics.declared import CARRIED, CODES, DELIVERY, FIELDS, OTHER, UNKNOWN, Series, each
from adapter.metrics.flow import Flow
from adapter.store.contract import Receipt, Settled, Settlement
from adapter.store.views import Counts

Breaker = Literal["closed", "open", "half_open"]

_NOTHING: Final = Counts(pending=0, open_alarms=0, oldest=None)
_EXEMPLAR_CHARACTERS: Final = 128 - len("alarm_id")  # OpenMetrics bounds names and values together


class Metrics:
    """What the adapter tells Prometheus. Several may live in one process, each on its own registry."""

    def __init__(
        self, integrations: Sequence[str], registry: CollectorRegistry | None = None, clock: Clock | None = None
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry or CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._clock = clock or SystemClock()
        self._series = Series(self.registry)
        self._shown = [0] * (len(DELIVERY) + 1)  # when each bucket of the latency got its exemplar
        self._flows: dict[str, Flow] = {}
        self._webhooks: dict[str, dict[str, Counter]] = {}
        self.configured(integrations)

    def configured(self, integrations: Iterable[str]) -> None:
        """These integrations exist: their series are there, at zero unless they were there before."""
        for name in integrations:
            self._flow(name)
        for name in (*integrations, UNKNOWN):
            if name not in self._webhooks:
                self._webhooks[name] = each(partial(self._series.webhooks.labels, name), CODES)

    def _flow(self, integration: str) -> Flow:
        # Also for an integration that left the configuration while the store still owes its reports.
        flow = self._flows.get(integration)
        if flow is None:
            flow = self._flows[integration] = Flow(self._series, integration, self._clock)
        return flow

    # Intake

    def webhook_answered(self, integration: str, code: int, seconds: float) -> None:
        codes = self._webhooks.get(integration) or self._webhooks[UNKNOWN]
        (codes.get(str(code)) or codes[OTHER]).inc()
        self._series.webhook_duration.observe(seconds)

    def webhook_accepted(self, integration: str, webhook: Webhook, receipt: Receipt) -> None:
        self._flow(integration).accepted(webhook, receipt)
        self._series.truncated.inc(webhook.truncated)

    def access_refused(self, reason: str) -> None:
        refused = self._series.refused
        (refused.get(reason) or refused[OTHER]).inc()

    # Delivery

    def carried(self, integration: str, counts: Counts, *, shared: bool = False) -> None:
        """At start: what it found pending counts as enqueued, unless `shared` replicas have counted it already."""
        flow = self._flow(integration)
        if not shared:
            flow.enqueued[CARRIED].inc(counts.pending)
        flow.stand(counts.pending, counts.open_alarms)
        flow.look(counts, self._clock.now())

    def report_settled(self, settlement: Settlement, settled: Settled) -> None:
        """Counted once, under the outcome with which the report left; a retry moves only the gauges."""
        report = settlement.claim.report
        self._flow(report.integration).settled(settlement.outcome, settled)
        if settlement.outcome is None or not settled.counted:
            return
        if settlement.outcome is Outcome.DELIVERED:
            self._delivered(report, settlement.at)
        if settlement.provenance is not None:
            for field, reason in settlement.provenance.fallbacks:
                self._series.fallbacks[_label(field), FallbackReason(reason).value].inc()
            for field in settlement.provenance.clipped:
                self._series.clipped[_label(field)].inc()

    def _delivered(self, report: Report, at: Micros) -> None:
        waited = max(0, at - report.received) / SECOND
        bucket = bisect_left(DELIVERY, waited)
        exemplar = None
        # An exemplar costs more than all else here: each bucket gets a new one at most once a second.
        if abs(at - self._shown[bucket]) >= SECOND and len(report.coc_alarm_id) <= _EXEMPLAR_CHARACTERS:
            self._shown[bucket] = at
            exemplar = {"alarm_id": report.coc_alarm_id}
        self._series.latency.observe(waited, exemplar)

    def replayed(self, integration: str, kinds: Sequence[Kind]) -> None:
        """Dead letters were owed again, as reports of these kinds, since the step that was told before."""
        self._flow(integration).owed(kinds)

    def coc_answered(self, integration: str, reason: str, seconds: float) -> None:
        requests = self._flow(integration).requests
        (requests.get(reason) or requests[Reason.UNEXPECTED]).inc()
        self._series.request_duration.observe(seconds)

    def paused(self, integration: str, reason: str | None) -> None:
        """Paused for this reason, or resumed with None."""
        _choose(self._flow(integration).pauses, reason)

    def breaker(self, integration: str, state: Breaker) -> None:
        _choose(self._flow(integration).breaker, state)

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

    def store_opened(self, backend: Literal["sqlite", "postgresql", "memory"]) -> None:
        _choose(self._series.backend, backend)

    def committed(self, seconds: float) -> None:
        self._series.commit.observe(seconds)

    def store_size(self, bytes: int, free: int | None = None) -> None:
        """`free`: by how much it can still grow; None where that cannot be told."""
        self._series.store_bytes.set(bytes)
        self._series.store_free.set(math.nan if free is None else free)

    def store_warned(self, warnings: int) -> None:
        """How many warnings the store has at present."""
        self._series.store_warnings.set(warnings)

    def limited(self, backlog: int) -> None:
        """The bound on pending reports, all integrations together."""
        self._series.backlog_limit.set(backlog)

    def backlog(self, counts: Mapping[str, Counts], now: Micros, *, shared: bool = False) -> None:
        """What a look at the store found at `now`: the oldest pending report and the dead letters.

        With `shared` (several replicas) also what is pending and open, which others change too. A store of one
        process must not: its gauges move only together with its counters, else a scrape in between breaks the law.
        """
        for name in {*self._flows, *counts}:
            flow, found = self._flow(name), counts.get(name, _NOTHING)
            if shared:
                flow.stand(found.pending, found.open_alarms)
            flow.look(found, now)

    # The loop itself

    def loop_lagged(self, seconds: float) -> None:
        self._series.lag.observe(max(0.0, seconds))


def _choose(states: Mapping[str, Gauge], chosen: str | None) -> None:
    if chosen is not None and chosen not in states:
        raise ValueError(f"{chosen!r} is none of {', '.join(states)}")
    for state, gauge in states.items():
        gauge.set(int(state == chosen))


def _label(field: str) -> str:
    # `additional.KEY` carries the SRE's words, so only `additional` is kept.
    field = field.partition(".")[0]
    return field if field in FIELDS else OTHER
