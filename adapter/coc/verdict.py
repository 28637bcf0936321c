"""PURE: what COC's answer means. One table; the reason is the metric label, the log field and the word in `explain`.

Each HTTP status from 100 to 599 stands in exactly one row of STATUSES, and docs/coc.md shows the same rows. The
error_code in the body is looked at before the status where CODES says so, because a gateway and a back end answer for
the same service and do not agree on statuses. Only 200 with COC's success code is a success.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import NamedTuple

from adapter.errors import one_line

LONGEST_MESSAGE = 500  # characters; COC's error_msg may have 10240
LONGEST_CODE = 64
SEARCHED = 16 * 1024  # characters of what COC says that are searched for secrets and tags; the rest is not shown
LONGEST_WAIT = 600.0  # seconds


class Action(StrEnum):
    """What delivery does about a verdict."""

    ACCEPTED = "accepted"
    RETRY = "retry"  # transient: back off, no limit
    REFUSED = "refused"  # this content: once more with the built-in fallback, then a dead letter
    PAUSE = "pause"  # this caller or endpoint: pause the integration, keep everything, probe


class Reason(StrEnum):
    """Every way a POST can end. A closed list."""

    ACCEPTED = "accepted"
    # no answer that could be judged
    DNS = "dns"
    REFUSED_CONNECTION = "connection_refused"
    TLS = "tls"
    CONNECT_TIMEOUT = "connect_timeout"
    CONNECTION_LOST = "connection_lost"
    TIMEOUT = "timeout"
    PROXY = "proxy"
    # an answer
    NOT_COC = "not_coc"  # 2xx whose body does not carry COC's success code, or something that is not HTTP
    THROTTLED = "throttled"  # 429 and COC's or the gateway's throttling codes
    SERVER_ERROR = "server_error"  # 5xx, 408, 425
    CONTENT = "content"  # 400, 413, 422 or a 200 with a content error code
    CREDENTIALS = "credentials"  # 401, 402, 403, 407
    ENDPOINT = "endpoint"  # 404, 405, 410, redirects, a link-local address
    UNEXPECTED = "unexpected"  # any other status, any other exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One POST, judged. `message` is COC's words or the network's, without secrets, at most 500 characters."""

    action: Action
    reason: Reason
    status: int = 0  # HTTP status; 0 without an answer
    code: str = ""  # COC's error_code
    message: str = ""
    hint: str = ""  # what an operator should look at
    retry_after: float | None = None  # seconds, as the answer asked for; already bounded to 600
    ambiguous: bool = False  # the request may have taken effect although no answer said so

    @property
    def words(self) -> str:
        """Status, code, message and hint for a person."""
        answered = " ".join(part for part in (str(self.status or ""), self.code, self.message) if part)
        return f"{answered} ({self.hint})" if self.hint else answered


class Row(NamedTuple):
    """What some statuses mean. `statuses` reads like `400, 413-415`."""

    statuses: str
    action: Action
    reason: Reason
    hint: str
    ambiguous: bool = False


CLOCK_HINT = "this machine's clock differs from COC's: requests signed more than 15 minutes off are refused"
KEY_HINT = "check the integration key and, where it signs, access key, secret key and project id, for this site"
TOKEN_HINT = "check auth: COC wants a signature (type: aksk) or a token of this site, valid for 24 h"  # noqa: S105
WRONG_ENDPOINT = "wrong endpoint? check site or base_url"

_RETRY, _REFUSED, _PAUSE = Action.RETRY, Action.REFUSED, Action.PAUSE

