"""Faults on PostgreSQL, each a function of its counts that returns figures: short in tests, full in the fault runs."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from adapter.clock import SystemClock
from adapter.errors import StoreUnavailable
from adapter.store.contract import Intake
from adapter.store.postgres.store import PostgresStore, open_postgres
from tests.store.builders import firing, resolved
from tests.store.postgres_server import PostgresServer
from tests.store.postgres_worker import deliver

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What came of a run. Only `duplicates` may be other than zero, and only where something was killed."""

    transitions: int  # acknowledged, each owed to COC once
    sent: int
    duplicates: int
    lost: int
    reordered: int
    wrong_end: int  # alarms whose last state at COC is not the alert's
    broken: tuple[str, ...]  # sums in the database that do not agree with its rows
    unavailable: int  # accepts answered with StoreUnavailable, which Alertmanager repeats
    seconds: float

    @property
    def harm(self) -> tuple[int, int, int, tuple[str, ...]]:
        return self.lost, self.reordered, self.wrong_end, self.broken


@asynccontextmanager
async def replicas(
    dsn: str, count: int, *, lease: float = 25.0, backlog: int = 10**6
) -> AsyncIterator[list[PostgresStore]]:
    async with AsyncExitStack() as stack:
        stores = []
        for number in range(count):
            clock = SystemClock()
            store = await open_postgres(dsn, backlog=backlog, clock=clock, lease=lease, replica=f"replica-{number}")
            stack.push_async_callback(store.close)
            stores.append(store)
        yield stores


async def two_alertmanagers(
    server: PostgresServer, *, count: int, alerts: int, transitions: int, port: int = 0
) -> Figures:
    """Both send every transition of every alert, to different replicas at once; all replicas deliver meanwhile.

    `port`: of a pooler that the replicas go through.
    """
    dsn = await server.new_database()
    journal: list[str] = []
    async with replicas(dsn.replace(f":{server.port}/", f":{port or server.port}/"), count) as stores:
        run = _Run(server, dsn, stores, alerts, transitions)
        async with _working([deliver(store, journal.append) for store in stores]):
            await run.send(twice=True)
            await run.drained()
    return await run.figures(journal)


async def killed_replicas(
    server: PostgresServer, folder: Path, *, count: int, kills: int, every: float, alerts: int, transitions: int
) -> Figures:
    """Processes that deliver; one of them dies by SIGKILL every so many seconds and is started again."""
    dsn, path = await server.new_database(), folder / "journal"
    path.touch()
    async with replicas(dsn, 1) as stores:
        run = _Run(server, dsn, stores, alerts, transitions)
        workers = [await _start(dsn, path) for _ in range(count)]
        sending = asyncio.ensure_future(run.send())
        try:
            for kill in range(kills):
                await asyncio.sleep(every)
                victim = workers[kill % count]
                victim.kill()
                await victim.wait()
                workers[kill % count] = await _start(dsn, path)
            await sending
            await run.drained()
        finally:
            sending.cancel()
            for worker in workers:
                worker.kill()
                await worker.wait()
    return await run.figures(path.read_text().splitlines())


async def server_crashes(
    server: PostgresServer, *, crashes: int, every: float, alerts: int, transitions: int
) -> Figures:
    """The server stops as in a crash while two replicas take webhooks and deliver."""
    dsn = await server.new_database()
    journal: list[str] = []
    async with replicas(dsn, 2, lease=2.0) as stores:
        run = _Run(server, dsn, stores, alerts, transitions)
        async with _working([deliver(store, journal.append) for store in stores]):
            sending = asyncio.ensure_future(run.send())
            for _ in range(crashes):
                await asyncio.sleep(every)
                await asyncio.to_thread(server.stop, "immediate")
                await asyncio.to_thread(server.start)
            await sending
            await run.drained()
    return await run.figures(journal)


async def killed_backends(
    server: PostgresServer, *, kills: int, every: float, alerts: int, transitions: int
) -> Figures:
    """Whichever server process is inside a transaction is terminated, again and again."""
    dsn = await server.new_database()
    journal: list[str] = []
    async with replicas(dsn, 2, lease=2.0) as stores:
        run = _Run(server, dsn, stores, alerts, transitions)
        async with _working([deliver(store, journal.append) for store in stores]):
            sending = asyncio.ensure_future(run.send())
            async with server.admin() as admin:
                for _ in range(kills):
                    await asyncio.sleep(every)
                    await admin.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = $1 AND xact_start IS NOT NULL",
                        dsn.rpartition("/")[2],
                    )
            await sending
            await run.drained()
    return await run.figures(journal)


async def disagreements(server: PostgresServer, dsn: str) -> tuple[str, ...]:
    """Where the sums kept beside the rows are not the sums of the rows."""
    checks = {
        "alarm.pending": "SELECT count(*) FROM alarm a WHERE pending <>"
        " (SELECT count(*) FROM report r WHERE r.alarm = a.id AND outcome IS NULL)",
    }
    async with server.admin(dsn) as connection:
        return tuple([name for name, sql in checks.items() if await connection.fetchval(sql) != 0])


class _Run:
    """Alerts that fire and resolve in turn, sent as Alertmanager does: again until the answer is yes."""

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

    async def figures(self, journal: Sequence[str]) -> Figures:
        """Compare what was sent, line by line, with what was owed."""
        sent = [line.split() for line in journal]
        seqs = {name: list(dict.fromkeys(int(seq) for who, seq, _ in sent if who == name)) for name in set(self._names)}
        last = {name: status for name, _, status in sent}
        end = "firing" if self._transitions % 2 else "resolved"
        async with self._server.admin(self._dsn) as connection:
            rows = await connection.fetch("SELECT seq, kind, outcome FROM report WHERE kind <> 'reassert'")
        arrived = {int(seq) for _, seq, _ in sent}
        return Figures(
            transitions=len(self._names) * self._transitions,
            sent=len(sent),
            duplicates=len(sent) - len(arrived),
            lost=len(self._names) * self._transitions - len(arrived & {row["seq"] for row in rows}),
            reordered=sum(order != sorted(order) for order in seqs.values()),
            wrong_end=sum(last.get(name) != end for name in self._names),
            broken=await disagreements(self._server, self._dsn),
            unavailable=self._unavailable,
            seconds=time.monotonic() - self._started,
        )


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
    command = [sys.executable, "-m", "tests.store.postgres_worker", dsn, str(path), "2.0"]
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT)
