"""PURE: reads files of mapping test cases.

A file is validated as a whole. Where a case has its alert in a payload of its own, `payloads` reads that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import to_json

from adapter.alertmanager import micros, parse_webhook
from adapter.application import Directories
from adapter.coc.fields import ADDITIONAL, BY_NAME
from adapter.errors import Finding, PayloadError
from adapter.mapping.render.request import RenderRequest, RenderResult
from adapter.mapping.tools.request import Preview
from adapter.mapping.tools.result import flat
from adapter.nodes import from_data
from adapter.validation import Problem, kind, validate
from adapter.yamlfile import YamlFile, nearest

ABSENT: Final = ("", None)
_STARTS: Final = "2026-01-02T03:04:05Z"

Payloads = Callable[[str], bytes]
"""The webhook body at a path that counts from the folder of the cases; OSError where there is none."""


class Difference(NamedTuple):
    """None is absent."""

    field: str
    expected: Any
    rendered: Any


class Case(NamedTuple):
    """One case, ready to run."""

    file: str
    line: int
    name: str
    request: RenderRequest
    applications: Directories | None  # its own
    expected: Mapping[str, Any]  # with the keys of preview.flat

    def differences(self, rendered: RenderResult) -> list[Difference]:
        """None when the case passes."""
        fields = {**flat(rendered), "fallbacks": sorted(rendered.fallbacks), "clipped": sorted(rendered.clipped)}
        return [
            Difference(field, value, fields.get(field))
            for field, value in self.expected.items()
            if not (fields.get(field) in ABSENT if value in ABSENT else fields.get(field) == value)
        ]


def read_cases(source: YamlFile, payloads: Payloads) -> tuple[list[Case], list[Finding]]:
    """The cases of a file, and every finding; with findings about the cases there are none."""
    findings = list(source.findings)
    if source.data is None and findings:
        return [], findings
    file, problems = validate(source, _File, context=payloads)
    cases = [
        Case(
            source.name,
            source.mark(("tests", number, "name")).line,
            case.name,
            case.request,
            case.applications,
            case.expect.fields(),
        )
        for number, case in enumerate(file.tests if file else ())
    ]
    return cases, findings + problems


def _label_value(value: Any) -> str:
    if isinstance(value, dict | list | float) or value is None:
        raise Problem(f"a value here is text, not {kind(value)}", "put it in quotes", at_key=True)
    return _field_value(value)


def _field_value(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _alarm_key(name: str) -> str:
    if name not in BY_NAME:
        known = (*BY_NAME, ADDITIONAL)
        hint = nearest(name, known) or f"known are {', '.join(known)}"
        raise Problem(f"unknown key {name!r} in alarm", hint, at_key=True)
    return name


LabelSet = dict[str, Annotated[str, BeforeValidator(_label_value)]]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


class _Alert(_Model):
    """An alert of a webhook body; what a case leaves out has these values."""

    model_config = ConfigDict(title="an alert")
    labels: LabelSet = {}
    annotations: LabelSet = {}
    status: str = "firing"
    startsAt: str = _STARTS
    endsAt: str | None = None  # an hour later when resolved
    generatorURL: str = ""
    fingerprint: str = ""


class _Group(_Model):
    model_config = ConfigDict(title="a group")
    receiver: str = "coc"
    groupKey: str = ""
    groupLabels: LabelSet = {}
    commonLabels: LabelSet | None = None  # those of the alert
    commonAnnotations: LabelSet | None = None
    externalURL: str = "https://alertmanager.example"


class _Alarm(BaseModel):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Annotated[str, AfterValidator(_alarm_key)], Any] = Field(init=False)
    additional: dict[str, Annotated[str, BeforeValidator(_field_value)]] = {}

    def fields(self) -> dict[str, Any]:
        extra = self.__pydantic_extra__
        fields = {name: value if name == "time" else _field_value(value) for name, value in extra.items()}
        return fields | {f"{ADDITIONAL}.{key}": text for key, text in self.additional.items()}


class _Expect(_Model):
    model_config = ConfigDict(title="expect")
    rule: str | None = None
    dropped: StrictBool = False
    alarm: _Alarm = Field(default=_Alarm.model_validate({}), description="COC fields to values")
    fallbacks: list[str] = Field(default=[], description="fields")
    clipped: list[str] = Field(default=[], description="fields")

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.model_fields_set:
            raise Problem("the case expects nothing", f"name one of {', '.join(type(self).model_fields)}")
        return self

    def fields(self) -> dict[str, Any]:
        """The expected values, with the keys of preview.flat."""
        given = self.model_dump(exclude_unset=True, exclude={"alarm"})
        fields = {name: sorted(value) if isinstance(value, list) else value for name, value in given.items()}
        alarm = self.alarm.fields()
        if alarm:
            # An alarm that is not reported at all must not pass for one with empty fields.
            alarm.setdefault("dropped", fields.get("dropped", False))
        return fields | alarm


def _applications(data: Any) -> Directories:
    try:
        return from_data(data)
    except ValidationError as exc:
        hint = "a list as `applications list --output=json` prints it, or names and ids: {Shop: 18cfa0a5ef8d}"
        first = exc.errors(include_url=False)[0]
        at = tuple(first["loc"])[:2] if isinstance(data, list) else ()
        raise Problem(f"not applications: {first['msg'].lower()}", hint, at=at[:1]) from exc


class _Case(_Model):
    model_config = ConfigDict(title="a case", arbitrary_types_allowed=True)
    name: str = Field(min_length=1, description="say what the case shows")
    alert: _Alert = _Alert()
    payload: str = ""
    fingerprint: str | None = None  # of one of the payload's alerts
    group: _Group = _Group()
    integration: str = "default"
    applications: Annotated[Directories | None, BeforeValidator(_applications)] = None
    expect: _Expect = Field(description="rule, dropped, alarm, fallbacks or clipped")
    _request: RenderRequest

    @model_validator(mode="after")
    def _read_alert(self, info: ValidationInfo[Payloads]) -> Self:
        given = self.model_fields_set & {"alert", "payload"}
        if len(given) != 1:
            raise Problem("a case has either an alert or a payload")
        (at,) = given
        try:
            webhook = parse_webhook(self._body() if at == "alert" else info.context(self.payload))
        except OSError as exc:
            raise Problem(f"cannot be read: {exc.strerror or exc}", at=(at,)) from exc
        except PayloadError as exc:
            raise Problem(str(exc), at=(at,)) from exc
        wanted = self.fingerprint if at == "payload" else None
        alerts = [alert for alert in webhook.alerts if wanted in (None, alert.fingerprint)]
        if len(alerts) > 1:
            known = ", ".join(alert.fingerprint for alert in alerts[:5])
            raise Problem("the payload has several alerts", f"name one by its fingerprint: {known}", at=(at,))
        if not alerts and webhook.rejects:
            raise Problem(webhook.rejects[0].reason, at=(at,))
        if not alerts:
            raise Problem(f"the payload has no alert with fingerprint {wanted!r}", at=("fingerprint",))
        self._request = Preview(received=micros(_STARTS), integration=self.integration).request(
            alerts[0], webhook.group
        )
        return self

    @property
    def request(self) -> RenderRequest:
        return self._request

    def _body(self) -> bytes:
        """A webhook body with the case's alert."""
        alert = self.alert.model_dump()
        if alert["endsAt"] is None:
            alert["endsAt"] = "2026-01-02T04:05:06Z" if alert["status"] == "resolved" else ""
        common = {"commonLabels": alert["labels"], "commonAnnotations": alert["annotations"]}
        return to_json({**common, **self.group.model_dump(exclude_none=True), "alerts": [alert]})


class _File(_Model):
    model_config = ConfigDict(title="a file of cases")
    tests: list[_Case] = Field(min_length=1, description="cases")
