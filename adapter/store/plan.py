"""PURE: what a webhook changes, shared by every store: each applies it inside its own intake transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from adapter.alarm import Alarm
from adapter.alertmanager import Alert, pack
from adapter.lifecycle import Transition, transition
from adapter.store.contract import Intake


class Change(NamedTuple):
    """One alert and what it comes to."""

    alert: Alert
    known: Alarm | None
    step: Transition
    raw: bytes  # empty when nothing is owed


def changes(known: Mapping[str, Alarm], intake: Intake) -> list[Change]:
    """What a webhook changes, in its order.

    `known` holds the alarms of the webhook's fingerprints as they are under lock. An alert that appears twice in a
    webhook is looked at twice, the second time against what the first made of it.
    """
    now, revision, policy = intake.received, intake.revision, intake.policy
    group_json = intake.webhook.group.as_json()
    current = dict(known)
    made = []
    for alert in intake.webhook.alerts:
        before = current.get(alert.fingerprint)
        step = transition(before, alert, now=now, revision=revision, policy=policy)
        alarm, owed = step.alarm, step.owed
        if alarm is not None and (owed or alarm is not before):
            current[alarm.fingerprint] = alarm._replace(pending=alarm.pending + 1) if owed else alarm
        made.append(Change(alert, before, step, pack(alert, group_json) if owed else b""))
    return made
