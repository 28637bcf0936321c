"""PURE: what a webhook changes, shared by every store: each applies it inside its own intake transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapter.alarm import Alarm
from adapter.alertmanager import Alert, pack
from adapter.lifecycle import Look, look
from adapter.store.base import Intake


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One alert and what it comes to."""

    alert: Alert
    known: Alarm | None
    step: Look
    raw: bytes  # empty when nothing is owed


def changes(known: Mapping[str, Alarm], intake: Intake) -> list[Change]:
    """What a webhook changes, in its order.

    `known` holds the alarms of the webhook's fingerprints as they are under lock. An alert that appears twice in a
    webhook is looked at twice, the second time against what the first made of it.
    """
    group_json = intake.webhook.group.as_json()
    current = dict(known)
    made = []
    for alert in intake.webhook.alerts:
        before = current.get(alert.fingerprint)
        step = look(before, alert, now=intake.received, revision=intake.revision, policy=intake.policy)
        if step.alarm is not None:
            owed = step.owed is not None
            current[alert.fingerprint] = step.alarm._replace(pending=step.alarm.pending + 1) if owed else step.alarm
        raw = pack(alert, group_json) if step.owed else b""
        made.append(Change(alert=alert, known=before, step=step, raw=raw))
    return made
