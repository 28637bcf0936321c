"""The answers of the admin API as models: they read the store's rows, and the OpenAPI document describes them.

`_at` names the path of a value where it differs from the field's name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasPath, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import from_json

from adapter.alertmanager import unpack
from adapter.clock import Micros, moment
from adapter.store.views import Coc


def _stamp(micros: Micros | None) -> str | None:
    """RFC 3339 in UTC with milliseconds, null for never."""
    if not micros:
        return None
    return moment(micros).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _at(*path: str, default: Any = None, description: str | None = None) -> Any:
    """A field found at this path of the row's attributes; the default where the path ends early."""
    return Field(default_factory=lambda: default, validation_alias=AliasPath(*path), description=description)


def _alert(raw: bytes) -> Any:
    """As it came; null when a disk has changed its bytes."""
    try:
        return unpack(raw)[0]
    except (ValueError, KeyError):
        return None


def _json(body: bytes | None) -> Any:
    return from_json(body) if body else None


def _tenths(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _text(head: bytes) -> str:
    return head.decode(errors="replace")


def _named(fallback: Any) -> Any:
    return dict(zip(("field", "reason"), fallback, strict=False)) if isinstance(fallback, tuple) else fallback


Time = Annotated[str | None, BeforeValidator(_stamp)]


class Model(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        from_attributes=True,
        validate_by_name=True,
        json_schema_serialization_defaults_required=True,
    )


class FindingModel(Model):
    file: str
    line: int
    col: int
    column: int = _at("col", default=0, description="the same as `col`")
    message: str
    hint: str
    severity: Literal["error", "warning"] = Field(description="a warning refuses nothing")


class PauseModel(Model):
    reason: str = Field(description="operator, credentials, endpoint or refusals")
    since: Annotated[str, BeforeValidator(_stamp)]
    by: str = Field(
        description="who asked for it: the user who was let in, `admin API` where none is asked; or adapter"
    )
    because: str = Field(description="why, in that user's words; empty when none were given")
    detail: str = Field(description="what COC answered, or why the user asked for it")


class DirectoryModel(Model):
    known: int = Field(description="applications, components and groups")
    fetched_at: Time
    problem: str = Field(description="why the last fetch changed nothing; empty when all is well")


class ApplicationModel(Model):
    id: str
    integration: str
    name: str
    code: str
    type: str = Field(description="application (sub-applications too), component or group")
    parent_id: str
    path: str = Field(description="ids from the application on, joined by dots, as COC lists it")
    way: str = Field(description="names from the application on, as a mapping may write them: Shop / Frontend")


class MetModel(Model):
    last_at: Time
    origin: str = Field(description="external URL of the Alertmanager that sent the last one")
    truncated: int = Field(description="alerts that Alertmanager cut off, since the start")
    rejected: int = Field(description="alerts that could not be used, since the start")


class IntegrationModel(Model):
    id: str
    integration: str
    state: Literal["running", "paused", "orphan"] = Field(
        description="orphan: it is not in adapter.yml, and nothing of what the store holds of it is sent"
    )
    breaker: str | None = Field(
        description="closed, open (COC does not answer) or half_open (slow start); null for an orphan"
    )
    pause: PauseModel | None
    next_probe_in_seconds: Annotated[float | None, BeforeValidator(_tenths)] = Field(
        description="until COC is tried again where it does not answer or has refused the integration; else null"
    )
    webhooks: MetModel | None = Field(description="that this process has taken; null before the first one")
    pending: int
    open_alarms: int
    dead_letters: int
    oldest_pending_at: Time
    applications: DirectoryModel | None = Field(description="null where the integration does not ask COC for them")


class MappingModel(Model):
    revision: str
    serving_since: Time
    directory: str
    findings: list[FindingModel] = Field(
        description="what the last reload refused, and warnings about the mapping files in force"
    )


class StatusModel(Model):
    version: str
    python: str
    started_at: Annotated[str, BeforeValidator(_stamp)]
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
    fingerprint: str = _at("alarm", "fingerprint")
    status: str = _at("alarm", "status")
    episode: int = _at("alarm", "episode")
    coc_alarm_id: str = _at("alarm", "coc_alarm_id")
    labels: dict[str, str]
    starts_at: Time = _at("alarm", "starts")
    ends_at: Time = _at("alarm", "ends")
    first_seen_at: Time = _at("first_seen")
    last_seen_at: Time = _at("last_seen")
    repeats: int
    stale: int
    conflicts: int = Field(description="alerts that came under the fingerprint with other labels than the one before")
    pending: int = _at("alarm", "pending")
    coc_status: str | None = _at(
        "accepted", "status", description="what COC last accepted: alarm or ok; null when nothing yet"
    )
    coc_accepted_at: Time = _at("accepted", "at")
    coc: Coc = Field(description="what COC last accepted in this episode")
    mismatch: bool = Field(
        description="firing and not at COC, or resolved and still open there; what a rule drops counts as neither"
    )
    fell_back: bool = Field(description="a field of what was rendered last fell back")
    changed_at: Time = _at("alarm", "changed", description="when news about it last came, which orders recent ones")


class TallyModel(Model):
    count: int
    at_least: bool = Field(description="counting ended there, there may be more")


class TalliesModel(Model):
    all: TallyModel
    firing: TallyModel = Field(description="status=firing")
    resolved: TallyModel = Field(description="status=resolved")
    coc_none: TallyModel = Field(description="coc=none: COC has accepted nothing in this episode")
    not_at_coc: TallyModel = Field(description="status=firing and mismatch=true")
    open_at_coc: TallyModel = Field(description="status=resolved and mismatch=true: open at COC though resolved")
    pending: TallyModel = Field(description="pending=true: reports wait")
    fell_back: TallyModel = Field(description="fell_back=true")


class AttemptModel(Model):
    at: Time
    seconds: Annotated[float, BeforeValidator(lambda seconds: round(seconds, 6))]
    verdict: str = _at("reason")
    status: int
    code: str
    message: str
    ambiguous: bool


class FallbackModel(Model):
    field: str
    reason: str


class ReportModel(Model):
    id: int = _at("report", "seq")
    integration: str = _at("report", "integration")
    fingerprint: str = _at("report", "fingerprint")
    episode: int = _at("report", "episode")
    kind: str = _at("report", "kind")
    outcome: str | None = Field(description="null while pending")
    received_at: Time = _at("report", "received")
    done_at: Time = _at("done")
    due_in_seconds: float | None = _at("due_in")
    attempts: int = _at("report", "attempts")
    webhook: dict[str, Any] = Field(description="which webhook brought it: id, receiver, externalURL ...")
    mapping: str | None = _at("provenance", "mapping")
    rule: str | None = _at("provenance", "rule")
    rule_line: int | None = Field(
        default=None, description="where that rule begins in its file; null unless its revision is in force"
    )
    mapping_revision: str | None = _at("provenance", "revision")
    fallbacks: list[Annotated[FallbackModel, BeforeValidator(_named)]] = _at("provenance", "fallbacks", default=[])
    clipped: list[str] = _at("provenance", "clipped", default=[])
    body: Annotated[dict[str, Any] | None, BeforeValidator(_json)] = Field(
        description="as sent last, or as it would have been"
    )
    last_attempts: list[AttemptModel] = _at("attempts")
    alert: Annotated[dict[str, Any] | None, BeforeValidator(_alert)] = _at(
        "report", "raw", description="as Alertmanager sent it"
    )


class SentenceModel(Model):
    code: str = Field(description="of its wording")
    args: dict[str, str | int | SentenceModel] = Field(description="what stands in it; sentences are parts of it")
    text: str


class TrailModel(Model):
    explanation: list[str] = Field(description="why COC has heard what it has heard, the most important first")
    sentences: list[SentenceModel] = Field(description="the explanation, taken apart for other languages")
    alarm: AlarmModel | None
    reports: list[ReportModel]


class RejectModel(Model):
    id: int
    integration: str
    received_at: Time = _at("received")
    reason: str
    head: Annotated[str, BeforeValidator(_text)] = Field(description="the first 64 KiB of what could not be used")


class IdsModel(Model):
    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    ids: list[Annotated[int, Field(ge=1, lt=2**63)]] = Field(min_length=1, max_length=10_000)


class PreviewModel(Model):
    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    ids: list[Annotated[int, Field(ge=1, lt=2**63)]] = Field(min_length=1, max_length=1000)


class RefusalsModel(Model):
    integration: str
    status: int = Field(description="of COC's last answer; 0 without one")
    code: str
    message: str
    reports: int
    alarms: int
    since: Time
    ids: list[int] = Field(description="the first 1000")


class ReplayModel(IdsModel):
    as_sent: bool = Field(default=False, description="send the very body COC refused instead of rendering it anew")


class PauseBodyModel(Model):
    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    because: str = Field(default="", max_length=500, description="why, for those who ask later")


class MoveModel(Model):
    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    to: str = Field(description="an integration of adapter.yml")


class RemovedModel(Model):
    id: str
    integration: str
    to: str | None = Field(description="the integration that has taken over; null where all was discarded")
    alarms: int
    reports: int = Field(description="pending ones")
    superseded: int = Field(
        description="of `reports`: left out, as the other one has sent newer ones of the same alarm"
    )
    owed: int = Field(description="reports more: of open alarms that the other one's COC does not have, or not so")
    dead_letters: int


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


class DraftFindingModel(Model):
    file: str
    line: int
    column: int
    severity: Literal["error", "warning"] = Field(description="a warning refuses nothing")
    message: str
    hint: str


class PostedFindingModel(DraftFindingModel):
    file: str = Field(description="the name that was sent; empty for all files together")
    test: bool = Field(description="whether `file` is one of `tests`")


class RuleModel(Model):
    name: str
    file: str
    line: int
    drop: bool


class MappingsModel(Model):
    revision: str
    files: dict[str, str] = Field(description="the mapping files in force")
    tests: dict[str, str] = Field(description="what stands in the folder tests/, payloads too")
    rules: list[RuleModel] = Field(description="in the order in which alerts meet them")
    findings: list[DraftFindingModel] = Field(
        description="what a reload refused, and warnings about the files in force"
    )


class NameModel(Model):
    name: str
    help: str


class FilterModel(NameModel):
    signature: str = Field(description="as a template writes it")


class FieldModel(NameModel):
    required: bool
    max: int | None = Field(description="UTF-16 units that COC takes")
    values: list[str] = Field(description="the only ones that COC takes; empty for any")


class LanguageModel(Model):
    names: list[NameModel]
    filters: list[FilterModel]
    fields: list[FieldModel]


class RecentAlertModel(Model):
    id: int = Field(description="of the report that carries it")
    integration: str
    fingerprint: str
    status: str
    rule: str | None = Field(description="that took it; null also before the first rendering")
    fell_back: bool
    received_at: Time
    alert: dict[str, Any] = Field(description="as it came")
    group: dict[str, Any] = Field(description="what all alerts of its webhook share")


class AlertsModel(Model):
    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    recent: int | None = Field(default=None, ge=0, description="so many as /alerts/recent gives")
    ids: list[Annotated[int, Field(ge=1, lt=2**63)]] | None = Field(default=None, description="of reports")
    body: dict[str, Any] | str | None = Field(default=None, description="a webhook body, or its text")


class TryModel(Model):
    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=False)

    base: str | None = Field(default=None, description="the revision that the author started from")
    files: dict[str, str | None] = Field(
        default={}, description="they lie over the mapping files in force; null removes"
    )
    tests: dict[str, str] = Field(default={}, description="names relative to tests/, payloads too")
    applications: Any = Field(default=None, description="in place of COC's: a list of them, or names to ids")
    alerts: AlertsModel = AlertsModel()
    integration: str | None = Field(default=None, description="whose settings count; of recent alerts only its own")
    seq: int = Field(default=0, description="of one client the draft with the highest wins")
    client: str = Field(default="", max_length=1000)


