"""B11: a large webhook costs no more per alert than a small one, and does not delay other requests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bench import procfs
from bench.figures import Goal, Row, compared, plain
from bench.load import drive
from bench.payloads import fresh
from bench.process import ROOT, Running, Sink
from bench.setting import WARM_UP, Bench, settled

SIZES: Final = {1: 1_000, 10: 5_000, 100: 10_000, 1000: 10_000, 5000: 20_000}  # per webhook: alerts in all
MIDDLE: Final = 100
LARGE: Final = 5000
BLOCKING: Final = 15_000  # alerts in all while the event loop is watched


async def size_of_a_webhook(bench: Bench) -> list[Row]:
    costs: dict[int, list[float]] = defaultdict(list)
    longest, idle = [], []
    for _ in range(bench.repeats):
        async with bench.sink() as sink, bench.adapter(sink) as process, bench.sink(on_subject_core=True) as nothing:
            await drive(process.port, fresh(500, per_webhook=10, first=WARM_UP), 4)
            first = 0
            for size, alerts in SIZES.items():
                costs[size].append(await _cost(process, sink, size, first, bench.some(alerts)))
                first += alerts
            with _probing(nothing.port) as idle_waits, _probing(process.port) as waits:
                await _flood(process, sink, first, bench.some(BLOCKING))
            longest.append(max(waits) * 1e3)
            idle.append(max(idle_waits) * 1e3)
            shown = ", ".join(f"@{size} {costs[size][-1]:.0f}" for size in SIZES)
            bench.say(f"B11: µs per alert {shown}; longest wait {longest[-1]:.1f} ms, idle {idle[-1]:.1f} ms")
    against, linear = (f"@{MIDDLE}", costs[MIDDLE]), Goal("at most", 1.25, "x")
    nothing_done = ("a server that does nothing, same time and core", idle)
    note = "measured by another process, so it includes the scheduler's delays, as the server that does nothing shows"
    wait = f"longest wait for the event loop @{LARGE}"
    return [
        *(plain("B11", f"CPU per alert @{size}", "µs", costs[size]) for size in SIZES if size != LARGE),
        compared("B11", f"CPU per alert @{LARGE}", "µs", costs[LARGE], against, linear),
        compared("B11", wait, "ms", longest, nothing_done, Goal("at most", 4.0, "x"), [note]),
    ]


async def _cost(process: Running, sink: Sink, size: int, first: int, alerts: int) -> float:
    """CPU microseconds per alert, until the last of them is settled."""
    bodies = fresh(alerts, per_webhook=size, first=first)
    await settled(process)
    await sink.reset()
    cpu = procfs.cpu_seconds(process.pid)
    await drive(process.port, bodies, 1)
    await sink.wait(alerts)
    await settled(process)
    return (procfs.cpu_seconds(process.pid) - cpu) / alerts * 1e6


async def _flood(process: Running, sink: Sink, first: int, alerts: int) -> None:
    """Large webhooks come in and go out."""
    await sink.reset()
    await drive(process.port, fresh(alerts, per_webhook=LARGE, first=first), 1)
    await sink.wait(alerts)


@contextmanager
def _probing(port: int) -> Iterator[list[float]]:
    """Asks for /-/healthy all along; the list is filled at the end."""
    waits: list[float] = []
    command = [sys.executable, "-m", "bench.probe", f"{port}"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield waits
    finally:
        output, _ = process.communicate(timeout=30)
    waits += json.loads(output)
