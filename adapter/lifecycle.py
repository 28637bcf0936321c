"""PURE: (known alarm, alert, now) -> (alarm', the report owed). Every transition of an alarm lives in this file.

    known              alert                                        owed
    -----------------  -------------------------------------------  ---------------------------------------------
    none or resolved   firing                                       alarm    a new episode; also at the same startsAt,
                                                                             which a Prometheus outage really causes
    firing             firing, content or mapping revision changed  update
    firing             firing, nothing changed                      nothing; refresh when COC last accepted a report
                                                                             longer than refresh_interval ago and
                                                                             nothing is pending
    firing             resolved, endsAt not before newest startsAt  ok
    firing             resolved, endsAt before it                   nothing: stale
    resolved           resolved                                     nothing
    none               resolved                                     ok       after a lost store the only way to close
                                                                             a real alarm

A refresh, and the update that the mapping revision alone makes of an alarm that COC has, wait behind all news
(Priority.REFRESH). While COC is silent, reporting is paused or the backlog is full neither is owed; the next
repeat asks again.

Rules for a change of this file:
1. A repeat returns the same object `known`, so that the store sees by identity that it has nothing to write.
2. A changed startsAt never starts an episode; only the newest is remembered, to tell a stale resolve.
3. An alert without a readable endsAt is not stale: closing too early heals at the next repeat, an open alarm does not.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from adapter.alarm import Alarm, Kind, News, Priority, Status
from adapter.alertmanager import Alert
from adapter.clock import Micros


class Policy(NamedTuple):
    """What the operator configured under `relay`."""

    refresh_interval: Micros  # 0 = never
    id_per_episode: bool  # alarm_id: episode


class Transition(NamedTuple):
    """What one alert changes."""

    alarm: Alarm
    owed: Kind | None
    news: News


def transition(
    known: Alarm | None, alert: Alert, *, now: Micros, revision: str, policy: Policy, refreshes: bool = True
) -> Transition:
    """Apply the table above. `refreshes`: False while none may be owed."""
    if alert.status == "resolved":
        return _resolved(known, alert, revision=revision, policy=policy)
    if known is None or known.status is Status.RESOLVED:
        return Transition(_episode(known, alert, Status.FIRING, revision, policy), Kind.ALARM, News.NEWS)
    content = alert.content
    starts = max(known.starts, alert.starts)
    if content != known.content or (revision != known.revision and not _at_coc(known)):
        known = known._replace(content=content, revision=revision, starts=starts, priority=Priority.NEWS)
        return Transition(known, Kind.UPDATE, News.NEWS)
    if revision != known.revision and refreshes:
        known = known._replace(revision=revision, starts=starts, priority=Priority.REFRESH)
        return Transition(known, Kind.UPDATE, News.NEWS)
    if starts != known.starts:
        known = known._replace(starts=starts)
    if refreshes and _refresh_due(known, now, policy):
        return Transition(known._replace(priority=Priority.REFRESH), Kind.REFRESH, News.REFRESH)
    return Transition(known, None, News.REPEAT)


def _resolved(known: Alarm | None, alert: Alert, *, revision: str, policy: Policy) -> Transition:
    if known is None:
        return Transition(_episode(None, alert, Status.RESOLVED, revision, policy), Kind.OK, News.NEWS)
    if known.status is Status.RESOLVED:
        return Transition(known, None, News.REPEAT)
    if alert.ends and alert.ends < known.starts:
        return Transition(known, None, News.STALE)
    resolved = known._replace(status=Status.RESOLVED, ends=alert.ends, priority=Priority.NEWS)
    return Transition(resolved, Kind.OK, News.NEWS)


def _episode(known: Alarm | None, alert: Alert, status: Status, revision: str, policy: Policy) -> Alarm:
    return Alarm(
        fingerprint=alert.fingerprint,
        status=status,
        episode=known.episode + 1 if known else 1,
        coc_alarm_id=coc_alarm_id(alert, per_episode=policy.id_per_episode),
        starts=alert.starts,
        ends=alert.ends if status is Status.RESOLVED else 0,
        content=alert.content,
        revision=revision,
        last_accepted_at=known.last_accepted_at if known else 0,
        pending=known.pending if known else 0,
    )


def _at_coc(known: Alarm) -> bool:
    """COC accepted a report about it, and no news is pending, or was lost as by a damaged store (revision '')."""
    return bool(known.last_accepted_at and known.revision) and (known.refreshing or not known.pending)


def _refresh_due(known: Alarm, now: Micros, policy: Policy) -> bool:
    if known.pending or not known.last_accepted_at or not policy.refresh_interval:
        return False
    # Either way: after a clock set back far, `last_accepted_at` lies in the future, and one refresh puts that right.
    return abs(now - known.last_accepted_at) >= policy.refresh_interval


def coc_alarm_id(alert: Alert, *, per_episode: bool) -> str:
    """COC's alarmId: the fingerprint itself, hashed only where it is not 1..255 ASCII letters and digits."""
    name = alert.fingerprint
    if per_episode:
        name += f"{alert.starts // 1000}"
    if name.isascii() and name.isalnum() and len(name) <= 255:
        return name
    return hashlib.sha256(name.encode()).hexdigest()[:32]
