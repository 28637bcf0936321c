"""What the adapter tells Prometheus: every metric is declared once, in _Series, and counted by the methods of Metrics.

Label sets are closed and start at zero; no label comes from an alert. A value outside its set counts as `other`.
The law holds at any scrape, because counters and gauge move in the same call, with no `await` in between:

    sum by (integration) (reports_enqueued_total) - sum by (integration) (reports_total) - reports_pending == 0

docs/metrics.md is the reader's copy; a test compares the two.
"""

from __future__ import annotations

import math
import platform
from collections import Counter as Tally
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from adapter import __version__
from adapter.alarm import Kind, News, Outcome
from adapter.alertmanager import Webhook
from adapter.application import Lookup
from adapter.clock import SECOND, Clock, Micros, SystemClock
from adapter.coc.fields import ADDITIONAL, MAPPED
from adapter.coc.verdict import Reason
from adapter.history import History
from adapter.mapping.render.request import Reason as FallbackReason
from adapter.reconcile.judge import Act, State
from adapter.reconcile.snapshot import Result
from adapter.server import access
from adapter.store.contract import Receipt, Settled, Settlement
from adapter.store.views import Counts, Removed

UNKNOWN: Final = "unknown"  # the integration of a webhook whose path names none of ours
OTHER: Final = "other"
CARRIED: Final = "carried"  # a report that a start found pending

CODES: Final = ("200", "400", "401", "403", "404", "405", "413", "415", "500", "503", OTHER)
STATUSES: Final = ("firing", "resolved", "unusable")
KINDS: Final = (*Kind, CARRIED)
PAUSES: Final = ("operator", "credentials", "endpoint", "refusals")
BREAKER_STATES: Final = ("closed", "open", "half_open")
EMPTY: Final = "empty"  # a list without a node after one that had some: not believed yet
FETCHES: Final = (*Reason, EMPTY)
BACKENDS: Final = ("sqlite", "postgresql", "memory")
REFUSALS: Final = (*access.REFUSALS, OTHER)
FIELDS: Final = (*MAPPED, ADDITIONAL, "when", OTHER)  # `when`: a rule's condition failed

# A webhook is answered after one commit, in milliseconds; Alertmanager gives up after 10 s or more.
_WEBHOOK: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
# One POST across the internet; the usual timeout is 10 s.
_REQUEST: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
# From at once to an outage of days.
_DELIVERY: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400, 259200)
# A call of the renderer: tens of microseconds an alarm; a template is stopped at 1 s.
_RENDER: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
# A group commit is one fdatasync: 0.2 ms on a good disk, seconds on a drowned one.
_COMMIT: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_LAG: Final = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1)

_REFUSED: Final = (Reason.CONTENT, Reason.CREDENTIALS, Reason.ENDPOINT)

Metric = TypeVar("Metric", Counter, Gauge)

_NOTHING: Final = Counts(pending=0, open_alarms=0, oldest=None)
_EXEMPLAR_CHARACTERS: Final = 128 - len("alarm_id")  # OpenMetrics bounds names and values together


