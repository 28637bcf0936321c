"""Starts and ends the measured processes, each on one core if there are two."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.load import Client, ask, get

ROOT: Final = Path(__file__).resolve().parent.parent
MAPPINGS: Final = ROOT / "bench" / "mappings"
KEY: Final = "0123456789abcdef0123456789abcdef"
_START: Final = 60.0  # seconds a process may take to answer
_STOP: Final = 20.0  # seconds it may take to end

Core = int | None
"""The core that a process is bound to; None: any."""

ALL_CORES: Final = os.sched_getaffinity(0)  # before this process binds itself to one


def cores() -> tuple[Core, Core]:
    """(core of the measured process, core of the tools); (None, None) on a machine with one core."""
    available = sorted(ALL_CORES)
    return (available[0], available[1]) if len(available) > 1 else (None, None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A process that listens on a port."""

    name: str
    pid: int
    port: int
    started: float  # monotonic seconds, right before the start


def spawn(arguments: list[str], *, core: Core, log: Path) -> subprocess.Popen[bytes]:
    """Start Python with these arguments, bound to a core, with its output in a file."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=lambda: keep_to(core),
        )


def keep_to(core: Core) -> None:
    """Bind the calling process to a core, regardless of its parent's binding."""
    os.sched_setaffinity(0, ALL_CORES if core is None else {core})


async def end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM, and SIGKILL to its process group if it does not end."""
    if process.poll() is None:
        process.terminate()
    deadline = time.monotonic() + _STOP
    while process.poll() is None and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


async def listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the port answers; an error with the end of the log if the process ends instead."""
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"a process ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        try:
            client = await Client.connect(port)
            await client.send(get("/-/healthy"))
            client.close()
            return
        except OSError:
            await asyncio.sleep(0.005)
    raise RuntimeError(f"nothing answers on port {port} after {_START:g} s:\n{log.read_text()[-2000:]}")


@asynccontextmanager
async def running(name: str, arguments: list[str], port: int, *, core: Core, folder: Path) -> AsyncIterator[Running]:
    log, started = folder / f"{name}.log", time.monotonic()
    process = spawn(arguments, core=core, log=log)
    try:
        await listening(process, port, log)
        yield Running(name=name, pid=process.pid, port=port, started=started)
    finally:
        await end(process)


@dataclass(frozen=True, slots=True)
class Sink:
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def reset(self, latency: float = 0.0) -> None:
        await ask(self.port, f"/reset?latency={latency}")

    async def stats(self) -> dict[str, Any]:
        answer: dict[str, Any] = await ask(self.port, "/stats")
        return answer

    async def arrivals(self) -> list[float]:
        times: list[float] = await ask(self.port, "/arrivals")
        return times

    async def wait(self, distinct: int, *, patience: float = 120.0) -> dict[str, Any]:
        """Wait until so many different alarms arrived; return the statistics."""
        deadline = time.monotonic() + patience
        while (stats := await self.stats())["distinct"] < distinct:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the sink has {stats['distinct']} of {distinct} alarms after {patience:g} s")
            await asyncio.sleep(0.01)
        return stats

    async def quiet(self, seconds: float = 1.0) -> dict[str, Any]:
        """Wait until nothing arrived for that long; return the statistics."""
        stats, since = await self.stats(), time.monotonic()
        while time.monotonic() - since < seconds:
            await asyncio.sleep(0.05)
            if (now := await self.stats())["requests"] != stats["requests"]:
                stats, since = now, time.monotonic()
        return stats


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """The configuration of the adapter for a case."""

    max_in_flight: int = 64
    store: str = "sqlite:data/adapter.db"
    more: str = ""  # lines after the others

    def config(self, sink: Sink) -> str:
        lines = [
            f"store: {self.store}",
            f"mappings: {MAPPINGS}",
            "integrations:",
            "  default:",
            f"    base_url: {sink.url}",
            "    allow_http: true",
            f"    integration_key: {KEY}",
            "    auth: {type: none}",
            f"    max_in_flight: {self.max_in_flight}",
            "    rate_limit: 0",
            "limits: {backlog: 3000000}",
        ]
        return "\n".join(lines) + "\n" + self.more


def adapter_arguments(folder: Path, port: int, admin_port: int) -> list[str]:
    return [
        "-m",
        "adapter",
        "serve",
        f"--config.file={folder / 'adapter.yml'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--web.admin-address=127.0.0.1:{admin_port}",
        "--log.level=warn",
    ]
