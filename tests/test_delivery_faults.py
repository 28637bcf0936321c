"""What delivery makes of faults at awkward moments: defects, a store that comes and goes, a stop half-way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from adapter.alarm import Outcome
from adapter.clock import Clock
from adapter.store.base import Claims, Settled, Settlement
from adapter.store.memory import MemoryStore
from tests.fakes import ACCEPTED, REFUSED, settle
from tests.stage import values
from tests.test_delivery import Rig, exposition, named, rig


def delivered(it: Rig) -> float:
    return values(exposition(it.metrics), "coc_adapter_reports_total", outcome="delivered")


class Choosy(MemoryStore):
    """Cannot take the first settlement of an alarm named Odd."""

    odd = 1

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        if self.odd and any(b'"Odd"' in one.claim.report.raw for one in settlements):
            self.odd -= len(settlements) == 1
            raise ValueError("cannot be written")
        return await super().settle(settlements)


async def test_a_report_whose_settlement_met_a_defect_does_not_stay_under_way_for_ever() -> None:
    async with rig(store=Choosy) as it:
        await it.accept(named("A"), named("Odd"))
        assert delivered(it) == 1
        await it.clock.advance(120)
        assert await it.outcomes("A") == await it.outcomes("Odd") == [Outcome.DELIVERED]
        assert delivered(it) == 2


class Leased(MemoryStore):
    """Leases as PostgreSQL gives them; says of each claim whether COC had refused it before."""

    given: list[bool]

    def __init__(self, *, backlog: int, clock: Clock) -> None:
        super().__init__(backlog=backlog, clock=clock)
        self.steady, self.given = clock, []

    async def claim(self, integration: str, limit: int, *, early: bool = False) -> Claims:
        given = await super().claim(integration, limit, early=early)
        self.given += [claim.report.refused for claim in given.claims]
        until = self.steady.monotonic() + 12.5
        return replace(given, claims=tuple(replace(claim, send_before=until) for claim in given.claims))


async def test_the_second_try_of_refused_content_begins_within_the_lease_or_with_a_new_one() -> None:
    answers = iter([REFUSED])
    async with rig(lambda body: next(answers, ACCEPTED), store=Leased) as it:
        it.coc.gate.clear()
        await it.accept(named("A"))
        await it.clock.advance(13)
        it.coc.gate.set()
        await settle()
        assert isinstance(it.store, Leased)
        assert it.store.given == [False, True]
        assert await it.outcomes("A") == [Outcome.DELIVERED]
