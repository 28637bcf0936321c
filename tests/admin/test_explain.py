"""Why nobody was paged, in sentences."""

from __future__ import annotations

from adapter.admin.explain import explain
from adapter.alarm import Outcome
from adapter.store.views import AlarmRow, Provenance, ReportRow
from tests.builders import NOON, a_report, an_alarm, an_attempt

REFUSED = an_attempt(reason="refused", status=400, code="COC.1", message="no such application")


def told(reports: tuple[ReportRow, ...] = (), starts: int = NOON, **row: int) -> str:
    alarm = AlarmRow(
        id=1, integration="default", alarm=an_alarm(starts=starts), labels={}, first_seen=NOON, last_seen=NOON, **row
    )
    return " ".join(one.text for one in explain(alarm, reports, pause=None, breaker="closed", now=NOON))


def settled(outcome: Outcome, rule: str | None, reason: str = "refused") -> ReportRow:
    mapping = "30-kubernetes.yaml" if rule else None
    fallbacks = tuple((field, reason) for field in ("alarmName", "alarmLevel"))
    made = Provenance(rule=rule, mapping=mapping, revision="r1", fallbacks=fallbacks, clipped=(), body=b"{}")
    return ReportRow(report=a_report(), outcome=outcome, done=NOON, provenance=made, attempts=(REFUSED, REFUSED))


def test_a_dead_letter_names_the_rule_whose_body_was_refused() -> None:
    text = told((settled(Outcome.DEAD, "pod"),))
    assert "COC refused it for good: 400 COC.1 no such application (first the body made by rule 'pod' of" in text
    assert "of 30-kubernetes.yaml (revision r1), then the built-in one); mend and run `coc-adapter dead-le" in text


def test_a_dead_letter_that_no_rule_made_says_so() -> None:
    assert "(first the body made by no rule, then the built-in one)" in told((settled(Outcome.DEAD, None),))


def test_a_body_that_was_sent_as_it_was_is_refused_once() -> None:
    row = ReportRow(report=a_report(), outcome=Outcome.DEAD, done=NOON, attempts=(REFUSED,))
    assert "COC refused it for good: 400 COC.1 no such application; mend" in told((row,))


def test_a_built_in_body_that_was_accepted_names_the_rule_to_mend() -> None:
    text = told((settled(Outcome.DELIVERED, "pod"),))
    assert "accepted the built-in body after it had refused the one made by rule 'pod' of 30-kubernetes.yaml" in text


def test_fields_that_fell_back_are_named() -> None:
    text = told((settled(Outcome.DELIVERED, "pod", "error"),))
    assert "made by rule 'pod' of 30-kubernetes.yaml (revision r1), fallback for alarmName, alarmLevel." in text


def test_one_is_told_in_the_singular_and_more_in_the_plural() -> None:
    assert "repeated it once, last seen" in told(repeats=1)
    assert "repeated it 2 times, last seen" in told(repeats=2)
    assert "1 resolve was older" in told(stale=1)
    assert "2 resolves were older" in told(stale=2)
    tried = ReportRow(report=a_report(attempts=1), attempts=(an_attempt(),))
    assert "1 report waiting, first an 'alarm' (id 1): tried once, last at" in told((tried,))
    assert "2 reports waiting" in told((tried, tried))


def test_an_alert_without_a_time_fires_since_no_time() -> None:
    assert told(starts=0).startswith("Alertmanager says firing, without a time; COC has")
    assert "never" not in told(starts=0)


def test_a_superseded_report_says_whether_it_was_tried() -> None:
    untried = ReportRow(report=a_report(), outcome=Outcome.SUPERSEDED, done=NOON)
    assert "superseded by a newer report before it was tried." in told((untried,))
    tried = ReportRow(report=a_report(attempts=2), outcome=Outcome.SUPERSEDED, done=NOON, attempts=(REFUSED, REFUSED))
    assert "superseded by a newer report after it was tried 2 times." in told((tried,))
