"""PURE: what reconciling decided -> an intake, so that a store takes it as it takes a webhook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapter.alertmanager import Alert, Group, ReconciledGroup, Webhook, micros, unpack
from adapter.clock import Micros, moment
from adapter.lifecycle import Policy
from adapter.reconcile.cluster import quoted
from adapter.reconcile.judge import Candidate
from adapter.reconcile.snapshot import Member
from adapter.store.contract import Expected, Intake
from adapter.store.views import TrackedAlarm

_NEVER = "0001-01-01T00:00:00Z"


class Intakes:
    """Builds the intakes of one poll, which differ in their alerts."""

    def __init__(self, *, at: Micros, now: Micros, revision: str, policy: Policy) -> None:
        """`at`: the start of the poll; an alarm that was seen since is left alone."""
        self._at, self._now, self._revision, self._policy = at, now, revision, policy

    def intake(self, integration: str, group: Group, alerts: Sequence[tuple[Alert, int]]) -> Intake:
        """Alerts, each with the episode that is expected of its alarm."""
        webhook = Webhook(
            group=group,
            truncated=0,
            alerts=tuple(alert for alert, _ in alerts),
            rejects=(),
            rejected=0,
            size=0,
        )
        return Intake(
            integration=integration,
            webhook=webhook,
            received=self._now,
            revision=self._revision,
            policy=self._policy,
            expected={alert.fingerprint: Expected(episode, self._at) for alert, episode in alerts},
        )

    def close(self, one: Candidate, raw: bytes | None, labels: Mapping[str, str], members: Sequence[str]) -> Intake:
        """Of an alarm that is gone. `raw`: of its last report, where that is still kept."""
        since = max(one.absence.since, one.alarm.starts)
        words = f"not in Alertmanager since {_text(since)}"
        if one.absence.unrouted:
            words = f"no longer routed here in Alertmanager since {_text(since)}"
        evidence = (
            f"Closed by reconciling: {one.absence.polls} polls of {', '.join(members)} from {_text(one.absence.since)} "
            f"to {_text(self._at)} lacked it."
        )
        alert = _alert(one.alarm, raw, labels, status="resolved", ends=since)
        group = _group(one.alarm, raw, words, evidence)
        return self.intake(one.key.integration, group, [(alert, one.alarm.episode)])

    def reopen(self, one: Candidate, alert: Alert, raw: bytes | None) -> Intake:
        """Of an alarm that reconciling closed although it fires."""
        words = "in Alertmanager again; it had been closed by reconciling"
        evidence = f"Reopened by reconciling: Alertmanager lists it as active at {_text(self._at)}."
        return self.intake(one.key.integration, _group(one.alarm, raw, words, evidence), [(alert, one.alarm.episode)])

    def adopt(self, integration: str, origin: str, member: Member, alerts: Sequence[tuple[Alert, int]]) -> Intake:
        """Of alerts of one group that no webhook brought. `member`: any of them."""
        group = ReconciledGroup(
            receiver=quoted(member.receiver),
            groupKey="",
            groupLabels=member.group_labels,
            commonLabels=member.common_labels,
            commonAnnotations=member.common_annotations,
            externalURL=origin,
            reconciled="in Alertmanager, though no webhook brought it",
            evidence=f"Adopted by reconciling: Alertmanager listed it as active at {_text(self._at)}, unknown here.",
        )
        return self.intake(integration, group, alerts)

    def refresh(self, integration: str, alarm: TrackedAlarm, alert: Alert, raw: bytes | None) -> Intake:
        """Of an alarm that fires and that COC accepted long ago."""
        return self.intake(integration, _plain_group(alarm, raw), [(alert, alarm.episode)])


def alert_again(alarm: TrackedAlarm, raw: bytes, labels: Mapping[str, str]) -> Alert:
    """The alert of the last report, firing."""
    return _alert(alarm, raw, labels, status="firing", ends=0)


def _alert(alarm: TrackedAlarm, raw: bytes | None, labels: Mapping[str, str], *, status: Any, ends: Micros) -> Alert:
    alert = unpack(raw)[0] if raw else {}
    starts_at = alert.get("startsAt") or _text(alarm.starts)
    return Alert(
        status=status,
        labels=labels,
        annotations=alert.get("annotations", {}),
        startsAt=starts_at,
        endsAt=_text(ends) if ends else _NEVER,
        generatorURL=alert.get("generatorURL", ""),
        fingerprint=alarm.fingerprint,
        starts=micros(starts_at),
        ends=ends,
    )


def _group(alarm: TrackedAlarm, raw: bytes | None, words: str, evidence: str) -> Group:
    plain = _plain_group(alarm, raw)
    return ReconciledGroup(
        receiver=plain.receiver,
        groupKey=plain.groupKey,
        groupLabels=plain.groupLabels,
        commonLabels=plain.commonLabels,
        commonAnnotations=plain.commonAnnotations,
        externalURL=plain.externalURL,
        reconciled=words,
        evidence=evidence,
    )


def _plain_group(alarm: TrackedAlarm, raw: bytes | None) -> Group:
    group = unpack(raw)[1] if raw else {}
    return Group(
        receiver=alarm.receiver,
        groupKey=group.get("groupKey", ""),
        groupLabels=group.get("groupLabels", {}),
        commonLabels=group.get("commonLabels", {}),
        commonAnnotations=group.get("commonAnnotations", {}),
        externalURL=alarm.origin,
    )


def _text(time: Micros) -> str:
    return moment(time).isoformat(timespec="milliseconds").replace("+00:00", "Z")
