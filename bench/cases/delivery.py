"""B7: how close the rate comes to max_in_flight divided by COC's latency."""

from __future__ import annotations

from typing import Final

from bench.figures import Goal, Row, compared, steady_rate
from bench.load import drive
from bench.payloads import fresh
from bench.process import Adapter, Sink
from bench.setting import Bench

JUDGED: Final = 0.1  # seconds; the latency of the goal
SETTINGS: Final = ((64, 0.1, 4_000), (256, 0.1, 12_000), (32, 0.02, 6_000), (256, 0.5, 6_000))
"""Reports in flight, COC's latency in seconds, alarms."""


async def rate(bench: Bench) -> list[Row]:
    rows = []
    for in_flight, latency, alarms in SETTINGS:
        rates = []
        async with bench.sink(latency) as sink:
            for _ in range(bench.repeats):
                rates.append(await steady(bench, sink, in_flight, alarms, latency))
                bench.say(f"B7: {rates[-1]:.0f}/s with {in_flight} in flight, COC of {latency * 1e3:.0f} ms")
        possible = [in_flight / latency] * bench.repeats
        name = f"reports/s, {in_flight} in flight, COC of {latency * 1e3:.0f} ms"
        goal = Goal("at least", 0.9, "x") if latency == JUDGED else None
        rows.append(compared("B7", name, "/s", rates, ("possible", possible), goal))
    return rows


async def steady(bench: Bench, sink: Sink, in_flight: int, alarms: int, latency: float) -> float:
    """Reports per second while a backlog drains."""
    await sink.reset(latency)
    async with bench.adapter(sink, Adapter(max_in_flight=in_flight)) as process:
        await drive(process.port, fresh(alarms, per_webhook=100), 4)
        await sink.wait(alarms)
    return steady_rate(await sink.arrivals())
