"""B10: memory of the whole process tree, idle and under a burst."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from bench import procfs
from bench.figures import Goal, Row, plain
from bench.load import drive
from bench.payloads import fresh
from bench.process import Running
from bench.procfs import MIB, Memory
from bench.setting import WARM_UP, Bench

BURST: Final = 100_000  # alerts
EVERY: Final = 0.1  # seconds between two readings


async def idle_and_burst(bench: Bench) -> list[Row]:
    """Idle: after the first alarm was delivered. Burst: the peak until its last alarm reached COC."""
    idle, burst = [], []
    alerts = bench.some(BURST)
    for _ in range(bench.repeats):
        async with bench.sink() as sink, bench.adapter(sink) as process:
            await drive(process.port, fresh(1, per_webhook=1, first=WARM_UP), 1)
            await sink.wait(1)
            await asyncio.sleep(1)
            idle.append(procfs.memory(process.pid))
            peak = asyncio.create_task(_peak(process))
            await drive(process.port, fresh(alerts, per_webhook=1000), 4)
            await sink.wait(1 + alerts)
            peak.cancel()
            burst.append(await peak)
            bench.say(f"B10: idle {_mib(idle[-1])}, burst {_mib(burst[-1])}")
    rows = []
    for name, readings, goal in (("idle", idle, 110), (f"burst of {BURST} alerts, peak", burst, 200)):
        shares = [memory.pss / MIB for memory in readings]
        resident = ", ".join(f"{memory.rss / MIB:.0f}" for memory in readings)
        note = f"shared pages counted once; counted per process: {resident} MiB"
        rows.append(plain("B10", f"memory, {name}", "MiB", shares, Goal("at most", goal, "MiB"), [note]))
    return rows


async def _peak(process: Running) -> Memory:
    """The highest memory of a process tree until this is cancelled."""
    rss = pss = 0
    with suppress(asyncio.CancelledError):
        while True:
            now = procfs.memory(process.pid)
            rss, pss = max(rss, now.rss), max(pss, now.pss)
            await asyncio.sleep(EVERY)
    return Memory(rss=rss, pss=pss)


def _mib(memory: Memory) -> str:
    return f"{memory.pss / MIB:.0f} MiB"
