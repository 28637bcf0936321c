"""What a settlement may change, with the lease and without it."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from adapter.alarm import Accepted, Outcome
from adapter.store.contract import Claim, Settlement
from adapter.store.settlement import AlarmState, ReportState, apply
from tests.builders import NOON, a_claim, a_provenance, an_attempt

EPISODE = 3  # of the report that is settled

episodes = st.integers(0, EPISODE + 1)
outcomes = st.sampled_from([None, *Outcome])
bodies = st.sampled_from(
    [None, *(Accepted(body=body, status="alarm", at=NOON, episode=EPISODE) for body in (b"1", b"2"))]
)
alarms = st.builds(
    AlarmState,
    pending=st.integers(1, 3),
    accepted=bodies,
    earlier_episode=episodes,
    earlier_outcome=outcomes,
    maybe_sent_episode=episodes,
    fell_back=st.booleans(),
)
pending_reports = st.builds(
    ReportState, outcome=st.none(), done=st.just(0), attempts=st.integers(0, 20), refused=st.booleans()
)
left_reports = st.builds(
    ReportState,
    outcome=st.sampled_from(Outcome),
    done=st.just(NOON),
    attempts=st.integers(0, 20),
    refused=st.booleans(),
)
attempts = st.lists(st.booleans().map(lambda ambiguous: an_attempt(ambiguous=ambiguous)), max_size=3).map(tuple)


def a_settlement(claim: Claim, outcome: Outcome | None = None, **changes: object) -> Settlement:
    fields = {"attempts": (), "accepted": None, "refused": False} | changes
    return Settlement(claim=claim, at=NOON + 1, outcome=outcome, provenance=a_provenance(), **fields)


@st.composite
def settlements(draw: st.DrawFn) -> Settlement:
    return a_settlement(
        a_claim(episode=EPISODE, maybe_sent=draw(st.booleans())),
        draw(outcomes),
        attempts=draw(attempts),
        accepted=draw(bodies),
        refused=draw(st.booleans()),
    )


@given(alarms, pending_reports, settlements())
def test_a_pending_report_is_settled_once_and_only_under_its_lease(
    alarm: AlarmState, report: ReportState, settlement: Settlement
) -> None:
    first = apply(alarm, report, settlement, lease_held=True)
    assert first.counted
    assert (first.left, first.reassert) == (settlement.outcome is not None, False)
    assert (first.report.outcome, first.alarm.pending) == (settlement.outcome, alarm.pending - first.left)
    if settlement.outcome is not None:
        assert first.report.done == settlement.at
        assert (first.alarm.earlier_episode, first.alarm.earlier_outcome) == (EPISODE, settlement.outcome)
        second = apply(first.alarm, first.report, settlement, lease_held=True)
        assert not second.counted
        assert second.alarm == first.alarm
        assert (second.report.outcome, second.report.done) == (first.report.outcome, first.report.done)


@given(alarms, st.one_of(pending_reports, left_reports), settlements(), st.booleans())
def test_every_attempt_and_refusal_is_counted_even_without_the_lease(
    alarm: AlarmState, report: ReportState, settlement: Settlement, lease_held: bool
) -> None:
    after = apply(alarm, report, settlement, lease_held=lease_held).report
    assert after.attempts == report.attempts + len(settlement.attempts)
    assert after.refused == (report.refused or settlement.refused)


@given(alarms, st.one_of(pending_reports, left_reports), settlements())
def test_without_the_lease_nothing_leaves_and_nothing_known_is_overwritten(
    alarm: AlarmState, report: ReportState, settlement: Settlement
) -> None:
    applied = apply(alarm, report, settlement, lease_held=False)
    assert not applied.counted
    assert applied.report.outcome is report.outcome
    assert applied.alarm._replace(maybe_sent_episode=0, accepted=None) == alarm._replace(
        maybe_sent_episode=0, accepted=None
    )
    assert applied.alarm.accepted == (alarm.accepted or settlement.accepted)
    assert applied.alarm.maybe_sent_episode >= alarm.maybe_sent_episode


@given(alarms, st.one_of(pending_reports, left_reports), settlements(), st.integers(0, 1))
def test_what_was_sent_without_the_lease_is_reasserted_unless_something_is_pending(
    alarm: AlarmState, report: ReportState, settlement: Settlement, pending: int
) -> None:
    alarm = alarm._replace(pending=pending)
    sent = bool(settlement.attempts) or settlement.accepted is not None
    applied = apply(alarm, report, settlement, lease_held=False)
    assert applied.reassert == (sent and not pending and applied.alarm.accepted is not None)
    if sent:
        assert applied.alarm.maybe_sent_episode >= EPISODE


@given(alarms, pending_reports, settlements())
def test_an_acceptance_ends_maybe_sent_for_its_episode_only(
    alarm: AlarmState, report: ReportState, settlement: Settlement
) -> None:
    assume(settlement.accepted is not None)
    after = apply(alarm, report, settlement, lease_held=True).alarm
    assert after.accepted == settlement.accepted
    assert after.maybe_sent_episode == (0 if alarm.maybe_sent_episode == EPISODE else alarm.maybe_sent_episode)


@given(alarms, pending_reports, settlements())
def test_an_ambiguous_attempt_marks_the_episode_as_maybe_sent_until_an_acceptance(
    alarm: AlarmState, report: ReportState, settlement: Settlement
) -> None:
    assume(settlement.accepted is None)
    after = apply(alarm, report, settlement, lease_held=True).alarm
    ambiguous = any(attempt.ambiguous for attempt in settlement.attempts)
    carried = settlement.claim.maybe_sent and settlement.outcome is not None
    assert after.maybe_sent_episode == (EPISODE if ambiguous or carried else alarm.maybe_sent_episode)
    assert after.accepted == alarm.accepted
