"""PURE: what COC's pages say of a body, read strictly and on its own: not shared with what makes the bodies.

Source: the page of 2026-01 (character sets, lengths, applicationId mandatory). The wording follows Java's bean
validation, the order of the messages is not to be relied on, and several are joined by ` | `, as documented.
Fields it does not know are let through: no page says otherwise.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

JOIN = " | "

_ID = re.compile(r"[A-Za-z0-9]*")
_NAME = re.compile("[A-Za-z0-9_\\-々〇\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]*")


class _Text(NamedTuple):
    required: bool
    shape: re.Pattern[str] | None = None
    shape_words: str = ""
    among: tuple[str, ...] = ()


_TEXTS = {
    "alarmId": _Text(True, _ID, "letters and digits"),
    "alarmName": _Text(True, _NAME, "Chinese characters, letters, digits, hyphens and underscores"),
    "alarmLevel": _Text(True, among=("Critical", "Major", "Minor", "Info")),
    "nameSpace": _Text(True),
    "regionId": _Text(False),
    "applicationId": _Text(True),
    "resourceName": _Text(False),
    "resourceId": _Text(False),
    "alarmDesc": _Text(True),
    "URL": _Text(False),
    "alarmStatus": _Text(False, among=("alarm", "ok")),
    "alarmSource": _Text(True),
}


def read_body(body: bytes) -> tuple[dict[str, Any] | None, str]:
    """(the object, "") or (None, why it is none)."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None, "JSON parse error"
    return (found, "") if isinstance(found, dict) else (None, "JSON parse error: not an object")


def violations(alarm: dict[str, Any]) -> list[str]:
    """Every rule the alarm breaks, one message each; empty when it keeps them all."""
    found = []
    for name, rule in _TEXTS.items():
        if message := _text(rule, alarm.get(name)):
            found.append(f"{name} {message}")
    time = alarm.get("time")
    if time is None:
        found.append("time must not be null")
    elif not isinstance(time, int) or isinstance(time, bool) or not 1 <= time <= 2**63 - 1:
        found.append("time must be a number between 1 and 9223372036854775807")
    additional = alarm.get("additional")
    if additional is not None and not isinstance(additional, dict):
        found.append("additional must be an object")
    return found


def _text(rule: _Text, value: object) -> str:
    if value is None:
        return "must not be null" if rule.required else ""
    if not isinstance(value, str):
        return "must be a string"
    # Java counts UTF-16 code units.
    length = len(value) if value.isascii() else len(value.encode("utf-16-le", "surrogatepass")) // 2
    if length > 255 or (rule.required and not length):
        return f"size must be between {int(rule.required)} and 255"
    if rule.required and not value.strip():
        return "must not be blank"
    if rule.among and value not in rule.among:
        return f"must be one of [{', '.join(rule.among)}]"
    if rule.shape and not rule.shape.fullmatch(value):
        return f"must consist of {rule.shape_words}"
    return ""
