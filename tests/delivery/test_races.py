"""The promises of delivery hold, in any order in which store, renderer, COC and operators finish.

Every call that delivery makes waits at a gate. Hypothesis chooses which one goes on, and whether it succeeds.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from adapter.alarm import Pause
from adapter.coc.verdict import Action, Reason, Verdict
from adapter.delivery.pipeline import Delivery
from adapter.errors import RenderError, StoreUnavailable
from adapter.mapping.render.request import Contract, RenderRequest, RenderResult
from adapter.metrics import Metrics
from adapter.store.contract import Claims, Intake, Settled, Settlement
from adapter.store.memory import MemoryStore
from tests.builders import POLICY, a_webhook
from tests.delivery.rig import OPERATOR, named
from tests.fakes import ACCEPTED, DOWN, LOCKED_OUT, LOST, REFUSED, FakeClock, PlainRenderer, settle

T = TypeVar("T")

NAMES = ("A", "B", "C", "D", "E", "F", "G", "H")
LIMIT = 3
THROTTLED = Verdict(action=Action.RETRY, reason=Reason.THROTTLED, status=429, retry_after=7.0)
VERDICTS = (ACCEPTED, ACCEPTED, ACCEPTED, DOWN, DOWN, LOST, REFUSED, LOCKED_OUT, THROTTLED)


class Gates:
    """Calls to `store`, `renderer` or `coc` that wait to go on, oldest first; none waits at a gate that is open."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, asyncio.Future[bool]]] = []
        self.opened: set[str] = set()

    async def enter(self, kind: str) -> bool:
        """Wait; whether the call is to succeed."""
        if kind in self.opened:
            return True
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.waiting.append((kind, future))
        try:
            return await future
        finally:
            self.waiting.remove((kind, future))

    def go_on(self, place: int, *, well: bool) -> None:
        waiting = [future for _, future in self.waiting if not future.done()]
        if waiting:
            waiting[place % len(waiting)].set_result(well)

    def open(self, *kinds: str) -> None:
        self.opened |= set(kinds)
        for kind, future in self.waiting:
            if kind in kinds and not future.done():
                future.set_result(True)


