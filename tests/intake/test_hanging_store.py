"""A disk that hangs without an error: senders are answered in time, nothing is lost, repeats cannot pile up."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import generate_latest

from adapter.clock import SystemClock
from adapter.intake.accept import Acceptor
from adapter.intake.webhook import WebhookHandler
from adapter.metrics import Metrics
from adapter.server.body import InFlight
from adapter.server.management import Readiness
from adapter.store.sqlite.store import SqliteStore
from tests.builders import POLICY
from tests.stage import alert, until, values, webhook
from tests.store.sqlite import small_options

BODY = webhook(alert("Slow"), alert("Slower"))


class Disk:
    """Hangs in COMMIT from `hang` to `go_on`."""

    def __init__(self) -> None:
        self._free = threading.Event()
        self._free.set()

    def hang(self) -> None:
        self._free.clear()

    def go_on(self) -> None:
        self._free.set()

    def connect(self, *args: Any, **options: Any) -> sqlite3.Connection:
        free = self._free

        class Hanging(sqlite3.Connection):
            def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:  # type: ignore[override]
                if statement == "COMMIT":
                    assert free.wait(60)
                return super().execute(statement, *values)

        return sqlite3.connect(*args, factory=Hanging, **options)


class Intake:
    """The real store on a disk of ours, the real handler in front of it, and the readiness that judges both."""

    def __init__(self, disk: Disk, store: SqliteStore) -> None:
        clock = SystemClock()
        self.disk, self.store = disk, store
        self.metrics = Metrics(["default"], clock=clock)
        self.owed: list[str] = []
        self.readiness = Readiness(store.probe, clock)
        self.in_flight = InFlight(max_requests=2, max_bytes=1 << 20)
        handler = WebhookHandler(
            Acceptor(
                store, clock=clock, policy=POLICY, metrics=self.metrics, revision=lambda: "r1", owed=self.owed.append
            ),
            integration=lambda name: name or "default",
            in_flight=self.in_flight,
            max_body=4096,
            body_seconds=10.0,
            metrics=self.metrics,
            clock=clock,
            met=self.readiness.intake_met,
            commit_seconds=0.05,
        )
        app = web.Application(client_max_size=1 << 24)
        app.add_routes(handler.routes())
        self.client = TestClient(TestServer(app))

    async def send(self, body: bytes = BODY) -> tuple[int, str]:
        async with self.client.post("/webhook", data=body) as answer:
            return answer.status, await answer.text()

    def counted(self, name: str) -> float:
        return values(generate_latest(self.metrics.registry).decode(), f"coc_adapter_{name}", integration="default")


@asynccontextmanager
async def hanging(folder: Path) -> AsyncIterator[Intake]:
    disk = Disk()
    store = await SqliteStore.open(
        folder / "adapter.db", backlog=1000, clock=SystemClock(), options=small_options(connect=disk.connect)
    )
    intake = Intake(disk, store)
    try:
        async with intake.client:
            yield intake
    finally:
        disk.go_on()
        await store.close()


async def test_a_sender_is_answered_503_in_time_and_what_is_committed_later_is_owed_once(tmp_path: Path) -> None:
    async with hanging(tmp_path) as intake:
        intake.disk.hang()
        assert await intake.send() == (503, "the store cannot commit\n")
        assert intake.counted("reports_enqueued_total") == 0

        intake.disk.go_on()
        await until(lambda: intake.in_flight.requests == 0, "the late commit")
        status, text = await intake.send()

        assert status == 200
        assert '"news": 0, "repeats": 2' in text
        assert intake.owed == ["default"]
        assert intake.counted("reports_enqueued_total") == intake.counted("reports_pending") == 2
        assert len((await intake.store.claim("default", 10)).claims) == 2


async def test_repeats_while_the_disk_hangs_do_not_pile_up(tmp_path: Path) -> None:
    async with hanging(tmp_path) as intake:
        intake.disk.hang()
        answers = [await intake.send() for _ in range(6)]
        assert answers[:2] == [(503, "the store cannot commit\n")] * 2
        assert answers[2:] == [(503, "too much is in flight\n")] * 4
        assert intake.in_flight.requests == 2

        intake.disk.go_on()
        await until(lambda: intake.in_flight.requests == 0, "the late commits")
        assert (await intake.send())[0] == 200


async def test_a_body_over_the_limit_does_not_wait_for_a_disk_that_hangs(tmp_path: Path) -> None:
    async with hanging(tmp_path) as intake:
        intake.disk.hang()
        status, _ = await intake.send(b"x" * 100_000)
        assert status == 503
        intake.disk.go_on()
        assert (await intake.send(b"x" * 100_000))[0] == 413


async def test_readiness_says_that_the_disk_hangs_and_asks_it_once_until_it_answers(tmp_path: Path) -> None:
    async with hanging(tmp_path) as intake:
        intake.disk.hang()
        problems = await asyncio.gather(intake.readiness.problem(), intake.readiness.problem())
        assert problems == ["the store has not committed for 2 s"] * 2

        intake.disk.go_on()
        assert await intake.readiness.problem() is None
