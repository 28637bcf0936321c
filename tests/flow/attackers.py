"""Runs attacks in a process of their own, on command, and a server that does nothing for comparison.

An attacker in the event loop of the measuring test would slow down what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from tests.flow import attacks
from tests.flow.attacks import PATIENCE, Statuses
from tests.stage import REPOSITORY

Attack = Callable[[int, int, float], Awaitable[Statuses]]
"""Port, size, seconds."""

_EVERY: Final = 0.5  # seconds between attacks, so that fast and slow answers lead to the same load


def _again(once: Callable[[int, int], Awaitable[Statuses]]) -> Attack:
    async def attack(port: int, size: int, seconds: float) -> Statuses:
        statuses: Statuses = Counter()
        end = time.monotonic() + seconds
        while (began := time.monotonic()) < end:
            statuses += await once(port, size)
            await asyncio.sleep(min(end, began + _EVERY) - time.monotonic())
        return statuses

    return attack


ATTACKS: Final[dict[str, Attack]] = {
    "slow sockets": attacks.slow_sockets,
    "silent connections": attacks.silent,
    "connections that guess passwords": attacks.guesses,
    "MiB of a bomb": _again(attacks.gzip_bomb),
    "MiB of values": _again(attacks.dense_bodies),
    "chunks": _again(attacks.chunk_storm),
    "connections of garbage": _again(lambda port, count: attacks.pipelined_garbage(port, count, seed=6)),
    "alerts of one body": _again(attacks.many_alerts),
    "labels of one alert": _again(attacks.many_labels),
    "labels common to 1000 alerts": _again(attacks.common_labels),
    "half characters": _again(attacks.half_characters),
    "webhooks from other sites": _again(attacks.cross_site),
    "expectations": _again(attacks.expectations),
    "long matchers": _again(attacks.long_matchers),
    "alerts of previews": _again(attacks.previews),
}
ON_ADMIN_LISTENER: Final = {"long matchers", "alerts of previews"}


class Attacker:
    """One attack of one size."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def attack(self, port: int, seconds: float) -> Statuses:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{port} {seconds}\n".encode())
        line = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE + seconds)
        return Counter({int(status): count for status, count in json.loads(line).items()})


@asynccontextmanager
async def attacker(name: str, size: int) -> AsyncIterator[Attacker]:
    """Start an attacker process; kill it at the end."""
    async with _process("attack", name, str(size)) as process:
        yield Attacker(process)


@asynccontextmanager
async def nothing(life: float) -> AsyncIterator[int]:
    """Start a server that closes each connection after `life` seconds; yield its port."""
    async with _process("nothing", str(life)) as process:
        assert process.stdout is not None
        yield int(await asyncio.wait_for(process.stdout.readline(), PATIENCE))


@asynccontextmanager
async def _process(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    command, pipe = (sys.executable, "-m", "tests.flow.attackers", *arguments), asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdin=pipe, stdout=pipe)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _run_commands(name: str, size: int) -> None:
    with asyncio.Runner() as runner:
        for line in sys.stdin:
            port, seconds = line.split()
            print(json.dumps(runner.run(_answered(name, int(port), size, float(seconds)))), flush=True)


async def _answered(name: str, port: int, size: int, seconds: float) -> Statuses:
    return await ATTACKS[name](port, size, seconds)


class _Nothing(asyncio.Protocol):
    def __init__(self, life: float) -> None:
        self._life = life

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        asyncio.get_running_loop().call_later(self._life, transport.close)


async def _serve_nothing(life: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Nothing(life), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    # An attacker has a machine of its own: here it takes the time that the attacked leave.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    if sys.argv[1] == "nothing":
        asyncio.run(_serve_nothing(float(sys.argv[2])))
    else:
        _run_commands(sys.argv[2], int(sys.argv[3]))