class BecauseModel(Model):
    code: str = Field(description="true, always, built_in; false, failed, barred")
    args: dict[str, Any]
    text: str


class TriedModel(Model):
    rule: str | None = Field(description="null for the built-in mapping")
    file: str | None
    line: int | None
    taken: bool
    because: BecauseModel


class ComparedModel(Model):
    id: int | None = Field(description="of the report; null for an alert of `body`")
    integration: str
    fingerprint: str
    serving: RenderedModel | None
    draft: RenderedModel | None = Field(description="null where the draft is refused, or did not come to the alert")
    late: bool = Field(default=False, description="the time was over before the draft came to the alert")
    changed: list[str] = Field(default=[], description="rule, dropped, and fields")
    tried: list[TriedModel] = Field(default=[], description="every rule up to the one that took it")


class TestModel(Model):
    file: str
    line: int
    name: str
    passed: bool
    message: str


class TriedDraftModel(Model):
    base: str | None
    revision: str | None = Field(description="of the draft; null when it was superseded")
    serving: str
    seq: int
    refused: bool = Field(description="the draft cannot serve, and no alert was rendered by it")
    superseded: bool = Field(description="a later draft of this client has come, and nothing was tried")
    findings: list[PostedFindingModel]
    results: list[ComparedModel]
    tests: list[TestModel]
    hits: dict[str, int] = Field(description="alerts by rule of the draft")
    milliseconds: int


class WouldSendModel(Model):
    id: int
    sent: dict[str, Any] | None = Field(description="the body COC refused last")
    now: RenderedModel = Field(description="by the mappings in force")
    changed: list[str] = Field(description="rule, dropped, fields and additional.KEY that differ")


class ReconcileMemberModel(Model):
    address: str
    result: str = Field(description="of the last poll: valid, or why it is no evidence")
    cluster_status: str | None
    up_since: Time
    alerts: int
    seconds: float
    error: str


class HeldModel(Model):
    integration: str
    fingerprint: str
    alertname: str


class MissingModel(HeldModel):
    because: str = Field(description="the likely reason")


class AlertmanagerModel(Model):
    name: str
    mode: str
    replica: str = Field(description="the replica that polls it and shows the rest; empty: this one")
    valid_at: Time
    members: list[ReconcileMemberModel]
    origins: list[str] = Field(description="external URLs of webhooks about alarms that are open")
    states: dict[str, int]
    held: list[HeldModel]
    missing: list[MissingModel]


class ReconcileModel(Model):
    alertmanagers: list[AlertmanagerModel]


class ApprovedModel(Model):
    name: str
    approved: int


class ErrorModel(Model):
    error: str
