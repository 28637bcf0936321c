"""Rows 2, 9, 10, 15, 16, 18, 20 and 22: intake and delivery with a clock of the test, killed at chosen points."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

from adapter.coc.verdict import Verdict, judge
from tests.builders import NOON
from tests.faults.alertmanager import Member, Timing
from tests.faults.chaos import nth_state
from tests.faults.oracle import Ledger, Step, examine
from tests.faults.result import CaseResult, case_result, unless
from tests.model.world import Died, World, body_of
from tests.store.places import MemoryPlace, SqlitePlace

HOUR = 3600.0


@asynccontextmanager
async def world(folder: Path, *, store: str = "memory", **options: Any) -> AsyncIterator[World]:
    it = await World(MemoryPlace() if store == "memory" else SqlitePlace(folder), **options).begin()
    try:
        yield it
    finally:
        await it.end()


async def send(it: World, ledger: Ledger, alerts: list[dict[str, Any]]) -> None:
    """Send a webhook until it is acknowledged; start the process again where it died."""
    body = body_of(alerts)
    ledger.sent(alerts)
    while True:
        try:
            if await it.send(body):
                break
        except Died:
            await it.crash()
    ledger.acknowledged(alerts)


def arrived(it: World) -> list[Step]:
    return [Step(one.alarm, one.status, one.time) for one in it.coc.accepted]


async def fresh(it: World, ledger: Ledger, seconds: float = 5.0) -> str:
    """A violation when a new alert is not at COC in time."""
    before = len(it.coc.accepted)
    alerts = [nth_state("Fresh", 1)]
    await send(it, ledger, alerts)
    await it.clock.advance(seconds)
    there = any(one.body["alarmName"] == "Fresh" for one in it.coc.accepted[before:])
    return unless(there, f"L: a fresh alert is not at COC within {seconds} s")


async def every_boundary(folder: Path, *, store: str = "sqlite", most: int = 10_000) -> CaseResult:
    """Row 2: the same short run, killed at its first, second, third ... boundary, until one ends without a kill."""
    point, problems, duplicates = 0, [], 0
    while point < most:
        point += 1
        place = folder / str(point)
        place.mkdir()
        async with world(place, store=store) as it:
            ledger = Ledger()
            it.die_at = point
            for turn in (1, 2, 3):
                await send(it, ledger, [nth_state(f"B{n}", turn) for n in range(3)])
                await it.clock.advance(0.5)
                if it.dying:
                    await it.crash()
            done = it.die_at == point
            it.die_at = 0
            await it.drained()
            verdict = examine(ledger, arrived(it))
            duplicates += verdict.duplicates
            problems += [f"point {point}: {line}" for line in verdict.violations(it.duplicates_allowed)]
        if done:
            break
    figures = {"boundaries": point - 1, "duplicates over all": duplicates, "violations": len(problems)}
    return case_result(figures, problems, unless(point > 20, "hardly any boundary was met"))


async def outage(
    folder: Path, *, hours: float, store: str = "memory", alarms: int = 20, every: float = 600.0
) -> CaseResult:
    """Row 9: COC refuses connections for `hours` while all alarms change `every` so many seconds."""
    async with world(folder, store=store, in_flight=8) as it:
        ledger, turn = Ledger(), 0
        it.coc.behaviour = lambda body: "down"
        while turn * every < hours * HOUR:
            turn += 1
            await send(it, ledger, [nth_state(f"D{n}", turn) for n in range(alarms)])
            await it.clock.advance(every)
        tries = len(it.coc.tries)
        backlog = await it.pending()
        it.coc.behaviour = lambda body: "accept"
        began = it.clock.monotonic()
        liveness = await fresh(it, ledger)
        await it.drained()
        drain = it.clock.monotonic() - began
        verdict = examine(ledger, arrived(it))
    figures = {
        f"simulated hours ({store})": hours,
        "reports waited": backlog,
        "attempts per hour": round(tries / hours),
        "s to drain at most": round(drain, 1),
        "lost": verdict.lost,
        "reordered": verdict.reordered,
        "duplicates": verdict.duplicates,
    }
    return case_result(figures, verdict.violations(), liveness)


async def flapping(folder: Path, *, minutes: float, alarms: int = 20) -> CaseResult:
    """Row 10: COC is up for ten seconds, down for ten; answers are lost in the last second before it goes down."""
    async with world(folder, in_flight=8) as it:
        ledger, turn = Ledger(), 0

        def behaviour(body: dict[str, Any]) -> str:
            phase = int(it.clock.monotonic() - 1000) % 20
            return "lost" if phase == 9 else "accept" if phase < 10 else "down"

        it.coc.behaviour = behaviour
        while turn * 3 < minutes * 60:
            turn += 1
            await send(it, ledger, [nth_state(f"F{n}", turn) for n in range(alarms)])
            await it.clock.advance(3)
        it.coc.behaviour = lambda body: "accept"
        liveness = await fresh(it, ledger)
        await it.drained()
        verdict = examine(ledger, arrived(it))
        allowed = it.duplicates_allowed
    share = 100 * verdict.duplicates / max(1, verdict.arrived)
    figures = {
        "simulated minutes": minutes,
        "reports": verdict.owed,
        "duplicates": verdict.duplicates,
        "% of what arrived": round(share, 1),
        "answers lost": allowed,
    }
    return case_result(figures, verdict.violations(allowed), liveness)


async def some_refused(folder: Path, *, alarms: int) -> CaseResult:
    """Row 15: COC refuses one alarm in twenty, with any body."""
    async with world(folder) as it:
        ledger = Ledger()
        names = [f"R{n}" for n in range(alarms)]
        refused = {f"R{n}" for n in range(0, alarms, 20)}
        it.coc.behaviour = lambda body: "refuse" if body["alarmName"] in refused else "accept"
        for name in names:
            await send(it, ledger, [nth_state(name, 1)])
        await it.drained()
        letters = await it.store.store.dead_letters(None, 0, 10 * alarms)
        dead = {json.loads(row.report.raw)["alert"]["labels"]["alertname"] for row in letters}
        excused = {row.report.fingerprint for row in letters}
        verdict = examine(ledger, arrived(it), excused=excused)
        twice = all(len(row.attempts) == 2 for row in letters)
        pause = it.delivery.pause
    return case_result(
        {"alarms": alarms, "dead": len(dead), "delivered": verdict.arrived},
        verdict.violations(),
        unless(dead == refused, f"dead letters are not those COC refused: {sorted(dead ^ refused)}"),
        unless(twice, "a dead letter without an attempt with the built-in body"),
        unless(pause is None, "the integration was paused for single refusals"),
    )


async def all_refused(folder: Path, *, alarms: int) -> CaseResult:
    """Row 16: COC refuses every report, then accepts them again."""
    async with world(folder) as it:
        ledger = Ledger()
        it.coc.behaviour = lambda body: "refuse"
        for n in range(alarms):
            await send(it, ledger, [nth_state(f"R{n}", 1)])
        pause = it.delivery.pause
        letters = await it.store.store.dead_letters(None, 0, 10 * alarms)
        tries = len(it.coc.tries)
        await it.clock.advance(600)
        probes = len(it.coc.tries) - tries
        more = len(await it.store.store.dead_letters(None, 0, 10 * alarms)) - len(letters)
        it.coc.behaviour = lambda body: "accept"
        began = it.clock.monotonic()
        await it.clock.advance(61)
        await it.drained()
        verdict = examine(ledger, arrived(it), excused={row.report.fingerprint for row in letters})
        liveness = await fresh(it, ledger)
    figures = {
        "alarms": alarms,
        "dead before the pause": len(letters),
        "requests in ten minutes of pause": probes,
        "s until all were delivered": round(it.clock.monotonic() - began, 1),
    }
    return case_result(
        figures,
        verdict.violations(),
        liveness,
        unless(pause is not None and pause.reason == "refusals", "not paused"),
        unless(len(letters) <= 11 and more == 0, f"{len(letters)} + {more} dead letters"),
    )


async def retry_after(folder: Path, *, rounds: int = 1) -> CaseResult:
    """Row 18: 429 and 503 with every kind of Retry-After; nothing is sent before it has passed."""
    wrong, early = [], 0.0
    now = datetime.fromtimestamp(NOON / 1e6, UTC)
    date = format_datetime(datetime.fromtimestamp(NOON / 1e6 + 90, UTC), usegmt=True)
    cases = {"7": 7.0, "120": 120.0, date: 90.0, "1000000000": 600.0, "soon": 0.0, "-5": 0.0, "": 0.0}
    for status in (429, 503):
        for value, wanted in cases.items():
            async with world(folder) as it:
                ledger = Ledger()
                headers = {"Retry-After": value} if value else {}
                it.coc.behaviour = partial(_always, judge(status, headers, b"", now))
                await send(it, ledger, [nth_state("A", 1)])
                it.coc.behaviour = lambda body: "accept"
                first = it.coc.tries[0]
                await it.clock.advance(700)
                waited = it.coc.tries[1] - first if len(it.coc.tries) > 1 else -1.0
                early = max(early, wanted - waited)
                if waited < wanted or waited > wanted + 2.0:
                    wrong.append(f"{status} with Retry-After {value!r}: tried again after {waited:.1f} s")
                wrong += examine(ledger, arrived(it)).violations()
    return case_result({"kinds": 2 * len(cases), "s too early at most": max(0.0, round(early, 2))}, wrong)


def _always(verdict: Verdict, body: dict[str, Any]) -> Verdict:
    return verdict


async def clock_jumps(folder: Path, *, store: str = "sqlite") -> CaseResult:
    """Row 20: the wall clock is set back an hour, set forward a day, or stands still; at runtime and over a restart."""
    problems: list[str] = []
    late = 0.0
    for jump in (-3600, 86_400, 0):
        for restart in (False, True):
            place = folder / f"{jump}{restart}"
            place.mkdir()
            async with world(place, store=store) as it:
                ledger = Ledger()
                it.coc.behaviour = lambda body: "down"
                await send(it, ledger, [nth_state(f"J{n}", 1) for n in range(5)])
                await it.clock.advance(30)
                it.clock.wall += jump * 1_000_000
                if restart:
                    await it.crash()
                await send(it, ledger, [nth_state(f"J{n}", 2) for n in range(5)])
                it.coc.behaviour = lambda body: "accept"
                began = it.clock.monotonic()
                if jump == 0:
                    await _frozen(it, 10)
                await it.drained()
                late = max(late, it.clock.monotonic() - began)
                liveness = await fresh(it, ledger)
                lines = [*examine(ledger, arrived(it)).violations(), liveness]
                problems += [f"jump {jump} restart {restart}: {line}" for line in lines if line]
    return case_result(
        {"jumps": 6, "s until all was delivered": round(late, 1)}, problems, unless(late <= 10, "L: late")
    )


async def _frozen(it: World, seconds: int) -> None:
    """Monotonic time passes while the wall clock stands still."""
    wall = it.clock.wall
    for _ in range(seconds):
        await it.clock.advance(1)
        it.clock.wall = wall


async def pair(folder: Path, *, rounds: int, seed: int = 1, gossip: bool = True) -> CaseResult:
    """Row 22: two Alertmanagers with the same groups, their flushes up to 20 s apart.

    With gossip the second member sees the first one's success before it sends. Without gossip both send everything, and
    the second sends a snapshot that is 15 s old.
    """
    rng = random.Random(seed)
    async with world(folder, in_flight=8) as it:
        ledger = Ledger()
        log: dict[str, Any] = {}
        members = [
            Member(
                _poster(it),
                it.clock,
                jitter=rng.random,
                position=position,
                log=log if gossip else None,
                timing=Timing(group_interval=30.0),
                on_send=ledger.sent,
                on_acknowledged=ledger.acknowledged,
            )
            for position in (0, 1)
        ]
        groups = [f"g{n}" for n in range(4)]
        tasks = [asyncio.create_task(one.run(group, delay=rng.random() * 20)) for one in members for group in groups]
        for turn in range(1, rounds + 1):
            for one in members:
                for group in groups:
                    one.put(group, *(nth_state(f"{group}P{n}", turn) for n in range(5)))
            await it.clock.advance(60 + rng.random() * 30)
        await it.clock.advance(120)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await it.drained()
        posts = sum(one.counts.posts for one in members)
        came: dict[str, list[Step]] = {}
        for step in arrived(it):
            came.setdefault(step.alarm, []).append(step)
    odd = [alarm for alarm, steps in ledger.owed.items() if came.get(alarm) != steps]
    again = sum(len(steps) - len(set(steps)) for steps in ledger.owed.values())
    figures = {
        f"rounds ({'with' if gossip else 'without'} gossip)": rounds,
        "webhooks": posts,
        "steps": ledger.steps,
        "duplicates, losses or inversions": len(odd),
        "stale firings passed on as new episodes": again,
    }
    return case_result(figures, unless(not odd, f"C O S F: {len(odd)} alarms did not arrive as they were acknowledged"))


def _poster(it: World) -> Callable[[bytes], Any]:
    async def send(body: bytes) -> int:
        return 200 if await it.accept(body) else 503

    return send
