"""Rows 1, 5 and 7 on a SQLite store alone: its process is killed, its operations fail, its blocks are overwritten."""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from adapter.alarm import Kind
from adapter.clock import SystemClock
from adapter.errors import StoreError, StoreUnavailable
from adapter.store.contract import Claim, Store
from adapter.store.sqlite.store import SqliteStore
from adapter.store.views import AlarmQuery
from tests.builders import an_alert, an_intake, delivered, firing, resolved, retried
from tests.faults.result import CaseResult, case_result, unless
from tests.stage import REPOSITORY
from tests.store.sqlite import broken, open_at, patiently, small_options

LOAD_ALERTS = 5  # per webhook of the load
CODES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY)


# Row 1


async def kill_store(folder: Path, *, kills: int, seed: int = 1) -> CaseResult:
    """Kill a process at random moments while it accepts and settles in one store."""
    rng = random.Random(seed)
    path = folder / "adapter.db"
    accepted: set[str] = set()
    settled: list[str] = []
    for number in range(kills):
        for line in _load_until_killed(path, number, 0.05 + rng.random() * 0.4):
            word, name = line.split()
            (accepted.add if word == "accepted" else settled.append)(name)
    store = await open_at(path)
    left = set(settled)
    again = 0
    while claims := (await store.claim("default", 1000)).claims:
        again += sum(claim.report.fingerprint in left for claim in claims)
        await store.settle([delivered(claim) for claim in claims])
    kept = await _alarms_per_webhook(store)
    await store.close()
    lost = sum(LOAD_ALERTS - kept[webhook] for webhook in accepted)
    partial = sum(count not in (0, LOAD_ALERTS) for count in kept.values())
    twice = len(settled) - len(left) + again
    return case_result(
        {"kills": kills, "alerts acknowledged": len(accepted) * LOAD_ALERTS, "lost": lost},
        unless(bool(accepted), "nothing was acknowledged"),
        unless(lost == 0, f"{lost} acknowledged alerts lost"),
        unless(partial == 0, f"{partial} webhooks kept in part"),
        unless(twice == 0, f"{twice} reports settled twice"),
    )


async def _alarms_per_webhook(store: Store) -> Counter[str]:
    kept: Counter[str] = Counter()
    after = 0
    while rows := await store.alarms(AlarmQuery(after=after, limit=1000)):
        after = rows[-1].id
        kept.update(row.alarm.fingerprint.rpartition("x")[0] for row in rows)
    return kept


