"""What a sandbox keeps: the alarms it took, in order of arrival, the last refusals, and counts. Bounded."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

KEPT_REFUSALS = 1000
_KEPT_HEADER_SETS = 4096
_HIDDEN = {"authorization": "<secret>", "x-auth-token": "<secret>", "x-security-token": "<secret>"}


class Taken(NamedTuple):
    """One alarm. Its body stays as it came: most are never looked at."""

    seq: int
    received: float  # seconds since the epoch
    body: bytes
    headers: dict[str, str]
    integration: str

    def shown(self) -> dict[str, Any]:
        """As `GET /alarms` lists it."""
        return {
            "seq": self.seq,
            "received_at": stamp(self.received),
            "integration": self.integration,
            "headers": self.headers,
            "body": json.loads(self.body),
        }


def stamp(seconds: float) -> str:
    """RFC 3339, UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class RequestLog:
    """Memory stays bounded: beyond `keep` alarms the oldest goes; the counts go on."""

    def __init__(self, keep: int) -> None:
        self.alarms: deque[Taken] = deque(maxlen=keep)
        self.refusals: deque[dict[str, Any]] = deque(maxlen=KEPT_REFUSALS)
        self.answers: Counter[str] = Counter()
        self._seq = 0
        self._integrations: dict[str, str] = {}
        self._header_sets: dict[tuple[tuple[bytes, bytes], ...], dict[str, str]] = {}

    @property
    def taken(self) -> int:
        """How many alarms were ever taken."""
        return self._seq

    def take(self, body: bytes, raw_headers: tuple[tuple[bytes, bytes], ...], key: str, now: float) -> None:
        """Keep an alarm."""
        self._seq += 1
        self.alarms.append(Taken(self._seq, now, body, self._headers(raw_headers), self.integration(key)))

    def refuse(self, status: int, code: str, message: str, alarm_id: str, now: float) -> None:
        """Keep why something was not taken."""
        self.refusals.append(
            {"received_at": stamp(now), "status": status, "code": code, "message": message, "alarm_id": alarm_id}
        )

    def integration(self, key: str) -> str:
        """A name that tells keys apart without showing them."""
        name = self._integrations.get(key)
        if name is None:
            name = "key-" + hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:8]
            if len(self._integrations) < _KEPT_HEADER_SETS:
                self._integrations[key] = name
        return name

    def since(self, seq: int, limit: int) -> Iterator[Taken]:
        """At most `limit` alarms after `seq`, oldest first."""
        found = (alarm for alarm in tuple(self.alarms) if alarm.seq > seq)
        return (alarm for alarm, _ in zip(found, range(limit), strict=False))

    def newest(self, count: int) -> Iterator[Taken]:
        """At most `count` alarms, newest first."""
        return (alarm for alarm, _ in zip(reversed(self.alarms), range(count), strict=False))

    def clear(self) -> int:
        """Forget everything but the numbering; returns how many alarms went."""
        count = len(self.alarms)
        self.alarms.clear()
        self.refusals.clear()
        self.answers.clear()
        return count

    def _headers(self, raw: tuple[tuple[bytes, bytes], ...]) -> dict[str, str]:
        # A client says the same with each request: keeping one copy keeps 200,000 alarms small.
        # A signature is new each time and never shown, a length is the body's.
        kept = tuple(
            (name, b"" if name.lower() == b"authorization" else value)
            for name, value in raw
            if name.lower() != b"content-length"
        )
        headers = self._header_sets.get(kept)
        if headers is None:
            if len(self._header_sets) >= _KEPT_HEADER_SETS:
                self._header_sets.clear()
            headers = {}
            for name, value in kept:
                word = name.decode("latin-1")
                headers[word] = _HIDDEN.get(word.lower()) or value.decode("utf-8", "replace")
            self._header_sets[kept] = headers
        return headers
