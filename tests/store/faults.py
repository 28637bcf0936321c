"""Faults caused to a SQLite store, as plain functions that return figures: few rounds in tests, many in fault runs.

Each takes an empty folder of its own and a count, and runs its own event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from adapter.alarm import Kind
from adapter.clock import SystemClock
from adapter.errors import StoreError, StoreUnavailable
from adapter.store.contract import Claim, Store
from adapter.store.sqlite.disk import MIB
from adapter.store.sqlite.start import Options
from adapter.store.sqlite.store import SqliteStore
from adapter.store.views import AlarmQuery
from tests.builders import an_alert, an_intake, delivered, firing, resolved, retried
from tests.fakes import FakeClock

T = TypeVar("T")


async def open_at(path: Path, **options: Any) -> SqliteStore:
    return await SqliteStore.open(path, backlog=10_000_000, clock=FakeClock(), options=small_options(**options))


def small_options(**options: Any) -> Options:
    """A reserve that fits into a test."""
    return Options(**({"reserve": MIB} | options))


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """As delivery does it: ask again while the store is unavailable."""
    for _ in range(100):
        try:
            return await call()
        except StoreUnavailable:
            await asyncio.sleep(0.06)
    return await call()


# Blocks overwritten in the file


@dataclass(frozen=True, slots=True)
class Corrupted:
    """What became of stores of which one random block of 512 bytes was overwritten."""

    rounds: int
    started: int
    recovered: int
    owed: int  # reports pending before, over all rounds
    saved: int  # claimed as they were
    wrong: int  # claimed with other bytes
    lost: int
    owed_again: int  # of the lost: by the next webhook about the alarm


def corrupt_blocks(folder: Path, rounds: int, seed: int = 1) -> Corrupted:
    """Overwrite one block per round in a copy of a store that holds both history and pending reports."""
    return asyncio.run(_corrupt_blocks(folder, rounds, random.Random(seed)))


async def _corrupt_blocks(folder: Path, rounds: int, rng: random.Random) -> Corrupted:
    whole = folder / "whole" / "adapter.db"
    owed = await _some_history(whole)
    tally: dict[str, int] = dict.fromkeys(("started", "recovered", "saved", "wrong", "lost", "owed_again"), 0)
    for number in range(rounds):
        path = folder / str(number) / "adapter.db"
        path.parent.mkdir()
        shutil.copyfile(whole, path)
        with path.open("r+b") as file:
            file.seek(rng.randrange(path.stat().st_size // 512) * 512)
            file.write(rng.randbytes(512))
        for name, value in (await _what_is_left(path, owed)).items():
            tally[name] += value
        shutil.rmtree(path.parent)
    return Corrupted(rounds=rounds, owed=rounds * len(owed), **tally)


_WAITING = (
    resolved(*(f"0x{n}" for n in range(100))),
    firing(*(f"1x{n}" for n in range(100)), text="changed " * 100),
    firing(*(f"new{n}" for n in range(300)), text="words " * 100),
)


async def _some_history(path: Path) -> dict[tuple[str, Kind], bytes]:
    """A closed store in which alarms fire, resolved ones are done, and reports wait; the raw bytes of those."""
    store = await open_at(path)
    for part in range(6):
        await store.accept(firing(*(f"{part}x{n}" for n in range(100)), text="words " * 100))
        while claims := (await store.claim("default", 500)).claims:
            await store.settle([delivered(claim) for claim in claims])
    for intake in _WAITING:
        await store.accept(intake)
    owed = {(c.report.fingerprint, c.report.kind): c.report.raw for c in (await store.claim("default", 1000)).claims}
    await store.close()
    return owed


async def _what_is_left(path: Path, owed: dict[tuple[str, Kind], bytes]) -> dict[str, int]:
    store = await open_at(path)
    found: dict[tuple[str, Kind], bytes] = {}
    while claims := (await patiently(lambda: store.claim("default", 1000))).claims:
        found.update({(claim.report.fingerprint, claim.report.kind): claim.report.raw for claim in claims})
        settlements = [delivered(claim) for claim in claims]
        await patiently(lambda settlements=settlements: store.settle(settlements))
    again: set[str] = set()
    for intake in _WAITING:
        receipt = await patiently(lambda intake=intake: store.accept(intake))
        again.update(name for name, _ in receipt.owed)
    recovered = bool(store.describe()["recovered"])
    await store.close()
    saved = [key for key in owed if found.get(key) == owed[key]]
    lost = [key for key in owed if key not in found]
    return {
        "started": 1,
        "recovered": recovered,
        "saved": len(saved),
        "wrong": len(owed) - len(saved) - len(lost),
        "lost": len(lost),
        "owed_again": sum(name in again for name, _ in lost),
    }


# kill -9


@dataclass(frozen=True, slots=True)
class Killed:
    """What became of a store whose process was killed under load, again and again."""

    kills: int
    acknowledged: int  # reports
    lost: int
    torn: int  # webhooks of which only a part was kept
    settled_twice: int


def kill_nine(folder: Path, kills: int, seed: int = 1) -> Killed:
    """Kill a real process at random moments while it accepts and settles; the same store lives on."""
    return asyncio.run(_kill_nine(folder, kills, random.Random(seed)))


async def _kill_nine(folder: Path, kills: int, rng: random.Random) -> Killed:
    path = folder / "adapter.db"
    acknowledged: set[str] = set()
    settled: list[str] = []
    for round_ in range(kills):
        for line in _load_until_killed(path, round_, 0.05 + rng.random() * 0.4):
            word, name = line.split()
            (acknowledged.add if word == "accepted" else settled.append)(name)
    store = await open_at(path)
    kept: dict[str, int] = {}
    left = set(settled)
    again = 0
    while claims := (await store.claim("default", 1000)).claims:
        again += sum(claim.report.fingerprint in left for claim in claims)
        await store.settle([delivered(claim) for claim in claims])
    after = 0
    while rows := await store.alarms(AlarmQuery(after=after, limit=1000)):
        after = rows[-1].id
        for row in rows:
            webhook = row.alarm.fingerprint.rpartition("x")[0]
            kept[webhook] = kept.get(webhook, 0) + 1
    await store.close()
    return Killed(
        kills=kills,
        acknowledged=len(acknowledged) * LOAD_ALERTS,
        lost=sum(LOAD_ALERTS - kept.get(webhook, 0) for webhook in acknowledged),
        torn=sum(count not in (0, LOAD_ALERTS) for count in kept.values()),
        settled_twice=len(settled) - len(left) + again,
    )


LOAD_ALERTS = 5  # per webhook of the load


def _load_until_killed(path: Path, round_: int, seconds: float) -> Iterator[str]:
    """What a process said it had accepted and settled before it was killed, `seconds` after its first word."""
    command = [sys.executable, "-m", "tests.store.faults", str(path), str(round_)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
        lines = [first, *process.stdout.readlines()]
    return (line for line in lines if line.endswith(".\n") for line in [line.removesuffix(".\n")])


async def _load(path: Path, round_: str) -> None:
    """Accept and settle for ever, saying each only when it is done."""
    store = await SqliteStore.open(path, backlog=10_000_000, clock=SystemClock(), options=small_options())

    async def take(lane: int) -> None:
        for n in itertools.count():
            name = f"{round_}l{lane}n{n}"
            await store.accept(an_intake(*(an_alert(f"{name}x{k}") for k in range(LOAD_ALERTS))))
            print(f"accepted {name}.", flush=True)

    async def settle() -> None:
        while True:
            claims = (await store.claim("default", 20)).claims
            await store.settle([delivered(claim) for claim in claims])
            for claim in claims:
                print(f"settled {claim.report.fingerprint}.", flush=True)

    await asyncio.gather(*(take(lane) for lane in range(4)), settle())


# Every Nth operation fails


@dataclass(frozen=True, slots=True)
class Failed:
    """What became of a store whose Nth SQLite operation failed, for N = 1, 2, 3 ..."""

    rounds: int
    refused: int  # starts that were refused with a reason
    unavailable: int  # calls that raised StoreUnavailable
    violations: tuple[str, ...]


class _Broken(sqlite3.Connection):
    """Fails its statements when the countdown reaches zero."""

    countdown: ClassVar[list[int]] = [0]
    code = sqlite3.SQLITE_FULL

    def _fail(self) -> None:
        self.countdown[0] -= 1
        if self.countdown[0] == 0:
            error = sqlite3.OperationalError(f"made to fail with {self.code}")
            error.sqlite_errorcode = self.code
            raise error

    def execute(self, *args: Any) -> sqlite3.Cursor:  # type: ignore[override]
        self._fail()
        return super().execute(*args)

    def executemany(self, *args: Any) -> sqlite3.Cursor:  # type: ignore[override]
        self._fail()
        return super().executemany(*args)


def broken(countdown: list[int], code: int) -> type[sqlite3.Connection]:
    """A connection that fails with `code` once, when `countdown[0]` statements have run; zero means never."""
    return type("Broken", (_Broken,), {"countdown": countdown, "code": code})


CODES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY)


def every_nth_fails(folder: Path, rounds: int) -> Failed:
    """For each N up to `rounds`, let operation N fail once and see that nothing acknowledged is lost or repeated."""
    refused = unavailable = 0
    violations: list[str] = []
    for n in range(1, rounds + 1):
        code = CODES[n % len(CODES)]
        place = folder / str(n)
        result = asyncio.run(_one_fails(place / "adapter.db", n, code))
        refused += result.refused
        unavailable += result.unavailable
        violations += [f"N={n} code={code}: {text}" for text in result.violations]
        shutil.rmtree(place)
    return Failed(rounds, refused, unavailable, tuple(violations))


async def _one_fails(path: Path, n: int, code: int) -> Failed:
    countdown = [n]
    factory = broken(countdown, code)

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return sqlite3.connect(*args, factory=factory, **kwargs)

    refused = unavailable = 0
    try:
        store = await open_at(path, connect=connect)
    except StoreError:
        refused = 1
        store = await open_at(path, connect=connect)
    taken: dict[str, list[Kind]] = {}
    left: dict[str, list[Kind]] = {}
    for step, intake in enumerate((firing("a", "b"), firing("a", text="1"), resolved("a"), firing("c"), firing("a"))):
        while True:
            try:
                for name, kind in (await store.accept(intake)).owed:
                    taken.setdefault(name, []).append(kind)
                break
            except StoreUnavailable:
                unavailable += 1
                await asyncio.sleep(0.06)
        unavailable += await _deliver_some(store, left, step)
    while (await patiently(store.counts))["default"].pending:
        unavailable += await _deliver_some(store, left, 0)
    violations = [
        f"{name}: taken {taken[name]}, left {left.get(name)}" for name in taken if taken[name] != left.get(name)
    ]
    await store.close()
    return Failed(1, refused, unavailable, tuple(violations))


async def _deliver_some(store: Store, left: dict[str, list[Kind]], step: int) -> int:
    """Deliver what is due, each after one retry in every other step; how often the store was unavailable."""
    unavailable = 0
    claims: tuple[Claim, ...] = ()
    while True:
        with suppress(StoreUnavailable):
            claims = (await store.claim("default", 2)).claims
            break
        unavailable += 1
    while claims:
        try:
            if step % 2:
                await store.settle([retried(claim, 0) for claim in claims])
            else:
                for claim, settled in zip(claims, await store.settle([delivered(c) for c in claims]), strict=True):
                    if settled.counted:
                        left.setdefault(claim.report.fingerprint, []).append(claim.report.kind)
            break
        except StoreUnavailable:
            unavailable += 1
            await asyncio.sleep(0.06)
    return unavailable


if __name__ == "__main__":
    asyncio.run(_load(Path(sys.argv[1]), sys.argv[2]))
