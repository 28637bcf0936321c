"""B7: how much of what max_in_flight and COC's latency allow is used."""

from __future__ import annotations

from typing import Final

from bench.figures import Goal, Row, compared, steady_rate
from bench.load import drive
from bench.payloads import fresh
from bench.process import Adapter, Sink
from bench.setting import Bench

LATENCY: Final = 0.1  # seconds


async def rate(bench: Bench) -> list[Row]:
    rows = []
    for in_flight, alarms in ((64, 4_000), (256, 12_000)):
        rates = []
        async with bench.sink(LATENCY) as sink:
            for _ in range(bench.repeats):
                rates.append(await steady(bench, sink, in_flight, alarms, LATENCY))
                bench.say(f"B7: {rates[-1]:.0f}/s with {in_flight} in flight")
        possible = [in_flight / LATENCY] * bench.repeats
        name = f"reports/s, {in_flight} in flight, COC of 100 ms"
        rows.append(compared("B7", name, "/s", rates, ("possible", possible), Goal("at least", 0.9, "x")))
    return rows


async def steady(bench: Bench, sink: Sink, in_flight: int, alarms: int, latency: float) -> float:
    """Reports per second while a backlog drains."""
    await sink.reset(latency)
    async with bench.adapter(sink, Adapter(max_in_flight=in_flight)) as process:
        await drive(process.port, fresh(alarms, per_webhook=100), 4)
        await sink.wait(alarms)
    return steady_rate(await sink.arrivals())
