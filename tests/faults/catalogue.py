"""The rows of docs/reliability.md as cases, each with counts for fault runs and for tests."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults.cases import (
    coc,
    disk,
    hostile,
    mappings,
    messages,
    postgres,
    process,
    refreshes,
    simulated,
    sqlite,
    webhooks,
)
from tests.faults.cases.existing import existing_tests
from tests.faults.result import CaseResult

Run = Callable[[Path], CaseResult | Awaitable[CaseResult]]


class Case(NamedTuple):
    """`short` is None for a case that `make test` runs elsewhere in a short form."""

    row: int
    name: str
    full: Run
    short: Run | None


def case(row: int, name: str, run: Callable[..., Any], full: dict[str, Any], short: dict[str, Any]) -> Case:
    return Case(row, name, partial(run, **full), partial(run, **short))


def full_only(row: int, name: str, full: Run) -> Case:
    return Case(row, name, full, None)


C, S, F = "tests/coc/", "tests/store/", "tests/flow/test_store_faults.py"

ATTACKS_AT_ONCE = {
    "slow sockets": 300,
    "silent connections": 400,
    "connections that guess passwords": 100,
    "MiB of a bomb": 200,
    "MiB of values": 15,
    "chunks": 50_000,
    "connections of garbage": 50,
    "webhooks from other sites": 50,
    "expectations": 50,
    "long matchers": 20,
    "alerts of previews": 300,
}
ATTACKS_ALONE = {
    "slow sockets": 500,
    "silent connections": 1500,
    "connections that guess passwords": 150,
    "MiB of a bomb": 200,
    "MiB of values": 15,
    "chunks": 100_000,
    "connections of garbage": 200,
    "alerts of one body": 50_000,
    "labels of one alert": 90_000,
    "labels common to 1000 alerts": 10_000,
    "half characters": 1_500_000,
    "webhooks from other sites": 200,
    "expectations": 200,
    "long matchers": 50,
    "alerts of previews": 1000,
    "rules": 5000,
    "rules with a misspelt key": 20_000,
    "filters in a row": 1000,
    "digits of a number": 5000,
    "entries of a lookup table": 80_000,
}


def _twentieth(sizes: dict[str, int]) -> dict[str, int]:
    return {name: max(1, size // 20) for name, size in sizes.items()}


CATALOGUE: tuple[Case, ...] = (
    case(1, "kill -9 under load", process.kill_nine, {"kills": 100}, {"kills": 3}),
    case(1, "kill -9, the SQLite store alone", sqlite.kill_store, {"kills": 100}, {"kills": 3}),
    case(2, "kill at each boundary, SQLite", simulated.every_boundary, {}, {"store": "memory"}),
    case(
        2, "each message of a transaction fails, PostgreSQL", messages.messages_lost,
        {"operations": messages.EVERY_WAY},
        {"operations": {"accept": ["terminate"], "settle": ["after"], "claim": ["terminate"], "pause": ["after"]}},
    ),
    case(3, "SIGTERM, once and twice", process.drain, {"rounds": 10}, {"rounds": 2}),
    case(4, "disk full", disk.full_disk, {"rounds": 10}, {"rounds": 1}),
    case(5, "every Nth operation fails", sqlite.every_operation_fails, {"operations": 200}, {"operations": 40}),
    case(6, "read-only folder", disk.read_only, {}, {}),
    case(7, "overwritten blocks", sqlite.overwritten_blocks, {"blocks": 500}, {"blocks": 20}),
    full_only(7, "cut and foreign logs", existing_tests(f"{S}test_sqlite.py", "-k", "log or database or file")),
    case(8, "backlog", disk.large_backlog, {"reports": 1_000_000, "drain": 20}, {"reports": 5000, "drain": 2}),
    case(9, "COC down", simulated.outage, {"hours": 72}, {"hours": 1}),
    case(
        9, "COC down, SQLite", simulated.outage,
        {"hours": 2, "store": "sqlite"}, {"hours": 0.1, "store": "sqlite", "every": 60},
    ),
    case(10, "COC flapping", simulated.flapping, {"minutes": 120}, {"minutes": 2}),
    case(11, "COC slow or silent", coc.slow, {"seconds": 20, "limit": 0.05}, {"seconds": 0.5, "limit": 5.0}),
    case(12, "connections reset", coc.resets, {"reports": 4000}, {"reports": 200}),
    case(13, "broken answers", coc.broken_answers, {"each": 20, "endless": 1024}, {"each": 2, "endless": 32}),
    case(14, "answers that are no success", coc.odd_answers, {"each": 50}, {"each": 2}),
    case(15, "5 % refused", simulated.some_refused, {"alarms": 2000}, {"alarms": 100}),
    case(16, "all refused", simulated.all_refused, {"alarms": 500}, {"alarms": 60}),
    case(17, "rotated key", coc.rotated_key, {"alarms": 500, "paused": 70}, {"alarms": 50, "paused": 1}),
    case(18, "Retry-After", simulated.retry_after, {}, {}),
    case(19, "name service", coc.name_service, {"rounds": 3}, {"rounds": 1}),
    case(20, "wall clock jumps", simulated.clock_jumps, {}, {"store": "memory"}),
    case(
        21, "burst", webhooks.burst,
        {"alerts": 100_000, "bodies": 1000, "seconds": 120}, {"alerts": 2000, "bodies": 20, "seconds": 3},
    ),
    case(22, "two Alertmanagers", simulated.pair, {"rounds": 500}, {"rounds": 20}),
    case(
        22, "two Alertmanagers that cannot talk", simulated.pair,
        {"rounds": 500, "gossip": False}, {"rounds": 20, "gossip": False},
    ),
    case(
        22, "two Alertmanagers, 3 replicas on PostgreSQL", postgres.two_alertmanagers,
        {"alerts": 300, "transitions": 20}, {"alerts": 100, "transitions": 3},
    ),
    case(
        22, "two Alertmanagers, 3 replicas behind PgBouncer", postgres.two_alertmanagers,
        {"alerts": 300, "transitions": 20, "pooled": True}, {"alerts": 100, "transitions": 3, "pooled": True},
    ),
    case(23, "senders that give up", webhooks.given_up, {"rounds": 300}, {"rounds": 10}),
    case(
        24, "3 replicas on PostgreSQL, kill -9", postgres.replicas_killed,
        {"count": 3, "kills": 60, "every": 1.0, "alerts": 400, "transitions": 60},
        {"count": 2, "kills": 1, "every": 1.0, "alerts": 100, "transitions": 4},
    ),
    case(
        25, "PostgreSQL crashes", postgres.server_crashes,
        {"crashes": 10, "every": 2.0, "alerts": 300, "transitions": 20},
        {"crashes": 2, "every": 0.3, "alerts": 100, "transitions": 4},
    ),
    full_only(26, "a replica that slept over its lease", existing_tests(f"{S}test_postgres.py", "-k", "lease")),
    case(
        27, "backends killed", postgres.backends_killed,
        {"kills": 100, "every": 0.2, "alerts": 300, "transitions": 25},
        {"kills": 10, "every": 0.1, "alerts": 100, "transitions": 4},
    ),
    case(28, "mutated bodies", webhooks.mutants, {"bodies": 1_000_000}, {"bodies": 2000}),
    case(
        28, "mutated bodies, without the network", webhooks.mutants_inside,
        {"bodies": 1_000_000}, {"bodies": 5000},
    ),
    case(29, "one bad alert", webhooks.one_bad, {"alerts": 500}, {"alerts": 500}),
    case(30, "template errors", mappings.template_errors, {"alerts": 50}, {"alerts": 2}),
    full_only(
        31, "hostile templates",
        existing_tests("tests/mapping/test_renderer.py", figure=r"(event loop lag [^:]*): (.*)"),
    ),
    case(32, "extreme labels", webhooks.extreme_labels, {"size": 10_000_000}, {"size": 1_000_000}),
    full_only(33, "reloads that must be refused", existing_tests("tests/mapping/test_reload.py")),
    full_only(
        34, "1,000 reloads under load",
        existing_tests("tests/mapping/test_reload.py", "-k", "under_load", MAPPING_RELOADS="1000"),
    ),
    case(35, "no mapping", webhooks.no_mapping, {"alerts": 1000}, {"alerts": 20}),
    case(36, "backlog bound", webhooks.backlog, {"bound": 1000}, {"bound": 50}),
    Case(
        37, "attacks",
        partial(
            hostile.attacks,
            sizes={"slow sockets": 500, "MiB of a bomb": 200, "chunks": 100_000, "connections of garbage": 50},
            rounds=5, seconds=4.0,
        ),
        None,
    ),
    case(
        37, "all attacks at once", hostile.all_at_once,
        {"sizes": ATTACKS_AT_ONCE, "seconds": 400.0, "ratio": 3.0},
        {"sizes": _twentieth(ATTACKS_AT_ONCE), "seconds": 3.0, "ratio": math.inf},
    ),
    case(38, "canary", coc.canary, {"rounds": 3}, {"rounds": 1}),
    full_only(38, "canary, every failure", existing_tests(f"{C}test_canary.py")),
    case(
        43, "waits while attacks run alone", hostile.waits,
        {"sizes": ATTACKS_ALONE, "seconds": 5.0, "most": 100.0},
        {"sizes": _twentieth(ATTACKS_ALONE), "seconds": 0.1, "most": math.inf},
    ),
    case(42, "bodies of millions of values", webhooks.dense, {"mebibytes": 15}, {"mebibytes": 2}),
    full_only(42, "memory limits", existing_tests("tests/flow/test_memory_limit.py")),
    case(41, "files moved while served", disk.files_moved, {}, {}),
    full_only(39, "newer and foreign stores refused", existing_tests(f"{S}test_sqlite.py", "-k", "newer or another")),
    full_only(
        51, "PostgreSQL's password rotated",
        existing_tests(f"{S}test_postgres.py", F, "-k", "rotated_password or new_password"),
    ),
    full_only(52, "tables that intake cannot write", existing_tests(F, "-k", "readiness_follows")),
    full_only(53, "a synchronous standby gone", existing_tests(f"{S}test_postgres.py", "-k", "standby")),
    case(
        54, "refreshes of open alarms while COC is slow", refreshes.news_first,
        {"alarms": 100_000, "fresh": 10, "rate": 20.0, "delay": 1.0, "seconds": 10.0},
        {"alarms": 2000, "fresh": 2, "rate": 20.0, "delay": 1.0, "seconds": 10.0},
    ),
    full_only(55, "integrations that left adapter.yml", existing_tests("tests/flow/test_orphans.py")),
    full_only(56, "replicas with different mappings", existing_tests("tests/flow/test_replica_mappings.py")),
)  # fmt: skip
