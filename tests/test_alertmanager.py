"""Any bytes give a Webhook or a PayloadError, nothing else; what real senders send is parsed without loss."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapter.alertmanager import Webhook, fingerprint_of, micros, pack, parse_webhook, unpack
from adapter.clock import LAST, moment
from adapter.errors import PayloadError, TooManyAlerts
from tests.stage import alert, sample, webhook

FIELD = Path(__file__).resolve().parent / "data" / "field"
SAMPLES = sorted(path.stem for path in (Path(__file__).resolve().parent.parent / "adapter" / "samples").glob("*.json"))


@pytest.mark.parametrize("name", SAMPLES)
def test_every_captured_body_is_taken_whole(name: str) -> None:
    body = json.loads(sample(name))
    parsed = parse_webhook(sample(name))
    assert not parsed.rejects
    assert parsed.truncated == body["truncatedAlerts"]
    assert parsed.group.receiver == body["receiver"]
    for wanted, got in zip(body["alerts"], parsed.alerts, strict=True):
        packed, group = unpack(pack(got, parsed.group.as_json()))
        assert packed == wanted
        assert group["groupKey"] == body["groupKey"]
        assert fingerprint_of(got.labels) == got.fingerprint


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["firing", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint", "values", "x"]
)


@settings(max_examples=400)
@given(st.binary(max_size=200))
@example(b"")
@example(b"\xef\xbb\xbf{}")
@example(b"[" * 100_000)
@example(b'{"alerts": [' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"]}")
@example(b'{"alerts": [{"labels": {"a": "\\ud800"}}]}')
@example('{"alerts": []}'.encode("utf-16"))
@example(b'{"alerts": [], "truncatedAlerts": ' + b"9" * 5000 + b"}")
@example(b'{"alerts": [], "truncatedAlerts": NaN}')
def test_any_bytes_give_a_webhook_or_a_payload_error(body: bytes) -> None:
    result: object
    try:
        result = parse_webhook(body)
    except PayloadError as exc:
        result = str(exc)
    assert isinstance(result, Webhook) or (isinstance(result, str) and "\n" not in result)


@settings(max_examples=300)
@given(st.lists(ODD | st.dictionaries(KEYS, ODD, max_size=6), max_size=5))
def test_any_alerts_are_taken_or_rejected_one_by_one_and_can_be_kept(alerts: list[Any]) -> None:
    parsed = parse_webhook(json.dumps({"alerts": alerts}).encode())
    assert len(parsed.alerts) + len(parsed.rejects) == len(alerts)
    for item in parsed.alerts:
        kept, _ = unpack(pack(item, parsed.group.as_json()))
        assert kept["labels"] == dict(item.labels)
    for reject in parsed.rejects:
        assert reject.reason
        assert len(reject.head) <= 64 * 1024


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (7, "the alert is a number, not an object"),
        (None, "the alert is null, not an object"),
        ({}, "the alert has neither labels nor a fingerprint, so nothing identifies it"),
        ({"labels": []}, "labels is a list, not an object"),
        ({"labels": {"a": [1]}}, "label 'a' is a list, not text"),
        ({"labels": {"a": "b"}, "status": "pending"}, "status is 'pending', neither firing nor resolved"),
        ({"labels": {"a": "b"}, "fingerprint": 5}, "fingerprint is a number, not a string"),
    ],
)
def test_an_unusable_alert_says_why_and_leaves_its_siblings_alone(entry: object, reason: str) -> None:
    parsed = parse_webhook(json.dumps({"alerts": [alert("A"), entry, alert("B")]}).encode())
    assert [item.labels["alertname"] for item in parsed.alerts] == ["A", "B"]
    assert [reject.reason for reject in parsed.rejects] == [reason]


@pytest.mark.parametrize(
    ("value", "text"),
    [(2, "2"), (-8080, "-8080"), (0.5, "0.5"), (True, "true"), (False, "false"), (10**18, "1" + "0" * 18), ("x", "x")],
)
def test_labels_and_annotations_that_are_no_text_are_taken_as_json_writes_them(value: object, text: str) -> None:
    odd = {"labels": {"alertname": "A", "l": value}, "annotations": {"a": value}}
    plain = {"labels": {"alertname": "A", "l": text}, "annotations": {"a": text}}
    one, other = parse_webhook(json.dumps({"alerts": [odd, plain]}).encode()).alerts
    assert one == other
    assert one.labels == {"alertname": "A", "l": text}


def test_null_is_as_good_as_absent() -> None:
    odd = {"labels": {"alertname": "A", "team": None}, "annotations": {"summary": None}}
    one, other = parse_webhook(json.dumps({"alerts": [odd, {"labels": {"alertname": "A"}}]}).encode()).alerts
    assert one == other
    (alone,) = parse_webhook(b'{"alerts": [{"labels": {"team": null}}]}').rejects
    assert alone.reason == "the alert has neither labels nor a fingerprint, so nothing identifies it"


@pytest.mark.parametrize("status", ["firing", "Firing", "FIRING", " firing "])
def test_the_case_of_a_status_does_not_matter(status: str) -> None:
    body = {"status": "Resolved", "alerts": [{"labels": {"a": "b"}, "status": status}, {"labels": {"a": "c"}}]}
    assert [alert.status for alert in parse_webhook(json.dumps(body).encode()).alerts] == ["firing", "resolved"]


def test_odd_alerts_of_the_field_stand_beside_good_ones() -> None:
    parsed = parse_webhook((FIELD / "15-odd-alerts-beside-good-ones.json").read_bytes())
    taken = ["NumberLabel", "NullLabel", "BoolLabel", "CapitalFiring", "Good", "Good"]
    assert [alert.labels["alertname"] for alert in parsed.alerts] == taken
    assert parsed.alerts[0].labels == {"alertname": "NumberLabel", "severity": "2", "port": "8080"}
    assert parsed.alerts[2].annotations == {"n": "5", "b": "false", "o": '{"a":[1]}'}
    assert parsed.rejected == 6


def test_a_list_is_told_where_the_format_comes_from() -> None:
    with pytest.raises(PayloadError, match=r"is a list, .* /api/v2/alerts; .* receiver with webhook_configs"):
        parse_webhook(b'[{"labels": {"alertname": "A"}}]')


def test_more_alerts_than_one_webhook_may_hold_are_refused_with_their_number() -> None:
    body = json.dumps({"alerts": [alert("A"), 7, alert("B")]}).encode()
    assert len(parse_webhook(body, max_alerts=3).alerts) == 2
    with pytest.raises(TooManyAlerts, match=r"the body has 3 alerts, more than 2 \(webhook.max_alerts\)"):
        parse_webhook(body, max_alerts=2)


def test_of_many_rejects_the_first_are_kept_and_all_are_counted() -> None:
    parsed = parse_webhook(json.dumps({"alerts": [7] * 1500}).encode())
    assert (len(parsed.rejects), parsed.rejected) == (1000, 1500)


@pytest.mark.parametrize("value", ["0", "[]", "{}", '""', "[0]", "[[[]]]"])
def test_a_body_that_would_take_many_times_its_size_is_refused_unparsed(value: str) -> None:
    body = b'{"alerts":[' + b",".join([value.encode()] * (2**20 // len(value))) + b"]}"
    with pytest.raises(TooManyAlerts, match="more than 100000 alerts do"):
        parse_webhook(body)


def test_dense_alerts_and_texts_full_of_commas_are_taken() -> None:
    small = {"labels": {"a": "b", "c": "d", "e": "f"}, "annotations": {"x": "1,2,[3],{4}"}}
    body = json.dumps({"alerts": [small] * 30_000}, separators=(",", ":")).encode()
    assert len(body) > 2**20
    assert len(parse_webhook(body).alerts) == 30_000
    query = alert("A", annotations={"summary": "x", "query": '{a="b"}' * 100})
    assert len(parse_webhook(json.dumps({"alerts": [query]}).encode(), max_alerts=1).alerts) == 1


def test_a_group_that_would_be_stored_many_thousand_times_is_refused_unless_its_alerts_are_as_large() -> None:
    text = "x" * 20_000
    with pytest.raises(TooManyAlerts, match="too large to be kept with each of 10000 alerts"):
        parse_webhook(webhook(*({"labels": {"a": str(n)}} for n in range(10_000)), commonAnnotations={"text": text}))
    alerts = ({"labels": {"a": str(n)}, "annotations": {"text": text}} for n in range(4_000))
    assert len(parse_webhook(webhook(*alerts, commonAnnotations={"text": text})).alerts) == 4_000


def test_what_a_sender_leaves_out_is_filled_in_where_it_can_be() -> None:
    body = {"alerts": [{"labels": {"a": "b"}}, {"labels": {"a": "c"}, "endsAt": "2026-01-01T00:00:00Z"}]}
    firing, resolved = parse_webhook(json.dumps(body).encode()).alerts
    assert (firing.status, resolved.status) == ("firing", "resolved")
    assert firing.fingerprint == fingerprint_of({"a": "b"})
    assert (firing.starts, firing.ends, dict(firing.annotations)) == (0, 0, {})


def test_grafanas_variant_is_taken() -> None:
    grafana = alert("DatasourceError", startsAt="2026-11-23T23:00:00+08:00") | {
        "values": {"B": 1.5, "C": None}, "valueString": "[ var='B' ]", "orgId": 1, "imageURL": "https://grafana.example",
    }  # fmt: skip
    (parsed,) = parse_webhook(webhook(grafana, version="1", state="alerting", title="t", message="m", orgId=1)).alerts
    assert parsed.starts == micros("2026-11-23T15:00:00Z")


def test_broken_text_becomes_the_replacement_character_and_the_alert_is_kept() -> None:
    body = b'{"alerts": [{"labels": {"a": "x\xffy"}, "annotations": {"s": "\\ud83d!"}}]}'
    (parsed,) = parse_webhook(body).alerts
    assert parsed.labels == {"a": "x\ufffdy"}
    assert parsed.annotations == {"s": "\ufffd!"}


def test_a_character_between_two_blocks_is_whole() -> None:
    for shift in range(4):
        label = "x" * shift + "\N{FIRE}" * 300_000
        body = json.dumps({"alerts": [{"labels": {"a": label}}]}, ensure_ascii=False).encode()
        (parsed,) = parse_webhook(body).alerts
        assert parsed.labels == {"a": label}


@pytest.mark.parametrize("broken", [b"\xff", b"\xff ", b"\xe4\xb8"])
def test_a_large_body_of_broken_text_is_refused_before_it_takes_many_times_its_size(broken: bytes) -> None:
    body = b'{"alerts": [{"labels": {"a": "' + broken * (8_000_000 // len(broken)) + b'"}}]}'
    tracemalloc.start()
    with pytest.raises(PayloadError, match="the body is not UTF-8"):
        parse_webhook(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(body)


TEXT = st.text(max_size=8) | st.text(st.characters(categories=["Cs"]), max_size=3)
READABLE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(TEXT, TEXT, min_size=1, max_size=4), READABLE, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_the_strict_and_the_lenient_reader_give_the_same_alerts(
    labels: dict[str, str], other: object, ascii_only: bool, indent: int | str | None
) -> None:
    data = {"alerts": [{"labels": labels, "annotations": {"other": other}}], "groupKey": other}
    body = json.dumps(data, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    with_mark = b"\xef\xbb\xbf" + body  # only the lenient reader accepts a byte order mark
    plain, marked = parse_webhook(body), parse_webhook(with_mark)
    assert (marked.alerts, marked.group) == (plain.alerts, plain.group)


def test_control_characters_and_nul_in_labels_are_data() -> None:
    (parsed,) = parse_webhook(webhook(alert("A", labels={"odd": "a\x00\x1b[31m\n\u202e"}))).alerts
    assert parsed.labels["odd"] == "a\x00\x1b[31m\n\u202e"


def test_of_a_duplicate_key_the_last_one_counts() -> None:
    (parsed,) = parse_webhook(b'{"alerts": [{"labels": {"a": "first", "a": "last"}}]}').alerts
    assert parsed.labels == {"a": "last"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-11-23T15:25:43.131Z", 1795447543131000),
        ("2026-11-23T15:25:43.131456789Z", 1795447543131456),
        ("2026-11-23T23:25:43.131+08:00", 1795447543131000),
        ("0001-01-01T00:00:00Z", 0),
        ("", 0),
        ("yesterday", 0),
        ("0001-01-01T00:00:00+23:00", 0),
        ("9999-12-31T23:59:59.999999Z", LAST),
        ("9999-12-31T23:59:59-14:00", LAST),
    ],
)
def test_times_are_microseconds_utc_and_0_when_absent_or_unreadable(text: str, value: int) -> None:
    assert micros(text) == value
    assert micros(moment(value).isoformat()) == value


def test_the_times_of_the_field_are_read_as_meant() -> None:
    """Each alert's summary says its time in milliseconds since 1970."""
    parsed = parse_webhook((FIELD / "14-times.json").read_bytes())
    wanted = {"now": 0, "1483228799+1": 1_483_228_800_000}
    for item in parsed.alerts:
        meant = item.annotations["summary"]
        time = item.ends if item.status == "resolved" else item.starts
        assert time // 1000 == (wanted[meant] if meant in wanted else int(meant)), item.labels["alertname"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2023-11-29 07:00:00.5 +0000 UTC m=+0.012345", 1701241200.5),
        ("2023-11-29 15:00:00 +0800 CST", 1701241200),
        ("2023-11-29 15:00:00 +0800 +0800", 1701241200),
        ("1701241200", 1701241200),
        ("1701241200123", 1701241200.123),
        ("1701241200123456", 1701241200.123456),
        ("1701241200123456789", 1701241200.123456),
        ("2016-12-31t23:59:60z", 1483228800),
        ("2017-01-01T07:59:60+08:00", 1483228800),
        ("tomorrow", 0), ("170124120", 0), ("2023-13-01 07:00:00 +0000 UTC", 0), ("2023-11-29 07:00:61", 0),
        ("0001-01-01 00:00:00 +0000 UTC", 0), ("9" * 5000, 0), ("1701241200 UTC", 0),
    ],
)  # fmt: skip
def test_times_as_go_and_clocks_write_them_are_read(text: str, seconds: float) -> None:
    assert micros(text) == round(seconds * 1_000_000)
