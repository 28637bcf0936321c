"""P1 and P2: replicas on PostgreSQL compared with SQLite, and the cost of a large backlog there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg

from bench import multiply, procfs
from bench.cases.backlog import FEW, MANY, round_trip, seed
from bench.figures import Goal, Row, compared, plain
from bench.load import drive
from bench.payloads import fresh
from bench.process import Adapter, Running, Sink, keep_to
from bench.setting import WARM_UP, Bench
from tests.needs import installed
from tests.postgres import PostgresServer, postgres_server

ALARMS: Final = 6_000
PER_WEBHOOK: Final = 10
CONNECTIONS: Final = 16  # of each replica
SETTINGS: Final = "-c shared_buffers=256MB -c max_wal_size=4GB"


@dataclass(frozen=True, slots=True)
class _Measured:
    rate: float  # alarms per second
    replicas: float  # CPU microseconds per alarm
    database: float  # the same


async def alarms_per_second(bench: Bench) -> list[Row]:
    """SQLite, PostgreSQL with one replica and with two, alternately; all processes share the cores."""
    if installed("initdb") is None:
        bench.say("P1: no PostgreSQL is installed; not measured")
        return []
    results: dict[str, list[_Measured]] = {"SQLite": [], "1 replica": [], "2 replicas": []}
    with _server(bench) as database:
        async with bench.sink() as sink:
            for _ in range(bench.repeats):
                for (name, measured), replicas in zip(results.items(), (0, 1, 2), strict=True):
                    dsn = await database.new_database() if replicas else None
                    measured.append(await _flow(bench, sink, database, dsn, max(1, replicas)))
                    bench.say(f"P1: {name} {measured[-1].rate:.0f}/s")
    rates = {name: [one.rate for one in measured] for name, measured in results.items()}
    note = "replicas, database, sink and generator share the cores: a second replica gets only the remaining time"
    rows = [
        compared(
            "P1",
            f"fresh alarms @{PER_WEBHOOK}, PostgreSQL, {name}",
            "/s",
            rates[name],
            (other, rates[other]),
            notes=notes,
        )
        for name, other, notes in (("1 replica", "SQLite", ()), ("2 replicas", "1 replica", (note,)))
    ]
    for name in ("1 replica", "2 replicas"):
        rows += [
            plain("P1", f"CPU per alarm, {name}", "µs", [one.replicas for one in results[name]]),
            plain("P1", f"CPU per alarm, PostgreSQL under {name}", "µs", [one.database for one in results[name]]),
        ]
    return rows


async def claim_and_settle(bench: Bench) -> list[Row]:
    """The store alone, as in B8."""
    if installed("initdb") is None:
        bench.say("P2: no PostgreSQL is installed; not measured")
        return []
    with_many, with_few = [], []
    with _server(bench) as database:
        many, few = [await _filled(bench, database, reports) for reports in (bench.some(MANY), FEW * bench.repeats)]
        for _ in range(bench.repeats):
            with_many.append(await round_trip(many))
            with_few.append(await round_trip(few))
            bench.say(f"P2: {with_many[-1]:.0f} µs with {MANY}, {with_few[-1]:.0f} µs with {FEW}")
    name, goal = f"claim + settle of a report on PostgreSQL, {MANY} undelivered", Goal("at most", 2.0, "x")
    return [compared("P2", name, "µs", with_many, (f"{FEW} undelivered", with_few), goal)]


@contextmanager
def _server(bench: Bench) -> Iterator[PostgresServer]:
    """A server on all cores. fsync and synchronous_commit are on, by its defaults."""
    keep_to(None)
    with postgres_server(SETTINGS, parent="/var/tmp") as database:  # /tmp may be in memory
        keep_to(bench.tool_core)
        yield database


async def _filled(bench: Bench, database: PostgresServer, reports: int) -> str:
    """The DSN of a database with so many undelivered reports."""
    dsn, started = await database.new_database(), time.monotonic()
    await seed(bench, Adapter(store=dsn))
    connection = await asyncpg.connect(dsn)
    await multiply.postgres(connection, reports)
    await connection.close()
    bench.say(f"a database of {reports} undelivered reports: {time.monotonic() - started:.0f} s")
    return dsn


async def _flow(bench: Bench, sink: Sink, database: PostgresServer, dsn: str | None, replicas: int) -> _Measured:
    """New alarms through so many replicas, each with its own senders."""
    await sink.reset()
    async with AsyncExitStack() as stack:
        adapter = Adapter(store=dsn) if dsn else Adapter()
        running: list[Running] = [
            await stack.enter_async_context(bench.adapter(sink, adapter, spread=True)) for _ in range(replicas)
        ]
        for number, one in enumerate(running):
            await drive(one.port, fresh(300, per_webhook=10, first=WARM_UP + 1000 * number), 4)
        await sink.wait(300 * replicas)
        await sink.quiet()
        await sink.reset()
        before, database_before = _cpu(running), procfs.cpu_seconds(database.pid)
        started = time.monotonic()
        await _drive_all(running)
        last = (await sink.wait(ALARMS))["last"]
        await sink.quiet()
        return _Measured(
            rate=ALARMS / (last - started),
            replicas=(_cpu(running) - before) / ALARMS * 1e6,
            database=(procfs.cpu_seconds(database.pid) - database_before) / ALARMS * 1e6,
        )


async def _drive_all(running: list[Running]) -> None:
    """The same number of alarms in all, divided among the replicas."""
    share = ALARMS // len(running)
    async with asyncio.TaskGroup() as group:
        for number, one in enumerate(running):
            bodies = fresh(share, per_webhook=PER_WEBHOOK, first=number * share)
            group.create_task(drive(one.port, bodies, CONNECTIONS))


def _cpu(running: list[Running]) -> float:
    return sum(procfs.cpu_seconds(one.pid) for one in running)