class GatedStore(MemoryStore):
    """Each call takes effect between two gates; at the first it may fail."""

    gates: Gates

    async def _gated(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if not await self.gates.enter("store"):
            raise StoreUnavailable
        result = await call()
        await self.gates.enter("store")
        return result

    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        inner = super().claim
        return await self._gated(lambda: inner(integration, limit, ignore_delay=ignore_delay))

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        inner = super().settle
        return await self._gated(lambda: inner(settlements))

    async def pauses(self) -> dict[str, Pause]:
        return await self._gated(super().pauses)

    async def set_pause(self, integration: str, pause: Pause | None, *, automatic: bool = False) -> Pause | None:
        inner = super().set_pause
        return await self._gated(lambda: inner(integration, pause, automatic=automatic))


class GatedRenderer(PlainRenderer):
    gates: Gates

    async def render(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        if not await self.gates.enter("renderer"):
            raise RenderError("no child")
        return await super().render(requests)


class Races(RuleBasedStateMachine):
    rate = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock, self.gates = FakeClock(), Gates()
        self.store = GatedStore(backlog=10_000, clock=self.clock)
        self.renderer = GatedRenderer()
        self.store.gates = self.renderer.gates = self.gates
        self.metrics = Metrics(["default"], clock=self.clock)
        self.verdict = ACCEPTED
        self.being_sent: Counter[str] = Counter()
        self.second_try: set[str] = set()  # alarms whose mapped body was just refused
        self.accepted: list[tuple[str, str]] = []
        self.problems: list[str] = []
        self.tasks: list[asyncio.Future[Any]] = []
        self.do(self.start())

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    async def start(self) -> None:
        self.delivery = Delivery(
            "default",
            store=self.store,
            renderer=self.renderer,
            reporter=self,
            contract=Contract(),
            clock=self.clock,
            jitter=lambda: 0.5,
            observer=self.metrics,
            max_in_flight=LIMIT,
            rate_limit=self.rate,
        )
        pauses = await MemoryStore.pauses(self.store)
        self.delivery.observe_pause(pauses.get("default"), self.clock.monotonic())
        self.running = asyncio.ensure_future(self.delivery.run())
        await settle()

    async def report(self, body: bytes) -> Verdict:
        """COC: sees what may be sent when a request begins, and answers when its gate opens."""
        fields = json.loads(body)
        name, status = fields["alarmName"], fields["alarmStatus"]
        pause, others = self.delivery.pause, self.being_sent.total()
        if name not in self.second_try:
            if pause is not None and not pause.automatic:
                self.problems.append("sent during an operator's pause")
            if others and (pause is not None or self.delivery.breaker_state == "open"):
                self.problems.append("more than one probe at a time")
        self.second_try.discard(name)
        self.being_sent[name] += 1
        try:
            await self.gates.enter("coc")
            verdict = self.verdict
        finally:
            self.being_sent[name] -= 1
        if verdict is ACCEPTED:
            self.accepted.append((name, status))
        if verdict is REFUSED:
            self.second_try.add(name)
        return verdict

    # what happens

    @rule(
        names=st.lists(st.sampled_from(NAMES), min_size=1, unique=True), status=st.sampled_from(["firing", "resolved"])
    )
    def say(self, names: list[str], status: str) -> None:
        self.do(self._say([named(name, status) for name in names]))

    async def _say(self, alerts: Sequence[Any]) -> None:
        webhook = a_webhook(*alerts)
        receipt = await self.store.accept(
            Intake(integration="default", webhook=webhook, received=self.clock.now(), revision="r1", policy=POLICY)
        )
        self.metrics.webhook_accepted("default", webhook, receipt)
        self.delivery.wake()
        await settle()

    @rule(place=st.integers(0, 9), well=st.sampled_from([True, True, True, False]), verdict=st.sampled_from(VERDICTS))
    def one_call_goes_on(self, place: int, well: bool, verdict: Verdict) -> None:
        self.verdict = verdict
        self.gates.go_on(place, well=well)
        self.do(settle())

    @rule(verdict=st.sampled_from(VERDICTS))
    def all_calls_go_on(self, verdict: Verdict) -> None:
        self.verdict = verdict
        for _ in range(len(self.gates.waiting)):
            self.gates.go_on(0, well=True)
        self.do(settle())

    @rule(seconds=st.sampled_from([0.1, 1.0, 5.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.do(self.clock.advance(seconds))

    @rule(pause=st.sampled_from([OPERATOR, None]))
    def an_operator_pauses_or_resumes(self, pause: Pause | None) -> None:
        self.in_background(self.delivery.set_pause(pause))

    @rule(pause=st.sampled_from([OPERATOR, None]))
    def another_replica_pauses_or_resumes(self, pause: Pause | None) -> None:
        self.do(MemoryStore.set_pause(self.store, "default", pause))

    @rule()
    def the_pause_is_refreshed(self) -> None:
        async def refresh() -> None:
            asked = self.clock.monotonic()
            self.delivery.observe_pause((await self.store.pauses()).get("default"), asked)

        self.in_background(refresh())

    @rule()
    def credentials_change(self) -> None:
        self.delivery.credentials_changed()
        self.do(settle())

    @rule()
    def it_stops_and_starts(self) -> None:
        """What is being sent is cut off; all the rest is given back."""
        self.do(self._restart())

    async def _restart(self) -> None:
        sending = self.being_sent.total()
        self.gates.open("store")
        await settle()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks = []
        await self.delivery.stop(0.0)
        held = sum(row.pending for row in (await self.store.counts()).values()) and await self.held()
        if held > sending:
            self.problems.append(f"{held} alarms held after a stop, {sending} of them being sent")
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)
        self.gates = self.store.gates = self.renderer.gates = Gates()
        self.second_try.clear()
        await self.start()

    async def held(self) -> int:
        """How many alarms with pending reports cannot be claimed; forgets all claims."""
        free = len((await MemoryStore.claim(self.store, "default", 1000, ignore_delay=True)).claims)
        self.store.restart(killed=True)
        everything = len((await MemoryStore.claim(self.store, "default", 1000, ignore_delay=True)).claims)
        self.store.restart(killed=True)
        return everything - free

    def in_background(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.tasks.append(self.loop.create_task(coroutine))
        self.do(settle())

    # what must hold

    @invariant()
    def no_problem_was_seen(self) -> None:
        assert self.problems == []
        assert not self.running.done()

    @invariant()
    def one_report_of_an_alarm_at_a_time_and_no_more_than_the_limit(self) -> None:
        assert max(self.being_sent.values(), default=0) <= 1
        assert self.being_sent.total() <= LIMIT

    def teardown(self) -> None:
        try:
            self.do(self.rested())
        finally:
            self.running.cancel()
            self.do(asyncio.wait((self.running,)))
            self.loop.close()

    async def rested(self) -> None:
        """Everything works again: all that is pending leaves in order, and nothing stays held."""
        self.verdict = ACCEPTED
        self.gates.open("store", "renderer", "coc")
        await settle()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.delivery.set_pause(None)
        await self.clock.advance(100.0)
        counts = (await self.store.counts()).get("default")
        assert counts is None or counts.pending == 0
        for name in NAMES:
            states = [status for accepted, status in self.accepted if accepted == name]
            trail = (await self.store.trail("default", named(name).fingerprint, 10_000))[::-1]
            delivered = ["ok" if row.report.kind == "ok" else "alarm" for row in trail if row.outcome == "delivered"]
            assert collapsed(states) == collapsed(delivered), name
        await self.delivery.stop(0.1)
        assert await self.held() == 0


class RacesUnderARateLimit(Races):
    rate = 2.0


def collapsed(states: Sequence[str]) -> list[str]:
    """Without repetitions: a report whose settlement was lost is sent again."""
    return [state for place, state in enumerate(states) if place == 0 or states[place - 1] != state]


def run(machine: type[Races]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=int(os.environ.get("MODEL_EXAMPLES", "40")),
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_promises_hold_in_any_order_of_events() -> None:
    run(Races)


def test_the_promises_hold_in_any_order_of_events_under_a_rate_limit() -> None:
    run(RacesUnderARateLimit)
