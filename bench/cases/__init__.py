"""The cases by their number; those with a P need an installed PostgreSQL."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from bench.cases import backlog, delivery, drafts, growth, latency, memory, reconcile, replicas, resends, throughput
from bench.figures import Row
from bench.setting import Bench

Case = Callable[[Bench], Awaitable[list[Row]]]

CASES: Final[dict[str, Case]] = {
    "B1": throughput.against_the_journal,
    "B2": throughput.against_the_relay,
    "B3": resends.a_day_of_resends,
    "B4": resends.cost_of_a_repeat,
    "B5": latency.one_connection,
    "B6": latency.slow_coc,
    "B7": delivery.rate,
    "B8": backlog.claim_and_settle,
    "B9": backlog.start,
    "B10": memory.idle_and_burst,
    "B11": growth.size_of_a_webhook,
    "B12": reconcile.fifty_thousand_alerts,
    "B13": drafts.keystrokes,
    "M1": throughput.against_compiled_code,
    "P1": replicas.alarms_per_second,
    "P2": replicas.claim_and_settle,
}
