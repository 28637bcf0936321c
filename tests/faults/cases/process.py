"""Rows 1 and 3: the process is killed or gets SIGTERM under load."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from pathlib import Path

import aiohttp

from tests.faults.chaos import IN_FLIGHT, UNDER_WAY, Churn, Process, alive, process, steps_at
from tests.faults.oracle import examine
from tests.faults.result import CaseResult, case_result, unless
from tests.stage import alert as an_alert
from tests.stage import drained, post, sandbox, webhook, write_config

MORE = f"    max_in_flight: {IN_FLIGHT}\n"


async def kill_nine(folder: Path, *, kills: int, alerts_per_second: int = 200, seed: int = 1) -> CaseResult:
    """Row 1: SIGKILL at `kills` random moments under load, each time with the same store."""
    rng = random.Random(seed)
    groups, interval = 4, 0.2
    async with sandbox() as coc, aiohttp.ClientSession() as session:
        await coc.fail({"delay": 0.01})
        config = write_config(folder, coc.port, MORE)
        async with process(config) as service:
            per_group = round(alerts_per_second * interval / groups)
            churn = Churn(service.url, session, groups=groups, alerts=per_group, interval=interval, seed=seed)
            churn.start()
            for _ in range(kills):
                await asyncio.sleep(0.3 + rng.random() * 1.2)
                service.kill()
                await service.start()
            await churn.stop()
            liveness = await alive(service.url, coc, churn.ledger)
            await drained(service.url)
        verdict = examine(churn.ledger, steps_at(coc))
    figures = {
        "kills": kills,
        "steps acknowledged": verdict.owed,
        "lost": verdict.lost,
        "reordered": verdict.reordered,
        "duplicates": verdict.duplicates,
        "s median start": f"{sorted(service.starts)[len(service.starts) // 2]:.2f}",
    }
    return case_result(figures, verdict.violations(kills * UNDER_WAY), liveness)


async def drain(folder: Path, *, rounds: int) -> CaseResult:
    """Row 3: SIGTERM under load, with a COC that takes half a second; in every other round a second SIGTERM."""
    ends, late = [], 0
    async with sandbox() as coc, aiohttp.ClientSession() as session:
        await coc.fail({"delay": 0.5})
        service = Process(write_config(folder, coc.port, MORE))
        await service.start()
        churn = Churn(service.url, session, groups=2, alerts=10, interval=0.2)
        churn.start()
        problems: list[str] = []
        try:
            for number in range(rounds):
                await asyncio.sleep(1.0)
                assert service.now is not None
                code, seconds, taken = await _terminated(service, churn, twice=number % 2 == 1)
                late += taken
                ends.append(seconds)
                # A second SIGTERM that comes when the loop has closed already meets the system's own handler.
                allowed = (0, 1, -signal.SIGTERM) if number % 2 else (0,)
                problems.append(unless(code in allowed, f"exit code {code} in round {number}"))
                await service.start()
            await coc.fail()
            await churn.stop()
            liveness = await alive(service.url, coc, churn.ledger)
            await drained(service.url)
        finally:
            service.kill()
        verdict = examine(churn.ledger, steps_at(coc))
    figures = {
        "stops": rounds,
        "s to exit at most": f"{max(ends):.2f}",
        "webhooks taken after SIGTERM": late,
        "lost": verdict.lost,
        "duplicates": verdict.duplicates,
    }
    may = rounds // 2 * UNDER_WAY  # a first SIGTERM alone repeats nothing
    return case_result(
        figures,
        problems,
        verdict.violations(may),
        liveness,
        unless(late == 0, f"{late} webhooks taken after SIGTERM"),
    )


async def _terminated(service: Process, churn: Churn, *, twice: bool) -> tuple[int, float, int]:
    """Exit code, seconds until the exit, and how many webhooks were answered 200 more than 0.3 s after the signal."""
    assert service.now is not None
    child, taken, straggler = service.now.process, 0, an_alert("Late")
    began = time.monotonic()
    child.send_signal(signal.SIGTERM)

    await asyncio.sleep(0.1)
    if twice and child.poll() is None:
        child.send_signal(signal.SIGTERM)
    while child.poll() is None:
        late = time.monotonic() - began > 0.3
        try:
            status, _ = await post(f"{service.url}/webhook", webhook(straggler))
            taken += late and status == 200
            if status == 200:
                churn.ledger.acknowledged([straggler])
        except (aiohttp.ClientError, OSError):
            pass
        assert time.monotonic() - began < 40, "no exit within 40 s"
        await asyncio.sleep(0.02)
    return child.returncode, time.monotonic() - began, taken
