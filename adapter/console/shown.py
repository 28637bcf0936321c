"""PURE: how pages show texts, times and durations. Texts of alerts are hostile."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from markupsafe import Markup

CLIP: Final = 200  # characters of a value in a list
_CONTROLS: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb"
    r"\ud800-\udfff\U000e0000-\U000e007f]"
)


def visible(value: Any) -> Any:
    """What a template puts out: control and bidirectional characters of a text as `<U+202E>`, nothing for None."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return ""
    return _CONTROLS.sub(lambda found: f"<U+{ord(found[0]):04X}>", value) if isinstance(value, str) else value


def clip(text: Any, most: int = CLIP) -> str:
    text = str(text)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def time(stamp: str | None) -> Markup:
    """RFC 3339 in UTC -> a `time` element; `app.js` makes the time local."""
    if not stamp:
        return Markup("-")
    return Markup('<time datetime="{}">{} UTC</time>').format(stamp, stamp[:19].replace("T", " "))


def age(stamp: str | None, now: datetime) -> str:
    """How long ago, in one unit: `40 ms`, `4 s`, `14 min`, `3 h`, `12 d`."""
    if not stamp:
        return "-"
    return duration(int((now - datetime.fromisoformat(stamp)).total_seconds()))


def duration(seconds: float) -> str:
    seconds = max(seconds, 0)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:.0f} {unit}"
    if seconds and seconds < 1:
        return f"{max(seconds * 1000, 1):.0f} ms"
    return f"{seconds:.0f} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"


def pretty(value: Any, most: int = 16_000) -> str:
    return clip(json.dumps(value, ensure_ascii=False, indent=2), most)


def query(values: Mapping[str, str]) -> str:
    """The query of a link to one of our pages; empty without values."""
    return f"?{urlencode(values)}" if values else ""


def quoted(part: str) -> str:
    """A segment of a path."""
    return quote(part, safe="")


def is_in_additional(name: str) -> bool:
    return name.startswith("additional.")


def field(body: Any, name: str) -> str:
    """A field of a body that was sent to COC; `additional.x` is one of `additional`."""
    value: Any = body
    for part in name.split(".", 1) if is_in_additional(name) else (name,):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else "-" if value is None else json.dumps(value, ensure_ascii=False)


def is_link(url: Any) -> bool:
    """True for what may become a link; others, such as javascript:, stay text."""
    return isinstance(url, str) and re.match(r"https?://[^\s]", url) is not None


def parsed(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp).astimezone(UTC)
