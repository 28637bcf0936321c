"""Delivery of one integration against a scripted COC, the memory store and a clock that moves when told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import generate_latest

from adapter.alarm import Outcome, Pause
from adapter.alertmanager import Alert
from adapter.coc.verdict import Verdict
from adapter.delivery.pipeline import Delivery
from adapter.errors import RenderError
from adapter.mapping.render.request import Contract, RenderRequest, RenderResult
from adapter.metrics import Metrics
from adapter.store.contract import Claim, Claims, Intake
from adapter.store.memory import MemoryStore
from adapter.store.views import ReportRow
from tests.builders import POLICY, a_webhook, an_alert
from tests.fakes import ACCEPTED, DOWN, LOCKED_OUT, LOST, REFUSED, FakeClock, PlainRenderer, ScriptedCoc, settle
from tests.stage import values


class Rig:
    """One Delivery with everything around it."""

    def __init__(self, coc: ScriptedCoc, store: type[MemoryStore] = MemoryStore, **options: Any) -> None:
        self.coc, self.clock = coc, options.pop("clock", None) or FakeClock()
        self.renderer = options.pop("renderer", None) or PlainRenderer()
        self.store = store(backlog=100_000, clock=self.clock)
        self.metrics = Metrics(["default"], clock=self.clock)
        self.delivery = Delivery(
            "default",
            store=self.store,
            renderer=self.renderer,
            reporter=coc,
            contract=Contract(),
            clock=self.clock,
            jitter=options.pop("jitter", lambda: 0.5),
            observer=self.metrics,
            **options,
        )

    async def accept(self, *alerts: Alert) -> None:
        webhook = a_webhook(*alerts)
        receipt = await self.store.accept(
            Intake(integration="default", webhook=webhook, received=self.clock.now(), revision="r1", policy=POLICY)
        )
        self.metrics.webhook_accepted("default", webhook, receipt)
        self.delivery.wake()
        await settle()

    async def rows(self, name: str) -> list[ReportRow]:
        """The reports of one alarm, oldest first."""
        return (await self.store.trail("default", named(name).fingerprint))[::-1]

    async def outcomes(self, name: str) -> list[Outcome | None]:
        return [row.outcome for row in await self.rows(name)]

    def sent(self) -> list[tuple[str, str]]:
        bodies = [json.loads(body) for body in self.coc.bodies]
        return [(body["alarmName"], body["alarmStatus"]) for body in bodies]


def named(name: str, status: str = "firing", **changes: Any) -> Alert:
    return an_alert(name, status, **changes)


@asynccontextmanager
async def rig(answer: Callable[[bytes], Verdict] = lambda body: ACCEPTED, **options: Any) -> AsyncIterator[Rig]:
    made = Rig(ScriptedCoc(answer), **options)
    running = asyncio.ensure_future(made.delivery.run())
    await settle()
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_what_coc_accepts_is_delivered_with_what_made_it() -> None:
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


async def test_one_alarm_that_fails_does_not_delay_its_siblings() -> None:
    async with rig(lambda body: DOWN if b'"alarmName":"Bad"' in body else ACCEPTED) as it:
        await it.accept(named("Bad"), *(named(f"Good{number}") for number in range(20)))
        await it.clock.advance(0.1)
        assert [await it.outcomes(f"Good{number}") for number in range(20)] == [[Outcome.DELIVERED]] * 20
        assert await it.outcomes("Bad") == [None]


async def test_refused_content_is_sent_once_more_as_the_built_in_body_and_then_kept_for_a_person() -> None:
    async with rig(lambda body: REFUSED) as it:
        await it.accept(named("A"))
        (row,) = await it.rows("A")
        assert row.outcome is Outcome.DEAD
        assert len(it.coc.bodies) == 2
        assert [letter.report.seq for letter in await it.store.dead_letters(None, 0, 10)] == [row.report.seq]
        assert [attempt.message for attempt in row.attempts] == ["too long", "too long"]


async def test_the_built_in_body_saves_an_alarm_whose_mapped_one_is_refused() -> None:
    async with rig(lambda body: ACCEPTED if b"(refused)" in body or b"refused" in body else REFUSED) as it:
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


async def test_an_ok_is_sent_after_an_ambiguous_attempt_even_if_the_alarm_died() -> None:
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


async def test_a_refused_caller_pauses_the_integration_keeps_everything_and_resumes_alone() -> None:
    async with rig(lambda body: LOCKED_OUT) as it:
        await it.accept(*(named(f"A{number}") for number in range(5)))
        assert it.delivery.pause
        assert it.delivery.pause.reason == "credentials"
        tried = len(it.coc.bodies)
        await it.clock.advance(59)
        assert len(it.coc.bodies) == tried
        await it.clock.advance(2)
        assert len(it.coc.bodies) == tried + 1
        it.coc.answer = lambda body: ACCEPTED
        await it.clock.advance(61)
        assert it.delivery.pause is None
        assert [await it.outcomes(f"A{number}") for number in range(5)] == [[Outcome.DELIVERED]] * 5
        assert await it.store.pauses() == {}


async def test_a_changed_secret_is_tried_at_once() -> None:
    async with rig(lambda body: LOCKED_OUT) as it:
        await it.accept(named("A"))
        it.coc.answer = lambda body: ACCEPTED
        it.delivery.credentials_changed()
        await settle()
        assert await it.outcomes("A") == [Outcome.DELIVERED]


async def test_an_operators_pause_lets_nothing_through_until_resumed() -> None:
    async with rig() as it:
        await it.delivery.set_pause(Pause(reason="operator", since=1, by="somebody"))
        await it.accept(named("A"))
        await it.clock.advance(600)
        assert it.coc.bodies == []
        await it.delivery.set_pause(None)
        await settle()
        assert await it.outcomes("A") == [Outcome.DELIVERED]


async def test_when_everything_is_refused_the_integration_pauses_and_few_become_dead_letters() -> None:
    async with rig(lambda body: REFUSED) as it:
        for number in range(60):
            await it.accept(named(f"A{number}"))
        assert it.delivery.pause
        assert it.delivery.pause.reason == "refusals"
        dead = len(await it.store.dead_letters(None, 0, 100))
        assert dead <= 10
        it.coc.answer = lambda body: ACCEPTED
        await it.clock.advance(120)
        delivered = [outcome for number in range(60) for outcome in await it.outcomes(f"A{number}")]
        assert delivered.count(Outcome.DELIVERED) == 60 - dead


async def test_an_open_breaker_sends_single_probes_and_everything_follows_when_coc_is_back() -> None:
    async with rig(lambda body: DOWN) as it:
        await it.accept(*(named(f"A{number}") for number in range(100)))
        await it.clock.advance(30)
        assert it.delivery.breaker_state == "open"
        before = len(it.coc.bodies)
        await it.clock.advance(60)
        assert len(it.coc.bodies) - before <= 60
        it.coc.answer = lambda body: ACCEPTED
        await it.clock.advance(5)
        assert [await it.outcomes(f"A{number}") for number in range(100)] == [[Outcome.DELIVERED]] * 100


async def test_a_long_outage_with_changes_all_the_while_loses_nothing_and_keeps_the_order() -> None:
    async with rig(lambda body: DOWN) as it:
        for minute in range(72):
            status = "firing" if minute % 2 == 0 else "resolved"
            await it.accept(*(named(f"A{number}", status) for number in range(5)))
            await it.clock.advance(60)
        it.coc.answer = lambda body: ACCEPTED
        first = len(it.coc.bodies)
        await it.clock.advance(60)
        arrived = it.sent()[first:]
        for number in range(5):
            states = [status for name, status in arrived if name == f"A{number}"]
            assert states == ["alarm", "ok"] * 36


async def test_never_more_in_flight_than_allowed() -> None:
    async with rig(max_in_flight=4) as it:
        it.coc.gate.clear()
        await it.accept(*(named(f"A{number}") for number in range(40)))
        assert it.coc.active == 4
        it.coc.gate.set()
        await settle(400)
        assert it.coc.most_active == 4
        assert len(it.coc.bodies) == 40


class Damaging(MemoryStore):
    """Hands out the payload of alarms named Damaged as something that is no JSON."""

    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        given = await super().claim(integration, limit, ignore_delay=ignore_delay)
        return replace(given, claims=tuple(damaged(claim) for claim in given.claims))


def damaged(claim: Claim) -> Claim:
    if b'"Damaged"' not in claim.report.raw:
        return claim
    return replace(claim, report=replace(claim.report, raw=b"\x00"))


async def test_a_report_that_cannot_be_prepared_is_kept_for_a_person_and_delays_nobody() -> None:
    async with rig(store=Damaging) as it:
        await it.accept(named("A"), named("Damaged"), named("B"))
        assert await it.outcomes("Damaged") == [Outcome.DEAD]
        assert await it.outcomes("A") == await it.outcomes("B") == [Outcome.DELIVERED]
        (letter,) = await it.store.dead_letters(None, 0, 10)
        assert letter.attempts[0].message.startswith("cannot be prepared")


class Stumbling(PlainRenderer):
    """Fails its first calls, as a child that cannot be started might."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 3

    async def render(self, jobs: Sequence[RenderRequest]) -> list[RenderResult]:
        if jobs and self.failures:
            self.failures -= 1
            raise RenderError("no child")
        return await super().render(jobs)


