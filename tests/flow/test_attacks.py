"""The real service under attack: only the answers the design knows, no defect, bounded memory, honest senders served.

The long form (`make faults`) sets ATTACK_SCALE; 100 makes a million mutated bodies of ten thousand.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from tests.flow.attacks import (
    ALLOWED,
    Good,
    Statuses,
    chunk_storm,
    good_traffic,
    gzip_bomb,
    mutated_bodies,
    peak_memory,
    pipelined_garbage,
    slow_sockets,
)
from tests.stage import Adapter, adapter, fetch, sandbox, write_config

SCALE = float(os.environ.get("ATTACK_SCALE", "1"))
MIB = 1024 * 1024
GROWTH = 160 * MIB  # a 16 MiB body may be held a few times over, and the heap keeps some of it

Attack = Callable[[Adapter], Coroutine[None, None, Statuses]]

ATTACKS: dict[str, Attack] = {
    "500 slow sockets": lambda service: slow_sockets(service.port, 500, 8.0 * min(SCALE, 8)),
    "gzip bomb": lambda service: gzip_bomb(service.port, 200),
    "chunk storm": lambda service: chunk_storm(service.port, 100_000),
    "pipelined garbage": lambda service: pipelined_garbage(service.port, int(200 * SCALE), seed=6),
    "mutated bodies": lambda service: mutated_bodies(service.url, int(2_000 * SCALE), seed=6),
}
EXPECTED = {
    "500 slow sockets": {0},
    "gzip bomb": {413},
    "chunk storm": {200},
    "pipelined garbage": {200, 400, 405},
    "mutated bodies": {200, 400},
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_under_attack(name: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    more = "webhook: {header_timeout: 3s, body_timeout: 3s, max_connections: 400}\n"
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port, more)) as service:
        async with good_traffic(service.port) as quiet:
            await asyncio.sleep(2)
        before = peak_memory(service.process.pid)
        async with good_traffic(service.port) as good:
            statuses = await asyncio.wait_for(ATTACKS[name](service), 200 * max(1.0, SCALE))
            await asyncio.sleep(0.5)
        grown = peak_memory(service.process.pid) - before
        report = f"{name}: {dict(statuses)}, {told(quiet, good)}, +{grown / MIB:.0f} MiB"
        record_property("attack", report)
        print(report)
        assert set(statuses) <= ALLOWED, report
        assert set(statuses) & EXPECTED[name], report
        assert set(good.statuses) == {200}, report
        assert good.quantile(0.99) < 5.0, report
        assert grown < GROWTH, report
        assert "defect" not in service.said
        assert "Traceback" not in service.said
        assert await fetch(f"{service.url}/-/healthy") == "healthy\n"
        assert await service.terminate() == 0


def told(quiet: Good, good: Good) -> str:
    low, high = quiet.quantile(0.99) * 1000, good.quantile(0.99) * 1000
    sent = f"{sum(good.statuses.values())} sent, {good.resent} resent"
    return f"honest p99 {low:.1f} ms quiet, {high:.1f} ms under attack (x{high / low:.1f}), {sent}"
