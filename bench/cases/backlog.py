"""B8 and B9: a backlog of a million changes neither the cost of a report nor the time to start."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from adapter.alarm import Accepted, Outcome
from adapter.clock import SystemClock
from adapter.store import open_store
from adapter.store.contract import Claim, DeliveryStore, Settlement
from bench import multiply
from bench.figures import Goal, Row, compared, plain
from bench.load import Client, drive, post
from bench.payloads import fresh
from bench.process import ROOT, Adapter, Sink, free_port
from bench.setting import WARM_UP, Bench, settled

MANY: Final = 1_000_000
FEW: Final = 1_000
STORE: Final = Path("data") / "adapter.db"
BATCH: Final = 64  # claims at once
ROUNDS: Final = 10  # of claim and settle, fewer than FEW holds
BODY: Final = (
    b'{"alarmId":"0","alarmStatus":"alarm","alarmName":"KubePodCrashLooping","alarmDesc":"' + b"x" * 200 + b'"}'
)


async def claim_and_settle(bench: Bench) -> list[Row]:
    """The store alone: 64 reports at a time are claimed and settled as delivered."""
    many, few = await filled(bench, bench.some(MANY)), await filled(bench, FEW)
    with_many, with_few = [], []
    for _ in range(bench.repeats):
        with_many.append(await round_trip(_url(many)))
        with_few.append(await round_trip(_url(Path(shutil.copytree(few, bench.new_folder() / "copy")))))
        bench.say(f"B8: {with_many[-1]:.0f} µs with {MANY}, {with_few[-1]:.0f} µs with {FEW}")
    name, goal = f"claim + settle of a report, {MANY} undelivered", Goal("at most", 2.0, "x")
    return [compared("B8", name, "µs", with_many, (f"{FEW} undelivered", with_few), goal)]


def _url(folder: Path) -> str:
    return f"sqlite:{folder / STORE}"


async def round_trip(url: str) -> float:
    """Wall microseconds per report. Settled reports stay settled; there are enough for every repeat."""
    store = await open_store(url, backlog=3 * MANY, clock=SystemClock())
    try:
        await _rounds(store, 1)
        started = time.monotonic()
        reports = await _rounds(store, ROUNDS)
        return (time.monotonic() - started) / reports * 1e6
    finally:
        await store.close()


async def _rounds(store: DeliveryStore, rounds: int) -> int:
    reports = 0
    for _ in range(rounds):
        claims = (await store.claim("default", BATCH)).claims
        if len(claims) < BATCH:
            raise RuntimeError(f"{len(claims)} claims instead of {BATCH}")
        await store.settle([_delivered(claim) for claim in claims])
        reports += len(claims)
    return reports


def _delivered(claim: Claim) -> Settlement:
    now = SystemClock().now()
    accepted = Accepted(body=BODY, status="alarm", at=now, episode=claim.report.episode)
    return Settlement(claim=claim, at=now, outcome=Outcome.DELIVERED, accepted=accepted)


async def start(bench: Bench) -> list[Row]:
    """From the start of the process to the first 200, which follows a commit."""
    many = await filled(bench, bench.some(MANY))
    names = bench.new_folder() / "libraries"
    names.write_text(subprocess.check_output([sys.executable, "-m", "bench.bare"], cwd=ROOT, text=True))
    bare, empty, full = [], [], []
    for _ in range(bench.repeats):
        async with bench.script("bench.bare", str(names)) as process:
            bare.append(time.monotonic() - process.started)
        full.append(await _first_commit(bench, many))
        empty.append(await _first_commit(bench, bench.new_folder()))
        bench.say(f"B9: {empty[-1]:.2f} s empty, {full[-1]:.2f} s with {MANY}, bare {bare[-1]:.2f} s")
    more = [with_many - without for with_many, without in zip(full, empty, strict=True)]
    name, against = "start to the first durable 200, empty store", ("bare process", bare)
    return [
        compared("B9", name, "s", empty, against, Goal("at most", 1.8, "x")),
        plain("B9", f"what {MANY} undelivered add", "s", more, Goal("at most", 0.1, "s")),
    ]


async def _first_commit(bench: Bench, folder: Path) -> float:
    """Seconds to the first 200. COC cannot be reached, so that undelivered reports stay undelivered."""
    unreachable = Sink(free_port())
    unique = WARM_UP + time.monotonic_ns()
    async with bench.adapter(unreachable, folder=folder) as process:
        client = await Client.connect(process.port)
        while (await client.send(post(fresh(1, per_webhook=1, first=unique)[0])))[0] != 200:
            await asyncio.sleep(0.002)
        seconds = time.monotonic() - process.started
        client.close()
        return seconds


async def filled(bench: Bench, reports: int) -> Path:
    """The folder of an adapter with so many undelivered reports, created once in a run."""
    if reports not in bench.filled:
        folder, started = bench.new_folder(), time.monotonic()
        await seed(bench, Adapter(), folder)
        multiply.sqlite(folder / STORE, reports)
        size = (folder / STORE).stat().st_size
        bench.say(
            f"a store of {reports} undelivered reports: {time.monotonic() - started:.0f} s, "
            f"{size / reports:.0f} bytes a report"
        )
        bench.filled[reports] = folder
    return bench.filled[reports]


async def seed(bench: Bench, adapter: Adapter, folder: Path | None = None) -> None:
    """Send the webhooks whose reports are multiplied; COC cannot be reached."""
    async with bench.adapter(Sink(free_port()), adapter, folder) as process:
        await drive(process.port, fresh(multiply.SEED, per_webhook=100), 4)
        await settled(process)
