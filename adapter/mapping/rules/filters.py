"""PURE: the filters a template has beyond Jinja2's own. Each takes any value and gives text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jinja2 import Undefined

from adapter.coc import fields
from adapter.mapping.rules.levels import level

_SHANGHAI: Final = "Asia/Shanghai"


def clip(value: object, n: int) -> str:
    """At most n UTF-16 units, the mark … included."""
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
    """RFC 3339 text or a datetime, told in a time zone; empty for an empty or zero time."""
    if isinstance(value, datetime):
        moment = value
    elif not str(value).strip():
        return ""
    else:
        moment = datetime.fromisoformat(str(value).strip())
    if moment.year == 1:  # how Alertmanager writes "not yet"
        return ""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(time_zone(zone)).strftime(format)


def time_zone(name: str) -> tzinfo:
    """A zone by its IANA name; ValueError when there is none. The default needs no zone database."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        if name == _SHANGHAI:
            return timezone(timedelta(hours=8), "CST")
        raise ValueError(f"no time zone {name!r}") from None


def regex_replace(value: object, pattern: str, replacement: str) -> str:
    """Every match replaced; `\\1` stands for the first group."""
    return re.sub(pattern, replacement, str(value))


def regex_search(value: object, pattern: str) -> str:
    """The first match, or its first group where the pattern has one; empty without a match."""
    found = re.search(pattern, str(value))
    if found is None:
        return ""
    return (found.group(1) if found.re.groups else found.group(0)) or ""


def short_hash(value: object) -> str:
    """12 hexadecimal digits that stand for the text."""
    return hashlib.sha256(str(value).encode(errors="surrogatepass")).hexdigest()[:12]


def default(value: object, default_value: object = "", boolean: bool = False) -> object:
    """Jinja2's, for which empty text is absent too: an absent label is the empty string."""
    return default_value if value == "" or isinstance(value, Undefined) or (boolean and not value) else value


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "level": level,
    "clip": clip,
    "host": host,
    "localtime": localtime,
    "regex_replace": regex_replace,
    "regex_search": regex_search,
    "short_hash": short_hash,
    "default": default,
    "d": default,
}
