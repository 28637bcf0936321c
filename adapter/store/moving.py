"""PURE: what becomes of the alarms of an integration that left adapter.yml, when an operator moves them to another one.

Where the other one has no alarm of that fingerprint, the row goes over with its reports. Else the two become one:

- The newer state stays: of the alert that was seen last, unless that is a resolve from before the other one's start.
- The reports of both wait in one queue, in the order they were owed. Only what was owed before a report that the other
  one has sent, or is sending, leaves as superseded.
- Where the queue would not end with the newer state, one more report of that state is owed.
- Where the older state is firing, both are one episode, under the COC alarm id of the other one.

Another integration may report to another COC, which never heard of the moved alarms. So an open alarm of which nothing
waits is owed an `alarm`, and a waiting `update` or `refresh` becomes one. An `ok` that waits is sent as it is: the same
COC under a new name needs it, another one has nothing to close. An alarm that the COC before refused or a rule dropped
is owed nothing: its dead letter moves along.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from pydantic_core import to_json

from adapter.alarm import Accepted, Alarm, Kind, Priority, Status
from adapter.alertmanager import unpack
from adapter.clock import Micros, moment
from adapter.store.settlement import AlarmState
from adapter.store.views import Counts

STEP: Final = 500  # alarms in one transaction, so that intake is not held up
_NEVER: Final = "0001-01-01T00:00:00Z"


class Side(NamedTuple):
    """One of two alarms with the same fingerprint."""

    alarm: Alarm
    state: AlarmState
    last_seen: Micros
    last_owed: int = 0  # seq of its newest report
    last_sent: int = 0  # seq of its newest report that was claimed, tried or settled otherwise than as superseded
    waiting: tuple[tuple[int, Kind], ...] = ()  # pending reports, in order

    @property
    def firing(self) -> bool:
        return self.alarm.status is Status.FIRING

    @property
    def open_at_coc(self) -> bool:
        return self.state.accepted is not None and self.state.accepted.status == "alarm"


class Merged(NamedTuple):
    """The alarm as it is to be written. Where there were two rows, the moved one goes."""

    alarm: Alarm
    state: AlarmState
    moved_is_newer: bool
    moved_episodes: int = 0  # is added to the episodes of the moved reports
    other_episodes: int = 0  # to those of the other one
    superseded: tuple[int, ...] = ()  # seqs of moved reports
    one_episode: bool = False  # the moved reports that wait get the COC alarm id of `alarm`
    told_as_alarm: int = 0  # seq of the moved report that becomes an `alarm`
    owed: Kind | None = None  # behind all that waits


def merged(moved: Side, other: Side | None) -> Merged:
    """`other`: None where the integration that takes over has no alarm of that fingerprint."""
    if other is None:
        return _alone(moved)
    sent = bool(other.last_sent) or other.state.accepted is not None
    newest = moved if _is_newer(moved, other) else other
    kept = tuple([one for one in moved.waiting if one[0] > other.last_sent])
    queue = sorted(kept + other.waiting)
    last = None
    if queue:
        last = moved if queue[-1] in kept else other
    elif sent:
        last = other
    owed = _owed(newest, last)
    told = 0 if sent else _told_as_alarm(moved)
    accepted = _accepted(
        other if sent and other.state.accepted else moved, newest, moved.alarm.episode + other.alarm.episode
    )
    pending = len(queue) + (owed is not None)
    sides = [side for side, waiting in ((moved, kept), (other, other.waiting)) if waiting]
    one_episode = (other if newest is moved else moved).firing
    alarm = newest.alarm._replace(
        episode=moved.alarm.episode + other.alarm.episode,
        coc_alarm_id=(other if one_episode else newest).alarm.coc_alarm_id,
        starts=max(moved.alarm.starts, other.alarm.starts) if moved.firing and other.firing else newest.alarm.starts,
        last_accepted_at=accepted.at if accepted else 0,
        pending=pending,
        priority=Priority.NEWS if told or owed else min((side.alarm.priority for side in sides), default=0),
    )
    return Merged(
        alarm,
        (other if sent else moved).state._replace(pending=pending, accepted=accepted),
        newest is moved,
        moved_episodes=other.alarm.episode if sent else 0,
        other_episodes=0 if sent else moved.alarm.episode,  # of the other one nothing is claimed then
        one_episode=one_episode,
        superseded=tuple([seq for seq, _ in moved.waiting if seq <= other.last_sent]),
        told_as_alarm=told,
        owed=owed,
    )


def _accepted(side: Side, newest: Side, episode: int) -> Accepted | None:
    """What COC accepted of a side; of `episode`, that of the merged alarm, where it is of the open or newest one."""
    accepted = side.state.accepted
    if accepted is None:
        return None
    last = accepted.episode == side.alarm.episode and (side is newest or (side.firing and newest.firing))
    return replace(accepted, episode=episode if last else 0)


def _alone(moved: Side) -> Merged:
    told, alarm = _told_as_alarm(moved), moved.alarm
    owed = Kind.ALARM if moved.firing and moved.open_at_coc and not moved.waiting else None
    if told or owed:
        alarm = alarm._replace(pending=alarm.pending + (owed is not None), priority=Priority.NEWS)
    state = moved.state._replace(pending=alarm.pending)
    return Merged(alarm, state, moved_is_newer=True, told_as_alarm=told, owed=owed)


def _is_newer(moved: Side, other: Side) -> bool:
    """Whether the state of the moved alarm is the newer one."""
    earlier, later = sorted((other, moved), key=lambda side: (side.last_seen, side.last_owed))
    stale = earlier.firing and not later.firing and 0 < later.alarm.ends < earlier.alarm.starts
    return (earlier if stale else later) is moved


def _told_as_alarm(moved: Side) -> int:
    """The first of what waits, where that says of an open alarm only what has changed."""
    first, kind = moved.waiting[0] if moved.waiting else (0, None)
    return first if moved.open_at_coc and kind in (Kind.UPDATE, Kind.REFRESH) else 0


def _owed(newest: Side, last: Side | None) -> Kind | None:
    """The report that COC needs after all that waits. `last`: whose state it has by then; None: it knows none."""
    if last is newest:
        return None
    if not newest.firing:
        return Kind.OK if last is not None and last.firing else None
    if not newest.open_at_coc and not newest.waiting:
        return None  # COC refused it, or a rule dropped it
    if last is None or not last.firing:
        return Kind.ALARM
    return Kind.UPDATE if last.alarm.content != newest.alarm.content else None


def owed_again(newest: Side, labels: Mapping[str, str], raw: bytes | None) -> tuple[bytes, bytes | None]:
    """What to store of the report that says this state: `raw`, and a body to send as it is.

    `raw`: of the last report of the alarm; None where all are pruned. Then an alarm that COC has is told as it has it.
    """
    alarm, accepted = newest.alarm, newest.state.accepted
    alert, group = unpack(raw) if raw else ({}, _group(alarm))
    if raw and alert["status"] == alarm.status:
        return raw, None
    stated = {
        "status": alarm.status.value,
        "labels": labels,
        "annotations": alert.get("annotations", {}),
        "startsAt": _text(alarm.starts),
        "endsAt": _text(alarm.ends),
        "generatorURL": alert.get("generatorURL", ""),
        "fingerprint": alarm.fingerprint,
    }
    body = accepted.body if accepted and newest.firing and newest.open_at_coc and not raw else None
    return to_json({"alert": stated, "group": group}), body


def _group(alarm: Alarm) -> dict[str, Any]:
    return {
        "receiver": alarm.receiver,
        "groupKey": "",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": alarm.origin,
    }


def _text(time: Micros) -> str:
    return moment(time).isoformat().replace("+00:00", "Z") if time else _NEVER


def orphans(counts: Mapping[str, Counts], integrations: Mapping[str, object]) -> dict[str, Counts]:
    """What a store holds of integrations that are not in adapter.yml."""
    return {
        name: count
        for name, count in counts.items()
        if name not in integrations and (count.pending or count.open_alarms or count.dead)
    }
