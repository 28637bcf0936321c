"""The field contract of COC, applied to any text of a template: changes are seen and counted, no body is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.coc.fields import MAPPED, units
from adapter.mapping import shipped
from adapter.mapping.render.body import TOTAL_UNITS, VALUE_UNITS, fallback
from adapter.mapping.render.request import Contract, Reason, RenderRequest
from adapter.mapping.rules.model import RESERVED
from adapter.sandbox.contract import violations
from tests.builders import START
from tests.mapping.builders import SOUND, a_request, fields, one_rule, outcome, program, reasons, rules

LONG = "0123456789" * 60
WITHOUT_APPLICATION = "applicationId must not be null"  # what the sandbox says where COC asks for one


def test_a_clipped_field_ends_in_a_mark_and_is_kept_whole() -> None:
    result = outcome(one_rule(alarmDesc="{{ annotations.summary }}"), a_request(annotations={"summary": LONG}))
    assert result.clipped == ("alarmDesc",)
    assert result.body is not None
    assert result.body["alarmDesc"] == LONG[:254] + "…"
    assert result.body["additional"]["alarmDesc"] == LONG
    assert result.fallbacks == {}


def test_a_clipped_name_has_no_mark_because_coc_does_not_take_one() -> None:
    result = outcome(one_rule(), a_request({"alertname": LONG}))
    assert result.clipped == ("alarmName",)
    assert result.body is not None
    assert result.body["alarmName"] == LONG[:255]


def test_lengths_are_counted_as_java_does() -> None:
    body = fields(one_rule(resourceName="{{ labels.pod }}"), a_request({"pod": "🔥" * 200}))
    assert body["resourceName"] == "🔥" * 127 + "…"


def test_a_name_is_cleaned_which_is_not_clipping() -> None:
    result = outcome(one_rule(), a_request({"alertname": "磁盘空间不足: /data 93.5%"}))
    assert result.clipped == ()
    assert result.body is not None
    assert result.body["alarmName"] == "磁盘空间不足___data_93_5_"


def test_a_name_passes_as_it_is_when_configured_so() -> None:
    request = a_request({"alertname": "CPU usage: 90 %"}, contract=Contract(clean_name=False))
    assert fields(one_rule(), request)["alarmName"] == "CPU usage: 90 %"


def test_a_url_that_is_too_long_is_left_out_and_kept_beside() -> None:
    url = "https://prometheus.example/graph?" + LONG
    result = outcome(one_rule(URL="{{ alert.generatorURL }}"), a_request(generatorURL=url))
    assert reasons(result) == {"URL": "too long"}
    assert result.clipped == ()
    assert result.body is not None
    assert "URL" not in result.body
    assert result.body["additional"]["URL"] == url


def test_a_level_that_is_none_falls_back_to_the_severity() -> None:
    result = outcome(one_rule(alarmLevel="{{ labels.severity }}"), a_request({"severity": "page"}))
    assert reasons(result) == {"alarmLevel": "not a level"}
    assert result.body is not None
    assert result.body["alarmLevel"] == "Critical"


def test_a_required_field_that_comes_out_empty_falls_back() -> None:
    empty = "{{ labels.nope }}"
    of = one_rule(alarmName=empty, alarmLevel=empty, nameSpace=empty, applicationId=empty, alarmDesc=empty)
    result = outcome(of, a_request({"job": "node"}, {"message": "from loki"}))
    assert set(reasons(result).values()) == {"empty"}
    assert result.body is not None
    assert [result.body[name] for name in ("alarmName", "alarmLevel", "nameSpace", "applicationId", "alarmDesc")] == [
        "PodDown",
        "Minor",
        "node",
        "unmapped",
        "from loki",
    ]
    assert "alarmName: empty; alarmLevel: empty;" in result.body["additional"]["fallback"]


def test_a_required_field_that_no_rule_sets_falls_back_too() -> None:
    result = outcome(rules({"name": "all", "alarm": {"resourceName": "x"}}), a_request())
    assert set(reasons(result)) == {"alarmName", "alarmLevel", "nameSpace", "applicationId", "alarmDesc"}


def test_the_last_resort_of_a_description_is_the_name() -> None:
    body = fields(rules({"name": "all", "alarm": {}}), a_request({"alertname": "Bare"}, {}))
    assert body["alarmDesc"] == "Bare"


def test_the_source_is_prometheus_unless_a_rule_says_otherwise() -> None:
    assert fields(one_rule())["alarmSource"] == "prometheus"
    assert fields(one_rule(alarmSource="grafana"))["alarmSource"] == "grafana"
    result = outcome(one_rule(alarmSource="{{ labels.nope }}"), a_request())
    assert reasons(result) == {"alarmSource": "empty"}
    assert result.body is not None
    assert result.body["alarmSource"] == "prometheus"


def test_an_application_id_may_be_left_out_where_coc_allows_it() -> None:
    request = a_request(contract=Contract(require_application_id=False))
    result = outcome(one_rule(applicationId="{{ labels.nope }}"), request)
    assert result.fallbacks == {}
    assert result.body is not None
    assert "applicationId" not in result.body
    assert violations(result.body) == [WITHOUT_APPLICATION]


def test_additional_says_where_the_alarm_comes_from() -> None:
    body = fields(one_rule(), a_request(fingerprint="f1", generatorURL="http://g"))
    assert {key: body["additional"][key] for key in ("rule", "mapping", "fingerprint", "generatorURL")} == {
        "rule": "all",
        "mapping": "only.yaml",
        "fingerprint": "f1",
        "generatorURL": "http://g",
    }
    assert body["additional"]["externalURL"] == "http://alertmanager.example:9093"
    assert len(body["additional"]["mappingRevision"]) == 12
    assert "fallback" not in body["additional"]


def test_an_empty_note_is_left_out() -> None:
    assert "generatorURL" not in fields(one_rule(), a_request(generatorURL=""))["additional"]


def test_what_the_alert_brings_along_is_tidied_too() -> None:
    result = outcome(
        one_rule(resourceName="{{ [][labels.pod] }}"), a_request({"pod": "a\x00\x1b[0m"}, generatorURL="http://g\x00")
    )
    assert result.body is not None
    assert result.body["additional"]["generatorURL"] == "http://g"
    assert "\x00" not in json.dumps(result.body, ensure_ascii=False)


def test_a_value_of_additional_is_bounded() -> None:
    result = outcome(
        one_rule(additional={"big": "{{ annotations.big }}"}), a_request(annotations={"big": "世" * 40_000})
    )
    assert result.clipped == ("additional",)
    assert result.body is not None
    assert units(result.body["additional"]["big"]) == VALUE_UNITS


def test_a_body_stays_under_a_mebibyte() -> None:
    many = {f"k{number}": "{{ annotations.big }}" for number in range(60)}
    result = outcome(one_rule(additional=many), a_request(annotations={"big": '世"\n' * 20_000}))
    assert result.clipped == ("additional",)
    assert result.body is not None
    assert len(json.dumps(result.body, ensure_ascii=False).encode()) < 1024 * 1024
    assert sum(units(text) for text in result.body["additional"].values()) <= TOTAL_UNITS
    assert result.body["additional"]["rule"] == "all", "the adapter's own notes are not what is cut"


def test_the_fields_of_the_body_are_reserved_in_additional() -> None:
    assert set(MAPPED) < RESERVED
    assert {"alarmId", "time", "alarmStatus"} < RESERVED


SHIPPED = program(shipped())
NAMES = st.sampled_from(
    ["alertname", "severity", "namespace", "pod", "node", "instance", "job", "deployment", "persistentvolumeclaim",
     "mountpoint", "cluster", "team", "container", "service", "items", "Ünï.code"]
) | st.text(max_size=12)  # fmt: skip
KNOWN = st.sampled_from(
    ["KubePodCrashLooping", "KubeNodeNotReady", "InstanceDown", "node-exporter", "critical", "none"]
)
VALUES = KNOWN | st.text(max_size=40) | st.text(min_size=250, max_size=300) | st.just("🔥x" * 200)
LABELS = st.dictionaries(NAMES, VALUES, max_size=8)


@settings(max_examples=150)
@given(LABELS, LABELS, st.sampled_from(["alarm", "ok"]), st.booleans(), st.sampled_from(["", "http://g/" + LONG]))
def test_any_alert_gives_a_body_coc_accepts(
    labels: dict[str, str], annotations: dict[str, str], status: str, whole: bool, url: str
) -> None:
    """By the shipped mappings and by the built-in one, judged by the sandbox's own reading of COC's pages."""
    request = a_request(labels, annotations, generatorURL=url)._replace(status=status)
    request = request._replace(contract=Contract(require_application_id=whole))
    result = outcome(SHIPPED, request)
    assert result.dropped == (result.body is None)
    for body in (result.body, fallback(request, "r", Reason.REFUSED).body):
        if body is not None:
            assert violations(body) == ([] if whole or "applicationId" in body else [WITHOUT_APPLICATION])
            assert len(json.dumps(body, ensure_ascii=False).encode()) < 1024 * 1024
            assert all(type(text) is str and text for text in body["additional"].values())


@pytest.mark.parametrize("reason", [Reason.REFUSED, Reason.TIMEOUT])
def test_the_built_in_body_says_why(reason: Reason) -> None:
    result = fallback(a_request({"namespace": "shop"}), "r1", reason)
    assert (result.rule, result.mapping, result.revision, result.dropped) == (None, None, "r1", False)
    assert set(reasons(result).values()) == {str(reason)}
    assert result.body is not None
    assert result.body["additional"]["fallback"].count(str(reason)) == 5
    assert "applicationId" not in reasons(
        fallback(a_request(contract=Contract(require_application_id=False)), "r1", reason)
    )


@pytest.mark.parametrize(
    "raw", [b"", b"\xff", b"[]", b'{"alert": 5, "group": {}}', b'{"alert": {"labels": 5}, "group": {}}']
)
def test_an_alert_that_cannot_be_read_still_gives_a_body(raw: bytes) -> None:
    result = fallback(RenderRequest(raw, "default", "a1", 1, "alarm", Contract()), "r", Reason.ERROR)
    assert result.body is not None
    assert violations(result.body) == []
    assert result.body["alarmName"] == "unnamed"


def test_the_times_are_the_adapters() -> None:
    body = fields(one_rule(), a_request(startsAt=START))
    assert (body["time"], body["alarmStatus"], body["alarmId"]) == (1_700_000_000_000, "alarm", body["alarmId"])
    assert SOUND["alarmName"] not in body.values()
