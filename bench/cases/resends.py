"""B3 and B4: repeats of Alertmanager do not reach COC and cost almost nothing."""

from __future__ import annotations

import asyncio
from typing import Final

from bench import procfs
from bench.figures import Goal, Row, compared, plain
from bench.load import drive
from bench.payloads import alert, day_of_resends, webhook
from bench.process import Running, Sink
from bench.setting import Bench, settled

GROUP: Final = 200
FLUSHES: Final = 288  # one every five minutes
ALERTS: Final = 60_000  # repeats that are measured


async def a_day_of_resends(bench: Bench) -> list[Row]:
    """A group is sent again at every flush because one alert changed, by each of two Alertmanagers."""
    requests, cpu = [], []
    day = list(day_of_resends(GROUP, 6 if bench.smoke else FLUSHES))
    news = sum(fresh for _, fresh in day)
    other = b"//alertmanager-1.example"
    bodies = [sent for body, _ in day for sent in (body, body.replace(b"//alertmanager.example", other))]
    alerts = sum(body.count(b'"fingerprint"') for body in bodies)
    for _ in range(bench.repeats):
        async with bench.sink() as sink, bench.adapter(sink) as process:
            before = procfs.cpu_seconds(process.pid)
            await drive(process.port, bodies, 1)
            stats = await sink.quiet()
            requests.append(float(stats["requests"]))
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


async def cost_of_a_repeat(bench: Bench) -> list[Row]:
    """CPU and writes of an alert that is sent again unchanged."""
    costs, written = [], []
    for _ in range(bench.repeats):
        async with bench.sink() as sink, bench.adapter(sink) as process:
            group = webhook([alert(number) for number in range(GROUP)])
            await drive(process.port, [group], 1)
            await sink.wait(GROUP)
            await settled(process)
            cost, bytes_written = await _repeat(process, sink, group, max(1, bench.some(ALERTS) // GROUP))
            costs.append(cost)
            written.append(bytes_written)
            bench.say(f"B4: {cost:.1f} µs and {bytes_written:.1f} B written a repeat")
    note = "a row for each would take a page of 4096 B; the time an alert was last seen is written in batches"
    return [
        plain("B4", f"CPU per repeated alert @{GROUP}", "µs", costs, Goal("at most", 30, "µs")),
        plain("B4", "written to disk per repeated alert", "B", written, Goal("at most", 10, "B"), [note]),
    ]


async def _repeat(process: Running, sink: Sink, group: bytes, webhooks: int) -> tuple[float, float]:
    """(CPU µs, bytes written) per alert of a group that is sent repeatedly."""
    requests = (await sink.stats())["requests"]
    written, cpu = procfs.written_bytes(process.pid), procfs.cpu_seconds(process.pid)
    await drive(process.port, [group] * webhooks, 4)
    cpu, written = procfs.cpu_seconds(process.pid) - cpu, procfs.written_bytes(process.pid) - written
    await asyncio.sleep(0.2)
    if (news := (await sink.stats())["requests"] - requests) != 0:
        raise RuntimeError(f"{news} requests reached the sink for repeats alone")
    alerts = GROUP * webhooks
    return cpu / alerts * 1e6, written / alerts
