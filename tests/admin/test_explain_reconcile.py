"""What `explain` says of an alarm that reconciling closed, and of one that it looks at."""

from __future__ import annotations

from adapter.admin.explain import explain
from adapter.alarm import Kind, Outcome, Status
from adapter.alertmanager import ReconciledGroup, pack
from adapter.store.views import AlarmRow, ReportRow
from tests.builders import NOON, a_report, an_alarm, an_alert

ROW = AlarmRow(id=1, integration="default", alarm=an_alarm(), labels={}, first_seen=NOON, last_seen=NOON)
GROUP = ReconciledGroup(
    receiver="coc", groupKey="", groupLabels={}, commonLabels={}, commonAnnotations={}, externalURL="http://am",
    reconciled="not in Alertmanager since noon", evidence="Closed by reconciling: 6 polls of am-0 lacked it.",
)  # fmt: skip


def sentences(raw: bytes, *standing: str) -> list[str]:
    report = ReportRow(report=a_report(Kind.OK, raw=raw), outcome=Outcome.DELIVERED, done=NOON)
    told = explain(ROW, [report], pause=None, breaker="closed", now=NOON, standing=standing)
    return [sentence.text for sentence in told]


def test_it_says_who_closed_an_alarm_and_by_what_evidence() -> None:
    closed = pack(an_alert(status="resolved"), GROUP.as_json())
    assert "Closed by reconciling: 6 polls of am-0 lacked it." in sentences(closed)


def test_a_label_called_evidence_is_none_and_bytes_that_cannot_be_read_are_no_error() -> None:
    plain = sentences(pack(an_alert(labels={"evidence": "x", '"evidence":': "y"}), b"{}"))
    assert not any("reconciling" in line for line in plain)
    assert sentences(b'{"evidence": broken') == plain


def test_what_the_last_poll_shows_is_said_of_an_open_alarm() -> None:
    assert an_alarm().status is Status.FIRING
    assert "Not in Alertmanager main since noon, 2 polls." in sentences(
        b"{}", "Not in Alertmanager main since noon, 2 polls."
    )
