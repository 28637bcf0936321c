"""What the admin API says, as models: the OpenAPI document is made from them, and the operator commands read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json

from adapter.alarm import Attempt, Pause
from adapter.clock import SECOND, Micros
from adapter.errors import Finding
from adapter.store.views import AlarmRow, RejectRow, ReportRow


class Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class FindingModel(Model):
    file: str
    line: int
    col: int
    message: str
    hint: str

    @classmethod
    def of(cls, finding: Finding) -> FindingModel:
        return cls(file=finding.file, line=finding.line, col=finding.col, message=finding.message, hint=finding.hint)


class PauseModel(Model):
    reason: str = Field(description="operator, credentials, endpoint or refusals")
    since: str
    by: str
    detail: str

    @classmethod
    def of(cls, pause: Pause) -> PauseModel:
        return cls(reason=pause.reason, since=stamp(pause.since) or "", by=pause.by, detail=pause.detail)


class IntegrationModel(Model):
    id: str
    integration: str
    state: Literal["running", "paused"]
    breaker: str = Field(description="closed, open (COC does not answer) or half_open (slow start)")
    pause: PauseModel | None
    pending: int
    open_alarms: int
    dead_letters: int
    oldest_pending_at: str | None


class MappingModel(Model):
    revision: str
    directory: str
    findings: list[FindingModel] = Field(description="what the last reload refused; empty when all is well")


class StatusModel(Model):
    version: str
    python: str
    started_at: str
    ready: bool
    not_ready_because: str | None
    restart_needed: bool = Field(description="adapter.yml has changed since the start")
    config: dict[str, Any] = Field(description="adapter.yml with secrets masked")
    mapping: MappingModel
    store: dict[str, Any]
    integrations: list[IntegrationModel]


class AlarmModel(Model):
    id: int
    integration: str
    fingerprint: str
    status: str
    episode: int
    coc_alarm_id: str
    labels: dict[str, str]
    starts_at: str | None
    ends_at: str | None
    first_seen_at: str | None
    last_seen_at: str | None
    repeats: int
    stale: int
    pending: int
    coc_status: str | None = Field(description="what COC last accepted: alarm or ok; null when nothing yet")
    coc_accepted_at: str | None

    @classmethod
    def of(cls, row: AlarmRow) -> AlarmModel:
        alarm = row.alarm
        return cls(
            id=row.id,
            integration=row.integration,
            fingerprint=alarm.fingerprint,
            status=alarm.status.value,
            episode=alarm.episode,
            coc_alarm_id=alarm.coc_alarm_id,
            labels=dict(row.labels),
            starts_at=stamp(alarm.starts),
            ends_at=stamp(alarm.ends),
            first_seen_at=stamp(row.first_seen),
            last_seen_at=stamp(row.last_seen),
            repeats=row.repeats,
            stale=row.stale,
            pending=alarm.pending,
            coc_status=row.accepted.status if row.accepted else None,
            coc_accepted_at=stamp(row.accepted.at) if row.accepted else None,
        )


class AttemptModel(Model):
    at: str | None
    seconds: float
    verdict: str
    status: int
    code: str
    message: str
    ambiguous: bool

    @classmethod
    def of(cls, attempt: Attempt) -> AttemptModel:
        return cls(
            at=stamp(attempt.at),
            seconds=round(attempt.seconds, 6),
            verdict=attempt.reason,
            status=attempt.status,
            code=attempt.code,
            message=attempt.message,
            ambiguous=attempt.ambiguous,
        )


class FallbackModel(Model):
    field: str
    reason: str


class ReportModel(Model):
    id: int
    integration: str
    fingerprint: str
    episode: int
    kind: str
    outcome: str | None = Field(description="null while pending")
    received_at: str | None
    done_at: str | None
    due_in_seconds: float | None
    attempts: int
    webhook: dict[str, Any] = Field(description="which webhook brought it: id, receiver, externalURL ...")
    mapping: str | None
    rule: str | None
    mapping_revision: str | None
    fallbacks: list[FallbackModel]
    clipped: list[str]
    body: dict[str, Any] | None = Field(description="as sent last, or as it would have been")
    last_attempts: list[AttemptModel]

    @classmethod
    def of(cls, row: ReportRow) -> ReportModel:
        report, made = row.report, row.made
        body = made.body if made and made.body else report.body
        return cls(
            id=report.seq,
            integration=report.integration,
            fingerprint=report.fingerprint,
            episode=report.episode,
            kind=report.kind.value,
            outcome=row.outcome.value if row.outcome else None,
            received_at=stamp(report.received),
            done_at=stamp(row.done),
            due_in_seconds=row.due_in,
            attempts=report.attempts,
            webhook={"id": report.webhook, **row.sender},
            mapping=made.mapping if made else None,
            rule=made.rule if made else None,
            mapping_revision=made.revision if made else None,
            fallbacks=[FallbackModel(field=field, reason=reason) for field, reason in (made.fallbacks if made else ())],
            clipped=list(made.clipped) if made else [],
            body=from_json(body) if body else None,
            last_attempts=[AttemptModel.of(attempt) for attempt in row.attempts],
        )


class TrailModel(Model):
    explanation: list[str] = Field(description="why COC has heard what it has heard, newest first")
    alarm: AlarmModel | None
    reports: list[ReportModel]


class RejectModel(Model):
    id: int
    integration: str
    received_at: str | None
    reason: str
    head: str = Field(description="the first 64 KiB of what could not be used")

    @classmethod
    def of(cls, row: RejectRow) -> RejectModel:
        return cls(
            id=row.id,
            integration=row.integration,
            received_at=stamp(row.received),
            reason=row.reason,
            head=row.head.decode(errors="replace"),
        )


class IdsModel(Model):
    model_config = ConfigDict(frozen=True, extra="forbid")

    ids: list[Annotated[int, Field(ge=1, lt=2**63)]] = Field(min_length=1, max_length=10_000)


class ReplayModel(IdsModel):
    as_sent: bool = Field(default=False, description="send the very body COC refused instead of rendering it anew")


class ReplayedModel(Model):
    id: int
    kinds: list[str] = Field(description="the reports now owed again, in order")


class DiscardedModel(Model):
    id: int


class RenderedModel(Model):
    fingerprint: str
    rule: str | None
    mapping: str | None
    dropped: bool
    fallbacks: list[FallbackModel]
    clipped: list[str]
    body: dict[str, Any] | None


class ErrorModel(Model):
    error: str


def stamp(micros: Micros) -> str | None:
    """RFC 3339 in UTC with milliseconds, null for never."""
    if not micros:
        return None
    return datetime.fromtimestamp(micros / SECOND, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
