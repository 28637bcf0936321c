"""Random schedules of webhooks, crashes, answers of COC, clock jumps and operators: the five oracles hold."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from adapter.alarm import Kind, Outcome, Pause, Priority
from adapter.alertmanager import Reject
from adapter.clock import SECOND
from adapter.store.contract import Retention
from adapter.store.views import AlarmQuery, ReportRow
from tests.builders import DAY, NOON
from tests.faults.chaos import at
from tests.model.pair import Pair, PairPlace
from tests.model.reference import AlarmRecord, Reference, SentAlert
from tests.model.world import Died, World, body_of
from tests.store.places import MemoryPlace, Place, SqlitePlace

T = TypeVar("T")

NAMES = ("a1", "a2", "a3", "a4", "a5")
BAD = "a5"  # the alarm that COC refuses when it is picky
BEHAVIOURS = ("accept", "accept", "down", "lost", "silent", "deaf", "flaky", "locked", "picky")
REFRESH = 600.0
BACKLOG = 15
RETENTION = Retention(delivered=DAY, dead=20 * DAY, resolved=10 * DAY)
LEVELS = {"worse": "Critical", "minor": "Info"}
"""The alarm levels by the content of an alert; Minor for all others."""


class Pipeline(RuleBasedStateMachine):
    """Over the memory store; the subclasses use other stores."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.world: World = self.do(self.opened())
        self.reference = Reference()
        self.turn = 0
        self.begins: dict[str, int] = {}
        self.pruned: dict[str, list[ReportRow]] = {}

    def place(self) -> Place:
        return MemoryPlace()

    async def opened(self) -> World:
        return await World(self.place(), refresh=REFRESH, backlog=BACKLOG).begin()

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def teardown(self) -> None:
        try:
            self.rested()
        finally:
            self.do(self.world.end())
            self.do(self.loop.shutdown_default_executor())
            self.loop.close()
            shutil.rmtree(self.folder)

    @initialize()
    def begin(self) -> None:
        self.send(["a1", "a2"], "fire", "")

    # senders

    @rule(
        names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True),
        how=st.sampled_from(["fire", "fire", "again", "resolve", "resolve", "stale"]),
        words=st.sampled_from(["", "", "worse", "minor"]),
    )
    def send(self, names: list[str], how: str, words: str) -> None:
        sent = [self._sent_alert(name, how, words) for name in names]
        body = body_of([self._alert(one) for one in sent])
        self._look(len(sent))
        while True:  # Alertmanager sends the same bytes until they are answered
            try:
                accepted = self.do(self.world.send(body))
                break
            except Died:
                note("died during a webhook")
                self.do(self.world.crash())
                self._look(len(sent))
        if not accepted:
            assert self.do(self.world.pending()) + len(sent) > BACKLOG
            return
        for one in sent:
            self.reference.receive(one, self.world.renderer.revision)

    def _look(self, alerts: int) -> None:
        """Tell the reference whether refreshes may be owed now, and what COC has."""
        room = self.do(self.world.pending()) + alerts <= BACKLOG
        self.reference.refreshes = room and self.world.delivery.reporting
        for row in self.do(self.world.store.store.alarms(AlarmQuery())):
            if record := self.reference.records.get(row.alarm.fingerprint):
                pending = [one for one in self.trail(row.alarm.fingerprint) if one.outcome is None]
                no_news = not pending or row.alarm.priority == Priority.REFRESH
                record.at_coc = no_news and row.alarm.last_accepted_at > 0

    def _sent_alert(self, name: str, how: str, words: str) -> SentAlert:
        self.turn += 1
        starts = self.begins.get(name, 0)
        if how == "fire" or not starts:
            starts = self.begins[name] = self.turn
        ends = starts - 1 if how == "stale" else self.turn
        return SentAlert(name, how in ("fire", "again"), starts, ends, words)

    def _alert(self, sent: SentAlert) -> dict[str, Any]:
        severity = {"worse": "critical", "minor": "info"}.get(sent.words, "warning")
        return {
            "fingerprint": sent.name,
            "status": "firing" if sent.firing else "resolved",
            "labels": {"alertname": sent.name, "severity": severity},
            "annotations": {"summary": sent.words},
            "startsAt": at(sent.starts),
            "endsAt": "0001-01-01T00:00:00Z" if sent.firing else at(sent.ends),
        }

    # faults and operators

    @rule(behaviour=st.sampled_from(BEHAVIOURS))
    def coc_is(self, behaviour: str) -> None:
        count = 0

        def answer(body: dict[str, Any]) -> str:
            nonlocal count
            count += 1
            if behaviour == "flaky":
                return ("accept", "down", "lost")[count % 3]
            if behaviour == "picky":
                return "refuse" if body["alarmId"] == BAD else "accept"
            return behaviour

        self.world.coc.behaviour = answer
        self.do(self.world.rest())

    @rule(seconds=st.sampled_from([0.5, 3, 20, 70, 700]))
    def time_passes(self, seconds: float) -> None:
        self.do(self.world.clock.advance(seconds))

    @rule(seconds=st.sampled_from([-86_400, -3_600, 60, 86_400]))
    def the_wall_clock_jumps(self, seconds: int) -> None:
        self.world.clock.wall += seconds * SECOND

    @rule()
    def crash(self) -> None:
        self.do(self.world.crash())

    @rule()
    def restart(self) -> None:
        self.do(self.world.restart())

    @rule(points=st.integers(1, 12), names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    def crash_soon(self, points: int, names: list[str]) -> None:
        """Die at one of the next boundaries: before or after a commit, a claim, a send, a settlement."""
        self.world.die_at = self.world.points + points
        self.send(names, "fire", "")
        self.do(self.world.clock.advance(1))
        if self.world.dying:
            self.do(self.world.crash())
        self.world.die_at = 0

    @rule(paused=st.booleans())
    def an_operator_pauses(self, paused: bool) -> None:
        pause = Pause(reason="operator", since=NOON, by="kim") if paused else None
        self.do(self.world.delivery.set_pause(pause))
        self.do(self.world.rest())

    @rule(pick=st.data(), as_sent=st.booleans())
    def an_operator_replays(self, pick: st.DataObject, as_sent: bool) -> None:
        letters = self._letters(pick)
        kinds = self.do(self.world.replay(list(letters), as_sent=as_sent))
        assert kinds.keys() == letters.keys()
        for seq, owed in sorted(kinds.items()):
            self.reference.records[letters[seq]].owed += [kind.value for kind in owed]

    @rule(pick=st.data())
    def an_operator_discards(self, pick: st.DataObject) -> None:
        letters = self._letters(pick)
        assert self.do(self.world.store.store.discard(list(letters))) == list(letters)

    def _letters(self, pick: st.DataObject) -> dict[int, str]:
        rows = self.do(self.world.store.store.dead_letters(None, 0, 100))
        return {row.report.seq: row.report.fingerprint for row in rows if pick.draw(st.booleans())}

    @rule()
    def a_client_sends_garbage(self) -> None:
        self.do(self.world.store.store.reject("default", self.world.clock.now(), [Reject(reason="a list", head=b"[]")]))

    @rule(days=st.integers(0, 40))
    def old_rows_are_pruned(self, days: int) -> None:
        now = self.world.clock.now() + days * DAY
        before = {name: self.trail(name) for name in self.reference.records}
        self.do(self.world.store.store.maintain(now, RETENTION))
        for name, rows in before.items():
            kept = [row for row in rows if row.outcome is None or row.done >= now - _kept_for(row)]
            assert [row.report.seq for row in self.trail(name)] == [row.report.seq for row in kept]
            self.pruned.setdefault(name, []).extend(row for row in rows if row not in kept)
            self.reference.records[name].owed = _kinds(kept)
        alarms = {row.alarm.fingerprint for row in self.do(self.world.store.store.alarms(AlarmQuery()))}
        for name in before.keys() - alarms:
            assert not self.reference.records[name].firing
            assert not self.trail(name)
            del self.reference.records[name]

    @rule(level=st.sampled_from(["", "", "Critical"]), dropped=st.sets(st.sampled_from(NAMES), max_size=2))
    def mappings_change(self, level: str, dropped: set[str]) -> None:
        renderer = self.world.renderer
        renderer.level, renderer.drop, renderer.revision = level, dropped, f"{level}{sorted(dropped)}"

    @rule(
        name=st.sampled_from(NAMES),
        how=st.sampled_from(["fire", "again"]),
        level=st.sampled_from(["", "Critical"]),
        dropped=st.sets(st.sampled_from(NAMES), max_size=3),
        then=st.sampled_from(["resolve", "again", ""]),
    )
    def mappings_change_over_a_crash(self, name: str, how: str, level: str, dropped: set[str], then: str) -> None:
        """The process dies between COC's acceptance and the settlement."""
        self.coc_is("silent")
        self.send([name], how, "")
        self.mappings_change(level, dropped)
        self.coc_is("accept")
        self.crash()
        if then:
            self.send([name], then, "")

    # the oracles

    def trail(self, name: str) -> list[ReportRow]:
        return self.do(self.world.store.store.trail("default", name, 100_000))[::-1]

    def history(self, name: str) -> list[ReportRow]:
        """The trail with the pruned rows."""
        return self.pruned.get(name, []) + self.trail(name)

    def delivered(self) -> int:
        return sum(row.outcome is Outcome.DELIVERED for name in (*NAMES, "fresh") for row in self.history(name))

    @invariant()
    def conservation(self) -> None:
        assert self.world.law() == ""
        owed = 0
        for name, record in self.reference.records.items():
            rows = self.trail(name)
            owed += len(rows)
            assert _kinds(rows) == record.owed, name
        pending = self.do(self.world.pending())
        assert 0 <= pending <= owed

    @invariant()
    def order(self) -> None:
        for name in self.reference.records:
            rows = self.history(name)
            states = ["ok" if row.report.kind is Kind.OK else "alarm" for row in rows]
            assert follows(self.world.states(name), states), name
            left = [row.outcome is not None for row in rows if row.outcome is not Outcome.SUPERSEDED]
            assert left == sorted(left, reverse=True), f"{name}: one was settled before an earlier one"

    @invariant()
    def suppression(self) -> None:
        in_flight = self.world.coc.active + self.world.store.active
        allowed = self.delivered() + self.world.duplicates_allowed + in_flight + 4
        assert len(self.world.coc.accepted) <= allowed

    def rested(self) -> None:
        """Without faults all reports are settled, a new alert arrives, and COC ends in the right state."""
        self.world.coc.behaviour = lambda body: "accept"
        self.do(self.world.delivery.set_pause(None))
        self.do(self.world.clock.advance(SETTLES))
        assert self.do(self.world.drained()) < 100, "L"
        self.mappings_change("", set())
        self.world.renderer.revision = "last"  # another revision, so that every alarm is compared again
        for name, record in list(self.reference.records.items()):
            if record.firing:  # Alertmanager repeats it
                self.send([name], "again", record.seen[0])
        before = len(self.world.coc.accepted)
        self.turn += 1
        self.send(["fresh"], "fire", "")
        self.do(self.world.clock.advance(5))
        assert [one.alarm for one in self.world.coc.accepted[before:]].count("fresh") == 1, "L"
        assert self.do(self.world.drained()) < 100, "L"
        for name, record in self.reference.records.items():
            rows = self.history(name)
            if not any(row.outcome in (Outcome.DEAD, Outcome.DISCARDED) for row in rows):
                self.ends_right(name, record)
            arrived = any(state == "alarm" for state in self.world.states(name))
            if arrived and not record.firing and name != BAD:
                assert self.world.states(name)[-1] == "ok", f"F: {name} stays open"
        assert len(self.world.coc.accepted) <= self.delivered() + self.world.duplicates_allowed, "S"
        assert self.world.law() == ""

    def ends_right(self, name: str, record: AlarmRecord) -> None:
        accepted = [one.body for one in self.world.coc.accepted if one.alarm == name]
        if not record.firing and not accepted:
            assert any(row.outcome is Outcome.DROPPED for row in self.history(name)), f"F: {name}"
            return
        assert accepted[-1]["alarmStatus"] == ("alarm" if record.firing else "ok"), f"F: {name}"
        if record.firing:
            assert accepted[-1]["alarmLevel"] == LEVELS.get(record.seen[0], "Minor"), f"F: {name}"


SETTLES = 6.0
"""Seconds until the last request to a silent COC has timed out."""


def follows(arrived: list[str], owed: list[str]) -> bool:
    """Whether the arrivals are the owed states in order, each any number of times, some left out."""
    place = 0
    for state in arrived:
        while place < len(owed) and owed[place] != state:
            place += 1
        if place == len(owed):
            return False
    return True


def _kinds(rows: list[ReportRow]) -> list[str]:
    """The kinds of all rows but refreshes, which the reference leaves out."""
    return [row.report.kind.value for row in rows if row.report.kind is not Kind.REFRESH]


def _kept_for(row: ReportRow) -> int:
    return RETENTION.dead if row.outcome is Outcome.DEAD else RETENTION.delivered


class OnSqlite(Pipeline):
    """Commits of several calls together, as in production."""

    def place(self) -> Place:
        return SqlitePlace(self.folder)


class SqliteBesideMemory(Pipeline):
    """Call by call; both stores must answer the same."""

    def place(self) -> Place:
        return PairPlace(SqlitePlace(self.folder))

    @invariant()
    def both_answer_the_same(self) -> None:
        pair = self.world.store.store
        assert isinstance(pair, Pair)
        lists = pair.alarms(AlarmQuery()), pair.recent_alarms(AlarmQuery()), pair.dead_letters(None, 0, 100)
        for call in (*lists, pair.counts(), pair.tallies(None), pair.refusals(None, 0, 100), pair.rejects(0, 100)):
            self.do(call)
        assert not pair.differences, "\n".join(pair.differences)


MACHINES: dict[str, type[Pipeline]] = {
    "memory": Pipeline,
    "sqlite": OnSqlite,
    "sqlite beside memory": SqliteBesideMemory,
}


def run_model(store: str, examples: int, steps: int, *, derandomize: bool) -> None:
    """`examples` schedules of up to `steps` steps; raises with the shortest one that breaks an oracle."""
    run_state_machine_as_test(
        MACHINES[store],
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=derandomize,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize(("store", "examples"), [("memory", 40), ("sqlite", 8), ("sqlite beside memory", 12)])
def test_the_five_oracles_hold_for_random_schedules(store: str, examples: int) -> None:
    run_model(store, int(os.environ.get("MODEL_EXAMPLES", examples)), 25, derandomize=True)


@pytest.mark.parametrize(
    ("arrived", "owed", "good"),
    [
        ([], ["alarm"], True),
        (["alarm", "ok"], ["alarm", "ok"], True),
        (["alarm", "alarm", "ok"], ["alarm", "ok"], True),
        (["ok"], ["alarm", "ok"], True),
        (["alarm", "ok", "alarm"], ["alarm", "ok"], False),
        (["ok", "alarm"], ["alarm", "ok"], False),
    ],
)
def test_the_oracle_of_order_notices_an_alarm_after_its_ok(arrived: list[str], owed: list[str], good: bool) -> None:
    assert follows(arrived, owed) is good
