"""PURE: the field contract of COC's custom event as one table, and the operations that keep a body within it.

Sources: `POST /v1/event/huawei/custom/{integration_key}` in COC's API reference, pages of 2024 (lengths), 2025-10
(optional applicationId in the API definition) and 2026-01 (character sets). No page states the unit of a length; the
service is Java, whose strings count UTF-16 code units, so that is what is counted here.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

ELLIPSIS: Final = "…"
LEVELS: Final = ("Critical", "Major", "Minor", "Info")
STATUSES: Final = ("alarm", "ok")


class Field(NamedTuple):
    """One field of the body. Every limit is in UTF-16 units."""

    name: str
    required: bool = False
    own: bool = False  # the adapter's: no mapping may set it
    limit: int = 255
    lines: bool = False  # may hold line breaks and tabs
    mark: str = ELLIPSIS  # what a clipped text ends with
    cut: bool = True  # False: left out when too long, because half of it is worth nothing


FIELDS: Final = (
    Field("alarmId", required=True, own=True),  # 2026: letters and digits, 1..255; lifecycle makes it so
    Field("alarmName", required=True, mark=""),  # 2026: Chinese, letters, digits, - and _, so no ellipsis
    Field("alarmLevel", required=True),  # enum Critical, Major, Minor, Info
    Field("time", required=True, own=True),  # a number, 1..2^63-1; milliseconds by every example
    Field("nameSpace", required=True),  # 1..255
    Field("regionId"),  # 0..255
    Field("applicationId", required=True),  # 1..255; required on every page, optional in the API definition
    Field("resourceName"),  # 0..255
    Field("resourceId"),  # 0..255
    Field("alarmDesc", required=True, lines=True),  # 1..255
    Field("URL", cut=False),  # 0..255, upper case indeed
    Field("alarmStatus", required=True, own=True),  # alarm or ok; its default is undocumented, so it is always sent
    Field("alarmSource", required=True),  # 1..255
)
BY_NAME: Final = {field.name: field for field in FIELDS}
ADDITIONAL: Final = "additional"  # an object without property rules: kept a flat map of strings
MAPPED: Final = tuple(field.name for field in FIELDS if not field.own)

SIGNIFICANT: Final = ("alarmLevel", "alarmName", "nameSpace", "applicationId", "resourceName")
"""What COC's conversion rules and people tell alarms apart by; alarmDesc may change without news."""

_NOT_IN_NAMES: Final = re.compile(
    "[^A-Za-z0-9_\\-\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_PUNCTUATION: Final = ("P", "Z", "Sm", "Sc", "Cc", "Cf")  # what may be replaced; all else is lost
_HASHED: Final = BY_NAME["alarmName"].limit - len("_") - 12  # UTF-16 units of a name before its hash
_LETTER: Final = re.compile(r"(?:LETTER|SYLLABLE|CHARACTER) (?:[A-Z-]+ )*?([A-Z]+)(?: WITH .*)?$")
_VOWEL_OF_NAME: Final = re.compile(r"^E(?=[LMNRSF]$)|(?<=[^AEIOUY])[AE]$")  # Cyrillic EL is l, DE is d
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_BREAKS: Final = re.compile(r"[\t\n]+")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")


def units(text: str) -> int:
    """Length in UTF-16 code units: what COC counts."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def clip(text: str, limit: int, mark: str = ELLIPSIS) -> str:
    """At most `limit` UTF-16 units, `mark` included; no character is cut in half."""
    if len(text) * 2 <= limit or units(text) <= limit:
        return text
    head_limit = max(0, limit - units(mark))
    encoded = text[:head_limit].encode("utf-16-le", "surrogatepass")
    head = encoded[: head_limit * 2].decode("utf-16-le", "ignore")
    return (head.rstrip() + mark)[:limit]


def tidy(text: str, *, lines: bool) -> str:
    """Stripped, U+FFFD for lone surrogates, no control characters; without `lines` a break or tab is a space."""
    if not text.isprintable():
        text = _CONTROLS.sub("", _SURROGATES.sub("\ufffd", text))
        if not lines:
            text = _BREAKS.sub(" ", text.strip())
    return text.strip()


def short_hash(text: str) -> str:
    """The first 12 hexadecimal digits of the text's SHA-256."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:12]


def clean_name(text: str) -> tuple[str, bool]:
    """The name as COC takes it, and whether letters or emoji were lost, so that the original is worth keeping."""
    cleaned = _NOT_IN_NAMES.sub("_", text)
    head = text[: BY_NAME["alarmName"].limit]
    if head.isascii() or not any(map(_lost, _NOT_IN_NAMES.findall(head))):
        return cleaned, False
    spelled = _NOT_IN_NAMES.sub(lambda found: _spelled(found[0]), head)
    words = re.sub("_+", "_", _NOT_IN_NAMES.sub("_", spelled)).strip("_")
    return f"{clip(words, _HASHED, '') or 'alarm'}_{short_hash(text)}", True


def _lost(char: str) -> bool:
    return not char.isascii() and not unicodedata.category(char).startswith(_PUNCTUATION)


def _spelled(char: str) -> str:
    """`e` for `é`, `d` for a Cyrillic de, `di` for its Hangul syllable, `_fire_` for an emoji; else one underscore."""
    name, category = unicodedata.name(char, ""), unicodedata.category(char)
    if not _lost(char):
        return "_"
    if plain := _NOT_IN_NAMES.sub("", unicodedata.normalize("NFKD", char)):
        return plain
    if category == "So":
        return f"_{name.lower()}_"
    if category[0] != "L":
        return ""  # a mark on the letter or emoji before it
    found = _LETTER.search(name)
    letter = found[1] if found and found[1] != "SIGN" else ""
    if name.startswith("CYRILLIC"):
        letter = _VOWEL_OF_NAME.sub("", letter)
    return letter.capitalize() if "CAPITAL" in name else letter.lower()


def closing(accepted: Mapping[str, Any], rendered: Mapping[str, Any]) -> dict[str, Any]:
    """The body of an `ok`: what identifies the alarm as COC last accepted it, the news from the resolved alert.

    COC documents no pairing rule, so everything but alarmDesc, time, additional and alarmStatus stays as it was.
    """
    body = dict(accepted)
    for name in ("alarmDesc", "time", ADDITIONAL, "alarmStatus"):
        if name in rendered:
            body[name] = rendered[name]
    return body


def same_alarm(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether an update from `a` to `b` would be no news to COC; an absent field equals an empty one."""
    return all((a.get(name) or "") == (b.get(name) or "") for name in SIGNIFICANT)
