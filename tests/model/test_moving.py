"""Random schedules with an integration that leaves adapter.yml: SQLite answers as memory does, and nothing is lost."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.alarm import Outcome
from adapter.clock import SECOND
from adapter.store.contract import Claim, Settlement
from adapter.store.views import AlarmQuery
from tests.builders import NOON, an_alert, an_intake, delivered, retried, settled_as
from tests.model.pair import Pair, PairPlace
from tests.store.places import SqlitePlace

OLD, NEW = "old", "default"
HOUR = 3600 * SECOND

integrations, names, statuses = (st.sampled_from(of) for of in ([OLD, NEW], ["a1", "a2"], ["firing", "resolved"]))
texts, revisions = st.sampled_from(["", "worse"]), st.sampled_from(["r1", "r2"])
accepts = st.tuples(st.just("accept"), integrations, names, statuses, texts, revisions)
claims = st.tuples(st.just("claim"), integrations, st.integers(1, 2))
settles = st.tuples(st.just("settle"), st.sampled_from(["delivered", "dead", "retried", "unneeded"]))
removals = st.sampled_from([("move",), ("discard",), ("restart",)])


class Schedule:
    def __init__(self, store: Pair, place: PairPlace) -> None:
        self.store, self.place = store, place
        self.claimed: list[Claim] = []
        self.now = NOON

    async def accept(self, integration: str, name: str, status: str, text: str, revision: str) -> None:
        alert = an_alert(name, status, text=text)
        policy = {"refresh": HOUR, "revision": revision, "received": self.now, "integration": integration}
        await self.store.accept(an_intake(alert, **policy))

    async def claim(self, integration: str, limit: int) -> None:
        found = (await self.store.claim(integration, limit)).claims
        for claim in found:
            report = claim.report
            trail = await self.store.trail(integration, report.fingerprint, 1000)
            waiting = [row.report.seq for row in trail if row.outcome is None]
            assert report.seq == min(waiting), "an alarm's reports leave in their order"
        self.claimed += found

    async def settle(self, how: str) -> None:
        await self.store.settle([self._settled(claim, how) for claim in self.claimed])
        self.claimed = []

    def _settled(self, claim: Claim, how: str) -> Settlement:
        if how == "retried":
            return retried(claim, 0.0)
        return delivered(claim, at=self.now) if how == "delivered" else settled_as(claim, Outcome(how), at=self.now)

    async def move(self) -> None:
        await self._nobody_serves_it()
        pending = await self._pending()
        removed = await self.store.move_alarms(OLD, await self.store.held(OLD), NEW, self.now)
        assert await self._pending() == pending - removed.reports + removed.taken_reports
        assert await self.store.held(OLD) == []

    async def discard(self) -> None:
        await self._nobody_serves_it()
        pending = await self._pending()
        removed = await self.store.discard_alarms(OLD, await self.store.held(OLD), self.now)
        assert await self._pending() == pending - removed.reports

    async def _nobody_serves_it(self) -> None:
        await self.store.settle([retried(claim, 0.0) for claim in self.claimed if claim.report.integration == OLD])
        self.claimed = [claim for claim in self.claimed if claim.report.integration != OLD]

    async def restart(self) -> None:
        await self.settle("retried")
        self.store = await self.place.restart(self.store)

    async def _pending(self) -> int:
        return sum(count.pending for count in (await self.store.counts()).values())

    async def look(self) -> None:
        """Compare everything that can be asked."""
        await self.store.dead_letters(None, 0, 1000)
        pending = {OLD: 0, NEW: 0}
        for row in await self.store.alarms(AlarmQuery()):
            trail = await self.store.trail(row.integration, row.alarm.fingerprint, 1000)
            assert sum(one.outcome is None for one in trail) == row.alarm.pending
            assert {one.report.integration for one in trail} <= {row.integration}
            pending[row.integration] += row.alarm.pending
        counts = await self.store.counts()
        assert {name: counts[name].pending if name in counts else 0 for name in pending} == pending
        assert not self.store.differences, "\n".join(self.store.differences)


async def run(folder: Path, steps: list[tuple[object, ...]]) -> None:
    place = PairPlace(SqlitePlace(folder))
    schedule = Schedule(await place.open(), place)
    try:
        for name, *arguments in steps:
            schedule.now += HOUR
            place.clock.pass_time(1.0)
            await getattr(schedule, str(name))(*arguments)
            await schedule.look()
        for _ in range(20):
            await schedule.settle("delivered")
            await schedule.claim(NEW, 10)
            await schedule.claim(OLD, 10)
        await schedule.settle("delivered")
        assert sum(count.pending for count in (await schedule.store.counts()).values()) == 0
        await schedule.look()
    finally:
        await place.leave()


@settings(max_examples=60, deadline=None)
@given(st.lists(accepts | accepts | claims | settles | removals, min_size=3, max_size=14))
def test_what_is_moved_or_discarded_is_so_in_every_store_and_nothing_else_is_lost(
    steps: list[tuple[object, ...]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder), steps))
