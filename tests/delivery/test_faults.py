"""What delivery makes of faults at awkward moments: defects, a store that comes and goes, a stop half-way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from adapter.alarm import Outcome, Pause
from adapter.clock import Clock
from adapter.coc.verdict import Verdict
from adapter.errors import StoreUnavailable
from adapter.mapping.render.request import RenderRequest, RenderResult
from adapter.store.contract import Claims, Settled, Settlement
from adapter.store.memory import MemoryStore
from tests.delivery.test_pipeline import Rig, exposition, named, rig
from tests.fakes import ACCEPTED, DOWN, LOCKED_OUT, REFUSED, PlainRenderer, settle
from tests.stage import values

OPERATOR = Pause(reason="operator", since=1, by="somebody")


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

    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        given = await super().claim(integration, limit, ignore_delay=ignore_delay)
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


def only_bad_fails(body: bytes) -> Verdict:
    return DOWN if b'"alarmName":"Bad"' in body else ACCEPTED


async def test_an_alarm_that_always_fails_is_not_hurried_by_its_siblings_successes() -> None:
    async with rig(only_bad_fails) as it:
        await it.accept(named("Bad"))
        await it.clock.advance(200)
        before = it.sent().count(("Bad", "alarm"))
        for number in range(300):
            await it.accept(named(f"Good{number}"))
            await it.clock.advance(0.1)
        assert it.sent().count(("Bad", "alarm")) - before <= 5


class Fragile(MemoryStore):
    """Fails the next `ignore_delay` claim when told to."""

    failing = False

    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        if ignore_delay and self.failing:
            self.failing = False
            raise StoreUnavailable
        return await super().claim(integration, limit, ignore_delay=ignore_delay)


async def test_what_waits_is_hurried_when_coc_is_back_even_if_the_store_was_away_just_then() -> None:
    async with rig(only_bad_fails, store=Fragile, jitter=lambda: 0.99) as it:
        await it.accept(named("Bad"))
        await it.clock.advance(600)
        it.coc.answer = lambda body: ACCEPTED
        assert isinstance(it.store, Fragile)
        it.store.failing = True
        await it.accept(named("Good"))
        await it.clock.advance(2)
        assert not it.store.failing
        assert await it.outcomes("Bad") == [Outcome.DELIVERED]


async def test_a_report_whose_sending_met_a_defect_is_tried_again() -> None:
    def answer(body: bytes) -> Verdict:
        if len(it.coc.bodies) == 1:
            raise RuntimeError("a defect")
        return ACCEPTED

    async with rig(answer) as it:
        await it.accept(named("A"))
        await it.clock.advance(10)
        (row,) = await it.rows("A")
        assert row.outcome is Outcome.DELIVERED
        assert [(one.reason, one.ambiguous) for one in row.attempts] == [("unexpected", True), ("accepted", False)]


async def test_a_secret_changed_while_a_report_is_under_way_is_not_blamed_for_the_old_one() -> None:
    answers = iter([LOCKED_OUT])
    async with rig(lambda body: next(answers, ACCEPTED)) as it:
        it.coc.gate.clear()
        await it.accept(named("A"))
        it.delivery.credentials_changed()
        it.coc.gate.set()
        await settle()
        assert it.delivery.pause is None
        assert await it.outcomes("A") == [Outcome.DELIVERED]


class Slow(PlainRenderer):
    """Renders when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.busy = False

    async def render(self, jobs: Sequence[RenderRequest]) -> list[RenderResult]:
        self.busy = True
        await self.go.wait()
        return await super().render(jobs)


async def test_what_was_being_rendered_at_a_stop_is_given_back() -> None:
    renderer = Slow()
    async with rig(renderer=renderer) as it:
        await it.accept(named("A"))
        assert renderer.busy
        stopping = asyncio.ensure_future(it.delivery.stop(5.0))
        await settle()
        renderer.go.set()
        await stopping
        assert it.coc.bodies == []
        assert len((await it.store.claim("default", 10)).claims) == 1


