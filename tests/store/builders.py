"""Webhooks, intakes and settlements with only what matters to a case given."""

from __future__ import annotations

from typing import Any

from adapter.alarm import Accepted, Attempt, Outcome
from adapter.alertmanager import Alert, Group, Reject, Webhook
from adapter.clock import SECOND, Micros
from adapter.lifecycle import Policy
from adapter.store.contract import Claim, Intake, Retention, Settlement
from adapter.store.views import Provenance

NOON: Micros = 1_767_268_800 * SECOND  # 2026-01-01T12:00:00Z
DAY: Micros = 86_400 * SECOND
FOREVER = Retention(delivered=10_000 * DAY, dead=10_000 * DAY, resolved=10_000 * DAY)


def an_alert(name: str = "a1", status: str = "firing", **changes: Any) -> Alert:
    """Fires from noon on; a resolved one ends a second later. `text` is the annotation that may change."""
    text = changes.pop("text", "")
    resolved = status == "resolved"
    fields: dict[str, Any] = {
        "fingerprint": name,
        "status": status,
        "labels": {"alertname": "Full", "instance": name},
        "annotations": {"summary": text},
        "startsAt": "2026-01-01T12:00:00Z",
        "endsAt": "2026-01-01T12:00:01Z" if resolved else "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "starts": NOON,
        "ends": NOON + SECOND if resolved else 0,
    }
    return Alert(**(fields | changes))


def a_webhook(*alerts: Alert, rejects: tuple[Reject, ...] = ()) -> Webhook:
    group = Group(
        receiver="coc",
        groupKey="{}",
        groupLabels={},
        commonLabels={},
        commonAnnotations={},
        externalURL="http://alertmanager.example",
    )
    return Webhook(group=group, truncated=0, alerts=alerts, rejects=rejects, size=1000)


def an_intake(*alerts: Alert, **changes: Any) -> Intake:
    rejects = changes.pop("rejects", ())
    refresh = changes.pop("refresh", 0)
    fields: dict[str, Any] = {
        "integration": "default",
        "webhook": a_webhook(*alerts, rejects=rejects),
        "received": NOON,
        "revision": "r1",
        "policy": Policy(refresh_interval=refresh, id_per_episode=False),
    }
    return Intake(**(fields | changes))


def firing(*names: str, **changes: Any) -> Intake:
    text = changes.pop("text", "")
    return an_intake(*(an_alert(name, text=text) for name in names), **changes)


def resolved(*names: str, **changes: Any) -> Intake:
    return an_intake(*(an_alert(name, "resolved") for name in names), **changes)


def an_attempt(**changes: Any) -> Attempt:
    fields: dict[str, Any] = {
        "at": NOON,
        "seconds": 0.1,
        "reason": "timeout",
        "status": 0,
        "code": "",
        "message": "no answer",
    }
    return Attempt(**(fields | changes))


def a_provenance(body: bytes | None = b'{"alarmName":"Full"}') -> Provenance:
    return Provenance(
        rule="pod",
        mapping="10-pods.yaml",
        revision="r1",
        fallbacks=(("alarmLevel", "empty"),),
        clipped=("alarmDesc",),
        body=body,
    )


def delivered(claim: Claim, at: Micros = NOON) -> Settlement:
    status = "ok" if claim.report.kind == "ok" else "alarm"
    return Settlement(
        claim=claim,
        at=at,
        outcome=Outcome.DELIVERED,
        accepted=Accepted(body=claim.report.raw, status=status, at=at),
        attempts=(an_attempt(reason="accepted", status=200),),
        provenance=a_provenance(),
    )


def gone(claim: Claim, outcome: Outcome, at: Micros = NOON) -> Settlement:
    return Settlement(claim=claim, at=at, outcome=outcome, provenance=a_provenance())


def retried(claim: Claim, delay: float, **changes: Any) -> Settlement:
    return Settlement(claim=claim, at=NOON, delay=delay, attempts=(an_attempt(**changes),))
