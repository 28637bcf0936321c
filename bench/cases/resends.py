"""B3 and B4: repeats of Alertmanager do not reach COC and cost almost nothing."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from bench import procfs
from bench.figures import Goal, Row, compared, plain
from bench.load import Client, drive, post
from bench.metrics import scrape
from bench.payloads import alert, day_of_resends, webhook
from bench.process import Running, Sink
from bench.setting import Bench, flow, settled

GROUP: Final = 200
FLUSHES: Final = 288  # one every five minutes
REPEATS: Final = 300  # webhooks


async def a_day_of_resends(bench: Bench) -> list[Row]:
    """A group is sent again at every flush because one alert changed, by each of two Alertmanagers."""
    requests, seconds, cpu = [], [], []
    news = sum(fresh for _, fresh in day_of_resends(GROUP, FLUSHES))
    for _ in range(bench.repeats):
        async with bench.sink() as sink, bench.adapter(sink) as process:
            before, started = procfs.cpu_seconds(process.pid), time.monotonic()
            alerts = await _both_alertmanagers(process)
            stats = await sink.quiet()
            requests.append(float(stats["requests"]))
            seconds.append(stats["last"] - started)
            cpu.append(procfs.cpu_seconds(process.pid) - before)
            bench.say(f"B3: {stats['requests']} requests for {news} news among {alerts} alerts")
    return [
        compared(
            "B3",
            f"COC requests for a day of re-sends, {alerts} alerts",
            "requests",
            requests,
            ("news", [float(news)] * bench.repeats),
            Goal("exactly", 1.0),
            notes=[
                f"a script that forwards every alert sends {alerts}",
                "no refresh becomes due, because the day is simulated in seconds",
            ],
        ),
        plain("B3", "CPU for the whole day", "s", cpu),
    ]


async def _both_alertmanagers(process: Running) -> int:
    """Send every flush from both; return the number of alerts."""
    first, second = await Client.connect(process.port), await Client.connect(process.port)
    alerts = 0
    for body, _ in day_of_resends(GROUP, FLUSHES):
        for alertmanager in (first, second):
            status, text = await alertmanager.send(post(body))
            if status != 200:
                raise RuntimeError(f"a flush was answered {status}: {text[:200]!r}")
            alerts += body.count(b'"fingerprint"')
    first.close()
    second.close()
    return alerts


async def cost_of_a_repeat(bench: Bench) -> list[Row]:
    """CPU of a repeated alert compared with that of a new one, both in webhooks of one group."""
    repeated, fresh, commits, written = [], [], [], []
    for _ in range(bench.repeats):
        async with bench.sink() as sink, bench.adapter(sink) as process:
            fresh.append((await flow(process, sink, 20_000, per_webhook=GROUP, connections=4)).cost)
            group = webhook([alert(number) for number in range(GROUP)])
            await settled(process)
            cost, commit, bytes_written = await _repeat(process, sink, group)
            repeated.append(cost)
            commits.append(commit)
            written.append(bytes_written)
            bench.say(
                f"B4: {cost:.1f} µs a repeat, {fresh[-1]:.0f} µs a fresh alarm, {commit:.5f} transactions a repeat"
            )
    return [
        compared(
            "B4",
            f"CPU per repeated alert @{GROUP}",
            "µs",
            repeated,
            ("fresh alarm", fresh),
            Goal("at most", 0.1, "x"),
        ),
        plain(
            "B4",
            "written to disk per repeated alert",
            "B",
            written,
            Goal("at most", 10, "B"),
            ["a row for each would take a page of 4096 B; the time an alert was last seen is written in batches"],
        ),
        plain("B4", "store transactions per repeated alert, most of them empty", "", commits),
    ]


async def _repeat(process: Running, sink: Sink, group: bytes) -> tuple[float, float, float]:
    """(CPU µs, store commits, bytes written) per alert of a group that is sent repeatedly."""
    requests = (await sink.stats())["requests"]
    commits = (await scrape(process.port))["coc_adapter_store_commit_seconds_count"]
    written, cpu = procfs.written_bytes(process.pid), procfs.cpu_seconds(process.pid)
    await drive(process.port, [group] * REPEATS, 4)
    cpu, written = procfs.cpu_seconds(process.pid) - cpu, procfs.written_bytes(process.pid) - written
    commits = (await scrape(process.port))["coc_adapter_store_commit_seconds_count"] - commits
    await asyncio.sleep(0.2)
    if (news := (await sink.stats())["requests"] - requests) != 0:
        raise RuntimeError(f"{news} requests reached the sink for repeats alone")
    alerts = GROUP * REPEATS
    return cpu / alerts * 1e6, commits / alerts, written / alerts
