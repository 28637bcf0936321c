"""What holds a whole integration back: pauses, the breaker, and how delivery goes on after them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from adapter.alarm import Outcome, Pause
from adapter.clock import Clock
from adapter.coc.verdict import Action, Reason, Verdict
from adapter.errors import StoreUnavailable
from adapter.store.contract import Claims, Settlement
from adapter.store.memory import MemoryStore
from tests.delivery.rig import OPERATOR, named, only_bad_fails, rig, some
from tests.fakes import ACCEPTED, DOWN, LOCKED_OUT, REFUSED, FakeClock, ScriptedCoc, settle

DELIVERED = [Outcome.DELIVERED]
THROTTLED = Verdict(action=Action.RETRY, reason=Reason.THROTTLED, status=429, retry_after=30.0)


async def test_refused_credentials_pause_the_integration_which_keeps_everything_and_resumes_by_itself() -> None:
    async with rig(lambda body: LOCKED_OUT) as it:
        await it.accept(*some(5))
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
        assert [await it.outcomes(f"A{number}") for number in range(5)] == [DELIVERED] * 5
        assert await it.store.pauses() == {}


async def test_a_probe_that_fails_is_followed_by_the_next_after_a_minute() -> None:
    async with rig(lambda body: LOCKED_OUT) as it:
        await it.accept(named("A"))
        it.coc.answer = lambda body: DOWN
        await it.clock.advance(61)
        assert len(it.coc.bodies) == 2
        await it.clock.advance(58)
        assert len(it.coc.bodies) == 2
        await it.clock.advance(2)
        assert len(it.coc.bodies) == 3


class AnswersOneByOne(ScriptedCoc):
    """Answers when the test sets the future of a body, oldest first."""

    def __init__(self, answer: Callable[[bytes], Verdict]) -> None:
        super().__init__(answer)
        self.waiting: list[asyncio.Future[Verdict]] = []

    async def report(self, body: bytes) -> Verdict:
        await super().report(body)
        self.waiting.append(asyncio.get_running_loop().create_future())
        return await self.waiting[-1]


async def test_a_pause_is_probed_after_a_minute_even_if_a_retry_after_asks_for_more() -> None:
    async with rig(coc=AnswersOneByOne) as it:
        assert isinstance(it.coc, AnswersOneByOne)
        await it.accept(named("A"), named("B"))
        it.coc.waiting[0].set_result(replace(THROTTLED, retry_after=600.0))
        await it.clock.advance(5)
        it.coc.waiting[1].set_result(LOCKED_OUT)
        await it.clock.advance(59)
        assert len(it.coc.bodies) == 2
        await it.clock.advance(2)
        assert len(it.coc.bodies) == 3


async def test_content_that_is_refused_during_a_pause_is_no_dead_letter() -> None:
    answers = iter([LOCKED_OUT, REFUSED, REFUSED])
    async with rig(lambda body: next(answers, ACCEPTED)) as it:
        await it.accept(named("A"))
        await it.clock.advance(61)
        assert await it.outcomes("A") == [None]
        await it.clock.advance(61)
        assert await it.outcomes("A") == DELIVERED


class Deliberate(MemoryStore):
    """Takes a moment to write a pause."""

    async def set_pause(self, integration: str, pause: Pause | None, *, automatic: bool = False) -> Pause | None:
        await asyncio.sleep(0)
        return await super().set_pause(integration, pause, automatic=automatic)


class Ticking(FakeClock):
    """Never says the same time twice, as a real one."""

    def now(self) -> int:
        self.wall += 1
        return self.wall


async def test_a_pause_that_several_answers_ask_for_at_once_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async with rig(lambda body: LOCKED_OUT, store=Deliberate, clock=Ticking()) as it:
        it.coc.gate.clear()
        await it.accept(*some(10))
        await it.clock.advance(1)
        it.coc.gate.set()
        await settle()
        assert len(it.coc.bodies) == 10
        assert caplog.messages.count("integration paused") == 1


async def test_content_whose_built_in_body_met_a_pause_is_tried_with_its_mapped_body_again() -> None:
    answers = iter([REFUSED, LOCKED_OUT])
    async with rig(lambda body: next(answers, ACCEPTED)) as it:
        await it.accept(named("A"))
        await it.clock.advance(61)
        mapped, built_in, again = it.coc.bodies
        assert b"refused" in built_in
        assert again == mapped
        assert await it.outcomes("A") == DELIVERED


async def test_a_changed_secret_is_tried_at_once() -> None:
    async with rig(lambda body: LOCKED_OUT) as it:
        await it.accept(named("A"))
        it.coc.answer = lambda body: ACCEPTED
        it.delivery.credentials_changed()
        await settle()
        assert await it.outcomes("A") == DELIVERED


async def test_a_secret_that_changed_while_a_report_was_sent_is_not_blamed_for_the_old_one() -> None:
    answers = iter([LOCKED_OUT])
    async with rig(lambda body: next(answers, ACCEPTED)) as it:
        it.coc.gate.clear()
        await it.accept(named("A"))
        it.delivery.credentials_changed()
        it.coc.gate.set()
        await settle()
        assert it.delivery.pause is None
        assert await it.outcomes("A") == DELIVERED


async def test_an_operators_pause_lets_nothing_through_until_resumed() -> None:
    async with rig() as it:
        await it.delivery.set_pause(OPERATOR)
        await it.accept(named("A"))
        await it.clock.advance(600)
        assert it.coc.bodies == []
        await it.delivery.set_pause(None)
        await settle()
        assert await it.outcomes("A") == DELIVERED


async def test_a_pause_gives_back_what_is_rendered_and_not_sent() -> None:
    async with rig(max_in_flight=4) as it:
        it.coc.gate.clear()
        await it.accept(*some(20))
        await it.delivery.set_pause(OPERATOR)
        await settle()
        assert it.coc.active == 4
        assert await it.claimable() == 16


async def test_a_pause_gives_back_what_waits_for_the_rate_limit() -> None:
    async with rig(rate_limit=5.0) as it:
        await it.accept(*some(20))
        await it.delivery.set_pause(OPERATOR)
        sent = len(it.coc.bodies)
        await it.clock.advance(1.0)
        assert len(it.coc.bodies) == sent
        assert await it.claimable() == 20 - sent


async def test_when_everything_is_refused_the_integration_pauses_and_few_become_dead_letters() -> None:
    async with rig(lambda body: REFUSED) as it:
        for alert in some(60):
            await it.accept(alert)
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
        await it.accept(*some(100))
        await it.clock.advance(30)
        assert it.delivery.breaker_state == "open"
        before = len(it.coc.bodies)
        await it.clock.advance(60)
        assert len(it.coc.bodies) - before <= 60
        it.coc.answer = lambda body: ACCEPTED
        await it.clock.advance(5)
        assert [await it.outcomes(f"A{number}") for number in range(100)] == [DELIVERED] * 100


class Giving(MemoryStore):
    """Counts the claims it gives."""

    given = 0

    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        claimed = await super().claim(integration, limit, ignore_delay=ignore_delay)
        self.given += len(claimed.claims)
        return claimed


async def test_probes_and_the_slow_start_claim_nothing_that_is_not_sent() -> None:
    async with rig(lambda body: DOWN, store=Giving) as it:
        await it.accept(*some(100))
        assert isinstance(it.store, Giving)
        given, tried = it.store.given, len(it.coc.bodies)
        await it.clock.advance(30)
        it.coc.answer = lambda body: ACCEPTED
        await it.clock.advance(5)
        assert it.counted("reports_total", outcome="delivered") == 100
        assert it.store.given - given == len(it.coc.bodies) - tried


async def delay_all(store: MemoryStore) -> None:
    """As another replica does that could not deliver them."""
    claimed = await store.claim("default", 1000)
    await store.settle([Settlement(claim=claim, at=0, delay=60.0) for claim in claimed.claims])


async def test_after_a_pause_no_report_waits_for_its_delay_however_many_there_are() -> None:
    async with rig(max_in_flight=4) as it:
        await it.delivery.set_pause(OPERATOR)
        await it.accept(*some(100))
        await delay_all(it.store)
        await it.delivery.set_pause(None)
        await settle(1000)
        assert it.counted("reports_total", outcome="delivered") == 100


async def test_after_an_outage_no_report_waits_for_its_delay_however_many_there_are() -> None:
    async with rig(lambda body: DOWN, max_in_flight=4) as it:
        await it.accept(*some(100))
        await it.clock.advance(0.4)
        assert it.delivery.breaker_state == "open"
        await delay_all(it.store)
        it.coc.answer = lambda body: ACCEPTED
        await it.accept(named("Probe"))
        await it.clock.advance(4.0)
        await settle(1000)
        assert it.counted("reports_total", outcome="delivered") == 101


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


async def test_a_retry_after_holds_the_integration_back_and_keeps_no_claim_meanwhile() -> None:
    answers = iter([THROTTLED])
    async with rig(lambda body: next(answers, ACCEPTED), max_in_flight=1) as it:
        await it.accept(*some(5))
        await it.clock.advance(29.9)
        assert len(it.coc.bodies) == 1
        assert await it.claimable() == 5
        it.store.restart(killed=False)
        await it.clock.advance(0.2)
        assert it.counted("reports_total", outcome="delivered") == 5


async def test_an_alarm_that_always_fails_is_not_hurried_when_others_succeed() -> None:
    async with rig(only_bad_fails(DOWN)) as it:
        await it.accept(named("Bad"))
        await it.clock.advance(200)
        before = it.sent().count(("Bad", "alarm"))
        for alert in some(300, "Good"):
            await it.accept(alert)
            await it.clock.advance(0.1)
        assert it.sent().count(("Bad", "alarm")) - before <= 5


class Fragile(MemoryStore):
    """Fails the next claim that ignores delays when `failing`."""

    failing = False

    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        if ignore_delay and self.failing:
            self.failing = False
            raise StoreUnavailable
        return await super().claim(integration, limit, ignore_delay=ignore_delay)


async def test_what_waits_is_hurried_when_coc_is_back_even_if_the_store_was_away_just_then() -> None:
    async with rig(only_bad_fails(DOWN), store=Fragile, jitter=lambda: 0.99) as it:
        await it.accept(named("Bad"))
        await it.clock.advance(600)
        it.coc.answer = lambda body: ACCEPTED
        assert isinstance(it.store, Fragile)
        it.store.failing = True
        await it.accept(named("Good"))
        await it.clock.advance(2)
        assert not it.store.failing
        assert await it.outcomes("Bad") == DELIVERED


class Unwritable(MemoryStore):
    """Cannot write pauses until `writable`."""

    writable = False

    async def set_pause(self, integration: str, pause: Pause | None, *, automatic: bool = False) -> Pause | None:
        if not self.writable:
            raise StoreUnavailable
        return await super().set_pause(integration, pause, automatic=automatic)


async def test_a_pause_that_cannot_be_written_holds_and_is_written_when_the_store_can() -> None:
    async with rig(lambda body: LOCKED_OUT, store=Unwritable) as it:
        await it.accept(*some(100))
        tried = len(it.coc.bodies)
        for _ in range(11):
            await it.clock.advance(5)
            await it.refresh_pause()
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
        await it.refresh_pause()
        assert it.delivery.pause is None
        it.store.writable = True
        await it.accept(named("B"))
        assert await it.store.pauses() == {}


class Hesitant(MemoryStore):
    """Waits for `go` after it has written an operator's pause, and after it has read the pauses."""

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


async def test_an_operators_pause_is_not_lifted_by_an_answer_to_an_earlier_report() -> None:
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
        refreshing = asyncio.ensure_future(it.refresh_pause())
        await it.clock.advance(0.1)
        it.store.go.set()
        await it.delivery.set_pause(OPERATOR)
        await refreshing
        assert it.delivery.pause == OPERATOR


async def test_a_pause_by_another_replica_is_taken_over_and_so_is_its_end() -> None:
    async with rig() as it:
        await it.store.set_pause("default", OPERATOR)
        await it.refresh_pause()
        await it.accept(named("A"))
        assert it.coc.bodies == []
        await it.store.set_pause("default", None)
        await it.clock.advance(0.1)
        await it.refresh_pause()
        await settle()
        assert await it.outcomes("A") == DELIVERED


@pytest.mark.parametrize("answer", [LOCKED_OUT, ACCEPTED])
async def test_an_operators_pause_at_another_replica_outlives_what_coc_answers_this_one(answer: Verdict) -> None:
    async with rig(lambda body: answer) as it:
        await it.store.set_pause("default", OPERATOR)
        await it.accept(named("A"))
        assert await it.store.pauses() == {"default": OPERATOR}
