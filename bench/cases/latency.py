"""B5 and B6: how quickly a webhook is acknowledged, with a slow and a fast COC."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from bench.figures import Goal, Row, compared, percentile, plain
from bench.load import drive
from bench.payloads import fresh
from bench.process import Adapter, Sink
from bench.setting import WARM_UP, Bench

SLOW: Final = 0.1  # seconds


async def one_connection(bench: Bench) -> list[Row]:
    """One Alertmanager that sends without a pause, compared with a bare commit to the same disk; COC takes 50 ms."""
    rows = []
    async with bench.sink(0.05) as sink:
        for per_webhook, webhooks, times in ((1, 1000, 8.0), (10, 600, 8.0), (100, 300, 60.0)):
            middle, slowest, bare = [], [], []
            for _ in range(bench.repeats):
                bare.append(percentile(_bare_commits(bench.folder / "bare", 1000), 0.99) * 1e3)
                latencies = await _latencies(bench, sink, per_webhook, webhooks, connections=1, latency=0.05)
                slowest.append(percentile(latencies, 0.99) * 1e3)
                middle.append(percentile(latencies, 0.5) * 1e3)
                bench.say(f"B5 @{per_webhook}: p50 {middle[-1]:.2f} ms, p99 {slowest[-1]:.2f} ms, bare {bare[-1]:.2f}")
            against = ("fdatasync p99", bare)
            goal = Goal("at most", times, "x")
            rows += [
                compared("B5", f"acknowledgement p99 @{per_webhook}", "ms", slowest, against, goal),
                plain("B5", f"acknowledgement p50 @{per_webhook}", "ms", middle),
            ]
    return rows


def _bare_commits(path: Path, commits: int) -> list[float]:
    """Seconds that each fdatasync takes after a write of 4 kB into a file that has its blocks, as a WAL usually has."""
    page, seconds = b"x" * 4096, []
    with path.open("wb", buffering=0) as file:
        file.write(page * commits)
        os.fsync(file.fileno())
        for number in range(commits):
            os.pwrite(file.fileno(), page, number * len(page))
            started = time.monotonic()
            os.fdatasync(file.fileno())
            seconds.append(time.monotonic() - started)
    return seconds


async def slow_coc(bench: Bench) -> list[Row]:
    """A COC that takes 100 ms, compared with one that answers at once."""
    slow: list[float] = []
    instant: list[float] = []
    async with bench.sink() as sink:
        for _ in range(bench.repeats):
            for latency, p99 in ((0.0, instant), (SLOW, slow)):
                latencies = await _latencies(bench, sink, 10, 1000, connections=16, latency=latency)
                p99.append(percentile(latencies, 0.99) * 1e3)
            bench.say(f"B6: p99 {slow[-1]:.1f} ms, instant {instant[-1]:.1f} ms")
    goal = Goal("at most", 1.2, "x")
    return [compared("B6", "acknowledgement p99, COC of 100 ms", "ms", slow, ("instant COC", instant), goal)]


async def _latencies(
    bench: Bench, sink: Sink, per_webhook: int, webhooks: int, *, connections: int, latency: float
) -> list[float]:
    await sink.reset(latency)
    webhooks = bench.some(webhooks)
    async with bench.adapter(sink, Adapter(max_in_flight=256)) as process:
        await drive(process.port, fresh(50 * per_webhook, per_webhook=per_webhook, first=WARM_UP), connections)
        bodies = fresh(webhooks * per_webhook, per_webhook=per_webhook)
        return (await drive(process.port, bodies, connections)).latencies
