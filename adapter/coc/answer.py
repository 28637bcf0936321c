"""PURE: reads an answer's body and headers, from COC or from anything in between. Raises nothing.

COC and the gateway answer `{"error_code", "error_msg"}`; IAM and some proxies wrap them in `error` or spell them in
other ways.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from adapter.errors import one_line

LONGEST_MESSAGE = 500  # characters; COC's error_msg may have 10240
LONGEST_CODE = 64
LONGEST_WAIT = 600.0  # seconds

_CODE_NAMES = ("error_code", "errorCode", "code")
_MESSAGE_NAMES = ("error_msg", "errorMsg", "error_message", "message", "msg")


class AnswerText(NamedTuple):
    """Code and message of a body."""

    code: str  # as it stood there, to be judged by
    shown_code: str  # to be shown
    message: str
    at_top: bool = False  # the code stood where COC's own stands, not inside a wrapper


def read_answer(body: bytes, redact: Callable[[str], str]) -> AnswerText:
    """Code and message of a body: the fields of a JSON object, the text without its tags of anything else."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        return AnswerText("", "", _as_text(body, redact))
    inner = document.get("error")
    holder = inner if isinstance(inner, dict) else document
    code, message = _first(holder, _CODE_NAMES), _first(holder, _MESSAGE_NAMES)
    if not code and not message:
        message = body.decode("utf-8", "replace")
    at_top = holder is document and "error_code" in document
    return AnswerText(code, one_line(redact(code), LONGEST_CODE), one_line(redact(message), LONGEST_MESSAGE), at_top)


def _first(holder: Mapping[str, object], names: tuple[str, ...]) -> str:
    for name in names:
        value = holder.get(name)
        if isinstance(value, str):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
    return ""


_TAG = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)


def _as_text(body: bytes, redact: Callable[[str], str]) -> str:
    if not body:
        return "empty body"
    text = redact(body.decode("utf-8", "replace"))
    # Pages break long words by tags, and so a secret: seen only when what stands around them is joined again.
    joined = _TAG.sub("", text)
    redacted = redact(joined)
    return one_line(_TAG.sub(" ", text) if redacted == joined else redacted, LONGEST_MESSAGE)


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