STATUSES: tuple[Row, ...] = (
    Row("100-199", _RETRY, Reason.UNEXPECTED, WRONG_ENDPOINT),
    Row("200", _RETRY, Reason.NOT_COC, "wrong endpoint? what answered 200 did not say COC's success code"),
    Row("201-299", _RETRY, Reason.NOT_COC, "wrong endpoint? COC answers 200"),
    Row("300-399", _PAUSE, Reason.ENDPOINT, "wrong endpoint? redirects are never followed: check site or base_url"),
    Row("400, 413-415, 422, 431", _REFUSED, Reason.CONTENT, "COC refuses this alarm: see its message"),
    Row("401", _PAUSE, Reason.CREDENTIALS, "check auth, the integration key and the site"),
    Row("402", _PAUSE, Reason.CREDENTIALS, "check the account: COC asks for payment"),
    Row("403", _PAUSE, Reason.CREDENTIALS, "check the permission of the caller, the integration key and the site"),
    Row("404-405, 410", _PAUSE, Reason.ENDPOINT, "wrong endpoint? check site or base_url, then the integration key"),
    Row("406, 411, 421, 426", _PAUSE, Reason.ENDPOINT, WRONG_ENDPOINT),
    Row("407", _PAUSE, Reason.CREDENTIALS, "the proxy wants credentials: check proxy_url"),
    Row("408, 425", _RETRY, Reason.SERVER_ERROR, ""),
    Row("409, 412, 416-420, 423-424, 427-428, 430, 432-499", _RETRY, Reason.UNEXPECTED, WRONG_ENDPOINT),
    Row("429", _RETRY, Reason.THROTTLED, "COC limits the rate: lower rate_limit or max_in_flight"),
    Row("500-503, 505-599", _RETRY, Reason.SERVER_ERROR, ""),
    Row("504", _RETRY, Reason.SERVER_ERROR, "the gateway gave up waiting: COC may have taken it", ambiguous=True),
)


CODES: dict[str, Row] = {
    r"(APIGW|APIG)\.0308": Row("200-599", _RETRY, Reason.THROTTLED, "COC limits the rate"),
    r"(APIGW|APIG)\.03\d\d": Row("200, 400-406, 408-499", _PAUSE, Reason.CREDENTIALS, KEY_HINT),
    r"common\.010100\d+": Row("200, 400-406, 408-499", _PAUSE, Reason.CREDENTIALS, TOKEN_HINT),
    r"(APIGW|APIG)\.0101": Row("200, 400-406, 408-499", _PAUSE, Reason.ENDPOINT, WRONG_ENDPOINT),
    r"(COC|GOM)\.\d+": Row("200", _REFUSED, Reason.CONTENT, "COC refuses this alarm: see its message"),
}
"""What an error_code means, the first that fits; the statuses of its row say where it overrules the status."""

SUCCESS = re.compile(r"([A-Za-z]+\.)?0+")
"""COC.00000000 in the examples, GOM.00000000 in the 2024 definition, 0 in the tables."""


def statuses(spec: str) -> tuple[int, ...]:
    """`400, 413-415` -> (400, 413, 414, 415)."""
    found: list[int] = []
    for part in spec.split(","):
        first, _, last = part.strip().partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return tuple(found)


_BY_STATUS = {status: row for row in STATUSES for status in statuses(row.statuses)}
_CODES = tuple((re.compile(pattern), frozenset(statuses(row.statuses)), row) for pattern, row in CODES.items())
_OUTSIDE = Row("", _RETRY, Reason.UNEXPECTED, WRONG_ENDPOINT)


def judge(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    *,
    redact: Callable[[str], str] = str,
    whole: bool = True,
) -> Verdict:
    """What an answer means. `redact` takes the secrets out of COC's words before they are cut to length.

    `headers` must be case-insensitive. `whole`: `body` is all there was; the head of something longer is no success.
    """
    answer = read_answer(body, redact)
    code, message = one_line(redact(answer.code[:SEARCHED]), LONGEST_CODE), answer.message
    success = whole and answer.at_top and SUCCESS.fullmatch(answer.code)
    if status == 200 and success and _may_be_json(headers):
        return Verdict(action=Action.ACCEPTED, reason=Reason.ACCEPTED, status=status, code=code, message=message)
    row = _row(status, answer.code)
    return Verdict(
        action=row.action,
        reason=row.reason,
        status=status,
        code=code,
        message=message,
        hint=_hint(status, row, answer, headers, now),
        retry_after=retry_after(headers, now) if row.action is Action.RETRY else None,
        ambiguous=row.ambiguous,
    )


def _may_be_json(headers: Mapping[str, str]) -> bool:
    # A body that reads as COC's success is believed under a missing or careless type, not under one that denies it.
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return "json" in kind or kind in ("", "text/plain", "application/octet-stream")


