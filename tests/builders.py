"""Alerts, webhooks, records and settlements for tests; a call names only what matters to its case."""

from __future__ import annotations

from typing import Any

from adapter.alarm import Accepted, Alarm, Attempt, Kind, Outcome, Report, Status
from adapter.alertmanager import Alert, Group, Reject, Webhook, micros, pack
from adapter.clock import SECOND, Micros
from adapter.lifecycle import Policy
from adapter.store.contract import Claim, Intake, Retention, Settlement
from adapter.store.views import Provenance

START = "2026-01-01T12:00:00Z"
LATER = "2026-01-01T12:30:00Z"
END = "2026-01-01T13:00:00Z"
NOON: Micros = micros(START)
DAY: Micros = 86_400 * SECOND
FOREVER = Retention(delivered=10_000 * DAY, dead=10_000 * DAY, resolved=10_000 * DAY)
GROUP = Group(
    receiver="coc",
    groupKey='{}:{alertname="x"}',
    groupLabels={},
    commonLabels={},
    commonAnnotations={},
    externalURL="http://alertmanager.example:9093",
)
POLICY = Policy(refresh_interval=3_600_000_000, id_per_episode=False)
BODY = b'{"alarmName":"a","alarmLevel":"Minor","nameSpace":"shop","applicationId":"x","resourceName":"r"}'


def an_alert(name: str = "a1", status: str = "firing", *, text: str = "", **changes: Any) -> Alert:
    """An alert as parsed: `name` is its fingerprint and its alertname, `text` the annotation that may change."""
    starts_at = changes.pop("startsAt", START)
    ends_at = changes.pop("endsAt", END if status == "resolved" else "0001-01-01T00:00:00Z")
    fields = {
        "fingerprint": name,
        "status": status,
        "labels": {"alertname": name, "namespace": "shop", "severity": "warning"},
        "annotations": {"summary": text},
        "startsAt": starts_at,
        "endsAt": ends_at,
        "generatorURL": "http://prometheus.example/graph",
        "starts": micros(starts_at),
        "ends": micros(ends_at),
    }
    return Alert(**(fields | changes))


def a_webhook(*alerts: Alert, truncated: int = 0, rejects: tuple[Reject, ...] = ()) -> Webhook:
    return Webhook(group=GROUP, truncated=truncated, alerts=alerts, rejects=rejects, rejected=len(rejects), size=1000)


def an_intake(*alerts: Alert, rejects: tuple[Reject, ...] = (), refresh: Micros = 0, **changes: Any) -> Intake:
    fields = {
        "integration": "default",
        "webhook": a_webhook(*alerts, rejects=rejects),
        "received": NOON,
        "revision": "r1",
        "policy": Policy(refresh_interval=refresh, id_per_episode=False),
    }
    return Intake(**(fields | changes))


def firing(*names: str, text: str = "", **changes: Any) -> Intake:
    return an_intake(*(an_alert(name, text=text) for name in names), **changes)


def resolved(*names: str, **changes: Any) -> Intake:
    return an_intake(*(an_alert(name, "resolved") for name in names), **changes)


def an_alarm(**changes: Any) -> Alarm:
    """The alarm after a first `an_alert()`."""
    alert = an_alert()
    fields = {
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
    return Alarm(**(fields | changes))


def a_report(kind: Kind = Kind.ALARM, alert: Alert | None = None, **changes: Any) -> Report:
    alert = alert or an_alert(status="resolved" if kind is Kind.OK else "firing")
    fields = {
        "seq": 1,
        "integration": "default",
        "fingerprint": alert.fingerprint,
        "episode": 1,
        "kind": kind,
        "coc_alarm_id": alert.fingerprint,
        "raw": pack(alert, GROUP.as_json()),
        "received": NOON,
        "webhook": 1,
    }
    return Report(**(fields | changes))


def a_claim(kind: Kind = Kind.ALARM, *, accepted: Accepted | None = None, **changes: Any) -> Claim:
    report = {
        name: changes.pop(name) for name in ("alert", "episode", "refused", "body", "attempts") if name in changes
    }
    fields = {"report": a_report(kind, **report), "accepted": accepted, "earlier": None, "maybe_sent": False}
    return Claim(**(fields | changes))


def accepted(status: str = "alarm", body: bytes = BODY) -> Accepted:
    return Accepted(body=body, status=status, at=NOON, episode=1)


def an_attempt(**changes: Any) -> Attempt:
    fields = {"at": NOON, "seconds": 0.1, "reason": "timeout", "status": 0, "code": "", "message": "no answer"}
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
        accepted=Accepted(body=claim.report.raw, status=status, at=at, episode=claim.report.episode),
        attempts=(an_attempt(reason="accepted", status=200),),
        provenance=a_provenance(),
    )


def settled_as(claim: Claim, outcome: Outcome, at: Micros = NOON) -> Settlement:
    """Settled without a report: unneeded, dropped, discarded, dead."""
    return Settlement(claim=claim, at=at, outcome=outcome, provenance=a_provenance())


def retried(claim: Claim, delay: float, **changes: Any) -> Settlement:
    return Settlement(claim=claim, at=NOON, delay=delay, attempts=(an_attempt(**changes),))