async def test_a_renderer_that_fails_delays_reports_and_loses_none() -> None:
    async with rig(renderer=Stumbling()) as it:
        await it.accept(named("A"), named("B"))
        await it.clock.advance(10)
        assert await it.outcomes("A") == await it.outcomes("B") == [Outcome.DELIVERED]


async def test_alerts_of_many_mebibytes_are_not_held_all_at_once() -> None:
    async with rig(max_in_flight=64) as it:
        it.coc.gate.clear()
        large = {"summary": "x" * 4 * 1024 * 1024}
        for number in range(24):
            await it.accept(named(f"A{number}", annotations=large))
            await it.clock.advance(1.0)
        held = it.coc.active
        assert 8 <= held <= 10
        it.coc.gate.set()
        await it.clock.advance(30)
        assert [await it.outcomes(f"A{number}") for number in range(24)] == [[Outcome.DELIVERED]] * 24


@pytest.mark.parametrize("rate", [1.0, 5.0, 50.0])
async def test_a_rate_limit_holds_over_every_second(rate: float) -> None:
    async with rig(rate_limit=rate) as it:
        await it.accept(*(named(f"A{number}") for number in range(200)))
        before = len(it.coc.bodies)
        for second in range(1, 4):
            await it.clock.advance(1.0)
            assert len(it.coc.bodies) - before <= rate * second + max(1.0, rate / 10)
        assert len(it.coc.bodies) - before >= rate * 3 * 0.8


