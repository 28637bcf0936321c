"""One webhook's plan: the same whether its alerts come together or one by one, and never over the bound."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.alarm import Alarm, Kind, News, Status
from adapter.alertmanager import Alert, Reject
from adapter.clock import SECOND, Micros
from adapter.errors import BacklogFull
from adapter.store.contract import Intake
from adapter.store.plan import Plan, accept_result, check_backlog, plan_of
from tests.builders import NOON, an_alert, an_intake, firing, resolved

NAMES = ("a1", "a2", "a3")

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


@dataclass
class Books:
    """What a store keeps of alarms and their queues, as far as a plan goes. Nothing is claimed or tried."""

    alarms: dict[str, Alarm] = field(default_factory=dict)
    queue: list[tuple[int, str, Kind, Alert]] = field(default_factory=list)  # seq, fingerprint, kind, alert
    seq: int = 0
    open: int = 0
    news: Counter[News] = field(default_factory=Counter)

    def accept(self, intake: Intake, *, refreshes: bool = True) -> Plan:
        plan = plan_of(self.alarms, intake, refreshes=refreshes)
        last = {name: (seq, kind) for seq, name, kind, _ in self.queue}
        plan.supersede({name: last[name][0] for name in plan.replaceable if last[name][1] is Kind.UPDATE})
        self.queue = [row for row in self.queue if row[0] not in plan.superseded]
        for owed in plan.owed:
            self.seq += 1
            if not owed.superseded:
                self.queue.append((self.seq, owed.alarm.fingerprint, owed.kind, owed.alert))
        self.alarms |= {name: change.alarm for name, change in plan.alarms.items()}
        self.open += plan.opened
        self.news += plan.news
        return plan

    def settle(self, at: Micros) -> None:
        """COC accepts all that is pending."""
        for name in {row[1] for row in self.queue}:
            self.alarms[name] = self.alarms[name]._replace(pending=0, last_accepted_at=at)
        self.queue = []

    def pending(self, name: str) -> int:
        return sum(row[1] == name for row in self.queue)


@given(st.lists(st.lists(alerts, max_size=6), max_size=4))
def test_a_webhook_changes_what_its_alerts_change_one_by_one(webhooks: list[list[Alert]]) -> None:
    together, single = Books(), Books()
    for webhook in webhooks:
        together.accept(an_intake(*webhook))
        for alert in webhook:
            single.accept(an_intake(alert))
    assert together == single


@given(st.lists(st.lists(alerts, max_size=6), max_size=4))
def test_the_sums_of_a_plan_are_those_of_its_rows(webhooks: list[list[Alert]]) -> None:
    books = Books()
    for webhook in webhooks:
        before = len(books.queue)
        plan = books.accept(an_intake(*webhook))
        assert len(books.queue) == before + plan.added
        assert books.open == sum(alarm.status is Status.FIRING for alarm in books.alarms.values())
        assert {name: alarm.pending for name, alarm in books.alarms.items()} == {
            name: books.pending(name) for name in books.alarms
        }


HOUR = 3600 * SECOND
steps = st.tuples(st.lists(alerts, max_size=6), st.booleans(), st.sampled_from(["r1", "r2"]), st.booleans())


@given(st.lists(steps, max_size=6))
def test_refreshing_alarms_are_those_of_which_only_a_refresh_waits_and_news_is_all_else(
    schedule: list[tuple[list[Alert], bool, str, bool]],
) -> None:
    books, refreshing = Books(), 0
    for number, (webhook, refreshes, revision, settled) in enumerate(schedule):
        now = NOON + number * HOUR
        plan = books.accept(an_intake(*webhook, received=now, refresh=HOUR, revision=revision), refreshes=refreshes)
        refreshing += plan.refreshing
        assert refreshing == sum(alarm.refreshing for alarm in books.alarms.values())
        assert plan.added_news <= plan.added
        if not refreshes:
            assert plan.added_news == plan.added
            assert Kind.REFRESH not in {owed.kind for owed in plan.owed}
        for name, alarm in books.alarms.items():
            if alarm.refreshing:
                waiting = [kind for _, owner, kind, _ in books.queue if owner == name]
                assert set(waiting) <= {Kind.REFRESH, Kind.UPDATE}
        if settled:
            books.settle(now)
            refreshing = 0


def test_an_alert_that_changes_nothing_plans_nothing_but_its_news() -> None:
    books = Books()
    books.accept(firing("a1"))
    plan = books.accept(firing("a1"))
    assert (plan.alarms, plan.owed, plan.added, plan.opened) == ({}, [], 0, 0)
    assert (plan.repeated, plan.stale, plan.news[News.REPEAT]) == (["a1"], [], 1)


def test_only_an_update_that_comes_first_may_replace_what_was_pending() -> None:
    books = Books()
    books.accept(firing("a1"))
    books.accept(firing("a1", text="1"))
    plan = plan_of(books.alarms, an_intake(an_alert(text="2"), an_alert(text="3")))
    assert (plan.replaceable, plan.superseding) == (["a1"], 1)
    plan = plan_of(books.alarms, an_intake(an_alert(status="resolved"), an_alert(), an_alert(text="4")))
    assert plan.replaceable == []


def test_the_result_counts_rejects_and_names_alarms_by_id() -> None:
    books = Books()
    books.accept(firing("a1"))
    intake = firing("a1", "a2", rejects=(Reject(reason="a list", head=b"[]"),))
    receipt, seen = accept_result(books.accept(intake), intake, {"a1": 7, "a2": 8}, webhook=3, pending=2, open_alarms=2)
    assert receipt.news == {News.REJECTED: 1, News.REPEAT: 1, News.NEWS: 1}
    assert (receipt.owed, receipt.superseded, receipt.webhook) == ((("a2", Kind.ALARM),), 0, 3)
    assert seen == (NOON, [7], [], [8])


@given(st.lists(alerts, max_size=6), st.lists(alerts, max_size=6), st.integers(0, 30), st.integers(1, 20))
def test_a_plan_stays_within_the_bound_or_a_tenth_over_it_when_it_only_closes(
    first: list[Alert], then: list[Alert], pending: int, bound: int
) -> None:
    books = Books()
    books.accept(an_intake(*first))
    plan = books.accept(an_intake(*then, received=NOON + SECOND))
    after = pending + plan.added
    closing = all(owed.kind is Kind.OK for owed in plan.owed if not owed.superseded)
    if after <= max(bound, pending):
        check_backlog(plan, pending=pending, bound=bound)
    elif after > bound + -(-bound // 10) or not closing:
        with pytest.raises(BacklogFull, match=f"{pending} reports wait for COC"):
            check_backlog(plan, pending=pending, bound=bound)


def test_only_the_ok_of_a_firing_alarm_may_pass_the_bound() -> None:
    books = Books()
    books.accept(firing("a1"))
    check_backlog(plan_of(books.alarms, resolved("a1")), pending=10, bound=10)
    with pytest.raises(BacklogFull):
        check_backlog(plan_of(books.alarms, resolved("a2")), pending=10, bound=10)
    with pytest.raises(BacklogFull):
        check_backlog(plan_of(books.alarms, resolved("a1")), pending=11, bound=10)