class Unwritable(MemoryStore):
    """Cannot write pauses until told to."""

    writable = False

    async def set_pause(self, integration: str, pause: Pause | None, *, automatic: bool = False) -> Pause | None:
        if not self.writable:
            raise StoreUnavailable
        return await super().set_pause(integration, pause, automatic=automatic)


async def look(it: Rig) -> None:
    """As the service does every few seconds."""
    asked = it.clock.monotonic()
    it.delivery.observe_pause((await it.store.pauses()).get("default"), asked)


async def test_a_pause_that_cannot_be_written_holds_and_is_written_when_the_store_can() -> None:
    async with rig(lambda body: LOCKED_OUT, store=Unwritable) as it:
        await it.accept(*(named(f"A{number}") for number in range(100)))
        tried = len(it.coc.bodies)
        for _ in range(11):
            await it.clock.advance(5)
            await look(it)
        assert len(it.coc.bodies) == tried
        assert isinstance(it.store, Unwritable)
        it.store.writable = True
        await it.clock.advance(10)
        assert it.delivery.pause
        assert await it.store.pauses() == {"default": it.delivery.pause}


async def test_an_end_of_a_pause_that_cannot_be_written_holds_and_is_written_when_the_store_can() -> None:
    async with rig(lambda body: LOCKED_OUT, store=Unwritable) as it:
        assert isinstance(it.store, Unwritable)
        it.store.writable = True
        await it.accept(named("A"))
        it.store.writable = False
        it.coc.answer = lambda body: ACCEPTED
        await it.clock.advance(61)
        await look(it)
        assert it.delivery.pause is None
        it.store.writable = True
        await it.accept(named("B"))
        assert await it.store.pauses() == {}


class Hesitant(MemoryStore):
    """Takes its time over an operator's pause, as a commit does, and over reading pauses."""

    go: asyncio.Event

    def __init__(self, *, backlog: int, clock: Clock) -> None:
        super().__init__(backlog=backlog, clock=clock)
        self.go = asyncio.Event()
        self.go.set()

    async def set_pause(self, integration: str, pause: Pause | None, *, automatic: bool = False) -> Pause | None:
        after = await super().set_pause(integration, pause, automatic=automatic)
        if not automatic:
            await self.go.wait()
        return after

    async def pauses(self) -> dict[str, Pause]:
        found = await super().pauses()
        await self.go.wait()
        return found


async def test_an_operators_pause_is_not_lifted_by_an_answer_that_was_under_way() -> None:
    async with rig(lambda body: LOCKED_OUT, store=Hesitant) as it:
        await it.accept(named("A"), named("B"))
        it.coc.answer = lambda body: ACCEPTED
        it.coc.gate.clear()
        await it.clock.advance(61)
        assert it.coc.active == 1
        assert isinstance(it.store, Hesitant)
        it.store.go.clear()
        pausing = asyncio.ensure_future(it.delivery.set_pause(OPERATOR))
        await settle()
        it.coc.gate.set()
        await settle()
        it.store.go.set()
        await pausing
        assert await it.store.pauses() == {"default": OPERATOR}
        assert it.delivery.pause == OPERATOR


async def test_what_the_store_said_before_a_pause_does_not_lift_it() -> None:
    async with rig(store=Hesitant) as it:
        assert isinstance(it.store, Hesitant)
        it.store.go.clear()
        looking = asyncio.ensure_future(look(it))
        await it.clock.advance(0.1)
        it.store.go.set()
        await it.delivery.set_pause(OPERATOR)
        await looking
        assert it.delivery.pause == OPERATOR


@pytest.mark.parametrize("answer", [LOCKED_OUT, ACCEPTED])
async def test_an_operators_pause_at_another_replica_outlives_what_coc_answers_this_one(answer: Verdict) -> None:
    async with rig(lambda body: answer) as it:
        await it.store.set_pause("default", OPERATOR)
        await it.accept(named("A"))
        assert await it.store.pauses() == {"default": OPERATOR}
