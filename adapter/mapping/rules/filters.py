"""The filters that templates have beyond Jinja2's own, or in place of them (pure). They take any value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Undefined

from adapter.application import find
from adapter.coc import fields

DEFAULT_LEVEL: Final = "Major"  # an unknown word must not be quieter than a warning

LEVEL_WORDS: Final = {
    "Critical": "critical crit page emergency emerg fatal disaster blocker panic alert urgent highest p0 p1 sev0 sev1"
    " s1 0 1 紧急 灾难 严重",
    "Major": "major error err high p2 sev2 s2 2 重要",
    "Minor": "minor warning warn medium moderate average ticket p3 sev3 s3 3 次要 警告",
    "Info": "info information informational suggestion none low lowest debug trace notice ok p4 p5 p6 sev4 sev5 s4 4 5"
    " 提示 信息",
}
"""Each level of COC with the severity words of COC, Prometheus, Grafana, Zabbix, syslog and on-call tools for it."""

SEVERITY_LABELS: Final = ("severity", "level", "priority", "alert_level")
"""Where a severity word is looked for, the usual name first; at last in the annotation `severity`."""

_LEVELS: Final = {word: level for level, words in LEVEL_WORDS.items() for word in words.split()}
_SEPARATORS: Final = str.maketrans("", "", " \t_-")
_SHANGHAI: Final = "Asia/Shanghai"


def known_level(word: object) -> str | None:
    """The level of a severity word in any case, `SEV_1` and `sev 1` like `sev1`; None for an unknown word."""
    text = str(word).strip().lower()
    return _LEVELS.get(text) or _LEVELS.get(text.translate(_SEPARATORS))


def level(word: object) -> str:
    """Critical, Major, Minor or Info for a severity word; Major for an unknown one."""
    return known_level(word) or DEFAULT_LEVEL


def clip(value: object, n: int) -> str:
    """At most n UTF-16 units, the ellipsis included."""
    return fields.clip(str(value), n)


def host(value: object) -> str:
    """The host of `host:port`, `[IPv6]:port` or a URL; anything else as it is."""
    text = str(value).strip()
    if "://" in text:
        text = re.split(r"[/?#]", text.split("://", 1)[1], maxsplit=1)[0].rpartition("@")[2]
    if text.startswith("["):
        return text[1:].partition("]")[0]
    name, colon, port = text.rpartition(":")
    # A bare IPv6 address has several colons and no port.
    return name if colon and port.isdigit() and ":" not in name else text


def localtime(value: object, zone: str = _SHANGHAI, format: str = "%Y-%m-%d %H:%M:%S") -> str:
    """RFC 3339 text or a datetime, written in a time zone; empty for an empty or zero time."""
    if isinstance(value, datetime):
        moment = value
    elif not str(value).strip():
        return ""
    else:
        moment = datetime.fromisoformat(str(value).strip())
    if moment.year == 1:  # Alertmanager's zero time: not yet
        return ""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(time_zone(zone)).strftime(format)


def time_zone(name: str) -> tzinfo:
    """A zone by its IANA name, or ValueError. Asia/Shanghai needs no zone database."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        if name == _SHANGHAI:
            return timezone(timedelta(hours=8), "CST")
        raise ValueError(f"no time zone {name!r}") from None


def regex_replace(value: object, pattern: str, replacement: str) -> str:
    """Every match replaced; `\\1` is the first group."""
    return re.sub(pattern, replacement, str(value))


def regex_search(value: object, pattern: str) -> str:
    """The first match, or its first group where the pattern has one; empty without a match."""
    found = re.search(pattern, str(value))
    if found is None:
        return ""
    return (found.group(1) if found.re.groups else found.group(0)) or ""


def short_hash(value: object) -> str:
    """The first 12 hexadecimal digits of the text's SHA-256."""
    return fields.short_hash(str(value))


def printed(value: object) -> object:
    """A boolean as YAML and JSON write it; anything else as it is."""
    return str(value).lower() if isinstance(value, bool) else value


def string(value: object) -> str:
    """Jinja2's `string`, and what `~` joins."""
    return str(printed(value))


def tojson(value: object, indent: int | None = None) -> str:
    """JSON with every letter readable: the value goes into no HTML page, for which Jinja2's own writes escapes."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=indent)


def default(value: object, default_value: object = "", boolean: bool = False) -> object:
    """Jinja2's `default`, which also replaces empty text: an absent label is the empty string."""
    return default_value if value == "" or isinstance(value, Undefined) or (boolean and not value) else value


def application(value: object) -> str:
    """The id of the COC application that a name, a code or an id means; empty when COC lists none or several."""
    # Without a directory an id is all that is known; the worker process puts another function in this one's place.
    return find(None, str(value))[0]


_ALL: Final = (
    level, clip, host, localtime, regex_replace, regex_search, short_hash, string, tojson, default, application,
)  # fmt: skip
FILTERS: Final[dict[str, Callable[..., Any]]] = {function.__name__: function for function in _ALL} | {"d": default}
