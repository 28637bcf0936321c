"""PURE: rendered texts -> a body within COC's field contract, with a note of all that is not as the mapping says.

A required field that failed or came out empty takes its built-in value; an optional one is left out. What fell back and
the full text of what was clipped go into `additional`, where COC's users see it too. `fallback` makes the body in which
every field is built-in. Neither fails for any content of an alert.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from pydantic_core import from_json, to_json

from adapter.application import Index
from adapter.coc.fields import ADDITIONAL, BY_NAME, FIELDS, LEVELS, Field, clean_name, clip, tidy, units
from adapter.mapping.render.request import Contract, FailureReason, Fallbacks, Reason, RenderRequest, RenderResult
from adapter.mapping.render.uncarried import BUILT_IN, Reads, uncarried
from adapter.mapping.rules.filters import SEVERITY_LABELS, known_level, level

VALUE_UNITS: Final = 16 * 1024  # one value of `additional`
TOTAL_UNITS: Final = 240 * 1024  # all of them: at most 3 bytes each, so that the body stays under 1 MiB

_MAPPED: Final = tuple(field for field in FIELDS if not field.own)
_PREFIX: Final = len(ADDITIONAL) + 1
_FALLS_BACK: Final = ("alarmName", "alarmLevel", "nameSpace", "applicationId", "alarmDesc")
_NO_ALERT: Final[Mapping[str, Any]] = {"labels": {}, "annotations": {}, "fingerprint": "", "generatorURL": ""}
_NO_GROUP: Final[Mapping[str, Any]] = {"externalURL": ""}


class Subject(NamedTuple):
    """What the body is about: a request, and the alert and group that its bytes hold; the applications, where known."""

    request: RenderRequest
    alert: Mapping[str, Any]
    group: Mapping[str, Any]
    directory: Index | None = None


class Origin(NamedTuple):
    """The rule that took the alert; None when no rule did."""

    rule: str | None
    mapping: str | None
    revision: str


class Rendered(NamedTuple):
    """What the templates of a rule gave."""

    values: Mapping[str, str]  # the fields; those of `additional` as `additional.KEY`
    reads: Reads
    unknown_severity: str = ""  # the word that the filter `level` did not know
    why_empty: Mapping[str, str] = MappingProxyType({})  # field -> detail


NO_RULE: Final = Rendered({}, BUILT_IN)


class _Fields(NamedTuple):
    body: dict[str, Any]
    fallbacks: dict[str, FailureReason]
    clipped: list[str]
    full: dict[str, str]  # the text of each field that COC does not get whole


def compose(subject: Subject, origin: Origin, rendered: Rendered, problems: Fallbacks) -> RenderResult:
    """The whole body. `problems`: why templates gave nothing."""
    values, contract = rendered.values, subject.request.contract
    body, fallbacks, clipped, full = _fields(subject, rendered, problems)
    unknown_severity = _unknown_severity(subject) if "alarmLevel" in fallbacks else rendered.unknown_severity
    fallbacks |= {name: why for name, why in problems.items() if name not in BY_NAME}
    notes = _notes(subject, origin, fallbacks)
    if unknown_severity:
        notes["severity"] = tidy(unknown_severity, lines=False)
    if subject.directory is not None:
        notes["application"] = tidy(subject.directory.shown.get(body.get("applicationId", ""), ""), lines=False)
    extras = {name[_PREFIX:]: tidy(text, lines=True) for name, text in values.items() if text and name not in BY_NAME}
    rest: Mapping[str, str] = {}
    if contract.additional_labels:
        rest = uncarried(subject.alert, rendered.reads, {**values, **body, **full}, {**notes, **full, **extras})
    body[ADDITIONAL], cut = _additional(notes, full, extras, rest)
    if cut:
        clipped.append(ADDITIONAL)
    return RenderResult(*origin, False, fallbacks, tuple(clipped), bool(unknown_severity), to_json(body))


def _fields(subject: Subject, rendered: Rendered, problems: Fallbacks) -> _Fields:
    """Every field but `additional`."""
    values, why_empty = rendered.values, rendered.why_empty
    request, contract = subject.request, subject.request.contract
    body: dict[str, Any] = {"alarmId": request.alarm_id, "alarmStatus": request.status, "time": request.time_ms}
    made = _Fields(body, {}, [], {})
    for field in _MAPPED:
        name = field.name
        text = values.get(name, "")
        if text:
            text = tidy(text, lines=field.lines)
        elif not field.required and name not in problems:
            continue
        why = problems.get(name) or _problem(field, text, contract, name in values)
        if why is not None and why.reason is Reason.EMPTY and name in why_empty:
            why = FailureReason(Reason.EMPTY, why_empty[name])
        if why is not None:
            made.fallbacks[name] = why
            if why.reason is Reason.TOO_LONG:
                made.full[name] = text
        if why is not None or not text:
            text = tidy(_built_in(name, subject, body), lines=field.lines)
        if text:
            _fit(field, text, contract, made)
    return made


def all_fall_back(reason: Reason, contract: Contract, detail: str = "") -> dict[str, FailureReason]:
    """The problems of a body that is the built-in fallback throughout."""
    names = (name for name in _FALLS_BACK if name != "applicationId" or contract.require_application_id)
    return dict.fromkeys(names, FailureReason(reason, detail))


def fallback(request: RenderRequest, revision: str, reason: Reason, detail: str = "") -> RenderResult:
    """The built-in body with that reason for every field, also where the alert's bytes cannot be read."""
    if reason is Reason.REFUSED:  # perhaps for a label, so that COC gets no more than it must
        request = request._replace(contract=request.contract._replace(additional_labels=False))
    subject = Subject(request, *_unpack(request.raw))
    return compose(subject, Origin(None, None, revision), NO_RULE, all_fall_back(reason, request.contract, detail))


