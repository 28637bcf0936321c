"""A real process to be killed, real load on it, and the wait for rest at the end."""

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
from tests.faults.found import unless
from tests.faults.oracle import Ledger, arrivals, step_of
from tests.flow.watchers import free_port
from tests.stage import Adapter, Coc, alert, fetch, post, until, values, webhook

IN_FLIGHT = 8
UNDER_WAY = 2 * IN_FLIGHT
"""Reports that may be sent and not yet settled: delivery holds no more than twice its limit."""

_DAWN = datetime(2026, 11, 23, 8, tzinfo=UTC)


class Process:
    """An adapter on a port that stays its own over every kill."""

    def __init__(self, config: Path) -> None:
        self.config, self.port, self.admin = config, free_port(), free_port()
        self.starts: list[float] = []
        self.now: Adapter | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> Adapter:
        """Ready; how long that took is kept."""
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
    """Started; killed at the end."""
    made = Process(config)
    try:
        await made.start()
        yield made
    finally:
        made.kill()


async def answers(url: str) -> bool:
    with suppress(aiohttp.ClientError, OSError):
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status == 200
    return False


def poster(
    session: aiohttp.ClientSession, url: str, seconds: list[float] | None = None
) -> Callable[[bytes], Awaitable[int]]:
    """A member's way to the webhook; `seconds` collects how long each acknowledgement took."""

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
    """A time of the run; distinct seconds give distinct times."""
    return (_DAWN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def turned(name: str, turn: int) -> Alert:
    """The alert after so many turns: fires at the odd ones, is resolved at the even ones. Every turn has its time."""
    firing = turn % 2 == 1
    began = at(turn if firing else turn - 1)
    return alert(name, "firing" if firing else "resolved", startsAt=began, **({} if firing else {"endsAt": at(turn)}))


class Churn:
    """Alerts that fire and resolve without end in several groups of one Alertmanager."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, *, groups: int, alerts: int, interval: float, seed: int = 1
    ) -> None:
        """`alerts` in each group, all of them turned every `interval` seconds."""
        self.ledger, self.seconds = Ledger(), []
        self._groups, self._alerts, self._interval = groups, alerts, interval
        rng = random.Random(seed)
        self.member = Member(
            poster(session, url, self.seconds),
            SystemClock(),
            jitter=rng.random,
            timing=Timing(group_interval=interval, least_deadline=60.0, first_retry=0.1, longest_retry=0.5),
            on_send=self.ledger.sent,
            on_taken=self.ledger.acknowledged,
        )
        self._turn = 0
        self._tasks: list[asyncio.Task[None]] = []

    seconds: list[float]

    def _put(self) -> None:
        self._turn += 1
        for group in range(self._groups):
            self.member.put(f"g{group}", *(turned(f"C{group}x{n}", self._turn) for n in range(self._alerts)))

    async def _turning(self) -> None:
        while True:
            self._put()
            await asyncio.sleep(self._interval)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self.member.run(f"g{group}")) for group in range(self._groups)]
        self._tasks.append(asyncio.create_task(self._turning()))

    async def stop(self) -> None:
        """The last state of each group has been acknowledged when this returns."""
        turning = self._tasks.pop()
        turning.cancel()
        # What a flush cut short had committed is known to nobody, so none is.
        self.member.stopping = True
        await asyncio.gather(turning, *self._tasks, return_exceptions=True)
        for group in range(self._groups):
            assert await self.member.flush(f"g{group}"), "the last flush was not acknowledged"


async def at_rest(url: str, seconds: float = 60.0) -> str:
    """The scrape once nothing is pending."""
    end = time.monotonic() + seconds
    while True:
        scrape = await fetch(f"{url}/metrics")
        if values(scrape, "coc_adapter_reports_pending") == 0:
            return scrape
        assert time.monotonic() < end, f"not drained within {seconds} s"
        await asyncio.sleep(0.05)


def law(scrape: str) -> str:
    """A violation when what was enqueued is not what left and what is pending."""
    enqueued = values(scrape, "coc_adapter_reports_enqueued_total")
    left = values(scrape, "coc_adapter_reports_total") + values(scrape, "coc_adapter_reports_pending")
    return unless(enqueued == left, f"C: {enqueued:.0f} enqueued, {left:.0f} left or pending")


async def alive(url: str, coc: Coc, ledger: Ledger, name: str = "Fresh", seconds: float = 0.0) -> str:
    """A violation when a fresh alert does not reach COC in time: in `seconds`, or as soon as the oracle wants it.

    The oracle wants it within five seconds; the tests, which run on machines busy with others, within 25.
    """
    seconds = seconds or float(os.environ.get("FAULTS_LIVENESS", "25"))
    fresh = alert(name)
    ledger.acknowledged([fresh])
    known = step_of(fresh).alarm
    began, before = time.monotonic(), coc.count
    with suppress(AssertionError, aiohttp.ClientError, OSError):
        status, _ = await post(f"{url}/webhook", webhook(fresh))
        left = seconds - (time.monotonic() - began)
        await until(lambda: _among(known, coc.after(before)), "the fresh alert", max(left, 0.1))
        return unless(status == 200, f"L: a fresh alert is answered {status}")
    return f"L: a fresh alert is not at COC within {seconds} s"


def _among(alarm: str, bodies: Sequence[dict[str, Any]]) -> bool:
    return any(body["alarmId"] == alarm for body in bodies)


def steps_at(coc: Coc) -> Sequence[Any]:
    return arrivals(coc.bodies)