class Metrics:
    """What the adapter tells Prometheus. Several may live in one process, each on its own registry."""

    def __init__(
        self, integrations: Iterable[str], clock: Clock | None = None, *, alertmanagers: Iterable[str] = ()
    ) -> None:
        """`alertmanagers`: names of the clusters that reconciling asks."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._clock = clock or SystemClock()
        integrations = tuple(integrations)
        self.history = History(integrations)
        series = self._series = _Series(self.registry)
        self._refused = _children(series.refused, REFUSALS)
        self._backend = _children(series.backend, BACKENDS)
        self._clipped = _children(series.clipped, FIELDS)
        self._fallbacks = {field: _children(series.fallbacks, FallbackReason, field) for field in FIELDS}
        self._integrations: dict[str, _Integration] = {}
        for name in integrations:
            self._integration(name)
        self._unknown_webhooks = _children(series.webhooks, CODES, UNKNOWN)
        self._polls = {name: _children(series.polls, Result, name) for name in alertmanagers}
        for name in self._polls:
            self.reconcile_shown(name, 0, 0)

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
        unusable = webhook.rejected
        series.received["firing"].inc(firing)
        series.received["resolved"].inc(len(webhook.alerts) - firing)
        series.received["unusable"].inc(unusable)
        for news, count in {**receipt.news, News.REJECTED: unusable}.items():
            series.alerts[news].inc(count)
        series.conflicts.inc(receipt.conflicts)
        self.history.count(integration, "received", len(webhook.alerts))
        self.receipt(integration, receipt)
        self._series.truncated.inc(webhook.truncated)

    def receipt(self, integration: str, receipt: Receipt) -> None:
        """What was committed, by a webhook or by reconciling, enqueued reports."""
        series = self._integration(integration)
        series.enqueue(kind for _, kind in receipt.owed)
        series.reports[Outcome.SUPERSEDED].inc(receipt.superseded)
        series.set(receipt.pending, receipt.open_alarms)

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
                self.history.count(report.integration, "delivered")
                alarm_id = report.coc_alarm_id
                exemplar = {"alarm_id": alarm_id} if len(alarm_id) <= _EXEMPLAR_CHARACTERS else None
                self._series.latency.observe(max(0, settlement.at - report.received) / SECOND, exemplar)
            if settlement.provenance is not None:
                self.history.count(report.integration, "fell_back", bool(settlement.provenance.fallbacks))
                for field, reason in settlement.provenance.fallbacks:
                    self._fallbacks[_label(field)][reason].inc()
                for field in settlement.provenance.clipped:
                    self._clipped[_label(field)].inc()
            self._series.unknown_severity.inc(settlement.unknown_severity)
        series.set(settled.pending, settled.open_alarms)

    def replayed(self, integration: str, kinds: Sequence[Kind]) -> None:
        """Dead letters were enqueued again as reports of these kinds, right before this call."""
        series = self._integration(integration)
        series.enqueue(kinds)
        series.add(len(kinds))

    def removed(self, integration: str, to: str | None, removed: Removed) -> None:
        """Of an integration that left adapter.yml, right before this call: discarded, or moved `to` another one.

        What was moved counts as superseded here and as carried there.
        """
        series = self._integration(integration)
        series.reports[Outcome.SUPERSEDED if to else Outcome.DISCARDED].inc(removed.reports)
        series.add(-removed.reports, -removed.open_alarms)
        series.dead.dec(removed.dead_letters)
        if to:
            other = self._integration(to)
            other.enqueued[CARRIED].inc(removed.taken_reports)
            other.add(removed.taken_reports, removed.taken_open)
            other.dead.inc(removed.dead_letters)

    def orphans(self, names: Iterable[str]) -> None:
        """The integrations that are not in adapter.yml and of which the store holds something."""
        left = frozenset(names)
        for name in {*self._integrations, *left}:
            self._integration(name).orphaned.set(name in left)

    def coc_answered(self, integration: str, reason: str, seconds: float) -> None:
        requests = self._integration(integration).requests
        requests.get(reason, requests[Reason.UNEXPECTED]).inc()
        self._series.request_duration.observe(seconds)
        self.history.answered(integration, seconds)
        if reason != Reason.ACCEPTED:
            self.history.count(integration, "refused" if reason in _REFUSED else "failed")

    def paused(self, integration: str, reason: str | None) -> None:
        """Paused for this reason, or resumed with None."""
        _choose(self._integration(integration).paused, reason)

    def breaker(self, integration: str, state: str) -> None:
        _choose(self._integration(integration).breaker, state)

    # Reconciling

    def reconcile_polled(self, alertmanager: str, result: str) -> None:
        self._polls[alertmanager][result].inc()

    def reconcile_shown(self, alertmanager: str, valid_at: Micros, held: int) -> None:
        self._series.last_valid.labels(alertmanager).set(valid_at / SECOND)
        self._series.held.labels(alertmanager).set(held)

    def reconcile_states(self, states: Mapping[str, Mapping[State, int]]) -> None:
        """How many alarms are in which state, by integration; all others are in none."""
        for name, series in self._integrations.items():
            for state in State:
                series.reconciled[state].set(states.get(name, {}).get(state, 0))

    def reconcile_acted(self, integration: str, act: str) -> None:
        self._integration(integration).acts[act].inc()

    def unseen(self, counts: Mapping[str, int]) -> None:
        """How many open alarms no alert has named for a day, by integration."""
        for name in {*self._integrations, *counts}:
            self._integration(name).unseen.set(counts.get(name, 0))

    # Mapping

    def rendered(self, alarms: int, seconds: float) -> None:
        """One call of the rendering child."""
        self._series.render.observe(seconds)
        self._series.rendered.inc(alarms)

    def looked_up(self, integration: str, lookups: Iterable[Lookup]) -> None:
        """What the filter `application` found for an alert that was rendered for COC."""
        series = self._integration(integration)
        for lookup in lookups:
            series.lookups[lookup].inc()

    def applications_fetched(self, integration: str, result: str) -> None:
        self._integration(integration).fetches[result].inc()

    def applications_known(self, integration: str, nodes: int) -> None:
        self._integration(integration).applications.set(nodes)

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

    def backlog(
        self, counts: Mapping[str, Counts], share: Mapping[str, int] | None = None, *, shared: bool = False
    ) -> None:
        """What the store counted just now: the oldest pending report, refreshes and the dead letters.

        `share`: the news that each integration of adapter.yml may have pending.

        With `shared` (several replicas) also what is pending and open, which others change too. For a store of one
        process these gauges move only together with their counters, else a scrape in between breaks the law.
        """
        self.history.waiting({name: count.pending for name, count in counts.items()})
        for name in {*self._integrations, *counts}:
            series, count = self._integration(name), counts.get(name, _NOTHING)
            if share is not None:
                series.share.set(share.get(name, 0))
            if shared:
                series.set(count.pending, count.open_alarms)
            series.refresh(count)

    # The event loop

    def loop_lagged(self, seconds: float) -> None:
        self._series.lag.observe(max(0.0, seconds))


class _Integration:
    """The series of one integration, from the start with every label value, and since when its oldest report waits."""

    def __init__(self, series: _Series, name: str, clock: Clock) -> None:
        self.webhooks = _children(series.webhooks, CODES, name)
        self.received = _children(series.received, STATUSES, name)
        self.alerts = _children(series.alerts, News, name)
        self.reports = _children(series.reports, Outcome, name)
        self.enqueued = _children(series.enqueued, KINDS, name)
        self.requests = _children(series.requests, Reason, name)
        self.paused = _children(series.paused, PAUSES, name)
        self.breaker = _children(series.breaker, BREAKER_STATES, name)
        self.lookups = _children(series.lookups, Lookup, name)
        self.fetches = _children(series.fetches, FETCHES, name)
        self.applications = series.applications.labels(name)
        self.reconciled = _children(series.reconciled, State, name)
        self.acts = _children(series.acts, Act, name)
        self.unseen = series.unseen.labels(name)
        self.dead = series.dead.labels(name)
        self.orphaned = series.orphaned.labels(name)
        self.share = series.share.labels(name)
        self.conflicts = series.conflicts.labels(name)
        self._refreshes = series.refreshes.labels(name)
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

    def add(self, count: int, open_alarms: int = 0) -> None:
        self._open.inc(open_alarms)
        self._count += count
        self._pending.set(self._count)
        if not self._count:
            self._oldest = None
        elif self._oldest is None:
            self._oldest = self._clock.monotonic()

    def refresh(self, counts: Counts) -> None:
        self.dead.set(counts.dead)
        self._refreshes.set(counts.refreshing)
        if counts.oldest is not None and self._oldest is not None:
            self._oldest = self._clock.monotonic() - (self._clock.now() - counts.oldest) / SECOND

    def _age(self) -> float:
        return 0.0 if self._oldest is None else max(0.0, self._clock.monotonic() - self._oldest)


class _Series:
    """All of them on one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._declare_service()
        self._declare_store()
        self._declare_intake()
        self._declare_reports()
        self._declare_coc()
        self._declare_mapping()
        self._declare_reconcile()

    def _declare_service(self) -> None:
        info = self._gauge("build_info", "Always 1; the labels say what runs.", "version", "pythonversion")
        info.labels(__version__, platform.python_version()).set(1)
        self.reload_successful = self._gauge(
            "config_last_reload_successful", "1 when the last load of configuration and mappings succeeded, else 0."
        )
        self.reload_timestamp = self._gauge(
            "config_last_reload_success_timestamp_seconds", "Unix time of the last load that succeeded."
        )
        self.refused = self._counter("access_refused_total", "Requests refused for want of access.", "reason")
        self.lag = self._histogram("event_loop_lag_seconds", "How late a timer of the event loop ran, sampled.", _LAG)

    def _declare_store(self) -> None:
        self.commit = self._histogram("store_commit_seconds", "Time one durable commit of the store took.", _COMMIT)
        self.store_bytes = self._gauge("store_bytes", "Bytes the store takes; 0 in memory.")
        self.store_free = self._gauge(
            "store_free_bytes", "Bytes the store can still grow by; NaN where that cannot be told."
        )
        self.store_free.set(math.nan)
        self.store_warnings = self._gauge("store_warnings", "Warnings the store has about damage, room or settings.")
        self.backend = self._gauge("store_info", "1 for the kind of store in use.", "backend")
        self.backlog_limit = self._gauge(
            "backlog_limit", "Pending reports of all integrations at which webhooks are answered 503; 0 until known."
        )

        self.share = self._gauge(
            "backlog_share",
            "Pending reports without refreshes at which the integration's webhooks are answered 503, as things are.",
            "integration",
        )

    def _declare_intake(self) -> None:
        self.webhooks = self._counter("webhooks_total", "Webhooks answered, by HTTP status.", "integration", "code")
        self.webhook_duration = self._histogram(
            "webhook_duration_seconds", "Time from the head of a webhook to its answer.", _WEBHOOK
        )
        self.received = self._counter(
            "alerts_received_total", "Alerts in committed webhooks, as Alertmanager sent them.", "integration", "status"
        )
        self.alerts = self._counter(
            "alerts_total", "Alerts in committed webhooks, by what they were to us.", "integration", "outcome"
        )
        self.conflicts = self._counter(
            "fingerprint_conflicts_total",
            "Alerts that came under the fingerprint of a known alarm with other labels.",
            "integration",
        )
        self.truncated = self._counter(
            "truncated_alerts_total", "Alerts that Alertmanager cut off (max_alerts), so that nobody sees them."
        )

    def _declare_reports(self) -> None:
        self.reports = self._counter(
            "reports_total", "Reports that left the pending ones, by how.", "integration", "outcome"
        )
        self.enqueued = self._counter("reports_enqueued_total", "Reports owed to COC, by why.", "integration", "kind")
        self.pending = self._gauge("reports_pending", "Reports owed to COC and not settled yet.", "integration")
        self.refreshes = self._gauge(
            "refreshes_pending", "Of reports_pending, those that repeat to COC what it has.", "integration"
        )
        self.oldest = self._gauge(
            "oldest_pending_seconds", "Age of the oldest pending report; 0 without one.", "integration"
        )
        self.open = self._gauge("open_alarms", "Alarms that fire as far as Alertmanager last said.", "integration")
        self.dead = self._gauge("dead_letters", "Reports COC refused for good that wait for a person.", "integration")
        self.latency = self._histogram(
            "delivery_latency_seconds", "Time from the commit of a report to its acceptance by COC.", _DELIVERY
        )

    def _declare_coc(self) -> None:
        self.requests = self._counter("coc_requests_total", "POSTs to COC, by verdict.", "integration", "reason")
        self.request_duration = self._histogram("coc_request_duration_seconds", "Time one POST to COC took.", _REQUEST)
        self.orphaned = self._gauge(
            "integration_orphaned",
            "1 while the store holds something of the integration and adapter.yml does not name it.",
            "integration",
        )
        self.paused = self._gauge(
            "integration_paused", "1 while nothing is reported to the integration, by why.", "integration", "reason"
        )
        self.breaker = self._gauge("breaker_state", "1 for the state the breaker is in.", "integration", "state")

    def _declare_mapping(self) -> None:
        self.fallbacks = self._counter(
            "mapping_fallbacks_total", "Fields of settled reports that fell back to the built-in.", "field", "reason"
        )
        self.clipped = self._counter("clipped_fields_total", "Fields of settled reports cut to COC's length.", "field")
        self.unknown_severity = self._counter(
            "severity_unknown_total", "Settled reports whose severity word is in no table, so that they are Major."
        )
        self.render = self._histogram("mapping_render_seconds", "Time one call of the rendering child took.", _RENDER)
        self.rendered = self._counter("mapping_rendered_alarms_total", "Alarms rendered.")
        self.revision = self._gauge("mapping_revision_info", "1 for the mapping revision in force.", "revision")

        self.lookups = self._counter(
            "applications_lookups_total", "Texts that mappings looked up as applications.", "integration", "result"
        )
        self.fetches = self._counter(
            "applications_fetches_total", "Lists of applications fetched from COC.", "integration", "result"
        )
        self.applications = self._gauge(
            "applications_known", "Applications, components and groups known from COC.", "integration"
        )

    def _declare_reconcile(self) -> None:
        polls = "Polls of Alertmanager's API, by what came of them."
        self.polls = self._counter("reconcile_polls_total", polls, "alertmanager", "result")
        valid = "Unix time of the last poll that counts; 0 for none."
        self.last_valid = self._gauge("reconcile_last_valid_timestamp_seconds", valid, "alertmanager")
        self.held = self._gauge(
            "reconcile_held", "Alarms that disappeared at once and wait for a person.", "alertmanager"
        )
        alarms = "Open alarms, and alerts missing here, as the last poll found them."
        self.reconciled = self._gauge("reconcile_alarms", alarms, "integration", "state")
        self.acts = self._counter("reconcile_acts_total", "What reconciling did.", "integration", "act")
        unseen = "Open alarms that no webhook has named for 24 h."
        self.unseen = self._gauge("open_alarms_unseen", unseen, "integration")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, namespace="coc_adapter", registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, namespace="coc_adapter", registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, namespace="coc_adapter", registry=self._registry, buckets=buckets)


def _children(metric: Metric, values: Iterable[str], *labels: str) -> dict[str, Metric]:
    """The child for each value of the last label. Each is exported from now on; one that is there stays as it is."""
    return {value: metric.labels(*labels, value) for value in values}


def _choose(gauges: Mapping[str, Gauge], chosen: str | None) -> None:
    if chosen is not None and chosen not in gauges:
        raise ValueError(f"{chosen!r} is none of {', '.join(gauges)}")
    for value, gauge in gauges.items():
        gauge.set(int(value == chosen))


def _label(field: str) -> str:
    # `additional.KEY` carries the SRE's words, so only `additional` is kept.
    field = field.partition(".")[0]
    return field if field in FIELDS else OTHER
