"""Records for tests: say only what matters to the case."""

from __future__ import annotations

from typing import Any

from adapter.alarm import Accepted, Alarm, Kind, Report, Status
from adapter.alertmanager import Alert, Group, Webhook, fingerprint_of, micros, pack
from adapter.lifecycle import Policy
from adapter.store.contract import Claim

GROUP = Group(
    receiver="coc",
    groupKey='{}:{alertname="x"}',
    groupLabels={},
    commonLabels={},
    commonAnnotations={},
    externalURL="http://alertmanager.example:9093",
)
POLICY = Policy(refresh_interval=3_600_000_000, id_per_episode=False)
START = "2026-11-23T15:00:00Z"
LATER = "2026-11-23T15:30:00Z"
END = "2026-11-23T16:00:00Z"
BODY = b'{"alarmName":"a","alarmLevel":"Minor","nameSpace":"shop","applicationId":"x","resourceName":"r"}'


def an_alert(status: str = "firing", **changes: Any) -> Alert:
    """An alert as parsed; `labels`, `annotations`, `startsAt` ... as given."""
    labels = changes.pop("labels", {"alertname": "PodDown", "namespace": "shop", "severity": "warning"})
    starts_at = changes.pop("startsAt", START)
    ends_at = changes.pop("endsAt", END if status == "resolved" else "0001-01-01T00:00:00Z")
    made = {
        "fingerprint": fingerprint_of(labels),
        "status": status,
        "labels": labels,
        "annotations": {"summary": "down"},
        "startsAt": starts_at,
        "endsAt": ends_at,
        "generatorURL": "http://prometheus.example/graph",
        "starts": micros(starts_at),
        "ends": micros(ends_at),
    }
    return Alert(**{**made, **changes})


def a_webhook(*alerts: Alert, truncated: int = 0) -> Webhook:
    return Webhook(group=GROUP, truncated=truncated, alerts=alerts, rejects=(), size=1000)


def an_alarm(**changes: Any) -> Alarm:
    """A firing alarm that has just been looked at with the content of `an_alert()`."""
    alert = an_alert()
    made = {
        "fingerprint": alert.fingerprint,
        "status": Status.FIRING,
        "episode": 1,
        "coc_alarm_id": alert.fingerprint,
        "starts": alert.starts,
        "ends": 0,
        "content": alert.content,
        "revision": "r1",
        "last_accepted_at": 0,
        "pending": 0,
    }
    return Alarm(**{**made, **changes})


def a_report(kind: Kind = Kind.ALARM, alert: Alert | None = None, **changes: Any) -> Report:
    alert = alert or an_alert("resolved" if kind is Kind.OK else "firing")
    made = {
        "seq": 1,
        "integration": "default",
        "fingerprint": alert.fingerprint,
        "episode": 1,
        "kind": kind,
        "coc_alarm_id": alert.fingerprint,
        "raw": pack(alert, GROUP.as_json()),
        "received": micros(START),
        "webhook": 1,
    }
    return Report(**{**made, **changes})


def a_claim(kind: Kind = Kind.ALARM, *, accepted: Accepted | None = None, **changes: Any) -> Claim:
    report = {
        name: changes.pop(name) for name in ("alert", "episode", "refused", "body", "attempts") if name in changes
    }
    made = {"report": a_report(kind, **report), "accepted": accepted, "earlier": None, "maybe_sent": False}
    return Claim(**{**made, **changes})


def accepted(status: str = "alarm", body: bytes = BODY) -> Accepted:
    return Accepted(body=body, status=status, at=micros(START))