def _load_until_killed(path: Path, number: int, seconds: float) -> Iterator[str]:
    """The lines of a loading process that is killed `seconds` after its first line."""
    command = [sys.executable, "-m", "tests.faults.cases.sqlite", str(path), str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
        lines = [first, *process.stdout.readlines()]
    return (line for line in lines if line.endswith(".\n") for line in [line.removesuffix(".\n")])


async def _load(path: Path, number: str) -> None:
    """Accept and settle until killed; print each name after the store returned."""
    store = await SqliteStore.open(path, backlog=10_000_000, clock=SystemClock(), options=small_options())

    async def accept(sender: int) -> None:
        for n in itertools.count():
            name = f"{number}s{sender}n{n}"
            await store.accept(an_intake(*(an_alert(f"{name}x{k}") for k in range(LOAD_ALERTS))))
            print(f"accepted {name}.", flush=True)

    async def settle() -> None:
        while True:
            claims = (await store.claim("default", 20)).claims
            await store.settle([delivered(claim) for claim in claims])
            for claim in claims:
                print(f"settled {claim.report.fingerprint}.", flush=True)

    await asyncio.gather(*(accept(sender) for sender in range(4)), settle())


# Row 5


class _Outcome(NamedTuple):
    refused: int  # starts
    unavailable: int  # calls
    violations: list[str]


async def every_operation_fails(folder: Path, *, operations: int) -> CaseResult:
    """Row 5: operation N fails once, for each N up to `operations`; nothing acknowledged is lost or repeated."""
    refused = unavailable = 0
    violations: list[str] = []
    for number in range(1, operations + 1):
        code = CODES[number % len(CODES)]
        outcome = await _one_fails(folder / str(number) / "adapter.db", number, code)
        refused += outcome.refused
        unavailable += outcome.unavailable
        violations += [f"operation {number}, code {code}: {line}" for line in outcome.violations]
        shutil.rmtree(folder / str(number))
    return case_result(
        {"operations": operations, "starts refused": refused, "calls refused": unavailable},
        violations,
        unless(refused + unavailable > operations / 2, "hardly any operation failed"),
    )


async def _one_fails(path: Path, number: int, code: int) -> _Outcome:
    factory = broken([number], code)

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return sqlite3.connect(*args, factory=factory, **kwargs)

    refused = unavailable = 0
    try:
        store = await open_at(path, connect=connect)
    except StoreError:
        refused = 1
        store = await open_at(path, connect=connect)
    owed: dict[str, list[Kind]] = {}
    settled: dict[str, list[Kind]] = {}
    for step, intake in enumerate((firing("a", "b"), firing("a", text="1"), resolved("a"), firing("c"), firing("a"))):
        while True:
            try:
                for name, kind in (await store.accept(intake)).owed:
                    owed.setdefault(name, []).append(kind)
                break
            except StoreUnavailable:
                unavailable += 1
                await asyncio.sleep(0.06)
        unavailable += await _deliver_some(store, settled, retry=bool(step % 2))
    while (await patiently(store.counts))["default"].pending:
        unavailable += await _deliver_some(store, settled, retry=False)
    await store.close()
    wrong = [
        f"{name}: owed {owed[name]}, settled {settled.get(name)}" for name in owed if owed[name] != settled.get(name)
    ]
    return _Outcome(refused, unavailable, wrong)


async def _deliver_some(store: Store, settled: dict[str, list[Kind]], *, retry: bool) -> int:
    """Deliver what is due, or only try it; return how often the store was unavailable."""
    unavailable = 0
    claims: tuple[Claim, ...] = ()
    while True:
        with suppress(StoreUnavailable):
            claims = (await store.claim("default", 2)).claims
            break
        unavailable += 1
    while claims:
        try:
            if retry:
                await store.settle([retried(claim, 0) for claim in claims])
            else:
                for claim, done in zip(claims, await store.settle([delivered(c) for c in claims]), strict=True):
                    if done.counted:
                        settled.setdefault(claim.report.fingerprint, []).append(claim.report.kind)
            break
        except StoreUnavailable:
            unavailable += 1
            await asyncio.sleep(0.06)
    return unavailable


# Row 7

_PENDING = (
    resolved(*(f"0x{n}" for n in range(100))),
    firing(*(f"1x{n}" for n in range(100)), text="changed " * 100),
    firing(*(f"new{n}" for n in range(300)), text="words " * 100),
)


async def overwritten_blocks(folder: Path, *, blocks: int, seed: int = 1) -> CaseResult:
    """Row 7: overwrite one random block of 512 bytes in each of `blocks` copies of a store."""
    rng = random.Random(seed)
    original = folder / "original" / "adapter.db"
    owed = await _write_history(original)
    counts: Counter[str] = Counter()
    for number in range(blocks):
        path = folder / str(number) / "adapter.db"
        path.parent.mkdir()
        shutil.copyfile(original, path)
        with path.open("r+b") as file:
            file.seek(rng.randrange(path.stat().st_size // 512) * 512)
            file.write(rng.randbytes(512))
        counts.update(await _deliver_all(path, owed))
        shutil.rmtree(path.parent)
    saved = 100 * counts["saved"] / (blocks * len(owed))
    lost, wrong, owed_again = counts["lost"], counts["wrong"], counts["owed again"]
    figures = {
        "blocks": blocks,
        "started": counts["started"],
        "recovered": counts["recovered"],
        "% of pending reports saved": round(saved, 2),
        "lost": lost,
        "of the lost owed again by the next webhook": owed_again,
        "reports changed unnoticed": wrong,
    }
    return case_result(
        figures,
        unless(counts["started"] == blocks, "a start failed"),
        unless(saved >= (99 if blocks >= 100 else 90), f"only {saved:.2f} % saved"),
        unless(wrong == 0, f"{wrong} wrong"),
        unless(owed_again == lost, f"{lost - owed_again} lost for good"),
    )


async def _write_history(path: Path) -> dict[tuple[str, Kind], bytes]:
    """Write a store with delivered alarms and pending reports; return the raw bytes of the pending ones."""
    store = await open_at(path)
    for part in range(6):
        await store.accept(firing(*(f"{part}x{n}" for n in range(100)), text="words " * 100))
        while claims := (await store.claim("default", 500)).claims:
            await store.settle([delivered(claim) for claim in claims])
    for intake in _PENDING:
        await store.accept(intake)
    owed = {(c.report.fingerprint, c.report.kind): c.report.raw for c in (await store.claim("default", 1000)).claims}
    await store.close()
    return owed


async def _deliver_all(path: Path, owed: dict[tuple[str, Kind], bytes]) -> dict[str, int]:
    """Open a damaged store, deliver everything, and accept the webhooks of the pending reports once more."""
    store = await open_at(path)
    claimed: dict[tuple[str, Kind], bytes] = {}
    while claims := (await patiently(lambda: store.claim("default", 1000))).claims:
        claimed.update({(claim.report.fingerprint, claim.report.kind): claim.report.raw for claim in claims})
        settlements = [delivered(claim) for claim in claims]
        await patiently(lambda settlements=settlements: store.settle(settlements))
    again: set[str] = set()
    for intake in _PENDING:
        receipt = await patiently(lambda intake=intake: store.accept(intake))
        again.update(name for name, _ in receipt.owed)
    recovered = bool(store.describe()["recovered"])
    await store.close()
    saved = sum(claimed.get(key) == raw for key, raw in owed.items())
    lost = [name for name, kind in owed if (name, kind) not in claimed]
    return {
        "started": 1,
        "recovered": recovered,
        "saved": saved,
        "wrong": len(owed) - saved - len(lost),
        "lost": len(lost),
        "owed again": sum(name in again for name in lost),
    }


if __name__ == "__main__":
    asyncio.run(_load(Path(sys.argv[1]), sys.argv[2]))
