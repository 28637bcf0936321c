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
SMALL: Final = 100
LARGE: Final = 5000
BLOCKING: Final = 15_000  # alerts in all while the event loop is watched


async def size_of_a_webhook(bench: Bench) -> list[Row]:
    costs: dict[int, list[float]] = defaultdict(list)
    waits: dict[int, list[float]] = {SMALL: [], LARGE: []}
    idle: list[float] = []  # of a server that does nothing, on the same core
    for _ in range(bench.repeats):
        async with bench.sink() as sink, bench.adapter(sink) as process, bench.sink(on_subject_core=True) as nothing:
            await drive(process.port, fresh(500, per_webhook=10, first=WARM_UP), 4)
            first = 0
            for size, alerts in SIZES.items():
                costs[size].append(await _cost(process, sink, size, first, alerts))
                first += alerts
            for size, longest in waits.items():
                with _probing(nothing.port) as scheduled:
                    longest.append(await _longest_wait(process, sink, size, first))
                first += BLOCKING
            idle.append(max(scheduled) * 1e3)
            shown = ", ".join(f"@{size} {costs[size][-1]:.0f}" for size in SIZES)
            bench.say(f"B11: µs per alert {shown}; longest wait {waits[LARGE][-1]:.1f} ms, idle {idle[-1]:.1f} ms")
    rows = [plain("B11", f"CPU per alert @{size}", "µs", costs[size]) for size in SIZES if size != LARGE]
    against = (f"@{SMALL}", costs[SMALL])
    rows.append(compared("B11", f"CPU per alert @{LARGE}", "µs", costs[LARGE], against, Goal("at most", 1.25, "x")))
    small = f"@{SMALL} at most {max(waits[SMALL]):.1f} ms"
    note = f"measured by another process, so it includes the scheduler's delays; {small}"
    name = f"longest wait for the event loop @{LARGE}"
    rows.append(plain("B11", name, "ms", waits[LARGE], Goal("at most", 20, "ms"), [note]))
    rows.append(plain("B11", "the same for a server that does nothing, at the same time on the same core", "ms", idle))
    return rows


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


async def _longest_wait(process: Running, sink: Sink, size: int, first: int) -> float:
    """Milliseconds that a trivial request waited while webhooks of this size came in and went out."""
    await sink.reset()
    with _probing(process.port) as waits:
        await drive(process.port, fresh(BLOCKING, per_webhook=size, first=first), 1)
        await sink.wait(BLOCKING)
    return max(waits) * 1e3


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
