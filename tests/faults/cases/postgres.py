"""Rows 22, 24, 25 and 27: replicas on one PostgreSQL; processes, connections or the server are killed."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from adapter.errors import StoreUnavailable
from adapter.store.contract import Intake
from adapter.store.postgres.store import PostgresStore
from tests.builders import firing, resolved
from tests.faults.replica import deliver
from tests.faults.result import CaseResult, case_result, unless
from tests.needs import needs
from tests.postgres import (
    PostgresServer,
    eventually_connects,
    postgres_server,
    replicas,
    transaction_pooler,
    wrong_queues,
)
from tests.stage import REPOSITORY


async def two_alertmanagers(folder: Path, *, alerts: int, transitions: int, pooled: bool = False) -> CaseResult:
    """Both send every transition of every alert, to different replicas at once; all replicas deliver meanwhile.

    `pooled`: the replicas go through PgBouncer in transaction mode.
    """
    with _server() as server:
        dsn = await server.new_database()
        if not pooled:
            return await _two_alertmanagers(server, dsn, dsn, alerts, transitions)
        with transaction_pooler(server) as port:
            through = dsn.replace(f":{server.port}/", f":{port}/")
            await eventually_connects(through)
            return await _two_alertmanagers(server, dsn, through, alerts, transitions)


async def _two_alertmanagers(
    server: PostgresServer, dsn: str, through: str, alerts: int, transitions: int
) -> CaseResult:
    journal: list[str] = []
    async with replicas(through, 3) as stores:
        traffic = _Traffic(server, dsn, stores, alerts, transitions)
        async with _working([deliver(store, journal.append) for store in stores]):
            await traffic.send(twice=True)
            await traffic.drained()
    return await traffic.result(journal, duplicates=0)


async def replicas_killed(
    folder: Path, *, count: int, kills: int, every: float, alerts: int, transitions: int
) -> CaseResult:
    """Row 24: processes deliver; one of them is killed and started again `every` so many seconds."""
    with _server() as server:
        dsn, path = await server.new_database(), folder / "journal"
        path.touch()
        async with replicas(dsn, 1) as stores:
            traffic = _Traffic(server, dsn, stores, alerts, transitions)
            workers = [await _start(dsn, path) for _ in range(count)]
            sending = asyncio.ensure_future(traffic.send())
            try:
                for kill in range(kills):
                    await asyncio.sleep(every)
                    victim = workers[kill % count]
                    victim.kill()
                    await victim.wait()
                    workers[kill % count] = await _start(dsn, path)
                await sending
                await traffic.drained()
            finally:
                sending.cancel()
                for worker in workers:
                    worker.kill()
                    await worker.wait()
        return await traffic.result(path.read_text().splitlines(), duplicates=kills * 50)


async def server_crashes(folder: Path, *, crashes: int, every: float, alerts: int, transitions: int) -> CaseResult:
    """Row 25: the server crashes and is started again while two replicas accept webhooks and deliver."""
    journal: list[str] = []
    with _server() as server:
        dsn = await server.new_database()
        async with replicas(dsn, 2, lease=2.0) as stores:
            traffic = _Traffic(server, dsn, stores, alerts, transitions)
            async with _working([deliver(store, journal.append) for store in stores]):
                sending = asyncio.ensure_future(traffic.send())
                for _ in range(crashes):
                    await asyncio.sleep(every)
                    await asyncio.to_thread(server.stop, "immediate")
                    await asyncio.to_thread(server.start)
                await sending
                await traffic.drained()
        return await traffic.result(journal, duplicates=crashes * 200)


async def backends_killed(folder: Path, *, kills: int, every: float, alerts: int, transitions: int) -> CaseResult:
    """Row 27: each server process that is inside a transaction is terminated, again and again."""
    journal: list[str] = []
    with _server() as server:
        dsn = await server.new_database()
        async with replicas(dsn, 2, lease=2.0) as stores:
            traffic = _Traffic(server, dsn, stores, alerts, transitions)
            async with _working([deliver(store, journal.append) for store in stores]):
                sending = asyncio.ensure_future(traffic.send())
                async with server.admin() as admin:
                    for _ in range(kills):
                        await asyncio.sleep(every)
                        await admin.execute(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                            " WHERE datname = $1 AND xact_start IS NOT NULL",
                            dsn.rpartition("/")[2],
                        )
                await sending
                await traffic.drained()
        return await traffic.result(journal, duplicates=kills * 200)


class _Traffic:
    """Alerts that fire and resolve in turn; a webhook is sent until it is accepted, as Alertmanager does."""

    def __init__(
        self, server: PostgresServer, dsn: str, stores: Sequence[PostgresStore], alerts: int, transitions: int
    ) -> None:
        self._server, self._dsn, self._stores = server, dsn, stores
        self._names = [f"a{number:05}" for number in range(alerts)]
        self._transitions = transitions
        self._unavailable = 0
        self._started = time.monotonic()

    async def send(self, *, twice: bool = False, batch: int = 50) -> None:
        for turn in range(self._transitions):
            make = resolved if turn % 2 else firing
            for start in range(0, len(self._names), batch):
                intake = make(*self._names[start : start + batch])
                first = (turn + start // batch) % len(self._stores)
                to = [self._stores[(first + place) % len(self._stores)] for place in range(2 if twice else 1)]
                await asyncio.gather(*(self._until_taken(store, intake) for store in to))

    async def _until_taken(self, store: PostgresStore, intake: Intake) -> None:
        while True:
            try:
                await store.accept(intake)
            except StoreUnavailable:
                self._unavailable += 1
                await asyncio.sleep(0.05)
            else:
                return

    async def drained(self, seconds: float = 120.0) -> None:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    counts = await self._stores[0].counts()
                    if not sum(count.pending for count in counts.values()):
                        return
                except StoreUnavailable:
                    pass
                await asyncio.sleep(0.05)

    async def result(self, journal: Sequence[str], *, duplicates: int) -> CaseResult:
        """Compare the sent lines with the reports in the database; up to `duplicates` are allowed."""
        sent = [line.split() for line in journal]
        seqs = {name: list(dict.fromkeys(int(seq) for who, seq, _ in sent if who == name)) for name in set(self._names)}
        last = {name: status for name, _, status in sent}
        end = "firing" if self._transitions % 2 else "resolved"
        async with self._server.admin(self._dsn) as connection:
            rows = await connection.fetch("SELECT seq FROM report WHERE kind <> 'reassert'")
        arrived = {int(seq) for _, seq, _ in sent}
        steps = len(self._names) * self._transitions
        lost = steps - len(arrived & {row["seq"] for row in rows})
        reordered = sum(order != sorted(order) for order in seqs.values())
        wrong_end = sum(last.get(name) != end for name in self._names)
        twice = len(sent) - len(arrived)
        figures = {
            "steps": steps,
            "lost": lost,
            "reordered": reordered,
            "duplicates": twice,
            "accepts refused": self._unavailable,
            "s": round(time.monotonic() - self._started),
        }
        return case_result(
            figures,
            unless(not lost, f"{lost} lost"),
            unless(not reordered, f"{reordered} alarms out of order"),
            unless(not wrong_end, f"{wrong_end} alarms end in another state than their alert"),
            unless(not await wrong_queues(self._server, self._dsn), "alarm.pending is not the number of its reports"),
            unless(twice <= duplicates, f"{twice} duplicates, {duplicates} may be"),
        )


@contextmanager
def _server() -> Iterator[PostgresServer]:
    """A server of its own; skips where PostgreSQL is not installed."""
    needs("initdb")
    with postgres_server("-c fsync=off") as server:  # the machine does not crash here, only the server
        yield server


@asynccontextmanager
async def _working(loops: Sequence[Awaitable[None]]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(loop) for loop in loops]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _start(dsn: str, path: Path) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "tests.faults.replica", dsn, str(path), "2.0"]
    return await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY)
