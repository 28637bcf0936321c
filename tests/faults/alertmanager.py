"""A simulated Alertmanager: groups, flushes, retries, the notification log, and members that wait for each other.

Its rules are from Alertmanager's source and from measurements:

- A flush takes one snapshot and sends the same bytes until 2xx.
- 5xx and transport errors are tried again after 0.5 s, x1.5 with 50 % jitter, at most 60 s. Any other status ends the
  flush. All tries of a flush end max(group_interval, 10 s) + position x peer_timeout after it began.
- A failed flush leaves no entry in the log: the group is sent again one group_interval later, as it is then.
- Resolved alerts leave the group only after a success.
- An alert that fired and resolved without an entry in the log is never sent.
- A member at position p waits p x peer_timeout after its snapshot, then checks whether the log already has it.

Left out: inhibition, silences, max_alerts, late gossip.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from adapter.alertmanager import fingerprint_of
from adapter.clock import Clock

Alert = dict[str, Any]
Post = Callable[[bytes], Awaitable[int]]
"""Sends a body and returns the HTTP status, 0 for a connection that failed."""


class Timing(NamedTuple):
    """Seconds. `faster` divides all of them, for runs in real time."""

    group_interval: float = 10.0
    least_deadline: float = 10.0
    peer_timeout: float = 15.0
    repeat_interval: float = 4 * 3600.0
    first_retry: float = 0.5
    longest_retry: float = 60.0

    def faster(self, times: float) -> Timing:
        return Timing(*(value / times for value in self))


REAL = Timing()


class Entry(NamedTuple):
    """The notification log's entry for a group."""

    firing: frozenset[str]
    resolved: frozenset[str]
    at: float


@dataclass
class Counts:
    """What a member did so far."""

    flushes: int = 0
    posts: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    given_up: int = 0  # flushes that reached their deadline
    acknowledged: list[Sequence[Alert]] = field(default_factory=list)  # snapshots answered 2xx, in order


class Member:
    """One Alertmanager. Members that gossip share a `log`; `on_send` and `on_acknowledged` get each snapshot."""

    def __init__(
        self,
        post: Post,
        clock: Clock,
        *,
        jitter: Callable[[], float],
        timing: Timing = REAL,
        position: int = 0,
        log: dict[str, Entry] | None = None,
        on_send: Callable[[Sequence[Alert]], None] = lambda alerts: None,
        on_acknowledged: Callable[[Sequence[Alert]], None] = lambda alerts: None,
    ) -> None:
        self.counts = Counts()
        self.stopping = False
        self._post, self._clock, self._jitter, self._timing, self._position = post, clock, jitter, timing, position
        self._log = {} if log is None else log
        self._on_send, self._on_acknowledged = on_send, on_acknowledged
        self._groups: dict[str, dict[str, Alert]] = {}

    def put(self, group: str, *alerts: Mapping[str, Any]) -> None:
        """Merge alerts from Prometheus into the group until the next flush."""
        members = self._groups.setdefault(group, {})
        for alert in alerts:
            fingerprint = alert.get("fingerprint") or fingerprint_of(alert["labels"])
            members[fingerprint] = {**alert, "fingerprint": fingerprint}

    async def run(self, group: str, *, delay: float = 0.0) -> None:
        """Flush the group until `stopping`, first after `delay`. A flush under way is always finished."""
        await self._clock.sleep(delay)
        while not self.stopping:
            started = self._clock.monotonic()
            await self.flush(group)
            spent = self._clock.monotonic() - started
            await self._clock.sleep(max(0.001, self._timing.group_interval - spent))

    async def flush(self, group: str) -> bool:
        """One flush; True when the group needs no other one."""
        snapshot = tuple(self._groups.get(group, {}).values())
        deadline = max(self._timing.group_interval, self._timing.least_deadline)
        wait = self._position * self._timing.peer_timeout
        until = self._clock.monotonic() + deadline + wait
        if wait:
            await self._clock.sleep(wait)
        if not self._needs_sending(group, snapshot):
            return True
        self.counts.flushes += 1
        self._on_send(snapshot)
        if not await self._sent(_body(group, snapshot), until):
            return False
        self.counts.acknowledged.append(snapshot)
        self._on_acknowledged(snapshot)
        self._log[group] = Entry(_ids(snapshot, "firing"), _ids(snapshot, "resolved"), self._clock.monotonic())
        for alert in snapshot:
            if alert["status"] == "resolved" and self._groups[group].get(alert["fingerprint"]) is alert:
                del self._groups[group][alert["fingerprint"]]
        return True

    def _needs_sending(self, group: str, snapshot: Sequence[Alert]) -> bool:
        firing, resolved = _ids(snapshot, "firing"), _ids(snapshot, "resolved")
        entry = self._log.get(group)
        if entry is None:
            return bool(firing)
        if firing - entry.firing:
            return True
        if not firing:
            return bool(entry.firing)
        if (resolved & entry.firing) - entry.resolved:
            return True
        return self._clock.monotonic() - entry.at >= self._timing.repeat_interval

    async def _sent(self, body: bytes, until: float) -> bool:
        wait = self._timing.first_retry
        while True:
            left = until - self._clock.monotonic()
            status = await self._within(left, body) if left > 0 else None
            if status is None:
                self.counts.given_up += 1
                return False
            self.counts.statuses[status] = self.counts.statuses.get(status, 0) + 1
            if 200 <= status < 300:
                return True
            if 0 < status < 500:
                return False
            await self._clock.sleep(min(wait * (0.5 + self._jitter()), max(0.0, until - self._clock.monotonic())))
            wait = min(wait * 1.5, self._timing.longest_retry)

    async def _within(self, seconds: float, body: bytes) -> int | None:
        """The status; None when the deadline came first, which drops the connection."""
        self.counts.posts += 1
        posting = asyncio.ensure_future(self._post(body))
        waiting = asyncio.ensure_future(self._clock.sleep(seconds))
        try:
            await asyncio.wait((posting, waiting), return_when=asyncio.FIRST_COMPLETED)
            return posting.result() if posting.done() else None
        finally:
            waiting.cancel()
            posting.cancel()


def _ids(alerts: Sequence[Alert], status: str) -> frozenset[str]:
    return frozenset(alert["fingerprint"] for alert in alerts if alert["status"] == status)


def _body(group: str, alerts: Sequence[Alert]) -> bytes:
    return json.dumps(
        {
            "version": "4",
            "groupKey": group,
            "truncatedAlerts": 0,
            "status": "firing" if _ids(alerts, "firing") else "resolved",
            "receiver": "coc",
            "groupLabels": {},
            "commonLabels": {},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager.example:9093",
            "alerts": list(alerts),
        }
    ).encode()
