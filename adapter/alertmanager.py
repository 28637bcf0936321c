"""Parses a webhook body into alerts; accepts everything that Alertmanager and Grafana are known to send.

Any bytes give either a Webhook or a PayloadError, nothing else. An unusable alert becomes a Reject and does not affect
the others. Sources: Alertmanager `notify/webhook/webhook.go` (version "4"), Grafana's contact point (version "1").
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

from pydantic_core import from_json, to_json

from adapter.clock import LAST, Micros
from adapter.errors import PayloadError, TooManyAlerts
from adapter.pieces import MOST_VALUES, TooDense, read_pieces

HEAD_BYTES: Final = 64 * 1024  # how much of an unusable body or alert is kept
MAX_ALERTS: Final = 100_000  # of one webhook
REJECTS_KEPT: Final = 1000  # of one webhook, and by a store of all

_DENSE_BYTES: Final = 1024 * 1024  # a smaller body takes little memory, even if dense
_BYTES_PER_VALUE: Final = 4  # at least, in a larger body
_GROUP_BYTES: Final = 64 * 1024 * 1024  # of a group, as many times as it has alerts, besides four times the body
_OBJECTS_PER_ALERT: Final = 8  # at most, on the average; Alertmanager sends three, and texts may hold braces

_BLOCK: Final = 64 * 1024  # bytes that are decoded or counted at once
_MOST_BROKEN: Final = 100_000  # bytes of a body; each becomes a character that takes three

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH_DIGITS: Final = re.compile(r"[1-9][0-9]{9}(?:[0-9]{3}){0,3}")
_ODD_TIME: Final = re.compile(
    r"(?P<minute>\d{4}-\d\d-\d\d[T ]\d\d:\d\d):(?P<second>\d\d)(?P<part>(?:\.\d{1,9})?) ?(?P<zone>Z|[+-]\d\d:?\d\d)?"
    r"(?: [A-Z0-9+-]{1,6})?(?: M=[+-][0-9.]{1,30})?",
    re.ASCII,
)
_FNV_OFFSET: Final = 14695981039346656037
_FNV_PRIME: Final = 1099511628211
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_SLICE: Final = 64 * 1024  # characters
_DIGITS: Final = 4300  # Python refuses to read a longer integer
_DEPTH: Final = 200  # of nested lists and objects: pydantic's parser reads no more, and its writer writes 255


class Alert(NamedTuple):
    """One alert of a webhook. Times as received (RFC 3339), and as microseconds UTC where 0 means absent."""

    status: Literal["firing", "resolved"]
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    startsAt: str
    endsAt: str
    generatorURL: str
    fingerprint: str
    starts: Micros
    ends: Micros

    @property
    def content(self) -> bytes:
        """A digest of what may change while the fingerprint stays the same: annotations, generatorURL and labels.

        Labels are included because not every sender's fingerprint is their hash, and an alert whose severity label
        changes is not a repeat.
        """
        text = to_json([sorted(self.labels.items()), sorted(self.annotations.items()), self.generatorURL])
        return hashlib.blake2b(text, digest_size=8).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The fields of a webhook that all its alerts share."""

    receiver: str
    groupKey: str
    groupLabels: Mapping[str, str]
    commonLabels: Mapping[str, str]
    commonAnnotations: Mapping[str, str]
    externalURL: str

    def as_json(self) -> bytes:
        return to_json(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciledGroup(Group):
    """Of an alert that reconciling took from Alertmanager's API, or found gone from there; no webhook brought it."""

    reconciled: str  # in a few words, for COC's users
    evidence: str  # a sentence, for `explain`


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A body or alert that could not be used, kept for a person: the reason and its first 64 KiB."""

    reason: str
    head: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One POST from Alertmanager."""

    group: Group
    truncated: int  # alerts that Alertmanager left out (`max_alerts`)
    alerts: tuple[Alert, ...]
    rejects: tuple[Reject, ...]  # the first ones
    rejected: int  # all of them
    size: int  # bytes of the body, decompressed


def pack(alert: Alert, group_json: bytes) -> bytes:
    """An alert with its group, as the bytes that a report stores until it is rendered; `group_json`: Group.as_json."""
    text = to_json(alert._asdict(), exclude={"starts", "ends"})
    return b'{"alert":' + text + b',"group":' + group_json + b"}"


def unpack(raw: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The reverse of `pack`: the alert and its group as plain dicts, with the names that templates use."""
    both = from_json(raw)
    return both["alert"], both["group"]


def parse_webhook(body: bytes, max_alerts: int = MAX_ALERTS) -> Webhook:
    """Parse one webhook body. PayloadError says in one line why it is not a webhook, or TooManyAlerts."""
    _check_values(body, max_alerts)
    data = _read_json(body, max_alerts)
    if isinstance(data, list):
        raise PayloadError(
            "the body is a list, as Alertmanager takes alerts at /api/v2/alerts; what it sends itself, by a receiver "
            'with webhook_configs, is an object with a list "alerts"'
        )
    if not isinstance(data, dict):
        raise PayloadError(f"the body is {_kind(data)}, not a JSON object with a list of alerts")
    entries = data.get("alerts")
    if not isinstance(entries, list):
        raise PayloadError('the body has no list "alerts"; is it an Alertmanager webhook with the standard payload?')
    if (count := len(entries)) > max_alerts:
        del data, entries  # the error would keep them until it is answered
        raise TooManyAlerts(f"the body has {count} alerts, more than {max_alerts} (webhook.max_alerts)")
    alerts: list[Alert] = []
    rejects: list[Reject] = []
    entries.reverse()
    while entries:
        entry = entries.pop()  # frees what was parsed while the rest is
        try:
            alerts.append(_parse_alert(entry, data.get("status")))
        except PayloadError as reason:
            if len(rejects) < REJECTS_KEPT:
                rejects.append(Reject(reason=str(reason), head=to_json(entry, inf_nan_mode="constants")[:HEAD_BYTES]))
    group = Group(
        receiver=_text(data.get("receiver")),
        groupKey=_text(data.get("groupKey")),
        groupLabels=_texts(data.get("groupLabels")),
        commonLabels=_texts(data.get("commonLabels")),
        commonAnnotations=_texts(data.get("commonAnnotations")),
        externalURL=_text(data.get("externalURL")),
    )
    most = _GROUP_BYTES + 4 * len(body)  # what is common to alerts is written in each of them too
    if len(body) * len(alerts) > most and len(group.as_json()) * len(alerts) > most:
        raise TooManyAlerts(f"the fields beside the alerts are too large to be kept with each of {len(alerts)} alerts")
    return Webhook(
        group=group,
        truncated=_count(data.get("truncatedAlerts")),
        alerts=tuple(alerts),
        rejects=tuple(rejects),
        rejected=count - len(alerts),
        size=len(body),
    )


def fingerprint_of(labels: Mapping[str, str]) -> str:
    """Alertmanager's fingerprint of a label set: FNV-1a over sorted names and values.

    Source: prometheus/common `model/signature.go`, `labelSetToFingerprint`.
    """
    digest = _FNV_OFFSET
    for name in sorted(labels):
        for byte in name.encode() + b"\xff" + labels[name].encode() + b"\xff":
            digest = ((digest ^ byte) * _FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


def micros(text: str) -> Micros:
    """RFC 3339 text to microseconds UTC, at most `LAST`; 0 for an absent, zero (year 1) or unreadable time.

    Also what other senders write: Go's `2023-11-29 07:00:00 +0000 UTC`, seconds or parts of them since 1970, a leap
    second, letters in lower case.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return _odd_micros(text.strip().upper())
    return _since_epoch(moment)


def _odd_micros(text: str) -> Micros:
    if _EPOCH_DIGITS.fullmatch(text):
        per_second: int = 1000 ** ((len(text) - 10) // 3)
        return int(text) * 1_000_000 // per_second
    found = _ODD_TIME.fullmatch(text)
    if found is None:
        return 0
    leap = found["second"] == "60"
    zone = "+00:00" if found["zone"] in (None, "Z") else found["zone"]
    try:
        moment = datetime.fromisoformat(f"{found['minute']}:{'59' if leap else found['second']}{found['part']}{zone}")
    except ValueError:
        return 0
    return _since_epoch(moment) + (1_000_000 if leap else 0)


def _since_epoch(moment: datetime) -> Micros:
    try:
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    except OverflowError:
        return 0
    return min(max(0, since // _MICROSECOND), LAST)  # a zone may lead out of the year 9999


def _check_values(body: bytes, max_alerts: int) -> None:
    """Refuse what would take many times its size in memory: millions of numbers, or of empty objects and lists."""
    if len(body) <= _DENSE_BYTES:
        return
    objects = _occurrences(body, b"{")
    values = objects + _occurrences(body, b"[") + _occurrences(body, b",")
    if len(body) < _BYTES_PER_VALUE * values or objects > _OBJECTS_PER_ALERT * max(max_alerts, MAX_ALERTS):
        raise TooManyAlerts(
            f"the body holds {values} values, {objects} of them objects, more than {max_alerts} alerts do "
            "(webhook.max_alerts)"
        )


def _occurrences(body: bytes, char: bytes) -> int:
    """In blocks: other threads get the interpreter between two of them."""
    return sum(body.count(char, start, start + _BLOCK) for start in range(0, len(body), _BLOCK))


def _read_json(body: bytes, max_alerts: int) -> Any:
    """The body's data as pydantic's parser reads it; where that refuses or the body is large, as Python's does.

    Python's accepts broken UTF-8, lone surrogates, a byte order mark and huge integers too.
    """
    if len(body) <= _DENSE_BYTES:
        try:
            return from_json(body)
        except ValueError:
            pass
    text = _decoded(body)
    try:
        return read_pieces(text, "alerts", max_alerts, parse_int=_integer, clean=_without_surrogates)
    except TooDense:
        reason = f"the body has more than {max_alerts} alerts (webhook.max_alerts), or {MOST_VALUES} values in a field"
    except (ValueError, RecursionError) as exc:
        where = f" at byte {exc.pos}" if isinstance(exc, json.JSONDecodeError) else ""
        raise PayloadError(f"the body is not JSON{where}") from exc
    raise TooManyAlerts(reason)


def _decoded(body: bytes) -> str:
    """Broken UTF-8 becomes U+FFFD. In blocks, because Python holds the interpreter while it decodes one."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    blocks: list[str] = []
    broken = 0
    for start in range(0, len(body), _BLOCK):
        blocks.append(decoder.decode(body[start : start + _BLOCK]))
        broken += blocks[-1].count("\ufffd")
        if broken > _MOST_BROKEN:
            raise PayloadError("the body is not UTF-8")
    return "".join(blocks) + decoder.decode(b"", final=True)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < _DIGITS else float(digits)


def _without_surrogates(value: Any, depth: int = 0) -> Any:
    """UTF-8 cannot carry a lone surrogate: each becomes U+FFFD, in names and values alike."""
    if depth > _DEPTH:
        raise PayloadError(f"the body is nested deeper than {_DEPTH} levels")
    if isinstance(value, str):
        if value.isascii():
            return value
        # In slices: other threads get the interpreter between two of them.
        return "".join(_SURROGATES.sub("\ufffd", value[at : at + _SLICE]) for at in range(0, len(value), _SLICE))
    if isinstance(value, list):
        return [_without_surrogates(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(item, depth + 1) for name, item in value.items()}
    return value


def _parse_alert(entry: object, group_status: object) -> Alert:
    if not isinstance(entry, dict):
        raise PayloadError(f"the alert is {_kind(entry)}, not an object")
    labels = {} if entry.get("labels") is None else entry["labels"]
    if not isinstance(labels, dict):
        raise PayloadError(f"labels is {_kind(labels)}, not an object")
    for value in labels.values():
        if type(value) is not str:
            labels = _label_texts(labels)
            break
    fingerprint = entry.get("fingerprint")
    if fingerprint is None or fingerprint == "":
        if not labels:
            raise PayloadError("the alert has neither labels nor a fingerprint, so nothing identifies it")
        fingerprint = fingerprint_of(labels)
    elif type(fingerprint) is not str:
        raise PayloadError(f"fingerprint is {_kind(fingerprint)}, not a string")
    starts_at, ends_at = _text(entry.get("startsAt")), _text(entry.get("endsAt"))
    ends = micros(ends_at)
    status = entry.get("status", group_status)
    if status is None:
        status = "resolved" if ends else "firing"
    if status != "firing" and status != "resolved":
        status = _text(status).strip().lower()
        if status not in ("firing", "resolved"):
            raise PayloadError(f"status is {status[:40]!r}, neither firing nor resolved")
    return Alert(
        fingerprint=fingerprint,
        status=status,
        labels=labels,
        annotations=_texts(entry.get("annotations")),
        startsAt=starts_at,
        endsAt=ends_at,
        generatorURL=_text(entry.get("generatorURL")),
        starts=micros(starts_at),
        ends=ends,
    )


def _label_texts(labels: Mapping[str, object]) -> dict[str, str]:
    for name, value in labels.items():
        if isinstance(value, dict | list):
            raise PayloadError(f"label {name[:100]!r} is {_kind(value)}, not text")
    return _texts(labels)


def _texts(value: object) -> dict[str, str]:
    """Labels or annotations; what is not text is as JSON writes it, and null as good as absent."""
    if not isinstance(value, dict):
        return {}
    for item in value.values():
        if type(item) is not str:
            return {name: _text(item) for name, item in value.items() if item is not None}
    return value


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else to_json(value, inf_nan_mode="constants").decode()


def _count(value: object) -> int:
    """A plausible `truncatedAlerts`, else 0: an absurd value would make the counter it is added to useless."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**32 else 0


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
