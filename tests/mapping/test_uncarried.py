"""Labels and annotations that no field carries reach COC in `additional`, within bounds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.coc.fields import tidy
from adapter.mapping.render.body import fallback
from adapter.mapping.render.request import Contract, Reason
from adapter.mapping.render.uncarried import MOST, MOST_BYTES
from adapter.mapping.rules.language import environment, parse, texts_read
from tests.mapping.builders import SOUND, a_request, fields, one_rule, outcome, program, rules

NOTES = {"rule", "mapping", "mappingRevision", "fingerprint", "generatorURL", "externalURL", "fallback"}
OFF = Contract(additional_labels=False)


def extra(
    of: str, labels: dict[str, str], annotations: dict[str, str] | None = None, contract: Contract | None = None
) -> dict[str, Any]:
    """`additional` without the adapter's notes."""
    additional = fields(of, a_request(labels, annotations, contract=contract))["additional"]
    return {key: text for key, text in additional.items() if key not in NOTES}


def test_what_no_field_carries_goes_to_additional_under_its_own_name() -> None:
    labels = {"namespace": "shop", "team": "web", "k8s.pod.name": "api-1", "空": "间"}
    assert extra(one_rule(), labels, {"summary": "down", "当前值": "41%"}) == {
        "team": "web", "k8s.pod.name": "api-1", "空": "间", "当前值": "41%",
    }  # fmt: skip


def test_what_additional_of_the_rule_carries_is_not_there_twice() -> None:
    of = one_rule(additional={"team": "{{ labels.team }}", "owner": "{{ labels.contact }}"})
    assert extra(of, {"team": "web", "contact": "dba"}) == {"team": "web", "owner": "dba"}


def test_a_field_that_reads_a_label_and_shows_another_does_not_carry_it() -> None:
    of = one_rule(
        resourceName="{{ labels.pod or labels.app }}", applicationId="{{ {'a': 'b'}[labels.team] or 'none' }}"
    )
    assert extra(of, {"pod": "db-1", "app": "db", "team": "x"}) == {"app": "db", "team": "x"}


def test_a_field_that_changes_a_label_does_not_carry_it() -> None:
    of = one_rule(resourceName="{{ labels.instance | host }}")
    assert extra(of, {"instance": "n1:9100"}) == {"instance": "n1:9100"}
    assert extra(of, {"alertname": "CPU usage: 90 %"}) == {"alertname": "CPU usage: 90 %"}


def test_a_description_carries_what_it_holds() -> None:
    of = one_rule(alarmDesc="{{ annotations.summary }}: {{ annotations.description }}")
    assert extra(of, {}, {"summary": "down", "description": "for an hour\n", "note": "hour"}) == {"note": "hour"}


def test_a_description_that_is_cut_is_carried_by_its_full_text() -> None:
    assert extra(one_rule(), {}, {"summary": "x" * 300}) == {"alarmDesc": "x" * 300}


def test_a_url_that_is_left_out_is_there_once() -> None:
    url = "https://runbooks.example/" + "x" * 300
    assert extra(one_rule(URL="{{ annotations.runbook_url }}"), {}, {"runbook_url": url}) == {"URL": url}


def test_a_template_that_writes_all_labels_carries_all() -> None:
    every = "{% for name, value in labels | items %}{{ name }}={{ value }} {% endfor %}"
    assert extra(one_rule(additional={"labels": every}), {"team": "web", "zone": "a"}) == {
        "labels": "alertname=PodDown severity=warning team=web zone=a"
    }


def test_a_known_severity_is_carried_by_the_level_it_gives() -> None:
    assert extra(one_rule(), {"severity": "page"}) == {}
    assert extra(one_rule(alarmLevel="Info"), {"severity": "page"}) == {"severity": "page"}


def test_a_name_that_a_note_or_field_has_gets_its_kind_before_it() -> None:
    labels = {name: f"my {name}" for name in ("rule", "fallback", "alarmDesc", "more", "additional", "team", "note")}
    annotations = {"summary": "down", "rule": "another", "team": "a second"}
    of = one_rule(additional={"note": "ours"})
    assert extra(of, labels, annotations) == {
        "note": "ours", "label.rule": "my rule", "label.fallback": "my fallback", "label.alarmDesc": "my alarmDesc",
        "label.more": "my more", "label.additional": "my additional", "team": "my team", "label.note": "my note",
        "annotation.rule": "another", "annotation.team": "a second",
    }  # fmt: skip


def test_a_name_of_blanks_gets_its_kind_too() -> None:
    assert extra(one_rule(), {" ": "x"}) == {"label.": "x"}


def test_at_most_forty_go_along_and_the_others_are_counted() -> None:
    found = extra(one_rule(), {f"l{number:02}": "x" for number in range(60)})
    assert found.pop("more") == "20"
    assert list(found) == [f"l{number:02}" for number in range(MOST)]


def test_at_most_eight_kibibytes_go_along() -> None:
    found = extra(one_rule(), {"big": "世" * 3000, "half": "世" * 2000, "other": "世" * 1000, "small": "x"})
    assert set(found) == {"half", "small", "more"}
    assert found["more"] == "2"


