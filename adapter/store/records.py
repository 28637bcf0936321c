"""PURE: how attempts and makings are written into a column, and read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from pydantic_core import from_json, to_json

from adapter.alarm import Alarm, Attempt
from adapter.alertmanager import Alert, Group, pack
from adapter.clock import SECOND, Micros
from adapter.store.views import Provenance

KEPT_ATTEMPTS: Final = 10


def attempts_to_json(before: str | None, attempts: Sequence[Attempt]) -> str | None:
    """The last ten of those already written and these."""
    if not attempts:
        return before
    rows = from_json(before) if before else []
    rows += [[a.at, a.seconds, a.reason, a.status, a.code, a.message, a.ambiguous] for a in attempts[-KEPT_ATTEMPTS:]]
    return to_json(rows[-KEPT_ATTEMPTS:]).decode()


def attempts_from_json(text: str | None) -> tuple[Attempt, ...]:
    names = ("at", "seconds", "reason", "status", "code", "message", "ambiguous")
    return tuple(Attempt(**dict(zip(names, row, strict=True))) for row in from_json(text)) if text else ()


def provenance_to_json(provenance: Provenance) -> str:
    """All but the body, which is kept as bytes beside it."""
    return to_json(
        [provenance.rule, provenance.mapping, provenance.revision, provenance.fallbacks, provenance.clipped]
    ).decode()


def provenance_from_json(text: str | None, body: bytes | None) -> Provenance | None:
    if not text:
        return None
    rule, mapping, revision, fallbacks, clipped = from_json(text)
    return Provenance(
        rule=rule,
        mapping=mapping,
        revision=revision,
        fallbacks=tuple((name, reason) for name, reason in fallbacks),
        clipped=tuple(clipped),
        body=body,
    )


def labels_to_json(labels: Mapping[str, str]) -> str:
    return to_json(labels).decode()


def labels_from_json(text: str) -> dict[str, str]:
    labels: dict[str, str] = from_json(text)
    return labels


def has_text(text: str, fingerprint: str, labels: Mapping[str, str]) -> bool:
    """AlarmQuery.text, case-insensitive."""
    wanted = text.casefold()
    return wanted in fingerprint.casefold() or any(wanted in value.casefold() for value in labels.values())


def has_labels(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """AlarmQuery.labels; an absent label is the empty string, as in Prometheus."""
    return all(labels.get(name, "") == value for name, value in wanted.items())


def rebuilt(alarm: Alarm, resolved: bool, labels: Mapping[str, str]) -> bytes:
    """A raw report in place of one damaged on disk: what the alarm's row still knows, and why it is so little."""
    alert = Alert(
        fingerprint=alarm.fingerprint,
        status="resolved" if resolved else "firing",
        labels=labels,
        annotations={"description": "The stored alert was damaged on disk; only its labels are known."},
        startsAt=_rfc3339(alarm.starts),
        endsAt=_rfc3339(alarm.ends),
        generatorURL="",
        starts=alarm.starts,
        ends=alarm.ends,
    )
    group = Group(receiver="", groupKey="", groupLabels={}, commonLabels={}, commonAnnotations={}, externalURL="")
    return pack(alert, group.as_json())


def _rfc3339(at: Micros) -> str:
    return datetime.fromtimestamp(at / SECOND, UTC).isoformat() if at else ""
