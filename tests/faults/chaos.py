"""A real adapter process that can be killed, load for it, and checks after the last report is settled."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp

from adapter.clock import SystemClock
from tests.faults.alertmanager import Alert, Member, Timing
from tests.faults.oracle import Ledger, arrivals, step_of
from tests.faults.result import unless
from tests.stage import Adapter, Coc, alert, free_port, post, until, values, webhook

IN_FLIGHT = 8
UNDER_WAY = 2 * IN_FLIGHT
"""Reports that may be sent and not yet settled: delivery holds no more than twice its limit."""

_DAWN = datetime(2026, 11, 23, 8, tzinfo=UTC)


class Process:
    """An adapter that keeps its ports over every kill."""

    def __init__(self, config: Path) -> None:
        self.config, self.port, self.admin = config, free_port(), free_port()
        self.starts: list[float] = []
        self.now: Adapter | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> Adapter:
        """Start and wait until ready; `starts` keeps how long that took."""
        began = time.monotonic()
        flags = (f"--web.listen-address=127.0.0.1:{self.port}", f"--web.admin-address=127.0.0.1:{self.admin}")
        self.now = Adapter(self.config, (*flags, "--log.level=warn"))
        while not await answers(f"{self.url}/-/ready"):
            assert self.now.process.poll() is None, self.now.log_text
            assert time.monotonic() < began + 60, self.now.log_text
            await asyncio.sleep(0.02)
        self.starts.append(time.monotonic() - began)
        return self.now

    def kill(self) -> None:
        if self.now is not None:
            self.now.end()


@asynccontextmanager
async def process(config: Path) -> AsyncIterator[Process]:
    """Start an adapter; kill it at the end."""
    service = Process(config)
    try:
        await service.start()
        yield service
    finally:
        service.kill()


async def answers(url: str) -> bool:
    with suppress(aiohttp.ClientError, OSError):
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status == 200
    return False


def poster(
    session: aiohttp.ClientSession, url: str, seconds: list[float] | None = None
) -> Callable[[bytes], Awaitable[int]]:
    """Posts webhooks for a member; `seconds` collects how long each acknowledgement took."""

    async def send(body: bytes) -> int:
        began = time.perf_counter()
        try:
            async with session.post(f"{url}/webhook", data=body) as answer:
                await answer.read()
                status = answer.status
        except (aiohttp.ClientError, OSError):
            return 0
        if seconds is not None and status == 200:
            seconds.append(time.perf_counter() - began)
        return status

    return send


def at(seconds: float) -> str:
    """RFC 3339 time `seconds` after the begin of the run."""
    return (_DAWN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def nth_state(name: str, number: int) -> Alert:
    """The nth state of an alert: odd numbers fire, even ones are resolved; each has a time of its own."""
    firing = number % 2 == 1
    began = at(number if firing else number - 1)
    return alert(name, "firing" if firing else "resolved", startsAt=began, **({} if firing else {"endsAt": at(number)}))


class Churn:
    """Alerts that fire and resolve until `stop`, in several groups of one Alertmanager."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, *, groups: int, alerts: int, interval: float, seed: int = 1
    ) -> None:
        """Each group has `alerts` alerts; all of them change every `interval` seconds."""
        self.ledger, self.seconds = Ledger(), []
        self._groups, self._alerts, self._interval = groups, alerts, interval
        rng = random.Random(seed)
        self.member = Member(
            poster(session, url, self.seconds),
            SystemClock(),
            jitter=rng.random,
            timing=Timing(group_interval=interval, least_deadline=60.0, first_retry=0.1, longest_retry=0.5),
            on_send=self.ledger.sent,
            on_acknowledged=self.ledger.acknowledged,
        )
        self._number = 0
        self._tasks: list[asyncio.Task[None]] = []

    seconds: list[float]

    def _put(self) -> None:
        self._number += 1
        for group in range(self._groups):
            self.member.put(f"g{group}", *(nth_state(f"C{group}x{n}", self._number) for n in range(self._alerts)))

    async def _changing(self) -> None:
        while True:
            self._put()
            await asyncio.sleep(self._interval)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self.member.run(f"g{group}")) for group in range(self._groups)]
        self._tasks.append(asyncio.create_task(self._changing()))

    async def stop(self) -> None:
        """Stop; the last state of each group has been acknowledged when this returns."""
        changing = self._tasks.pop()
        changing.cancel()
        # A cancelled flush may have been committed without an acknowledgement, so each one is finished.
        self.member.stopping = True
        await asyncio.gather(changing, *self._tasks, return_exceptions=True)
        for group in range(self._groups):
            assert await self.member.flush(f"g{group}"), "the last flush was not acknowledged"


def law(scrape: str) -> str:
    """A violation unless enqueued = settled + pending."""
    enqueued = values(scrape, "coc_adapter_reports_enqueued_total")
    left = values(scrape, "coc_adapter_reports_total") + values(scrape, "coc_adapter_reports_pending")
    return unless(enqueued == left, f"C: {enqueued:.0f} enqueued, {left:.0f} settled or pending")


async def alive(url: str, coc: Coc, ledger: Ledger, name: str = "Fresh", seconds: float = 0.0) -> str:
    """A violation when a fresh alert is not at COC within `seconds`: by default 5 in fault runs, 25 in tests.

    Tests run on machines that are busy with other tests.
    """
    seconds = seconds or float(os.environ.get("FAULTS_LIVENESS", "25"))
    fresh = alert(name)
    ledger.acknowledged([fresh])
    alarm_id = step_of(fresh).alarm
    began, before = time.monotonic(), coc.count
    with suppress(AssertionError, aiohttp.ClientError, OSError):
        status, _ = await post(f"{url}/webhook", webhook(fresh))
        left = seconds - (time.monotonic() - began)
        await until(lambda: _among(alarm_id, coc.after(before)), "the fresh alert", max(left, 0.1))
        return unless(status == 200, f"L: a fresh alert is answered {status}")
    return f"L: a fresh alert is not at COC within {seconds} s"


def _among(alarm: str, bodies: Sequence[dict[str, Any]]) -> bool:
    return any(body["alarmId"] == alarm for body in bodies)


def steps_at(coc: Coc) -> Sequence[Any]:
    return arrivals(coc.bodies)
