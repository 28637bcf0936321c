"""What becomes of reports: order, retries, refusals, limits and counts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from adapter.alarm import Outcome
from adapter.store.contract import Claims, Settled, Settlement
from adapter.store.memory import MemoryStore
from tests.delivery.rig import OPERATOR, named, only_bad_fails, rig, some
from tests.fakes import ACCEPTED, DOWN, LOST, REFUSED, FakeClock, settle


async def test_what_coc_accepts_is_delivered_with_its_provenance() -> None:
    async with rig() as it:
        await it.accept(named("A"))
        (row,) = await it.rows("A")
        assert row.outcome is Outcome.DELIVERED
        assert row.provenance
        assert json.loads(row.provenance.body or b"")["alarmName"] == "A"
        assert [attempt.reason for attempt in row.attempts] == ["accepted"]


async def test_a_transient_failure_is_tried_again_without_end_and_nothing_is_lost() -> None:
    async with rig(lambda body: DOWN) as it:
        await it.accept(named("A"))
        for _ in range(200):
            await it.clock.advance(60)
        assert len(it.coc.bodies) >= 200
        assert await it.outcomes("A") == [None]
        it.coc.answer = lambda body: ACCEPTED
        await it.clock.advance(60)
        assert await it.outcomes("A") == [Outcome.DELIVERED]


async def test_an_ok_never_overtakes_its_alarm() -> None:
    async with rig(lambda body: DOWN) as it:
        await it.accept(named("A"))
        await it.accept(named("A", "resolved"))
        for _ in range(5):
            await it.clock.advance(60)
        assert {status for _, status in it.sent()} == {"alarm"}
        it.coc.answer = lambda body: ACCEPTED
        await it.clock.advance(120)
        assert it.sent()[-2:] == [("A", "alarm"), ("A", "ok")]


async def test_the_reports_of_one_alarm_follow_each_other_without_a_pause() -> None:
    async with rig() as it:
        it.coc.gate.clear()
        for status in ("firing", "resolved", "firing", "resolved"):
            await it.accept(named("A", status))
        it.coc.gate.set()
        await settle(200)
        assert await it.outcomes("A") == [Outcome.DELIVERED] * 4


async def test_one_alarm_that_fails_does_not_delay_others() -> None:
    async with rig(only_bad_fails(DOWN)) as it:
        await it.accept(named("Bad"), *some(20, "Good"))
        await it.clock.advance(0.1)
        assert [await it.outcomes(f"Good{number}") for number in range(20)] == [[Outcome.DELIVERED]] * 20
        assert await it.outcomes("Bad") == [None]


async def test_refused_content_is_sent_once_more_as_the_built_in_body_and_then_kept_as_a_dead_letter() -> None:
    async with rig(lambda body: REFUSED) as it:
        await it.accept(named("A"))
        (row,) = await it.rows("A")
        assert row.outcome is Outcome.DEAD
        assert len(it.coc.bodies) == 2
        assert [letter.report.seq for letter in await it.store.dead_letters(None, 0, 10)] == [row.report.seq]
        assert [attempt.message for attempt in row.attempts] == ["too long", "too long"]


async def test_the_built_in_body_delivers_an_alarm_whose_mapped_body_is_refused() -> None:
    async with rig(lambda body: ACCEPTED if b"refused" in body else REFUSED) as it:
        await it.accept(named("A"))
        (row,) = await it.rows("A")
        assert row.outcome is Outcome.DELIVERED
        assert row.provenance
        assert {reason for _, reason in row.provenance.fallbacks} == {"refused"}


async def test_the_ok_of_a_dead_alarm_is_discarded_and_not_sent() -> None:
    async with rig(lambda body: REFUSED) as it:
        await it.accept(named("A"))
        await it.accept(named("A", "resolved"))
        assert await it.outcomes("A") == [Outcome.DEAD, Outcome.DISCARDED]
        assert len(it.coc.bodies) == 2


async def test_an_ok_is_sent_after_an_ambiguous_attempt_even_if_the_alarm_is_dead() -> None:
    answers = iter([LOST, REFUSED, REFUSED])
    async with rig(lambda body: next(answers, ACCEPTED)) as it:
        await it.accept(named("A"))
        await it.clock.advance(10)
        await it.accept(named("A", "resolved"))
        assert await it.outcomes("A") == [Outcome.DEAD, Outcome.DELIVERED]


async def test_a_dropped_alarm_and_its_ok_are_dropped() -> None:
    async with rig() as it:
        it.renderer.drop.add(named("A").fingerprint)
        await it.accept(named("A"))
        await it.accept(named("A", "resolved"))
        assert await it.outcomes("A") == [Outcome.DROPPED, Outcome.DROPPED]
        assert it.coc.bodies == []


async def test_an_update_that_changes_no_identifying_field_is_not_sent() -> None:
    async with rig() as it:
        await it.accept(named("A"))
        await it.accept(named("A", annotations={"summary": "other words"}))
        assert await it.outcomes("A") == [Outcome.DELIVERED, Outcome.UNNEEDED]
        assert len(it.coc.bodies) == 1


async def test_never_more_in_flight_than_allowed() -> None:
    async with rig(max_in_flight=4) as it:
        it.coc.gate.clear()
        await it.accept(*some(40))
        assert it.coc.active == 4
        it.coc.gate.set()
        await settle(400)
        assert it.coc.most_active == 4
        assert len(it.coc.bodies) == 40


async def test_alerts_of_many_mebibytes_are_not_held_all_at_once() -> None:
    large = {"summary": "x" * 4 * 1024 * 1024}
    async with rig(max_in_flight=64) as it:
        for first in (0, 24):
            it.coc.gate.clear()
            for number in range(first, first + 24):
                await it.accept(named(f"A{number}", annotations=large))
                await it.clock.advance(1.0)
            assert 8 <= it.coc.active <= 10
            it.coc.gate.set()
            await it.clock.advance(30)
        assert [await it.outcomes(f"A{number}") for number in range(48)] == [[Outcome.DELIVERED]] * 48


class Counting(MemoryStore):
    """Counts its calls."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.claimed = self.settled = 0

    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        self.claimed += 1
        return await super().claim(integration, limit, ignore_delay=ignore_delay)

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        self.settled += 1
        return await super().settle(settlements)