def test_a_mapping_may_have_a_key_named_more() -> None:
    found = extra(one_rule(additional={"more": "see the wiki"}), {"big": "x" * MOST_BYTES})
    assert found == {"more": "see the wiki"}


def test_it_can_be_switched_off() -> None:
    assert extra(one_rule(), {"team": "web"}, contract=OFF) == {}


def test_an_alert_without_a_rule_loses_nothing_either() -> None:
    of = rules({"name": "none", "when": "labels.nope", "alarm": SOUND})
    assert extra(of, {"team": "web", "job": "a"}, {"summary": "down", "x": "y"}) == {"team": "web", "x": "y"}


def test_a_body_that_replaces_a_refused_one_has_no_labels() -> None:
    body = fallback(a_request({"team": "web"}), "r", Reason.REFUSED).body
    assert body is not None
    assert "team" not in body["additional"]


def test_an_unknown_severity_word_is_major_and_stays_visible() -> None:
    for contract in (Contract(), OFF):
        result = outcome(one_rule(), a_request({"severity": "whatever"}, contract=contract))
        assert result.unknown_severity
        assert result.body is not None
        assert result.body["alarmLevel"] == "Major"
        assert result.body["additional"]["severity"] == "whatever"


def test_an_unknown_severity_word_of_another_label_is_visible_too() -> None:
    of = one_rule(alarmLevel="{{ labels.urgency | level }}")
    assert extra(of, {"urgency": "soon", "severity": "page"}) == {
        "severity": "soon", "urgency": "soon", "label.severity": "page",
    }  # fmt: skip


def test_a_severity_word_that_a_table_of_the_mapping_knows_is_not_unknown() -> None:
    level = "{{ lookup.level[labels.severity] or labels.severity | level }}"
    of = rules({"name": "all", "alarm": {**SOUND, "alarmLevel": level}}, lookup={"level": {"soon": "Minor"}})
    assert not outcome(of, a_request({"severity": "soon"})).unknown_severity
    assert outcome(of, a_request({"severity": "later"})).unknown_severity
    assert not outcome(of, a_request({"severity": ""})).unknown_severity


def test_a_word_is_forgotten_with_its_alarm() -> None:
    of = program(one_rule())
    assert outcome(of, a_request({"severity": "whatever"})).unknown_severity
    assert not outcome(of, a_request()).unknown_severity


def test_the_built_in_level_notes_an_unknown_word_too() -> None:
    of = one_rule(alarmLevel="{{ labels.nope }}")
    assert outcome(of, a_request({"severity": "whatever"})).unknown_severity
    assert not outcome(of, a_request({"severity": "", "level": "critical"})).unknown_severity
    assert fields(of, a_request({"severity": "", "level": "critical"}))["alarmLevel"] == "Critical"


def test_a_name_of_lost_letters_is_kept_in_additional() -> None:
    result = outcome(one_rule(), a_request({"alertname": "Диск заполнен"}))
    assert result.clipped == ()
    assert result.body is not None
    assert result.body["alarmName"].startswith("Disk_zapolnien_")
    assert result.body["additional"]["alarmName"] == "Диск заполнен"
    assert "alertname" not in result.body["additional"]


PROGRAM = program(
    one_rule(resourceName="{{ labels.pod or labels.app or labels.job }}", additional={"team": "{{ labels.team }}"})
)
NAMES = st.sampled_from(["pod", "app", "job", "team", "rule", "more", "severity", "namespace", "a.b", " ", "\n"])
TEXTS = st.dictionaries(NAMES | st.text(max_size=5), st.text(max_size=9), max_size=60)


@given(TEXTS, TEXTS)
def test_every_value_is_in_the_body_or_counted(labels: dict[str, str], annotations: dict[str, str]) -> None:
    body = fields(PROGRAM, a_request(labels, annotations))
    additional = body.pop("additional")
    told = [str(value) for value in (*body.values(), *additional.values())]
    texts = {tidy(value, lines=True) for value in (*labels.values(), *annotations.values())}
    lost = {text for text in texts if not any(text in value for value in told)}
    left_out = int(additional["more"]) if additional.get("more", "").isdigit() else 0
    assert len(lost) <= left_out + ("severity" in labels), lost
    assert sum(key not in {*NOTES, "alarmName", "alarmDesc", "severity", "more", "team"} for key in additional) <= MOST


@pytest.mark.parametrize(
    ("template", "read"),
    [
        ("{{ labels.pod or labels['k8s.pod.name'] }}", {("labels", "pod"), ("labels", "k8s.pod.name")}),
        ("{% set text = annotations.summary %}{{ text }}", {("annotations", "summary")}),
        ("{% if labels.a == 'x' %}{{ alert.status }}{% endif %}", {("labels", "a")}),
        ("{{ labels[annotations.name] }}", {("labels", None), ("annotations", "name")}),
        ("{{ labels | tojson }}", {("labels", None)}),
        ("{{ labels.a }}{{ annotations | length }}", {("labels", "a"), ("annotations", None)}),
        ("{{ group.commonLabels.a }} labels.b", set()),
    ],
)
def test_what_a_template_reads_is_known_before_it_runs(template: str, read: set[tuple[str, str | None]]) -> None:
    assert texts_read(parse(environment(), template, expression=False)) == read
