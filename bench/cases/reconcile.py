"""B12: what it costs to ask an Alertmanager that lists fifty thousand alerts, and what webhooks feel of it."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Final

from bench import procfs
from bench.figures import Goal, Row, compared, percentile, plain
from bench.load import Client, drive, get, post
from bench.payloads import alert as an_alert
from bench.payloads import fresh, webhook
from bench.process import Adapter, Running, free_port, running
from bench.procfs import MIB
from bench.setting import WARM_UP, Bench, settled

ALERTS: Final = 50_000
SECONDS: Final = 60.0  # of each measurement; some polls come in that time
EVERY: Final = 0.005  # seconds between two webhooks

_POLLS: Final = re.compile(rb'^coc_adapter_reconcile_polls_total{.*result="valid"} (\S+)', re.MULTILINE)
_CONFIG: Final = """\
reconcile:
  mode: close
  interval: 5s
  settle: 0s
  refresh: false
  alertmanagers:
    - {{name: main, members: ["http://127.0.0.1:{port}"], external_urls: ["http://alertmanager.example:9093"]}}
"""


async def fifty_thousand_alerts(bench: Bench) -> list[Row]:
    """The same load of webhooks without polls and with them."""
    cpu, memory, with_polls, without = [], [], [], []
    alerts, port = bench.some(ALERTS), free_port()
    command = ["-m", "bench.alertmanager", f"{port}", f"{alerts}"]
    async with running("alertmanager", command, port, core=bench.tool_core, folder=bench.folder):
        for _ in range(bench.repeats):
            idle = await _measured(bench, alerts, Adapter())
            polling = await _measured(bench, alerts, Adapter(more=_CONFIG.format(port=port)))
            cpu.append((polling.cpu - idle.cpu) / max(1.0, polling.polls))
            memory.append((polling.memory - idle.memory) / MIB)
            without.append(idle.p99 * 1e3)
            with_polls.append(polling.p99 * 1e3)
            cost = f"{cpu[-1]:.2f} s and {memory[-1]:.0f} MiB for each of {polling.polls:.0f} polls"
            bench.say(f"B12: {cost}, p99 {with_polls[-1]:.1f} ms, without {without[-1]:.1f} ms")
    against = ("without polls", without)
    return [
        plain("B12", f"CPU of a poll @{ALERTS}", "s", cpu, Goal("at most", 0.5, "s")),
        plain("B12", f"memory of polling @{ALERTS}", "MiB", memory, Goal("at most", 60, "MiB")),
        compared("B12", "acknowledgement p99 while polling", "ms", with_polls, against, Goal("at most", 1.5, "x")),
    ]


class _Measured:
    """CPU seconds, bytes, polls, and seconds to acknowledge."""

    cpu: float
    memory: float
    polls: float
    p99: float


async def _measured(bench: Bench, alerts: int, adapter: Adapter) -> _Measured:
    found = _Measured()
    async with bench.sink() as sink, bench.adapter(sink, adapter) as process:
        await drive(process.port, fresh(alerts, per_webhook=1000), 2)
        await sink.wait(alerts)
        await settled(process)
        seconds = 2.0 if bench.smoke else SECONDS
        before, polls = procfs.cpu_seconds(process.pid), await _polls(process)
        await asyncio.sleep(seconds)  # without webhooks, whose number would differ
        found.cpu = procfs.cpu_seconds(process.pid) - before
        found.polls = await _polls(process) - polls
        found.memory = procfs.memory(process.pid).pss
        found.p99 = percentile(await _repeat(process, seconds), 0.99)
    return found


async def _repeat(process: Running, seconds: float) -> list[float]:
    """One alert again and again."""
    client, request, waits = await Client.connect(process.port), post(webhook([an_alert(WARM_UP)])), []
    end = time.monotonic() + seconds
    while (started := time.monotonic()) < end:
        await client.send(request)
        waits.append(time.monotonic() - started)
        await asyncio.sleep(EVERY)
    client.close()
    return waits


async def _polls(process: Running) -> float:
    client = await Client.connect(process.port)
    _, text = await client.send(get("/metrics"))
    client.close()
    return sum(map(float, _POLLS.findall(text)))