async def test_a_fresh_alarm_costs_one_claim_and_one_settlement() -> None:
    async with rig(store=Counting) as it:
        assert isinstance(it.store, Counting)
        before = it.store.claimed
        for alert in some(10):
            await it.accept(alert)
        assert (it.store.claimed - before, it.store.settled) == (10, 10)


async def test_many_settlements_are_written_in_one_commit() -> None:
    async with rig(store=Counting, max_in_flight=32) as it:
        assert isinstance(it.store, Counting)
        it.coc.gate.clear()
        await it.accept(*some(320))
        it.coc.gate.set()
        await settle(400)
        assert it.counted("reports_total", outcome="delivered") == 320
        assert it.store.settled <= 20


@pytest.mark.parametrize("rate", [1.0, 5.0, 50.0])
async def test_a_rate_limit_holds_over_every_second(rate: float) -> None:
    async with rig(rate_limit=rate) as it:
        await it.accept(*some(200))
        before = len(it.coc.bodies)
        for second in range(1, 4):
            await it.clock.advance(1.0)
            assert len(it.coc.bodies) - before <= rate * second + max(1.0, rate / 10)
        assert len(it.coc.bodies) - before >= rate * 3 * 0.8


async def test_a_rate_limit_does_not_cost_a_claim_for_each_report() -> None:
    async with rig(store=Counting, rate_limit=50.0) as it:
        assert isinstance(it.store, Counting)
        await it.accept(*some(200))
        await it.clock.advance(3.0)
        assert len(it.coc.bodies) >= 120
        assert it.store.claimed <= 40


async def test_a_rate_below_one_a_second_is_kept_within_a_lease() -> None:
    async with rig(rate_limit=0.1) as it:
        await it.accept(*some(20))
        await it.clock.advance(60)
        assert 6 <= len(it.coc.bodies) <= 7
        assert await it.claimable() >= 20 - 7  # none is held that cannot be sent soon


async def test_replicas_that_each_take_half_of_a_rate_keep_to_it_together() -> None:
    clock = FakeClock()
    async with rig(rate_limit=50.0, clock=clock) as one, rig(rate_limit=25.0, clock=clock) as other:
        one.delivery.set_rate(25.0)
        await one.accept(*some(200))
        await other.accept(*some(200, "B"))
        for _ in range(50):
            await clock.advance(0.1)
        sent = len(one.coc.bodies), len(other.coc.bodies)
        assert all(100 <= bodies <= 130 for bodies in sent)


async def test_a_rate_may_change_at_any_time() -> None:
    async with rig(rate_limit=10.0) as it:
        await it.accept(*some(200))
        sent = []
        for rate in (5.0, 50.0, 0.0):
            before = len(it.coc.bodies)
            it.delivery.set_rate(rate)
            await it.clock.advance(2.0)
            sent.append(len(it.coc.bodies) - before)
        assert 9 <= sent[0] <= 12
        assert 90 <= sent[1] <= 106
        assert len(it.coc.bodies) == 200


async def test_every_report_is_counted_exactly_once() -> None:
    async with rig(only_bad_fails(REFUSED)) as it:
        it.renderer.drop.add(named("Dropped").fingerprint)
        for status in ("firing", "resolved"):
            await it.accept(named("Bad", status), named("Good", status), named("Dropped", status))
        await it.delivery.set_pause(OPERATOR)
        await it.accept(named("Waiting"), named("Good"))
        await it.accept(named("Good", annotations={"summary": "a"}))
        await it.accept(named("Good", annotations={"summary": "b"}))
        pending = it.counted("reports_pending")
        assert (it.counted("reports_enqueued_total"), it.counted("reports_total"), pending) == (10, 7, 3)
        assert it.counted("reports_total", outcome="superseded") == 1
        assert pending == (await it.store.counts())["default"].pending