def _unpack(raw: bytes) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        both = from_json(raw)
        alert, group = {**_NO_ALERT, **both["alert"]}, {**_NO_GROUP, **both["group"]}
    except (ValueError, KeyError, TypeError):
        return _NO_ALERT, _NO_GROUP
    if not isinstance(alert["labels"], dict) or not isinstance(alert["annotations"], dict):
        return _NO_ALERT, _NO_GROUP
    return alert, group


def _problem(field: Field, text: str, contract: Contract, mapped: bool) -> FailureReason | None:
    name = field.name
    if not text:
        fine = not field.required or (name == "alarmSource" and not mapped)
        fine = fine or (name == "applicationId" and not contract.require_application_id)
        return None if fine else FailureReason(Reason.EMPTY)
    if name == "alarmLevel":
        return None if text in LEVELS else FailureReason(Reason.NOT_A_LEVEL)
    return FailureReason(Reason.TOO_LONG) if not field.cut and units(text) > field.limit else None


def _built_in(name: str, subject: Subject, body: Mapping[str, Any]) -> str:
    """The built-in value of a required field."""
    labels, annotations = subject.alert["labels"], subject.alert["annotations"]
    match name:
        case "alarmName":
            return _first(labels, "alertname") or "unnamed"
        case "alarmLevel":
            return level(_severity(subject))
        case "nameSpace":
            return _first(labels, "namespace", "job") or "default"
        case "applicationId":
            return "unmapped" if subject.request.contract.require_application_id else ""
        case "alarmDesc":
            return _first(annotations, "description", "summary", "message") or str(body["alarmName"])
        case "alarmSource":
            return "prometheus"
    return ""


def _severity(subject: Subject) -> str:
    """The severity word of the alert; empty without one."""
    return _first(subject.alert["labels"], *SEVERITY_LABELS) or _first(subject.alert["annotations"], "severity")


def _unknown_severity(subject: Subject) -> str:
    word = _severity(subject)
    return word if known_level(word) is None else ""


def _first(texts: Mapping[str, str], *names: str) -> str:
    return next((texts[name] for name in names if tidy(texts.get(name, ""), lines=False)), "")


def _fit(field: Field, text: str, contract: Contract, made: _Fields) -> None:
    kept, lost = clean_name(text) if field.name == "alarmName" and contract.clean_name else (text, False)
    made.body[field.name] = fitted = clip(kept, field.limit, field.mark)
    if fitted != kept:
        made.clipped.append(field.name)
    if lost or fitted != kept:
        made.full[field.name] = text


def _notes(subject: Subject, origin: Origin, fallbacks: Fallbacks) -> dict[str, str]:
    return {
        "rule": origin.rule or "",
        "mapping": origin.mapping or "",
        "mappingRevision": origin.revision,
        "fingerprint": tidy(subject.alert["fingerprint"], lines=False),
        "generatorURL": tidy(subject.alert["generatorURL"], lines=False),
        "externalURL": tidy(subject.group["externalURL"], lines=False),
        "reconciled": tidy(subject.group.get("reconciled", ""), lines=False),
        "fallback": tidy("; ".join(f"{name}: {why}" for name, why in fallbacks.items()), lines=False),
    }


def _additional(*parts: Mapping[str, str]) -> tuple[dict[str, str], bool]:
    """One map without empty values and within the limits; and whether anything was cut."""
    whole = {key: text for part in parts for key, text in part.items() if text}
    if sum(map(len, whole.values())) * 2 <= VALUE_UNITS:  # a character has two units at most
        return whole, False
    kept: dict[str, str] = {}
    left = TOTAL_UNITS
    for key, text in whole.items():
        fitted = clip(text, min(VALUE_UNITS, left))
        if fitted:
            kept[key] = fitted
            left -= units(fitted)
    return kept, kept != whole
