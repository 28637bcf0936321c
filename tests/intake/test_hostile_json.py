"""Odd bodies: each has one defined outcome, and none is a bug."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.alertmanager import Webhook, parse_webhook
from adapter.errors import PayloadError

REFUSED, REJECTED = object(), object()  # 400; or 200 with that one alert kept as a reject

ALERT = (
    '{"status":"firing","labels":{"alertname":"X","a":%s},"annotations":{},'
    '"startsAt":"2026-11-23T15:00:00Z","endsAt":"0001-01-01T00:00:00Z"}'
)


def with_label(value: str, encoding: str = "utf-8") -> bytes:
    return ('{"alerts":[%s]}' % (ALERT % value)).encode(encoding, "surrogatepass")


def outcome(body: bytes) -> object:
    """The label `a` of the only alert, or which way it was refused."""
    try:
        webhook = parse_webhook(body)
    except PayloadError as exc:
        assert "\n" not in str(exc)  # noqa: PT017 - what is said of it, besides that it was refused
        return REFUSED
    assert len(webhook.alerts) + len(webhook.rejects) == 1
    return webhook.alerts[0].labels["a"] if webhook.alerts else REJECTED


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param(b'{"alerts":' + b"[" * 100_000 + b"]" * 100_000 + b"}", REFUSED, id="100 000 deep"),
        pytest.param(with_label("[" * 5_000 + "]" * 5_000), REFUSED, id="5 000 deep inside an alert"),
        *(
            pytest.param(with_label("[" * deep + "]" * deep), REFUSED, id=f"{deep} deep inside an alert")
            for deep in (250, 300, 480, 700, 950)
        ),
        pytest.param(with_label("[" * 150 + "]" * 150), REJECTED, id="150 deep inside an alert"),
        pytest.param(with_label('{"a":' * 300 + "1" + "}" * 300), REFUSED, id="300 objects deep"),
        pytest.param(with_label('"x"')[:-1] + b',"receiver":' + b"[" * 400 + b"]" * 400 + b"}", REFUSED, id="receiver"),
        pytest.param(with_label("NaN"), "NaN", id="NaN"),
        pytest.param(with_label("1e999"), "Infinity", id="infinity"),
        pytest.param(with_label("9" * 5_000), "Infinity", id="a number of 5 000 digits"),
        pytest.param(with_label('"\\ud800"'), "\ufffd", id="lone surrogate, escaped"),
        pytest.param(with_label('"\ud800"'), "\ufffd" * 3, id="lone surrogate, raw"),
        pytest.param(with_label('"x"').replace(b'"x"', b'"\xff\xfe"'), "\ufffd" * 2, id="broken UTF-8"),
        pytest.param(b"\xef\xbb\xbf" + with_label('"x"'), "x", id="byte order mark"),
        pytest.param(with_label('"x"', "utf-16"), REFUSED, id="UTF-16"),
        pytest.param(with_label('"x"', "utf-32"), REFUSED, id="UTF-32"),
        pytest.param(b'{"alerts":[],"alerts":[' + (ALERT % '"x"').encode() + b"]}", "x", id="duplicate key"),
        pytest.param(with_label('"1","a":"2"'), "2", id="duplicate label: the last"),
        pytest.param(with_label('"a\x01b"'), REFUSED, id="control character, raw"),
        pytest.param(with_label('"a\\u0001\\u0000b"'), "a\x01\x00b", id="control characters, escaped"),
        pytest.param(with_label('"a\\r\\nb"'), "a\r\nb", id="line end"),
        pytest.param(with_label('"{{7*7}}"'), "{{7*7}}", id="template"),
        pytest.param(with_label('"' + "x" * 10_000_000 + '"'), "x" * 10_000_000, id="10 MB"),
        pytest.param(b"", REFUSED, id="nothing"),
        pytest.param(b"null", REFUSED, id="null"),
        pytest.param(b"[]", REFUSED, id="list"),
        pytest.param(with_label('"x"') + b"x", REFUSED, id="more behind it"),
    ],
)
def test_each_oddity_has_one_outcome(body: bytes, expected: object) -> None:
    found = outcome(body)
    assert found is expected or found == expected


@pytest.mark.parametrize("count", ["9" * 400, "9" * 5_000, "1e400", "NaN", "-1", "4294967296", "true", '"7"', "[]"])
def test_a_count_that_no_sender_can_mean_is_none(count: str) -> None:
    assert parse_webhook(f'{{"truncatedAlerts": {count}, "alerts": []}}'.encode()).truncated == 0


@given(body=st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_webhook_or_a_payload_error(body: bytes) -> None:
    try:
        assert isinstance(parse_webhook(body), Webhook)
    except PayloadError as exc:
        assert "\n" not in str(exc)  # noqa: PT017 - both ways are right, this one is one line
