"""What delivery makes of bugs, of a renderer or a store that fails, and of a stop half-way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from adapter.alarm import Outcome, Report
from adapter.clock import Clock
from adapter.coc.verdict import Verdict
from adapter.errors import RenderError, StoreUnavailable
from adapter.mapping.render.request import RenderRequest, RenderResult
from adapter.metrics import Metrics
from adapter.store.contract import Claim, Claims, Settled, Settlement
from adapter.store.memory import MemoryStore
from tests.delivery.rig import named, rig, some
from tests.fakes import ACCEPTED, REFUSED, PlainRenderer, settle

DELIVERED = [Outcome.DELIVERED]


class Damaging(MemoryStore):
    """Hands out the payload of alarms named Damaged as something that is no JSON."""

    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        given = await super().claim(integration, limit, ignore_delay=ignore_delay)
        return replace(given, claims=tuple(damaged(claim) for claim in given.claims))


def damaged(claim: Claim) -> Claim:
    if b'"Damaged"' not in claim.report.raw:
        return claim
    return replace(claim, report=replace(claim.report, raw=b"\x00"))


class Scarce:
    """A report; memory is short when its alert is read for the first time, after its size was asked for."""

    def __init__(self, report: Report) -> None:
        self._report, self._reads = report, 0

    def __getattr__(self, name: str) -> Any:
        if name == "raw":
            self._reads += 1
            if self._reads == 2:
                raise MemoryError
        return getattr(self._report, name)


class ScarceOnce(MemoryStore):
    scarce = True

    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        given = await super().claim(integration, limit, ignore_delay=ignore_delay)
        if not self.scarce or not given.claims:
            return given
        self.scarce = False
        first, *others = given.claims
        return replace(given, claims=(replace(first, report=Scarce(first.report)), *others))


async def test_a_report_that_memory_is_short_for_is_no_dead_letter_and_is_sent_later() -> None:
    async with rig(store=ScarceOnce) as it:
        await it.accept(*some(3))
        await it.clock.advance(10.0)
        assert [await it.outcomes(name) for name in ("A0", "A1", "A2")] == [DELIVERED] * 3


async def test_a_report_that_cannot_be_prepared_becomes_a_dead_letter_and_delays_no_other() -> None:
    async with rig(store=Damaging) as it:
        await it.accept(named("A"), named("Damaged"), named("B"))
        assert await it.outcomes("Damaged") == [Outcome.DEAD]
        assert await it.outcomes("A") == await it.outcomes("B") == DELIVERED
        (letter,) = await it.store.dead_letters(None, 0, 10)
        assert letter.attempts[0].message.startswith("cannot be prepared")


async def test_a_bug_that_many_reports_meet_is_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    def answer(body: bytes) -> Verdict:
        raise RuntimeError("a bug")

    async with rig(answer, store=Damaging) as it:
        await it.accept(*some(20), *(named("Damaged", fingerprint=f"d{n}") for n in range(20)))
        await it.clock.advance(100)
        assert len(await it.store.dead_letters(None, 0, 100)) == 20
    assert len(it.coc.bodies) > 20
    for message in ("cannot be prepared", "cannot be handled"):
        assert sum(message in record.getMessage() for record in caplog.records) == 1


class Unavailable(MemoryStore):
    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        raise StoreUnavailable("not now")


async def test_a_store_that_stays_away_is_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    async with rig(store=Unavailable) as it:
        await it.clock.advance(250)
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


async def test_a_report_whose_sending_met_a_bug_is_tried_again() -> None:
    def answer(body: bytes) -> Verdict:
        if len(it.coc.bodies) == 1:
            raise RuntimeError("a bug")
        return ACCEPTED

    async with rig(answer) as it:
        await it.accept(named("A"))
        await it.clock.advance(10)
        (row,) = await it.rows("A")
        assert row.outcome is Outcome.DELIVERED
        assert [(one.reason, one.ambiguous) for one in row.attempts] == [("unexpected", True), ("accepted", False)]


class Choosy(MemoryStore):
    """Cannot take the first settlement of an alarm named Odd."""

    odd = 1

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        if self.odd and any(b'"Odd"' in one.claim.report.raw for one in settlements):
            self.odd -= len(settlements) == 1
            raise ValueError("cannot be written")
        return await super().settle(settlements)


async def test_a_report_whose_settlement_met_a_bug_is_given_back_and_the_others_are_settled() -> None:
    async with rig(store=Choosy) as it:
        await it.accept(named("A"), named("Odd"))
        assert it.counted("reports_total", outcome="delivered") == 1
        await it.clock.advance(120)
        assert await it.outcomes("A") == await it.outcomes("Odd") == DELIVERED
        assert it.counted("reports_total", outcome="delivered") == 2


class Miscounting(Metrics):
    """Fails at the first settlement."""

    failed = False

    def report_settled(self, settlement: Settlement, settled: Settled) -> None:
        if not self.failed:
            self.failed = True
            raise ValueError("a bug")
        super().report_settled(settlement, settled)


async def test_a_bug_of_the_metrics_does_not_end_delivery() -> None:
    async with rig(observer=Miscounting) as it:
        await it.accept(named("A"))
        await it.accept(named("B"))
        assert await it.outcomes("A") == await it.outcomes("B") == DELIVERED


class Failing(PlainRenderer):
    """Fails its first calls, as a child process that cannot be started does."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 3

    async def render(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        if requests and self.failures:
            self.failures -= 1
            raise RenderError("no child")
        return await super().render(requests)


async def test_a_renderer_that_fails_delays_reports_and_loses_none() -> None:
    async with rig(renderer=Failing()) as it:
        await it.accept(named("A"), named("B"))
        await it.clock.advance(10)
        assert await it.outcomes("A") == await it.outcomes("B") == DELIVERED


class Absent(MemoryStore):
    """Cannot settle until `present`."""

    present = False

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        if not self.present:
            raise StoreUnavailable
        return await super().settle(settlements)


async def test_while_nothing_can_be_settled_nothing_is_sent_twice_and_claims_are_bounded() -> None:
    async with rig(store=Absent, max_in_flight=4) as it:
        assert isinstance(it.store, Absent)
        await it.accept(*some(100))
        await it.clock.advance(600)
        assert len(it.coc.bodies) == 8
        it.store.present = True
        await it.clock.advance(10)
        assert len(it.coc.bodies) == len(set(it.coc.bodies)) == 100
        assert it.counted("reports_total", outcome="delivered") == 100


class Shared(MemoryStore):
    """Knows nothing of what other replicas accepted in the last seconds, as PostgreSQL."""

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        return [replace(settled, pending=0) for settled in await super().settle(settlements)]


async def test_what_other_replicas_accepted_is_delivered_without_a_break() -> None:
    async with rig(store=Shared, max_in_flight=4) as it:
        await it.accept(*some(100))
        await settle(400)
        assert it.counted("reports_total", outcome="delivered") == 100


class Slow(PlainRenderer):
    """Renders once `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()
        self.busy = False

    async def render(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        self.busy = True
        await self.go.wait()
        return await super().render(requests)


class Leased(MemoryStore):
    """Leases as PostgreSQL gives them; keeps of each claim whether COC had refused it before."""

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
        assert await it.outcomes("A") == DELIVERED


async def test_what_was_rendered_when_its_lease_was_over_is_sent_under_a_new_one() -> None:
    renderer = Slow()
    async with rig(store=Leased, renderer=renderer) as it:
        await it.accept(named("A"))
        await it.clock.advance(13)
        renderer.go.set()
        await settle()
        assert isinstance(it.store, Leased)
        assert it.store.given == [False, False]
        assert len(it.coc.bodies) == 1
        assert await it.outcomes("A") == DELIVERED


async def test_what_is_being_rendered_at_a_stop_is_given_back() -> None:
    renderer = Slow()
    async with rig(renderer=renderer) as it:
        await it.accept(named("A"))
        assert renderer.busy
        stopping = asyncio.ensure_future(it.delivery.stop(5.0))
        await settle()
        renderer.go.set()
        await stopping
        assert it.coc.bodies == []
        assert await it.claimable() == 1


async def test_a_rendering_that_outlasts_the_grace_of_a_stop_is_cancelled_and_given_back() -> None:
    renderer = Slow()
    async with rig(renderer=renderer) as it:
        await it.accept(named("A"))
        await it.delivery.stop(0.01)
        assert it.coc.bodies == []
        assert await it.claimable() == 1


async def test_a_stop_waits_for_what_is_being_sent_and_gives_the_rest_back() -> None:
    async with rig(max_in_flight=4) as it:
        it.coc.gate.clear()
        await it.accept(*some(20))
        stopping = asyncio.ensure_future(it.delivery.stop(5.0))
        await settle()
        assert not stopping.done()
        it.coc.gate.set()
        await stopping
        assert it.counted("reports_total", outcome="delivered") == len(it.coc.bodies) == 4
        assert await it.claimable() == 16


async def test_a_stop_does_not_wait_longer_than_its_grace_for_an_answer() -> None:
    async with rig(max_in_flight=4) as it:
        it.coc.gate.clear()
        await it.accept(*some(20))
        await it.delivery.stop(0.01)
        assert it.coc.active == 4
        assert await it.claimable() == 16


async def test_what_is_rendered_while_a_stop_waits_for_an_answer_is_given_back() -> None:
    renderer = Slow()
    renderer.go.set()
    async with rig(renderer=renderer, max_in_flight=1) as it:
        it.coc.gate.clear()
        await it.accept(named("A"))
        renderer.go.clear()
        await it.accept(named("B"))
        stopping = asyncio.ensure_future(it.delivery.stop(0.05))
        await settle()
        renderer.go.set()
        await stopping
        assert it.coc.active == 1
        assert await it.claimable() == 1
