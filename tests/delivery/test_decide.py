"""What to do about a rendered claim: the table at the top of decide.py, cell by cell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapter.alarm import Accepted, Kind, Outcome
from adapter.delivery.decide import decide, request_for, with_fallback
from adapter.mapping.render.body import fallback
from adapter.mapping.render.request import Contract, Reason, RenderResult
from adapter.store.contract import Claim
from tests.builders import END, START, a_claim, accepted, an_alert

CONTRACT = Contract()


def decided(claim: Claim, **changes: Any) -> dict[str, Any] | Outcome:
    """The decision, a body as a dict; `changes` are those of the rendered result."""
    request = request_for(claim, CONTRACT)
    if "body" in changes:
        body = changes.pop("body")
        changes["json"] = None if body is None else json.dumps(body).encode()
    decision = decide(claim, request, fallback(request, "r1", Reason.NO_RULE)._replace(**changes))
    return decision if isinstance(decision, Outcome) else json.loads(decision)


def dropped(claim: Claim) -> dict[str, Any] | Outcome:
    return decided(claim, dropped=True, body=None, rule="watchdog")


def held(kind: Kind = Kind.ALARM) -> Accepted:
    """What COC holds after it accepted the alarm of `an_alert()`."""
    body = decided(a_claim(kind))
    assert isinstance(body, dict)
    return accepted(body=json.dumps(body).encode())


def test_time_is_the_start_of_a_firing_alert_and_the_end_of_a_resolved_one_in_milliseconds() -> None:
    assert request_for(a_claim(), CONTRACT).time_ms == 1767268800000
    assert request_for(a_claim(Kind.OK), CONTRACT).time_ms == 1767272400000
    assert (START, END) == ("2026-01-01T12:00:00Z", "2026-01-01T13:00:00Z")


def test_an_alert_without_times_gets_the_time_it_was_received() -> None:
    claim = a_claim(alert=an_alert(startsAt=""))
    assert request_for(claim, CONTRACT).time_ms == claim.report.received // 1000


@pytest.mark.parametrize("kind", [Kind.ALARM, Kind.REFRESH, Kind.UPDATE, Kind.REASSERT])
def test_a_firing_state_is_sent_when_coc_has_nothing(kind: Kind) -> None:
    body = decided(a_claim(kind))
    assert isinstance(body, dict)
    assert body["alarmStatus"] == "alarm"


def test_an_update_is_unneeded_when_coc_has_the_identifying_fields_already() -> None:
    update = a_claim(Kind.UPDATE, alert=an_alert(annotations={"summary": "other words"}), accepted=held())
    assert decided(update) is Outcome.UNNEEDED


def test_an_update_that_was_maybe_sent_is_sent_since_coc_may_hold_another_body_than_it_accepted() -> None:
    update = a_claim(Kind.UPDATE, accepted=held(), maybe_sent=True)
    assert isinstance(decided(update), dict)


def test_an_update_that_changes_an_identifying_field_is_sent() -> None:
    claim = a_claim(Kind.UPDATE, accepted=held())
    rendered = fallback(request_for(claim, CONTRACT), "r1", Reason.NO_RULE).body
    assert rendered is not None
    assert isinstance(decided(claim, body=rendered | {"alarmLevel": "Critical"}), dict)


def test_an_update_after_coc_closed_the_alarm_is_sent() -> None:
    closed = accepted("ok", held().body)
    assert isinstance(decided(a_claim(Kind.UPDATE, accepted=closed)), dict)


@pytest.mark.parametrize("kind", [Kind.REFRESH, Kind.ALARM, Kind.REASSERT])
def test_only_an_update_is_ever_unneeded(kind: Kind) -> None:
    assert isinstance(decided(a_claim(kind, accepted=held())), dict)


def test_an_ok_repeats_what_identifies_the_alarm_even_if_the_mapping_has_changed() -> None:
    claim = a_claim(Kind.OK, accepted=held())
    renamed = {"alarmName": "Renamed", "nameSpace": "elsewhere", "alarmLevel": "Info", "alarmStatus": "ok"}
    rendered = fallback(request_for(claim, CONTRACT), "r2", Reason.NO_RULE).body
    assert rendered is not None
    body = decided(claim, body=rendered | renamed | {"alarmDesc": "it is over"})
    assert isinstance(body, dict)
    before = json.loads(held().body)
    same = ("alarmId", "alarmName", "alarmLevel", "nameSpace", "applicationId", "alarmSource")
    assert [body.get(field) for field in same] == [before.get(field) for field in same]
    assert (body["alarmStatus"], body["alarmDesc"], body["time"]) == ("ok", "it is over", 1767272400000)


def test_an_ok_of_an_alarm_coc_holds_is_owed_even_when_a_rule_drops_the_alert_now() -> None:
    body = dropped(a_claim(Kind.OK, accepted=held()))
    assert isinstance(body, dict)
    assert body["alarmStatus"] == "ok"


@pytest.mark.parametrize("kind", [Kind.ALARM, Kind.UPDATE, Kind.REFRESH, Kind.OK, Kind.REASSERT])
def test_a_rule_that_drops_drops_what_coc_does_not_hold(kind: Kind) -> None:
    assert dropped(a_claim(kind)) is Outcome.DROPPED


def test_an_ok_of_something_never_seen_firing_is_sent() -> None:
    assert isinstance(decided(a_claim(Kind.OK)), dict)


@pytest.mark.parametrize(
    ("earlier", "outcome"),
    [(Outcome.DEAD, Outcome.DISCARDED), (Outcome.DISCARDED, Outcome.DISCARDED), (Outcome.DROPPED, Outcome.DROPPED)],
)
def test_an_ok_ends_as_its_alarm_did_when_coc_never_accepted_that(earlier: Outcome, outcome: Outcome) -> None:
    assert decided(a_claim(Kind.OK, earlier=earlier)) is outcome


@pytest.mark.parametrize("earlier", [Outcome.DEAD, Outcome.DISCARDED, Outcome.DROPPED, None])
def test_an_ok_is_sent_when_coc_may_have_taken_the_alarm(earlier: Outcome | None) -> None:
    assert isinstance(decided(a_claim(Kind.OK, earlier=earlier, maybe_sent=True)), dict)


def test_an_ok_of_an_alarm_that_was_maybe_sent_is_owed_with_the_built_in_body_when_a_rule_drops_the_alert_now() -> None:
    body = dropped(a_claim(Kind.OK, earlier=Outcome.DROPPED, maybe_sent=True))
    assert isinstance(body, dict)
    assert (body["alarmStatus"], body["alarmId"]) == ("ok", a_claim(Kind.OK).report.coc_alarm_id)


@pytest.mark.parametrize("kind", [Kind.ALARM, Kind.UPDATE, Kind.REFRESH])
def test_no_alarm_that_a_rule_drops_is_sent_because_it_was_maybe_sent(kind: Kind) -> None:
    assert dropped(a_claim(kind, maybe_sent=True)) is Outcome.DROPPED


def test_the_built_in_body_of_an_ok_keeps_what_identifies_the_alarm_to_coc() -> None:
    mapped = json.loads(held().body) | {"alarmName": "Mapped", "nameSpace": "mapped"}
    claim = a_claim(Kind.OK, accepted=accepted(body=json.dumps(mapped).encode()))
    request = request_for(claim, CONTRACT)
    refused = fallback(request, "r1", Reason.NO_RULE)._replace(rule="pod", mapping="30-kubernetes.yaml")
    rendered, sent = with_fallback(claim, request, refused)
    body = json.loads(sent)
    assert isinstance(rendered, RenderResult)
    assert (body["alarmName"], body["nameSpace"], body["alarmStatus"]) == ("Mapped", "mapped", "ok")
    assert {why.reason for why in rendered.fallbacks.values()} == {Reason.REFUSED}
    assert (rendered.rule, rendered.mapping) == ("pod", "30-kubernetes.yaml"), "what is to be mended"
    assert "rule" not in body["additional"]
