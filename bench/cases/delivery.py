"""B7: how close the rate comes to max_in_flight divided by COC's latency, or else to what the core can do."""

from __future__ import annotations

from functools import partial
from typing import Final

from bench.cases.throughput import measured
from bench.figures import Goal, Row, compared, steady_rate
from bench.load import drive
from bench.payloads import fresh
from bench.process import Adapter, Sink
from bench.setting import Bench

LATENCY: Final = 0.1  # seconds
IN_FLIGHT: Final = 64
PLENTY: Final = 1024  # in flight: more reports a second than a core can send
ALARMS: Final = 4_000
GOAL: Final = Goal("at least", 0.9, "x")


async def rate(bench: Bench) -> list[Row]:
    rates, at_once, slow = [], [], []
    async with bench.sink() as sink:
        for _ in range(bench.repeats):
            rates.append(await steady(bench, sink))
            at_once.append((await measured(bench, bench.adapter, sink)).rate)
            asking = partial(bench.adapter, adapter=Adapter(max_in_flight=PLENTY))
            slow.append((await measured(bench, asking, sink, latency=LATENCY)).rate)
            bench.say(f"B7: {rates[-1]:.0f}/s; {slow[-1]:.0f}/s when more is asked, instant COC {at_once[-1]:.0f}/s")
    possible = [IN_FLIGHT / LATENCY] * bench.repeats
    slow_coc = f"COC of {LATENCY * 1e3:.0f} ms"
    return [
        compared("B7", f"reports/s, {slow_coc}, {IN_FLIGHT} in flight", "/s", rates, ("possible", possible), GOAL),
        compared(
            "B7",
            f"fresh alarms @10, {slow_coc}, {PLENTY} in flight",
            "/s",
            slow,
            ("instant COC, as in B1", at_once),
            GOAL,
        ),
    ]


async def steady(bench: Bench, sink: Sink) -> float:
    """Reports per second while a backlog drains."""
    alarms = bench.some(ALARMS)
    await sink.reset(LATENCY)
    async with bench.adapter(sink, Adapter(max_in_flight=IN_FLIGHT)) as process:
        await drive(process.port, fresh(alarms, per_webhook=100), 4)
        await sink.wait(alarms)
    return steady_rate(await sink.arrivals())
