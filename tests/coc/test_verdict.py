"""The verdicts: every status, every error_code rule, every shape of a body."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from multidict import CIMultiDict

from adapter.coc.verdict import CODES, STATUSES, Action, Reason, Verdict, judge, statuses

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
JSON = {"Content-Type": "application/json"}
OK = b'{"error_code":"COC.00000000","error_msg":"success","provider_code":"049","data":null}'

# The same table written by hand, status by status, independently of the code.
EXPECTED: dict[int, tuple[Action, Reason]] = dict.fromkeys(range(100, 600), (Action.RETRY, Reason.UNEXPECTED))
EXPECTED |= dict.fromkeys(range(200, 300), (Action.RETRY, Reason.NOT_COC))
EXPECTED |= dict.fromkeys(range(300, 400), (Action.PAUSE, Reason.ENDPOINT))
EXPECTED |= dict.fromkeys((404, 405, 406, 410, 411, 421, 426), (Action.PAUSE, Reason.ENDPOINT))
EXPECTED |= dict.fromkeys((401, 402, 403, 407), (Action.PAUSE, Reason.CREDENTIALS))
EXPECTED |= dict.fromkeys((400, 413, 414, 415, 422, 431), (Action.REFUSED, Reason.CONTENT))
EXPECTED |= dict.fromkeys((408, 425), (Action.RETRY, Reason.SERVER_ERROR))
EXPECTED |= dict.fromkeys(range(500, 600), (Action.RETRY, Reason.SERVER_ERROR))
EXPECTED[429] = (Action.RETRY, Reason.THROTTLED)


def verdict(status: int, body: bytes | dict[str, object] = b"", **headers: str) -> Verdict:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return judge(status, CIMultiDict(headers or JSON), data, NOW)


@pytest.mark.parametrize("status", range(100, 600))
def test_each_status_has_its_verdict(status: int) -> None:
    got = verdict(status, b"{}")
    assert (got.action, got.reason) == EXPECTED[status]
    assert got.status == status


def test_each_status_is_in_exactly_one_row() -> None:
    named = [status for row in STATUSES for status in statuses(row.statuses)]
    assert sorted(named) == list(range(100, 600))


def test_the_documentation_shows_the_same_tables() -> None:
    text = (Path(__file__).parents[2] / "docs" / "coc.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"^\| ([^|\n]+) \| ([a-z]+) \| ([a-z_]+) \| ([^|\n]*) \|$", text, re.MULTILINE))
    rows = {(row.statuses, str(row.action), str(row.reason), row.hint) for row in STATUSES}
    assert rows == {row for row in shown if row[1] in list(Action)}
    codes = set(re.findall(r"^\| `([^`]+)` \| ([^|\n]+) \| ([a-z]+) \| ([a-z_]+) \|$", text, re.MULTILINE))
    assert {(pattern.replace("|", "¦"), *row[:3]) for pattern, row in CODES.items()} == {
        row for row in codes if row[2] in list(Action)
    }


def test_each_reason_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "coc.md").read_text(encoding="utf-8")
    assert not [reason for reason in Reason if f"`{reason}`" not in text]


@pytest.mark.parametrize("code", ["COC.00000000", "GOM.00000000", "0", "0000", 0])
def test_a_success_code_with_200_is_accepted(code: str | int) -> None:
    got = verdict(200, {"error_code": code, "error_msg": "success"})
    assert (got.action, got.reason, got.hint) == (Action.ACCEPTED, Reason.ACCEPTED, "")


@pytest.mark.parametrize("status", [s for s in range(100, 600) if s != 200])
def test_a_success_code_with_another_status_is_no_success(status: int) -> None:
    assert verdict(status, OK).action is EXPECTED[status][0]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"success",
        b"<html><body>Log in</body></html>",
        OK[:-10],
        OK + b"x",
        b"[" + OK + b"]",
        b"null",
        b"0",
        b"{}",
        b'{"error_msg":"success"}',
        b'{"error_code":null}',
        b'{"error_code":false}',
        b'{"error_code":0.0}',
        b'{"error_code":""}',
        b'{"error_code":"00x"}',
        b'{"error_code":"COC."}',
        b'{"error_code":"COC.00000000\\n"}',
        b'{"error":{"error_code":"COC.00000000"}}',
        b'{"code":"COC.00000000"}',
        b'{"error_code":"SOMEBODY.00000001"}',
        b"[" * 50_000,
        b'{"error_code":' + b"1" * 5000 + b"}",
        b"\xff\xfe\x00",
    ],
    ids=lambda body: repr(body[:32]),
)
def test_200_with_another_body_is_transient_and_its_hint_names_the_endpoint(body: bytes) -> None:
    got = verdict(200, body)
    assert (got.action, got.reason, got.ambiguous) == (Action.RETRY, Reason.NOT_COC, False)
    assert "wrong endpoint?" in got.hint


@pytest.mark.parametrize("kind", ["text/html", "text/html; charset=utf-8", "image/png", "application/xml"])
def test_a_success_body_with_a_contradicting_content_type_is_no_success(kind: str) -> None:
    assert judge(200, CIMultiDict({"content-type": kind}), OK, NOW).reason is Reason.NOT_COC


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}, {"content-TYPE": "application/problem+json"}])
def test_a_success_body_with_an_imprecise_content_type_is_a_success(headers: dict[str, str]) -> None:
    assert judge(200, CIMultiDict(headers), OK, NOW).reason is Reason.ACCEPTED


@pytest.mark.parametrize(
    ("status", "code", "action", "reason"),
    [
        (200, "COC.00010002", Action.REFUSED, Reason.CONTENT),
        (200, "COC.00000001", Action.REFUSED, Reason.CONTENT),
        (200, "GOM.00000007", Action.REFUSED, Reason.CONTENT),
        (400, "COC.00010002", Action.REFUSED, Reason.CONTENT),
        (500, "COC.00010002", Action.RETRY, Reason.SERVER_ERROR),
        (200, "common.01010001", Action.PAUSE, Reason.CREDENTIALS),
        (400, "common.01010001", Action.PAUSE, Reason.CREDENTIALS),
        (404, "APIGW.0301", Action.PAUSE, Reason.CREDENTIALS),
        (200, "APIG.0302", Action.PAUSE, Reason.CREDENTIALS),
        (503, "APIGW.0301", Action.RETRY, Reason.SERVER_ERROR),
        (200, "APIGW.0308", Action.RETRY, Reason.THROTTLED),
        (403, "APIG.0308", Action.RETRY, Reason.THROTTLED),
        (503, "APIGW.0308", Action.RETRY, Reason.THROTTLED),
        (200, "APIGW.0101", Action.PAUSE, Reason.ENDPOINT),
        (400, "APIGW.0101", Action.PAUSE, Reason.ENDPOINT),
        (413, "APIGW.0201", Action.REFUSED, Reason.CONTENT),
        (407, "APIGW.0301", Action.PAUSE, Reason.CREDENTIALS),
        (201, "COC.00000001", Action.RETRY, Reason.NOT_COC),
    ],
)
def test_an_error_code_takes_precedence_over_the_status_by_the_table(
    status: int, code: str, action: Action, reason: Reason
) -> None:
    got = verdict(status, {"error_code": code, "error_msg": "why"})
    assert (got.action, got.reason, got.code, got.message) == (action, reason, code, "why")


@pytest.mark.parametrize(
    "body",
    [
        {"error_code": "APIGW.0301", "error_msg": "m"},
        {"errorCode": "APIGW.0301", "errorMsg": "m"},
        {"error": {"code": "APIGW.0301", "message": "m"}},
        {"code": "APIGW.0301", "msg": "m"},
    ],
)
def test_codes_and_messages_are_read_from_the_known_shapes(body: dict[str, object]) -> None:
    got = verdict(401, body)
    assert (got.code, got.message) == ("APIGW.0301", "m")


@pytest.mark.parametrize("piece", [b"<", b"<script", b"<style>", b"</script", b"<a "])
def test_a_page_of_tags_that_never_end_is_judged_in_little_time(piece: bytes) -> None:
    def seconds(size: int) -> float:
        started = time.process_time()
        verdict(502, piece * (size // len(piece)))
        return time.process_time() - started

    short = max(min(seconds(8_192) for _ in range(3)), 1e-3)
    assert min(seconds(65_536) for _ in range(3)) < 40 * short, "eight times the text"


def test_html_is_shown_as_its_text() -> None:
    got = verdict(502, b"<html><head><style>p{}</style></head><body><h1>502\x00</h1>Bad  Gateway</body></html>")
    assert got.message == "502 Bad Gateway"


def test_a_long_message_is_cut_to_500_characters() -> None:
    got = verdict(400, {"error_code": "COC.00000001", "error_msg": "x" * 10240})
    assert len(got.message) == 500
    assert got.message.endswith("…")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 120 ", 120.0),
        ("601", 600.0),
        ("9" * 5000, 600.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW + timedelta(days=90), usegmt=True), 600.0),
        (format_datetime(NOW - timedelta(days=90), usegmt=True), 0.0),
        ("Sun, 01 Mar 2026 12:00:30 -0000", 30.0),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("٣", None),
        ("Mon, 99 Foo 2026 99:99:99 GMT", None),
    ],
    ids=lambda value: str(value)[:32],
)
def test_retry_after_is_read_in_seconds_or_as_a_date_and_bounded(value: str, seconds: float | None) -> None:
    assert verdict(503, b"", **{"Retry-After": value}).retry_after == seconds
    assert verdict(429, b"", **{"retry-after": value}).retry_after == seconds


def test_retry_after_is_ignored_where_nothing_is_retried() -> None:
    assert verdict(400, b"", **{"Retry-After": "5"}).retry_after is None
    assert verdict(401, b"", **{"Retry-After": "5"}).retry_after is None


@pytest.mark.parametrize(
    ("status", "body", "headers", "hint"),
    [
        (401, {"error_code": "APIGW.0301", "error_msg": "verify aksk signature fail"}, {}, "secret key"),
        (401, {"error_code": "APIGW.0301", "error_msg": "signature expired, check X-Sdk-Date"}, {}, "clock"),
        (401, {"error_code": "APIGW.0301", "error_msg": "verify aksk signature fail"}, {"Date": 1200}, "1200 s ahead"),
        (401, {"error_code": "APIGW.0301", "error_msg": "verify aksk signature fail"}, {"Date": -999}, "999 s behind"),
        (401, {"error_code": "APIGW.0301", "error_msg": "verify aksk signature fail"}, {"Date": 20}, "secret key"),
        (401, {"error_code": "common.01010001", "error_msg": "Token missing or invalid."}, {}, "aksk"),
        (401, {}, {}, "site"),
        (403, {}, {}, "permission"),
        (404, {"error_code": "APIGW.0101"}, {}, "wrong endpoint?"),
        (302, b"", {}, "redirects"),
        (407, b"", {"Date": 1200}, "proxy_url"),
    ],
)
def test_the_hint_fits_the_answer(
    status: int, body: bytes | dict[str, object], headers: dict[str, int], hint: str
) -> None:
    dates = {name: format_datetime(NOW - timedelta(seconds=ago), usegmt=True) for name, ago in headers.items()}
    assert hint in verdict(status, body, **JSON, **dates).hint


def test_coc_may_have_the_report_only_after_a_gateway_timeout() -> None:
    assert [status for status in range(100, 600) if verdict(status).ambiguous] == [504]


@pytest.mark.parametrize("status", [-1, 0, 99, 600, 999])
def test_an_invalid_status_is_transient(status: int) -> None:
    assert verdict(status).action is Action.RETRY


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
_WORDS = st.sampled_from(["error_code", "error_msg", "code", "message", "error", "COC.00000000", "APIGW.0301", "0"])


@given(
    status=st.integers(0, 999),
    headers=st.dictionaries(st.sampled_from(["Retry-After", "Date", "Content-Type"]), st.text(max_size=40)),
    body=st.binary(max_size=200)
    | st.dictionaries(_WORDS, _JSON | _WORDS, max_size=4).map(lambda value: json.dumps(value).encode()),
)
@example(status=200, headers={}, body=b'{"error_msg":"\\ud800\\u0000","error_code":"COC.00000000"}')
def test_any_answer_has_a_verdict_that_can_be_stored(status: int, headers: dict[str, str], body: bytes) -> None:
    got = judge(status, CIMultiDict(headers), body, NOW)
    assert len(got.message) <= 500
    assert len(got.code) <= 64
    assert got.message.isprintable() or all(ch.isprintable() or ord(ch) > 0x9F for ch in got.message)
    got.message.encode()
    assert got.retry_after is None or 0 <= got.retry_after <= 600
    if got.action is Action.ACCEPTED:
        assert status == 200
        assert json.loads(body)["error_code"] in ("COC.00000000", "0", 0)
