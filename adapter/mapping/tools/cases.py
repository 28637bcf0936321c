"""`coc-adapter test`: unit tests of mappings, run by the worker that renders in production.

A file of cases is validated as a whole. Nothing is run while there is a finding in the cases or in the mappings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, Self, TextIO
from xml.etree import ElementTree

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
from adapter.errors import Finding, MappingError, PayloadError
from adapter.files import MAX_PAYLOAD_BYTES, content
from adapter.mapping.render.request import RenderRequest, RenderResult
from adapter.mapping.rules.files import SUFFIXES, load
from adapter.mapping.rules.model import RuleSet
from adapter.mapping.tools.preview import NONE, Preview, flat, render_groups, rule_of, shown
from adapter.nodes import from_data
from adapter.validation import Problem, kind, validate
from adapter.yamlfile import nearest, read

_ABSENT: Final = ("", None)
_STARTS: Final = "2026-01-02T03:04:05Z"


class CaseResult(NamedTuple):
    """One case that was run; it passed when there are no differences."""

    file: str
    line: int
    name: str
    rendered: RenderResult
    differences: Sequence[tuple[str, Any, Any]]  # field, expected value, rendered value; None is absent


async def run_cases(
    directory: Path, files: Sequence[Path], junit: Path | None, out: TextIO, applications: Directories = NONE
) -> int:
    """Run the cases of `files`, of DIR/tests/ when it is empty; 1 unless all pass. `junit`: where to write XML.

    `applications`: for cases that bring none of their own.

    MappingError has the findings of the cases and of the mappings.
    """
    folder = directory / "tests"
    cases: list[tuple[str, int, _Case]] = []  # file, line, case
    findings: list[Finding] = []
    for path in files or sorted(
        path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES and path.is_file()
    ):
        source = read(path)
        findings += source.findings
        if source.data is None and source.findings:
            continue
        file, problems = validate(source, _File, context=path.parent)
        findings += problems
        for number, case in enumerate(file.tests if file else ()):
            cases.append((str(path), source.mark(("tests", number, "name")).line, case))
    if not cases and not findings:
        findings.append(Finding(str(folder), 0, 0, "no test cases here", "write tests/NAME.yaml"))
    if findings:
        try:
            load(directory)
        except MappingError as exc:
            findings += exc.findings
        raise MappingError(findings)
    own = [(case.applications or applications, case.request) for *_, case in cases]
    groups = [[*group] for _, group in groupby(own, key=lambda pair: id(pair[0]))]
    rendered, mappings = await render_groups(
        directory, [(group[0][0], [request for _, request in group]) for group in groups]
    )
    results = [
        CaseResult(file, line, case.name, result, _differences(case.expect.fields(), result))
        for (file, line, case), result in zip(cases, rendered, strict=True)
    ]
    _print_report(results, mappings.rules, out)
    if junit is not None:
        _write_junit(results, junit)
    return 1 if any(result.differences for result in results) else 0


def _differences(expected: Mapping[str, Any], rendered: RenderResult) -> list[tuple[str, Any, Any]]:
    fields = {**flat(rendered), "fallbacks": sorted(rendered.fallbacks), "clipped": sorted(rendered.clipped)}
    return [
        (field, value, fields.get(field))
        for field, value in expected.items()
        if not (fields.get(field) in _ABSENT if value in _ABSENT else fields.get(field) == value)
    ]


# Reading ------------------------------------------------------------------------------------------------------------


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
    def _read_alert(self, info: ValidationInfo[Path]) -> Self:
        """`info.context` is the folder of the file, from which the path of a payload counts."""
        given = self.model_fields_set & {"alert", "payload"}
        if len(given) != 1:
            raise Problem("a case has either an alert or a payload")
        (at,) = given
        try:
            webhook = parse_webhook(
                self._body() if at == "alert" else content(info.context / self.payload, MAX_PAYLOAD_BYTES)
            )
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


# Reporting ----------------------------------------------------------------------------------------------------------


def _print_report(results: Sequence[CaseResult], rules: RuleSet, out: TextIO) -> None:
    for file, group in groupby(results, key=lambda result: result.file):
        print(file, file=out)
        for result in group:
            print(f"  {'FAIL' if result.differences else 'PASS'}  {result.name}", file=out)
            if result.differences:
                print(*_details(result), sep="\n", file=out)
    failed = sum(bool(result.differences) for result in results)
    print(file=out)
    _print_coverage(results, rules, out)
    print(f"{len(results) - failed} passed, {failed} failed", file=out)


def _details(result: CaseResult) -> list[str]:
    """The differences of one case, the two values of each field below one another."""
    rendered = result.rendered
    lines = []
    for field, expected, got in result.differences:
        lines.append(f"          {field}")
        lines.append(f"            - expected  {_shown(expected)}")
        lines.append(f"            + got       {_shown(got)}")
    outcome = "dropped" if rendered.dropped else "rendered"
    lines.append(f"        {outcome} by {rule_of(rendered)}; the case is {result.file}:{result.line}")
    lines += [f"        {field} fell back: {why}" for field, why in rendered.fallbacks.items()]
    return lines


def _shown(value: Any) -> str:
    return "(nothing)" if value in _ABSENT else shown(value)


def _print_coverage(results: Sequence[CaseResult], rules: RuleSet, out: TextIO) -> None:
    reached = {(result.rendered.mapping, result.rendered.rule) for result in results}
    every = [(file, rule) for file in rules.files for rule in file.rules]
    missed = [(file, rule) for file, rule in every if (file.name, rule.name) not in reached]
    print(f"{len(every) - len(missed)} of {len(every)} rules are reached by a case", file=out)
    for file, rule in missed:
        line = file.source.mark((*rule.loc, "name")).line
        print(f"  {file.source.name}:{line}: no case reaches rule {rule.name}", file=out)


def _write_junit(results: Sequence[CaseResult], path: Path) -> None:
    """JUnit XML for build servers: a suite per file, a failure element per failed case."""
    root = ElementTree.Element("testsuites", {"name": "coc-adapter test", **_counts(results)})
    for file, group in groupby(results, key=lambda result: result.file):
        suite_results = list(group)
        suite = ElementTree.SubElement(root, "testsuite", {"name": file, **_counts(suite_results)})
        for result in suite_results:
            attributes = {"name": result.name, "classname": Path(file).stem, "file": file}
            case = ElementTree.SubElement(suite, "testcase", attributes, line=str(result.line))
            if result.differences:
                fields = ", ".join(field for field, *_ in result.differences)
                failure = ElementTree.SubElement(case, "failure", message=f"not as expected: {fields}")
                failure.text = "\n".join(_details(result))
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _counts(results: Sequence[CaseResult]) -> dict[str, str]:
    failed = sum(bool(result.differences) for result in results)
    return {"tests": str(len(results)), "failures": str(failed), "errors": "0", "skipped": "0"}
