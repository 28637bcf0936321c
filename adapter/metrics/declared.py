"""Declares every metric: name, help text, labels with their closed values, buckets. Counts nothing.

Label sets are closed and start at zero; no label comes from an alert. A value outside its set counts as `other`.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from adapter import __version__
from adapter.alarm import Kind
from adapter.coc.fields import ADDITIONAL, MAPPED
from adapter.server import access

UNKNOWN: Final = "unknown"  # the integration of a webhook whose path names none of ours
OTHER: Final = "other"
CARRIED: Final = "carried"  # a report that a start found pending

CODES: Final = ("200", "400", "401", "403", "404", "405", "413", "500", "503", OTHER)
STATUSES: Final = ("firing", "resolved", "unusable")
KINDS: Final = (*Kind, CARRIED)
PAUSES: Final = ("operator", "credentials", "endpoint", "refusals")
BREAKER_STATES: Final = ("closed", "open", "half_open")
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

Metric = TypeVar("Metric", Counter, Gauge)


class Series:
    """All of them on one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._declare_service()
        self._declare_store()
        self._declare_intake()
        self._declare_reports()
        self._declare_coc()
        self._declare_mapping()

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
        self.truncated = self._counter(
            "truncated_alerts_total", "Alerts that Alertmanager cut off (max_alerts), so that nobody sees them."
        )

    def _declare_reports(self) -> None:
        self.reports = self._counter(
            "reports_total", "Reports that left the pending ones, by how.", "integration", "outcome"
        )
        self.enqueued = self._counter("reports_enqueued_total", "Reports owed to COC, by why.", "integration", "kind")
        self.pending = self._gauge("reports_pending", "Reports owed to COC and not settled yet.", "integration")
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
        self.paused = self._gauge(
            "integration_paused", "1 while nothing is reported to the integration, by why.", "integration", "reason"
        )
        self.breaker = self._gauge("breaker_state", "1 for the state the breaker is in.", "integration", "state")

    def _declare_mapping(self) -> None:
        self.fallbacks = self._counter(
            "mapping_fallbacks_total", "Fields of settled reports that fell back to the built-in.", "field", "reason"
        )
        self.clipped = self._counter("clipped_fields_total", "Fields of settled reports cut to COC's length.", "field")
        self.render = self._histogram("mapping_render_seconds", "Time one call of the rendering child took.", _RENDER)
        self.rendered = self._counter("mapping_rendered_alarms_total", "Alarms rendered.")
        self.revision = self._gauge("mapping_revision_info", "1 for the mapping revision in force.", "revision")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, namespace="coc_adapter", registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, namespace="coc_adapter", registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, text, namespace="coc_adapter", registry=self._registry, buckets=buckets)


def children(metric: Metric, values: Iterable[str], *labels: str) -> dict[str, Metric]:
    """The child for each value of the last label. Each is exported from now on; one that is there stays as it is."""
    return {value: metric.labels(*labels, value) for value in values}
