"""The life of an alarm: one test per row of the table at the top of lifecycle.py, and its invariants."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from adapter.alarm import Alarm, Kind, News, Priority, Status
from adapter.alertmanager import Alert, micros
from adapter.lifecycle import Policy, Transition, coc_alarm_id, transition
from tests.builders import END, LATER, POLICY, START, an_alarm, an_alert

NOW = micros(START) + 60_000_000
HOUR = 3_600_000_000


def looked(
    known: Alarm | None,
    alert: Alert,
    *,
    now: int = NOW,
    revision: str = "r1",
    policy: Policy = POLICY,
    refreshes: bool = True,
) -> Transition:
    return transition(known, alert, now=now, revision=revision, policy=policy, refreshes=refreshes)


def test_an_unknown_firing_alert_owes_an_alarm_and_starts_episode_1() -> None:
    step = looked(None, an_alert())
    assert (step.owed, step.news) == (Kind.ALARM, News.NEWS)
    assert step.alarm == an_alarm()


def test_a_resolved_alarm_that_fires_again_starts_a_new_episode_even_with_the_same_start() -> None:
    known = an_alarm(status=Status.RESOLVED, ends=micros(END))
    for starts_at in (START, LATER):
        step = looked(known, an_alert(startsAt=starts_at))
        assert (step.owed, step.alarm and step.alarm.episode) == (Kind.ALARM, 2)


def test_the_same_again_owes_nothing_and_gives_back_the_very_record() -> None:
    known = an_alarm()
    step = looked(known, an_alert())
    assert (step.owed, step.news) == (None, News.REPEAT)
    assert step.alarm is known


def test_a_changed_annotation_owes_an_update() -> None:
    step = looked(an_alarm(), an_alert(annotations={"summary": "still down"}))
    assert (step.owed, step.news) == (Kind.UPDATE, News.NEWS)
    assert step.alarm
    assert step.alarm.episode == 1


def test_a_label_changed_under_the_same_fingerprint_owes_an_update() -> None:
    known = an_alarm(content=an_alert(labels={"alertname": "X", "severity": "warning"}, fingerprint="f1").content)
    step = looked(known, an_alert(labels={"alertname": "X", "severity": "critical"}, fingerprint="f1"))
    assert (step.owed, step.news) == (Kind.UPDATE, News.NEWS)
    turned = an_alert(labels={"severity": "critical", "alertname": "X"}, fingerprint="f1")
    assert looked(step.alarm, turned).news is News.REPEAT


def test_a_changed_mapping_revision_owes_an_update_once() -> None:
    step = looked(an_alarm(), an_alert(), revision="r2")
    assert step.owed is Kind.UPDATE
    assert looked(step.alarm, an_alert(), revision="r2").owed is None


def test_a_refresh_is_owed_when_coc_last_accepted_longer_ago_than_the_interval() -> None:
    known = an_alarm(last_accepted_at=NOW)
    assert looked(known, an_alert(), now=NOW + HOUR - 1).owed is None
    step = looked(known, an_alert(), now=NOW + HOUR)
    assert (step.owed, step.news) == (Kind.REFRESH, News.REFRESH)


def test_no_refresh_is_owed_while_something_is_pending_or_coc_accepted_nothing_or_it_is_switched_off() -> None:
    late = NOW + 10 * HOUR
    assert looked(an_alarm(last_accepted_at=NOW, pending=1), an_alert(), now=late).owed is None
    assert looked(an_alarm(last_accepted_at=0), an_alert(), now=late).owed is None
    never = POLICY._replace(refresh_interval=0)
    assert looked(an_alarm(last_accepted_at=NOW), an_alert(), now=late, policy=never).owed is None


def test_a_webhook_received_just_before_coc_answered_is_a_repeat_and_no_refresh() -> None:
    assert looked(an_alarm(last_accepted_at=NOW + 5_000), an_alert(), now=NOW).owed is None


def test_a_clock_set_back_far_costs_one_refresh_rather_than_silence() -> None:
    assert looked(an_alarm(last_accepted_at=NOW), an_alert(), now=NOW - 24 * HOUR).owed is Kind.REFRESH


def test_a_changed_start_stays_in_the_episode_and_is_remembered() -> None:
    step = looked(an_alarm(), an_alert(startsAt=LATER))
    assert step.owed is None
    assert step.alarm
    assert (step.alarm.episode, step.alarm.starts) == (1, micros(LATER))
    assert looked(step.alarm, an_alert(startsAt=START)).alarm is step.alarm


def test_a_resolve_owes_an_ok() -> None:
    step = looked(an_alarm(), an_alert(status="resolved"))
    assert (step.owed, step.news) == (Kind.OK, News.NEWS)
    assert step.alarm
    assert (step.alarm.status, step.alarm.ends) == (Status.RESOLVED, micros(END))


def test_a_resolve_from_before_the_newest_start_is_stale() -> None:
    known = an_alarm(starts=micros(END) + 1)
    step = looked(known, an_alert(status="resolved"))
    assert (step.owed, step.news) == (None, News.STALE)
    assert step.alarm is known
    assert looked(an_alarm(starts=micros(END)), an_alert(status="resolved")).owed is Kind.OK


def test_a_resolve_without_a_readable_end_still_closes() -> None:
    assert looked(an_alarm(), an_alert(status="resolved", endsAt="", ends=0)).owed is Kind.OK


def test_a_second_resolve_is_a_repeat() -> None:
    known = an_alarm(status=Status.RESOLVED, ends=micros(END))
    assert looked(known, an_alert(status="resolved"))[1:] == (None, News.REPEAT)


def test_a_resolve_of_something_unknown_owes_one_ok() -> None:
    step = looked(None, an_alert(status="resolved"))
    assert step.owed is Kind.OK
    assert looked(step.alarm, an_alert(status="resolved")).owed is None


def test_the_alarm_id_is_the_fingerprint_where_coc_can_take_it_and_a_hash_where_not() -> None:
    assert coc_alarm_id(an_alert(fingerprint="0123456789abcdef"), per_episode=False) == "0123456789abcdef"
    for odd in ("a-b", "数据库", "x" * 256, "a b"):
        name = coc_alarm_id(an_alert(fingerprint=odd), per_episode=False)
        assert name.isascii()
        assert name.isalnum()
        assert len(name) == 32


def test_an_id_per_episode_differs_by_start_and_is_kept_for_the_ok() -> None:
    policy = POLICY._replace(id_per_episode=True)
    first = looked(None, an_alert(), policy=policy).alarm
    moved = looked(first, an_alert(startsAt=LATER), policy=policy).alarm
    closed = looked(moved, an_alert(status="resolved", startsAt=LATER), policy=policy).alarm
    again = looked(closed, an_alert(startsAt=LATER), policy=policy).alarm
    assert first
    assert moved
    assert closed
    assert again
    assert first.coc_alarm_id == moved.coc_alarm_id == closed.coc_alarm_id != again.coc_alarm_id


ALERTS = st.builds(
    an_alert,
    st.sampled_from(["firing", "resolved"]),
    annotations=st.sampled_from([{"summary": "a"}, {"summary": "b"}]),
    startsAt=st.sampled_from([START, LATER, END]),
    endsAt=st.sampled_from([START, LATER, END]),
)


@given(st.lists(st.tuples(ALERTS, st.sampled_from(["r1", "r2"])), max_size=12))
def test_alarms_and_oks_alternate_in_any_history(history: list[tuple[Alert, str]]) -> None:
    known, owed = None, []
    for number, (alert, revision) in enumerate(history):
        step = looked(known, alert, now=NOW + number, revision=revision)
        if step.owed in (Kind.ALARM, Kind.OK):
            owed.append(step.owed)
        known = step.alarm
    assert all(a is not b for a, b in itertools.pairwise(owed))
    if known is not None:
        assert owed[-1] is (Kind.ALARM if known.status is Status.FIRING else Kind.OK)


@given(ALERTS)
def test_looking_twice_at_the_same_alert_owes_nothing_the_second_time(alert: Alert) -> None:
    once = looked(None, alert)
    twice = looked(once.alarm, alert)
    assert twice.owed is None
    assert twice.alarm is once.alarm


def test_a_refresh_and_an_update_by_mappings_alone_wait_behind_news() -> None:
    at_coc = an_alarm(last_accepted_at=NOW)
    late = NOW + HOUR
    assert looked(at_coc, an_alert(), now=late).alarm.priority == Priority.REFRESH
    assert looked(at_coc, an_alert(), revision="r2").alarm.priority == Priority.REFRESH
    for step in (
        looked(at_coc, an_alert(text="worse"), revision="r2"),
        looked(an_alarm(), an_alert(), revision="r2"),  # COC has nothing of it yet
        looked(at_coc._replace(pending=1), an_alert(), revision="r2"),  # news is pending
        looked(at_coc._replace(revision=""), an_alert()),  # what was pending is lost
        looked(at_coc._replace(pending=1, priority=Priority.REFRESH), an_alert(text="worse")),
        looked(at_coc._replace(pending=1, priority=Priority.REFRESH), an_alert(status="resolved")),
    ):
        assert (step.owed in (Kind.UPDATE, Kind.OK), step.alarm.priority) == (True, Priority.NEWS)


def test_while_refreshes_are_off_none_is_owed_and_a_later_repeat_asks_again() -> None:
    known = an_alarm(last_accepted_at=NOW)
    late = NOW + HOUR
    for revision in ("r1", "r2"):
        step = looked(known, an_alert(), now=late, revision=revision, refreshes=False)
        assert (step.owed, step.news, step.alarm) == (None, News.REPEAT, known)
        assert looked(step.alarm, an_alert(), now=late, revision=revision).owed is not None
    assert looked(known, an_alert(text="worse"), refreshes=False).owed is Kind.UPDATE
    assert looked(an_alarm(), an_alert(), revision="r2", refreshes=False).owed is Kind.UPDATE