def _row(status: int, code: str) -> Row:
    if code and not SUCCESS.fullmatch(code):
        for pattern, where, row in _CODES:
            if status in where and pattern.fullmatch(code):
                return row
    return _BY_STATUS.get(status, _OUTSIDE)


_ABOUT_TIME = re.compile(r"x-sdk-date|timestamp|clock|time ?skew|signature (has )?expired", re.IGNORECASE)


def _hint(status: int, row: Row, answer: AnswerText, headers: Mapping[str, str], now: datetime) -> str:
    if row.reason is not Reason.CREDENTIALS or status == 407:
        return row.hint
    skew = clock_skew(headers, now)
    if abs(skew) > 300:
        return f"{CLOCK_HINT}; it is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
    return CLOCK_HINT if _ABOUT_TIME.search(answer.message) else row.hint


# COC and the gateway answer {"error_code", "error_msg"}; IAM and some proxies wrap them in `error` or spell them in
# other ways.
_CODE_NAMES = ("error_code", "errorCode", "code")
_MESSAGE_NAMES = ("error_msg", "errorMsg", "error_message", "message", "msg")


class AnswerText(NamedTuple):
    """Code and message of a body."""

    code: str  # as it stood there, secrets and all
    message: str
    at_top: bool = False  # the code stood where COC's own stands, not inside a wrapper


def read_answer(body: bytes, redact: Callable[[str], str]) -> AnswerText:
    """Code and message of a body: the fields of a JSON object, the text without its tags of anything else."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return AnswerText("", _as_text(body, redact))
    inner = document.get("error")
    holder = inner if isinstance(inner, dict) else document
    code, message = _first(holder, _CODE_NAMES), _first(holder, _MESSAGE_NAMES)
    if not code and not message:
        message = body.decode("utf-8", "replace")
    at_top = holder is document and "error_code" in document
    return AnswerText(code, one_line(redact(message[:SEARCHED]), LONGEST_MESSAGE), at_top)


def _first(holder: Mapping[str, object], names: tuple[str, ...]) -> str:
    for name in names:
        value = holder.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return ""


_HIDES = re.compile(r"<(script|style)\b", re.IGNORECASE)
_SHOWS = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in ("script", "style")}
"""Start and end of what a page does not show."""


def _as_text(body: bytes, redact: Callable[[str], str]) -> str:
    if not body:
        return "empty body"
    text = redact(body[:SEARCHED].decode("utf-8", "replace"))
    # Pages break long words by tags, and so a secret: seen only when what stands around them is joined again.
    pieces = _shown(text)
    joined = "".join(pieces)
    redacted = redact(joined)
    return one_line(" ".join(pieces) if redacted == joined else redacted, LONGEST_MESSAGE)


def _shown(page: str) -> list[str]:
    """What stands between the tags, without scripts and styles. No part of the page is read more than a few times."""
    pieces: list[str] = []
    at = 0
    endings = dict(_SHOWS)  # those that may still come
    while (tag := page.find("<", at)) >= 0:
        opened = _HIDES.match(page, tag)
        name = opened[1].lower() if opened else ""
        ending = endings[name].search(page, tag) if name in endings else None
        if ending is None:
            endings.pop(name, None)
        end = ending.end() if ending else page.find(">", tag) + 1
        if not end:
            break
        pieces.append(page[at:tag])
        at = end
    return [*pieces, page[at:]]


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds the answer asks to wait, 0 to 600; None without a readable Retry-After (RFC 9110: seconds or a date)."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return LONGEST_WAIT if len(value) > 6 else min(float(value), LONGEST_WAIT)
    moment = _http_date(value)
    return None if moment is None else min(max((moment - now).total_seconds(), 0.0), LONGEST_WAIT)


def clock_skew(headers: Mapping[str, str], now: datetime) -> float:
    """Seconds by which `now` is ahead of the answer's Date; 0 when it has none that can be read."""
    moment = _http_date(headers.get("Date", ""))
    return 0.0 if moment is None else (now - moment).total_seconds()


def _http_date(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
        # "-0000" and a missing zone come back naive; HTTP dates are UTC.
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
