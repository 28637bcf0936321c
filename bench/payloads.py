"""Webhook bodies as Alertmanager writes them: kube-prometheus labels, about 1.1 kB an alert."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

STARTS: Final = "2026-11-23T15:15:43.208Z"
NEVER: Final = "0001-01-01T00:00:00Z"

_ALERT: Final = """{"status":"%(status)s","labels":{"alertname":"KubePodCrashLooping","cluster":"prod-cn-north-4",\
"container":"api","endpoint":"http","job":"kube-state-metrics","namespace":"shop-%(team)d",\
"pod":"api-7c9d8b6f5-%(name)s","prometheus":"monitoring/k8s","reason":"CrashLoopBackOff",\
"service":"kube-state-metrics","severity":"warning","uid":"3f1f8c1e-0d0f-4f0e-9d58-%(name)s"},"annotations":{\
"description":"Pod shop-%(team)d/api-7c9d8b6f5-%(name)s (api) is in waiting state (reason: \\"CrashLoopBackOff\\") on \
cluster prod-cn-north-4, %(value)s restarts in the last ten minutes.",\
"runbook_url":"https://runbooks.example/kubernetes/kubepodcrashlooping",\
"summary":"Pod is crash looping."},"startsAt":"%(starts)s","endsAt":"%(ends)s",\
"generatorURL":"http://prometheus-k8s-0.example:9090/graph?g0.expr=max_over_time%%28kube_pod_container_status_waiting_\
reason%%7Bjob%%3D%%22kube-state-metrics%%22%%2Creason%%3D%%22CrashLoopBackOff%%22%%7D%%5B5m%%5D%%29+%%3E%%3D+1&g0.tab=1",\
"fingerprint":"%(name)s"}"""

_WEBHOOK: Final = """{"receiver":"coc","status":"%s","alerts":[%s],"groupLabels":{"alertname":"KubePodCrashLooping",\
"cluster":"prod-cn-north-4"},"commonLabels":{"alertname":"KubePodCrashLooping","cluster":"prod-cn-north-4",\
"job":"kube-state-metrics","severity":"warning"},"commonAnnotations":{"runbook_url":\
"https://runbooks.example/kubernetes/kubepodcrashlooping","summary":"Pod is crash looping."},\
"externalURL":"http://alertmanager.example:9093","version":"4",\
"groupKey":"{}:{alertname=\\"KubePodCrashLooping\\", cluster=\\"prod-cn-north-4\\"}","truncatedAlerts":0}"""


def alert(number: int, *, firing: bool = True, starts: str = STARTS, ends: str = NEVER, value: str = "5") -> str:
    """One alert as JSON; `number` is its identity."""
    return _ALERT % {
        "status": "firing" if firing else "resolved",
        "name": f"{number:016x}",
        "team": number % 40,
        "starts": starts,
        "ends": ends,
        "value": value,
    }


def webhook(alerts: list[str]) -> bytes:
    """One webhook body; its status is `firing` as long as one of its alerts is, as in Alertmanager."""
    firing = any(text.startswith('{"status":"firing"') for text in alerts)
    return (_WEBHOOK % ("firing" if firing else "resolved", ",".join(alerts))).encode()


def fresh(alerts: int, *, per_webhook: int, first: int = 0) -> list[bytes]:
    """Webhooks with `alerts` new alerts in all, numbered from `first`."""
    end = first + alerts
    return [
        webhook([alert(number) for number in range(start, min(start + per_webhook, end))])
        for start in range(first, end, per_webhook)
    ]


def day_of_resends(group: int, flushes: int) -> Iterator[tuple[bytes, int]]:
    """A group that is sent again at every flush because one of its alerts changed: (body, number of changed alerts).

    The first flush has the whole group. After it, odd flushes resolve the next alert, even ones fire it again. As in
    Alertmanager a resolved alert is sent once and then leaves the group.
    """
    if flushes > 2 * group:
        raise ValueError(f"{flushes} flushes are too many for {group} alerts: each may change once")
    yield webhook([alert(number) for number in range(group)]), group
    for flush in range(1, flushes):
        changing, fires = (flush - 1) // 2, flush % 2 == 0
        moment = f"2026-11-23T{16 + flush // 60:02d}:{flush % 60:02d}:00.000Z"
        changed = alert(changing, starts=moment) if fires else alert(changing, firing=False, ends=moment)
        others = [alert(number, starts=_since(number, flush)) for number in range(group) if number != changing]
        yield webhook([*others, changed]), 1


def _since(number: int, flush: int) -> str:
    """The startsAt of an alert at a flush: the time of its last change to firing."""
    again = 2 * number + 2
    return f"2026-11-23T{16 + again // 60:02d}:{again % 60:02d}:00.000Z" if again < flush else STARTS
