"""Random schedules of webhooks, deliveries, crashes and clock jumps: SQLite against memory, which is the model.

Two oracles besides hold at every step: conservation (every report owed has left under one outcome or is pending) and
order (an alarm's reports leave in the order they were owed, and never two at a time).
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from adapter.alarm import Kind, Outcome, Pause
from adapter.alertmanager import Alert, Reject
from adapter.clock import SECOND
from adapter.errors import BacklogFull
from adapter.store.contract import Claim, Intake, Receipt, Retention, Settlement, Store
from adapter.store.memory import MemoryStore
from adapter.store.views import AlarmQuery, AlarmRow
from tests.builders import DAY, FOREVER, NOON, an_alert, an_intake, delivered, retried, settled_as
from tests.store.places import SqlitePlace

T = TypeVar("T")

NAMES = ("a1", "a2", "a3", "a4")
BACKLOG = 12

alerts = st.builds(
    lambda name, status, text, starts, ends: an_alert(
        name, status, text=text, starts=NOON + starts, ends=NOON + ends if status == "resolved" else 0
    ),
    st.sampled_from(NAMES),
    st.sampled_from(["firing", "firing", "resolved"]),
    st.sampled_from(["", "worse"]),
    st.integers(0, 2),
    st.integers(1, 3),
)
settlings = st.sampled_from([*Outcome, None, "retry", "doubt"])


class Stores(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.place = SqlitePlace(self.folder)
        self.model = MemoryStore(backlog=BACKLOG, clock=self.place.clock)
        self.store: Store = self.serving(self.place.open(backlog=BACKLOG))
        self.hand: dict[int, tuple[Claim, Claim]] = {}
        self.enqueued = 0
        self.left: Counter[Outcome] = Counter()
        self.last: dict[tuple[str, str], int] = {}

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def serving(self, opening: Coroutine[Any, Any, Store]) -> Store:
        """A store whose delivery has looked for work once, as it does at every start; only then is an end a crash."""
        store = self.do(opening)
        self.do(store.claim("default", 0))
        return store

    def teardown(self) -> None:
        self.do(self.place.leave())
        self.loop.close()
        shutil.rmtree(self.folder)

    @initialize()
    def begin(self) -> None:
        self.accept([an_alert("a1")], "default", "r1", 0, False)

    @rule(
        found=st.lists(alerts, min_size=1, max_size=5),
        integration=st.sampled_from(["default", "other"]),
        revision=st.sampled_from(["r1", "r1", "r2"]),
        refresh=st.sampled_from([0, 5 * SECOND]),
        rejected=st.booleans(),
    )
    def accept(self, found: list[Alert], integration: str, revision: str, refresh: int, rejected: bool) -> None:
        intake = an_intake(
            *found,
            integration=integration,
            revision=revision,
            refresh=refresh,
            received=self.place.clock.now(),
            rejects=(Reject(reason="a list", head=b"[]"),) if rejected else (),
        )
        told, real = self._taken(self.model, intake), self._taken(self.store, intake)
        assert told == real
        if told is not None:
            self.enqueued += len(told.owed)
            self.left[Outcome.SUPERSEDED] += told.superseded

    def _taken(self, store: Store, intake: Intake) -> Receipt | None:
        try:
            receipt = self.do(store.accept(intake))
        except BacklogFull:
            return None
        return replace(receipt, news={news: count for news, count in receipt.news.items() if count})

    @rule(integration=st.sampled_from(["default", "other"]), ignore_delay=st.booleans())
    def claim(self, integration: str, ignore_delay: bool) -> None:
        told = self.do(self.model.claim(integration, 100, ignore_delay=ignore_delay))
        real = self.do(self.store.claim(integration, 100, ignore_delay=ignore_delay))
        by_seq = {claim.report.seq: claim for claim in real.claims}
        assert {claim.report.seq: claim for claim in told.claims} == by_seq
        assert (told.next_due is None) == (real.next_due is None)
        if told.next_due is not None and real.next_due is not None:
            assert abs(told.next_due - real.next_due) < 0.001
        busy = {(claim.report.integration, claim.report.fingerprint) for claim, _ in self.hand.values()}
        for claim in told.claims:
            key = (claim.report.integration, claim.report.fingerprint)
            assert key not in busy
            assert claim.report.seq >= self.last.get(key, 0)
            self.last[key] = claim.report.seq
            self.hand[claim.report.seq] = (claim, by_seq[claim.report.seq])

    @precondition(lambda self: self.hand)
    @rule(pick=st.data(), how=settlings)
    def settle(self, pick: st.DataObject, how: Outcome | str | None) -> None:
        seqs = pick.draw(st.lists(st.sampled_from(sorted(self.hand)), unique=True, min_size=1))
        pairs = [self.hand.pop(seq) for seq in seqs]
        told = self.do(self.model.settle([self._settlement(claim, how) for claim, _ in pairs]))
        real = self.do(self.store.settle([self._settlement(claim, how) for _, claim in pairs]))
        assert told == real
        assert all(settled.counted for settled in told)
        if isinstance(how, Outcome):
            self.left[how] += len(told)

    def _settlement(self, claim: Claim, how: Outcome | str | None) -> Settlement:
        at = self.place.clock.now()
        if how is Outcome.DELIVERED:
            return delivered(claim, at)
        if isinstance(how, Outcome):
            return settled_as(claim, how, at)
        if how is None:
            return Settlement(claim=claim, at=at, refused=True)
        return retried(claim, delay=7, ambiguous=how == "doubt")

    @rule(seconds=st.sampled_from([0.5, 4, 8, 3600]))
    def time_passes(self, seconds: float) -> None:
        self.place.clock.pass_time(seconds)

    @rule(seconds=st.sampled_from([-86_400, -1, 60, 86_400]))
    def the_wall_clock_jumps(self, seconds: int) -> None:
        self.place.clock.wall += seconds * SECOND

    @rule()
    def crash(self) -> None:
        for store in (self.model, self.store):  # when alerts were last seen is all that a crash may lose
            self.do(store.maintain(NOON, FOREVER))
        self.store = self.serving(self.place.crash(self.store))
        self.model.restart(killed=True)
        self.hand.clear()

    @rule()
    def restart(self) -> None:
        self.do(self.store.close())
        self.store = self.serving(self.place.open(backlog=BACKLOG))
        self.model.restart(killed=False)
        self.hand.clear()

    @rule(days=st.integers(0, 40))
    def maintain(self, days: int) -> None:
        retention = Retention(delivered=DAY, dead=20 * DAY, resolved=10 * DAY)
        now = self.place.clock.now() + days * DAY
        for store in (self.model, self.store):
            self.do(store.maintain(now, retention))

    @rule(as_sent=st.booleans(), pick=st.data())
    def replay(self, as_sent: bool, pick: st.DataObject) -> None:
        seqs = self._letters(pick)
        told = self.do(self.model.replay(seqs, as_sent=as_sent))
        assert told == self.do(self.store.replay(seqs, as_sent=as_sent))
        self.enqueued += sum(len(kinds) for kinds in told.values())

    @rule(pick=st.data())
    def discard(self, pick: st.DataObject) -> None:
        seqs = self._letters(pick)
        assert self.do(self.model.discard(seqs)) == self.do(self.store.discard(seqs))

    def _letters(self, pick: st.DataObject) -> list[int]:
        told = self.do(self.model.dead_letters(None, 0, 100))
        real = self.do(self.store.dead_letters(None, 0, 100))
        assert [row.report for row in told] == [row.report for row in real]
        return [row.report.seq for row in told if pick.draw(st.booleans())]

    @rule(integration=st.sampled_from(["default", "other"]), paused=st.booleans())
    def pause(self, integration: str, paused: bool) -> None:
        pause = Pause(reason="operator", since=NOON, by="kim") if paused else None
        for store in (self.model, self.store):
            self.do(store.set_pause(integration, pause))
        assert self.do(self.model.pauses()) == self.do(self.store.pauses())

    @invariant()
    def both_tell_the_same(self) -> None:
        told, real = self.do(self.model.counts()), self.do(self.store.counts())
        empty = next(iter(told.values())).__class__(pending=0, open_alarms=0, oldest=None)
        for name in ("default", "other"):
            assert told.get(name, empty) == real.get(name, empty)
        assert self.enqueued == self.left.total() + sum(counts.pending for counts in told.values())
        assert self._alarms(self.model) == self._alarms(self.store)

    def _alarms(self, store: Store) -> list[AlarmRow]:
        return [replace(row, first_seen=0) for row in self.do(store.alarms(AlarmQuery()))]

    @invariant()
    def both_have_the_same_trail(self) -> None:
        for name in NAMES:
            told = self.do(self.model.trail("default", name))
            real = self.do(self.store.trail("default", name))
            assert [replace(row, due_in=None) for row in told] == [replace(row, due_in=None) for row in real]
            waiting = [row.report.seq for row in told if row.outcome is None]
            assert [row.report.seq for row in told if row.due_in is not None] == waiting[-1:]


def run_model(examples: int, steps: int, *, derandomize: bool) -> None:
    """`examples` schedules of up to `steps` steps; raises with the shortest one that shows a difference."""
    run_state_machine_as_test(
        Stores,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=derandomize,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_sqlite_does_what_the_model_does_under_any_schedule() -> None:
    run_model(25, 30, derandomize=True)


def test_the_model_owes_an_ok_for_an_alarm() -> None:
    """The model itself is held to the contract suite; this only shows that schedules reach the far end of a life."""
    machine = Stores()
    machine.begin()
    machine.accept([an_alert("a1", "resolved")], "default", "r1", 0, False)
    machine.claim("default", False)
    assert [claim.report.kind for claim, _ in machine.hand.values()] == [Kind.ALARM]
    machine.crash()
    machine.claim("default", False)
    machine.both_tell_the_same()
    machine.teardown()
