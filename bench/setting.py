"""Used by every case: a folder on a real disk, two cores, and processes to start on them."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import procfs
from bench.figures import percentile
from bench.load import LoadResult, drive
from bench.payloads import fresh
from bench.process import Adapter, Core, Running, Sink, adapter_arguments, free_port, running

WARM_UP = 1_000_000_000  # identities from here on are not counted


@dataclass(slots=True, kw_only=True)
class Bench:
    """One run of the benchmark. `smoke`: with little load, only to see that the cases work."""

    repeats: int
    smoke: bool
    folder: Path
    subject_core: Core
    tool_core: Core
    say: Callable[[str], None]
    filled: dict[int, Path] = field(default_factory=dict)  # folders of stores by number of undelivered reports
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def some(self, alerts: int) -> int:
        """So many alerts, or a fiftieth in a smoke run."""
        return max(1, alerts // 50) if self.smoke else alerts

    def new_folder(self) -> Path:
        folder = self.folder / f"{next(self._numbers)}"
        folder.mkdir()
        return folder

    @asynccontextmanager
    async def sink(self, latency: float = 0.0, *, on_subject_core: bool = False) -> AsyncIterator[Sink]:
        """`on_subject_core`: on the core of the measured process, to measure the scheduler's delays there."""
        port, core = free_port(), self.subject_core if on_subject_core else self.tool_core
        async with running("sink", ["-m", "bench.sink", f"{port}"], port, core=core, folder=self.folder):
            sink = Sink(port)
            await sink.reset(latency)
            yield sink

    @asynccontextmanager
    async def adapter(
        self, sink: Sink, adapter: Adapter | None = None, folder: Path | None = None, *, spread: bool = False
    ) -> AsyncIterator[Running]:
        """Run `coc-adapter serve`. A given folder is kept, with its store; otherwise both are removed.

        `spread`: on all cores, instead of on one.
        """
        home = folder or self.new_folder()
        port = free_port()
        (home / "adapter.yml").write_text((adapter or Adapter()).config(sink))
        arguments = adapter_arguments(home, port, free_port())
        core = None if spread else self.subject_core
        async with running("adapter", arguments, port, core=core, folder=home) as process:
            yield process
        if folder is None:
            shutil.rmtree(home)

    def relay(self, variant: str, sink: Sink) -> AbstractAsyncContextManager[Running]:
        return self.script("bench.relay", sink.url, variant)

    def journal(self, sink: Sink) -> AbstractAsyncContextManager[Running]:
        return self.script("bench.journal", sink.url, str(self.new_folder() / "journal.db"))

    @asynccontextmanager
    async def script(self, module: str, *arguments: str) -> AsyncIterator[Running]:
        """Run a script on the core of the measured process; its first argument is its port."""
        port, folder = free_port(), self.new_folder()
        command = ["-m", module, f"{port}", *arguments]
        async with running(module, command, port, core=self.subject_core, folder=folder) as process:
            yield process


Subject = Callable[[Sink], AbstractAsyncContextManager[Running]]
"""Starts a process that reports to a sink."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Alarms from the first webhook sent to the last alarm at the sink."""

    alarms: int
    seconds: float
    cpu: float  # seconds, of the measured process tree
    load: LoadResult

    @property
    def rate(self) -> float:
        return self.alarms / self.seconds

    @property
    def cost(self) -> float:
        """CPU microseconds per alarm."""
        return self.cpu / self.alarms * 1e6

    def ack(self, share: float) -> float:
        """A percentile of the time to acknowledge a webhook, in seconds."""
        return percentile(self.load.latencies, share)


async def flow(
    process: Running, sink: Sink, alarms: int, *, per_webhook: int, connections: int, latency: float = 0.0
) -> Flow:
    """Warm the process up, then send new alarms through it."""
    await sink.reset(latency)
    await drive(process.port, fresh(500, per_webhook=per_webhook, first=WARM_UP), connections)
    await sink.wait(500)
    bodies = fresh(alarms, per_webhook=per_webhook)
    await asyncio.sleep(0.2)  # settlements of the warm-up
    await sink.reset(latency)
    cpu = procfs.cpu_seconds(process.pid)
    load = await drive(process.port, bodies, connections)
    stats = await sink.wait(alarms)
    if stats["requests"] != alarms:
        raise RuntimeError(f"{process.name} sent {stats['requests']} requests for {alarms} alarms")
    return Flow(
        alarms=alarms,
        seconds=max(stats["last"], load.ended) - load.started,
        cpu=procfs.cpu_seconds(process.pid) - cpu,
        load=load,
    )


async def settled(process: Running, quiet: float = 0.5, patience: float = 60.0) -> None:
    """Wait until a process tree uses hardly any CPU."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        before = procfs.cpu_seconds(process.pid)
        await asyncio.sleep(quiet)
        if procfs.cpu_seconds(process.pid) - before <= 0.1 * quiet:
            return
