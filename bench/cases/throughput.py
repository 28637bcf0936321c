"""B1, B2 and M1: new alarms per second on one core, from the first webhook to the last alarm at the sink."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from bench.figures import Goal, Row, compared, plain
from bench.process import Sink
from bench.setting import Bench, Flow, Subject, flow

CONNECTIONS: Final = 16
ALARMS: Final = 20_000
DURABLE: Final = Goal("at least", 1.6, "x", aim=2.0)
UNSAVED: Final = Goal("at least", 0.7, "x", aim=1.0)
COMPILED: Final = Goal("at least", None, "x", aim=0.6)


async def against_the_journal(bench: Bench) -> list[Row]:
    """Compared with a script that also commits."""
    journal = ("journal", bench.journal)
    return [row for size in (10, 100) for row in await _pair(bench, "B1", journal, size, ALARMS, DURABLE)]


async def against_the_relay(bench: Bench) -> list[Row]:
    """Compared with a script that keeps nothing, whose mapping is plain Python; @1 one that renders the same Jinja2."""
    plain_python = ("relay, plain Python", partial(bench.relay, "plain"))
    jinja2 = ("relay, Jinja2", partial(bench.relay, "jinja2"))
    rows = await _pair(bench, "B2", plain_python, 10, ALARMS, UNSAVED)
    return rows + await _pair(bench, "B2", jinja2, 1, ALARMS // 2, UNSAVED)


async def against_compiled_code(bench: Bench) -> list[Row]:
    """Compared with the fastest script, in place of a relay in a compiled language: no compiler is needed here."""
    tuned = ("tuned relay", partial(bench.relay, "tuned"))
    note = "the tuned relay stands for one in Go, which took 100 µs per alarm where the one with plain Python took 123"
    return await _pair(bench, "M1", tuned, 10, ALARMS, COMPILED, [note])


async def _pair(
    bench: Bench,
    case: str,
    baseline: tuple[str, Subject],
    per_webhook: int,
    alarms: int,
    goal: Goal,
    notes: Sequence[str] = (),
) -> list[Row]:
    ours: list[Flow] = []
    theirs: list[Flow] = []
    name, subject = baseline
    async with bench.sink() as sink:
        for _ in range(bench.repeats):
            theirs.append(await measured(bench, subject, sink, alarms, per_webhook))
            ours.append(await measured(bench, bench.adapter, sink, alarms, per_webhook))
            bench.say(f"{case} @{per_webhook}: {ours[-1].rate:.0f}/s, {name} {theirs[-1].rate:.0f}/s")
    title = f"fresh alarms @{per_webhook}"
    cpu = f"CPU per fresh alarm @{per_webhook}"
    return [
        compared(case, title, "/s", [f.rate for f in ours], (name, [f.rate for f in theirs]), goal, notes),
        compared(case, cpu, "µs", [f.cost for f in ours], (name, [f.cost for f in theirs])),
        plain(case, f"acknowledgement p99 @{per_webhook}", "ms", [f.ack(0.99) * 1e3 for f in ours]),
    ]


async def measured(
    bench: Bench, subject: Subject, sink: Sink, alarms: int = ALARMS, per_webhook: int = 10, latency: float = 0.0
) -> Flow:
    """A new process, and new alarms through it; COC takes `latency` seconds."""
    async with subject(sink) as process:
        alarms = bench.some(alarms)
        return await flow(process, sink, alarms, per_webhook=per_webhook, connections=CONNECTIONS, latency=latency)
