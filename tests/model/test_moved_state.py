"""Random schedules over two integrations, then a move: COC ends with what the reference says of all alerts together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapter.alarm import Kind, Outcome, Status
from adapter.alertmanager import Alert
from adapter.clock import SECOND
from adapter.store.memory import MemoryStore
from adapter.store.views import AlarmQuery, ReportRow
from tests.builders import NOON, an_alert, an_intake, delivered
from tests.fakes import FakeClock
from tests.model.reference import Reference, SentAlert

OLD, NEW = "old", "default"
START = "2026-01-01T12:00:{:02d}Z"

integrations, starts, lengths = st.sampled_from([OLD, NEW]), st.sampled_from([10, 20, 30]), st.sampled_from([5, 25])
alerts = st.tuples(integrations, st.booleans(), starts, lengths, st.sampled_from(["", "worse"]))
deliveries = st.tuples(integrations, st.integers(1, 3))
steps = st.lists(alerts | alerts | deliveries, min_size=1, max_size=12)


class Schedule:
    def __init__(self) -> None:
        self.store, self.reference = MemoryStore(backlog=1000, clock=FakeClock()), Reference()
        self.now = NOON
        self.ended = 0  # the newest start of an episode that ended; no alert starts before it afterwards
        self.coc: dict[str, list[Kind]] = {OLD: [], NEW: []}  # what each was told, in order

    async def accept(self, integration: str, firing: bool, starts: int, length: int, words: str) -> None:
        ends = starts + length
        times = {"startsAt": START.format(starts)} | ({} if firing else {"endsAt": START.format(ends)})
        alert = an_alert("a1", "firing" if firing else "resolved", text=words, **times)
        if starts < self.ended or (not firing and await self._says_nothing(integration, alert)):
            return
        self.reference.receive(SentAlert("a1", firing, starts, ends, words), "r1")
        record = self.reference.records["a1"]
        self.ended = self.ended if record.firing else max(self.ended, record.starts)
        await self.store.accept(an_intake(alert, integration=integration, received=self.now))

    async def _says_nothing(self, integration: str, alert: Alert) -> bool:
        """A resolve that its row keeps no time of: stale, or of what has ended already."""
        rows = await self.store.alarms(AlarmQuery(integration=integration))
        known = [row.alarm for row in rows]
        return any(one.status is Status.RESOLVED or alert.ends < one.starts for one in known)

    async def deliver(self, integration: str, count: int) -> None:
        for _ in range(count):
            for claim in (await self.store.claim(integration, 1)).claims:
                kind, told = claim.report.kind, self.coc[integration]
                is_open = bool(told) and told[-1] is not Kind.OK
                if claim.accepted is not None and claim.accepted.status == "alarm" and not is_open:
                    assert kind is not Kind.UPDATE, "it could be judged as unneeded by what another COC has"
                told.append(kind)
                await self.store.settle([delivered(claim, at=self.now)])

    async def trail(self, integration: str) -> list[ReportRow]:
        """Oldest first."""
        return (await self.store.trail(integration, "a1", 1000))[::-1]

    async def move(self) -> None:
        before = {name: await self.trail(name) for name in (OLD, NEW)}
        removed = await self.store.move_alarms(OLD, await self.store.held(OLD), NEW, self.now)
        after = {row.report.seq: row for row in await self.trail(NEW)}
        sent = [row.report.seq for row in before[NEW] if row.outcome is Outcome.DELIVERED]
        for row in before[OLD] + before[NEW]:
            stays = row.outcome is None and after[row.report.seq].outcome is None
            older = after[row.report.seq].outcome is Outcome.SUPERSEDED and row.report.seq < max(sent, default=0)
            assert stays or older or row.outcome is not None, "a report that waits is lost"
        assert len(after) == len(before[OLD]) + len(before[NEW]) + removed.owed


async def run(chosen: Sequence[tuple[object, ...]]) -> None:
    schedule = Schedule()
    for step in chosen:
        schedule.now += SECOND
        await (schedule.deliver if len(step) == 2 else schedule.accept)(*step)  # type: ignore[arg-type]
    known_there = bool(await schedule.trail(NEW))
    waited = [row.report.kind for row in await schedule.trail(OLD) if row.outcome is None]
    await schedule.move()
    left = [row.report.seq for row in await schedule.trail(NEW) if row.outcome is None]
    await schedule.deliver(NEW, 100)
    assert all(one < other for one, other in pairwise(left))
    rows = await schedule.store.alarms(AlarmQuery())
    if not rows:
        return
    assert [(row.integration, row.alarm.pending) for row in rows] == [(NEW, 0)]
    firing = schedule.reference.records["a1"].firing
    assert (rows[0].alarm.status is Status.FIRING) is firing, chosen
    told = schedule.coc[NEW]
    assert bool(told and told[-1] is not Kind.OK) is firing
    if not known_there and not firing:
        assert len(told) == len(waited), "of an alarm that ended no more is told than waits"


@given(steps)
@example([(NEW, True, 10, 10, ""), (NEW, False, 10, 10, ""), (NEW, 2), (OLD, True, 30, 10, "")])
@example([(OLD, True, 10, 10, ""), (OLD, 1)])
@example([(OLD, True, 10, 10, ""), (OLD, 1), (OLD, True, 10, 10, "worse")])
@example([(OLD, True, 10, 10, ""), (OLD, 1), (OLD, False, 10, 10, "")])
@example([(OLD, True, 10, 10, ""), (NEW, True, 10, 10, ""), (NEW, False, 10, 10, ""), (OLD, True, 10, 10, "")])
@settings(max_examples=300, deadline=None)
def test_after_a_move_coc_has_the_state_that_all_alerts_together_give(chosen: Sequence[tuple[object, ...]]) -> None:
    asyncio.run(run(chosen))
