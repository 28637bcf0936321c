"""PURE: rendered texts -> a body within COC's contract, with a note of everything that is not as the mapping says.

A required field that failed or came out empty falls back alone; an optional one is left out. What fell back and the
full text of what was clipped go into `additional`, so that COC's reader sees it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from adapter.coc.fields import ADDITIONAL, BY_NAME, FIELDS, LEVELS, Field, clean_name, clip, tidy, units
from adapter.mapping.render.request import Contract, Fallback, Reason
from adapter.mapping.rules.filters import level

VALUE_UNITS: Final = 16 * 1024  # one value of `additional`
TOTAL_UNITS: Final = 240 * 1024  # all of them: at most 3 bytes each, so that the body stays under 1 MiB

_DEFAULT_SOURCE: Final = "prometheus"
_MAPPED: Final = tuple(field for field in FIELDS if not field.own)
_PREFIX: Final = len(ADDITIONAL) + 1
_FALLS_BACK: Final = ("alarmName", "alarmLevel", "nameSpace", "applicationId", "alarmDesc")

Problems = Mapping[str, tuple[Reason, str]]
"""Field -> why its template gave nothing usable, with a line for a person."""


class Subject(NamedTuple):
    """What the body is about: the adapter's own fields and the alert itself."""

    alarm_id: str
    time_ms: int
    status: str
    contract: Contract
    alert: Mapping[str, Any]
    group: Mapping[str, Any]


class Origin(NamedTuple):
    """Which rule made it."""

    rule: str | None
    mapping: str | None
    revision: str


class Composed(NamedTuple):
    fallbacks: list[Fallback]
    clipped: list[str]
    body: dict[str, Any]


def compose(subject: Subject, origin: Origin, values: Mapping[str, str], problems: Problems) -> Composed:
    """`values` holds the rendered fields, those of `additional` as `additional.KEY`."""
    body: dict[str, Any] = {"alarmId": subject.alarm_id, "alarmStatus": subject.status, "time": subject.time_ms}
    fallbacks: list[Fallback] = []
    full: dict[str, str] = {}
    for field in _MAPPED:
        name = field.name
        text = values.get(name, "")
        if text:
            text = tidy(text, lines=field.lines)
        elif not field.required and name not in problems:
            continue
        why = problems.get(name) or _problem(field, text, subject.contract, name in values)
        if why is not None:
            fallbacks.append(Fallback(name, *why))
            if why[0] is Reason.TOO_LONG:
                full[name] = text
        if why is not None or not text:
            text = tidy(_built_in(name, subject, body), lines=field.lines)
        if text:
            body[name] = _fit(field, text, subject.contract, full)
    clipped = [name for name in full if BY_NAME[name].cut]
    if problems:
        fallbacks += [Fallback(name, *why) for name, why in problems.items() if name not in BY_NAME]
    extras = {name[_PREFIX:]: tidy(text, lines=True) for name, text in values.items() if text and name not in BY_NAME}
    body[ADDITIONAL], cut = _additional(_notes(subject, origin, fallbacks), full, extras)
    if cut:
        clipped.append(ADDITIONAL)
    return Composed(fallbacks, clipped, body)


def all_fall_back(reason: Reason, contract: Contract, detail: str = "") -> dict[str, tuple[Reason, str]]:
    """The problems of a body that is the built-in fallback throughout."""
    return {
        name: (reason, detail) for name in _FALLS_BACK if name != "applicationId" or contract.require_application_id
    }


def _problem(field: Field, text: str, contract: Contract, mapped: bool) -> tuple[Reason, str] | None:
    name = field.name
    if not text:
        fine = not field.required or (name == "alarmSource" and not mapped)
        fine = fine or (name == "applicationId" and not contract.require_application_id)
        return None if fine else (Reason.EMPTY, "")
    if name == "alarmLevel":
        return None if text in LEVELS else (Reason.NOT_A_LEVEL, "")
    return (Reason.TOO_LONG, "") if not field.cut and units(text) > field.limit else None


def _built_in(name: str, subject: Subject, body: Mapping[str, Any]) -> str:
    """The built-in mapping, the last resort for every required field."""
    labels, annotations = subject.alert["labels"], subject.alert["annotations"]
    match name:
        case "alarmName":
            return _first(labels, "alertname") or "unnamed"
        case "alarmLevel":
            return level(labels.get("severity", ""))
        case "nameSpace":
            return _first(labels, "namespace", "job") or "default"
        case "applicationId":
            return "unmapped" if subject.contract.require_application_id else ""
        case "alarmDesc":
            return _first(annotations, "description", "summary", "message") or str(body["alarmName"])
        case "alarmSource":
            return _DEFAULT_SOURCE
    return ""


def _first(texts: Mapping[str, str], *names: str) -> str:
    return next((texts[name] for name in names if tidy(texts.get(name, ""), lines=False)), "")


def _fit(field: Field, text: str, contract: Contract, full: dict[str, str]) -> str:
    kept = clean_name(text) if field.name == "alarmName" and contract.clean_name else text
    fitted = clip(kept, field.limit, field.mark)
    if fitted != kept:
        full[field.name] = text
    return fitted


def _notes(subject: Subject, origin: Origin, fallbacks: list[Fallback]) -> dict[str, str]:
    told = "; ".join(f"{name}: {why}" + (f" ({more})" if more else "") for name, why, more in fallbacks)
    return {
        "rule": origin.rule or "",
        "mapping": origin.mapping or "",
        "mappingRevision": origin.revision,
        "fingerprint": tidy(subject.alert["fingerprint"], lines=False),
        "generatorURL": tidy(subject.alert["generatorURL"], lines=False),
        "externalURL": tidy(subject.group["externalURL"], lines=False),
        "fallback": tidy(told, lines=False),
    }


def _additional(*parts: Mapping[str, str]) -> tuple[dict[str, str], bool]:
    """The flat map, empty values left out, bounded; and whether anything had to be cut."""
    whole = {key: text for part in parts for key, text in part.items() if text}
    if sum(map(len, whole.values())) * 2 <= VALUE_UNITS:  # a character has two units at most
        return whole, False
    kept: dict[str, str] = {}
    room = TOTAL_UNITS
    for key, text in whole.items():
        fitted = clip(text, min(VALUE_UNITS, room))
        if fitted:
            kept[key] = fitted
            room -= units(fitted)
    return kept, kept != whole
