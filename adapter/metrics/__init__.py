"""What the adapter tells Prometheus: every metric is declared once (declared) and counted by events (recorder).

The law holds at any scrape, because counters and gauge move in the same call, with no `await` in between:

    sum by (integration) (reports_enqueued_total) - sum by (integration) (reports_total) - reports_pending == 0

docs/metrics.md is the reader's copy; a test compares the two.
"""

from adapter.metrics.recorder import Breaker, Metrics

__all__ = ["Breaker", "Metrics"]
