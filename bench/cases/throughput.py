"""B1 and B2: new alarms per second on one core, from the first webhook to the last alarm at the sink."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from bench.figures import Goal, Row, compared, plain
from bench.process import Running, Sink
from bench.setting import Bench, Flow, flow

CONNECTIONS: Final = 16
Subject = Callable[[Sink], AbstractAsyncContextManager[Running]]


async def against_the_journal(bench: Bench) -> list[Row]:
    """Compared with a script that also commits."""
    rows = []
    for per_webhook, alarms in ((10, 20_000), (100, 20_000)):
        rows += await _pair(bench, "B1", ("journal", bench.journal), per_webhook, alarms, 2.0)
    return rows


async def against_the_relay(bench: Bench) -> list[Row]:
    """Compared with a script that keeps nothing."""
    rows = []
    for per_webhook, alarms, goal in ((10, 20_000, 1.2), (1, 10_000, 1.0)):
        rows += await _pair(bench, "B2", ("relay", bench.relay), per_webhook, alarms, goal)
    return rows


async def _pair(
    bench: Bench, case: str, baseline: tuple[str, Subject], per_webhook: int, alarms: int, goal: float
) -> list[Row]:
    ours: list[Flow] = []
    theirs: list[Flow] = []
    name, subject = baseline
    async with bench.sink() as sink:
        for _ in range(bench.repeats):
            theirs.append(await _measure(subject, sink, alarms, per_webhook))
            ours.append(await _measure(bench.adapter, sink, alarms, per_webhook))
            bench.say(f"{case} @{per_webhook}: {ours[-1].rate:.0f}/s, {name} {theirs[-1].rate:.0f}/s")
    title = f"fresh alarms @{per_webhook}"
    cpu = f"CPU per fresh alarm @{per_webhook}"
    return [
        compared(
            case, title, "/s", [f.rate for f in ours], (name, [f.rate for f in theirs]), Goal("at least", goal, "x")
        ),
        compared(case, cpu, "µs", [f.cost for f in ours], (name, [f.cost for f in theirs])),
        plain(case, f"acknowledgement p99 @{per_webhook}", "ms", [f.ack(0.99) * 1e3 for f in ours]),
    ]


async def _measure(subject: Subject, sink: Sink, alarms: int, per_webhook: int) -> Flow:
    await sink.reset()
    async with subject(sink) as process:
        return await flow(process, sink, alarms, per_webhook=per_webhook, connections=CONNECTIONS)