async def test_replicas_that_each_take_half_of_a_rate_keep_to_it_together() -> None:
    clock = FakeClock()
    async with rig(rate_limit=50.0, clock=clock) as one, rig(rate_limit=25.0, clock=clock) as other:
        one.delivery.set_rate(25.0)
        await one.accept(*(named(f"A{number}") for number in range(200)))
        await other.accept(*(named(f"B{number}") for number in range(200)))
        for _ in range(50):
            await clock.advance(0.1)
        sent = len(one.coc.bodies), len(other.coc.bodies)
        assert all(100 <= bodies <= 130 for bodies in sent)


async def test_a_rate_may_change_at_any_time() -> None:
    async with rig(rate_limit=10.0) as it:
        await it.accept(*(named(f"A{number}") for number in range(200)))
        sent = []
        for rate in (5.0, 50.0, 0.0):
            before = len(it.coc.bodies)
            it.delivery.set_rate(rate)
            await it.clock.advance(2.0)
            sent.append(len(it.coc.bodies) - before)
        assert 9 <= sent[0] <= 12
        assert 90 <= sent[1] <= 106
        assert len(it.coc.bodies) == 200


async def test_the_law_of_conservation_holds_whatever_becomes_of_reports() -> None:
    async with rig(lambda body: REFUSED if b'"alarmName":"Bad"' in body else ACCEPTED) as it:
        it.renderer.drop.add(named("Dropped").fingerprint)
        for status in ("firing", "resolved"):
            await it.accept(named("Bad", status), named("Good", status), named("Dropped", status))
        await it.delivery.set_pause(Pause(reason="operator", since=1, by="somebody"))
        await it.accept(named("Waiting"), named("Good"))
        await it.accept(named("Good", annotations={"summary": "a"}))
        await it.accept(named("Good", annotations={"summary": "b"}))
        scrape = exposition(it.metrics)
        enqueued = values(scrape, "coc_adapter_reports_enqueued_total")
        gone = values(scrape, "coc_adapter_reports_total")
        pending = values(scrape, "coc_adapter_reports_pending")
        assert (enqueued, gone, pending) == (10, 7, 3)
        assert values(scrape, "coc_adapter_reports_total", outcome="superseded") == 1
        assert pending == (await it.store.counts())["default"].pending


def exposition(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()
