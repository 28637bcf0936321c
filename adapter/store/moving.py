"""PURE: what becomes of the alarms of an integration that left adapter.yml, when an operator moves them to another one.

Where the other one has no alarm of that fingerprint, the row goes over as it is, with its reports. Else the other one's
row is the newer one, and it stays:

- Nothing of it was sent yet: the reports of both wait in one queue, in the order they were owed. Its episodes follow
  those of the moved alarm, and what COC accepted is what it accepted of the moved alarm.
- Something of it may have been sent: COC may have a newer state than the moved reports, so those that are pending leave
  as superseded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from adapter.alarm import Alarm
from adapter.store.settlement import AlarmState
from adapter.store.views import Counts

STEP: Final = 500  # alarms in one transaction, so that intake is not held up


class Side(NamedTuple):
    """One of two alarms with the same fingerprint."""

    alarm: Alarm
    state: AlarmState
    sent: bool  # a report of it was claimed, tried or settled


class Merged(NamedTuple):
    """The other one's alarm as it is to be written; the moved row goes."""

    alarm: Alarm
    state: AlarmState
    first_episode: int  # is added to the episodes of the reports that it had before
    superseded: bool  # what is pending of the moved alarm


def merged(moved: Side, other: Side) -> Merged:
    if other.sent:
        accepted = other.state.accepted or moved.state.accepted
        alarm = other.alarm._replace(last_accepted_at=accepted.at if accepted else 0)
        return Merged(alarm, other.state._replace(accepted=accepted), 0, superseded=True)
    pending = moved.alarm.pending + other.alarm.pending
    alarm = other.alarm._replace(
        episode=moved.alarm.episode + other.alarm.episode,
        last_accepted_at=moved.alarm.last_accepted_at,
        pending=pending,
        priority=min((side.alarm.priority for side in (moved, other) if side.alarm.pending), default=0),
    )
    return Merged(alarm, moved.state._replace(pending=pending), moved.alarm.episode, superseded=False)


def orphans(counts: Mapping[str, Counts], integrations: Mapping[str, object]) -> dict[str, Counts]:
    """What a store holds of integrations that are not in adapter.yml."""
    return {
        name: count
        for name, count in counts.items()
        if name not in integrations and (count.pending or count.open_alarms or count.dead)
    }
