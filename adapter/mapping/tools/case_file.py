"""Files of mapping unit tests: YAML -> cases, with a finding for whatever is not as the format has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic_core import to_json

from adapter.alertmanager import Alert, Group, Webhook, parse_webhook
from adapter.coc.fields import ADDITIONAL, BY_NAME
from adapter.errors import Finding, PayloadError
from adapter.mapping.rules.language import ALERT_NAMES, GROUP_NAMES
from adapter.validation import kind
from adapter.yamlfile import Loc, YamlFile, nearest, read

CASE_KEYS: Final = ("name", "alert", "payload", "fingerprint", "group", "integration", "expect")
ALERT_KEYS: Final = ("labels", "annotations", *ALERT_NAMES)
EXPECT_KEYS: Final = ("rule", "dropped", "alarm", "fallbacks", "clipped")
ALARM_KEYS: Final = (*BY_NAME, ADDITIONAL)

_STARTS: Final = "2026-01-02T03:04:05Z"
_ENDS: Final = "2026-01-02T04:05:06Z"


class Case(NamedTuple):
    """One case. `expected` holds what is to be compared, keys as preview.flat gives them."""

    file: str
    line: int
    name: str
    alert: Alert
    group: Group
    integration: str
    expected: dict[str, Any]


class _Wrong(Exception):
    """Found and noted; this case cannot be read."""


def read_cases(path: Path) -> tuple[list[Case], list[Finding]]:
    """The cases of one file, and everything wrong with it."""
    source = read(path)
    reader = _Reader(source, path)
    cases = reader.cases() if source.data is not None or not source.findings else []
    return cases, [*source.findings, *reader.findings]


class _Reader:
    def __init__(self, source: YamlFile, path: Path) -> None:
        self._source = source
        self._path = path
        self.findings: list[Finding] = []

    def _add(self, loc: Loc, message: str, hint: str = "", *, at_key: bool = False) -> None:
        self.findings.append(self._source.finding(loc, message, hint, at_key=at_key))

    def _mapping(self, value: Any, loc: Loc, what: str, known: tuple[str, ...] = ()) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._add(loc, f"{what} must be a mapping, not {kind(value)}")
            raise _Wrong
        for key in value:
            if known and key not in known:
                hint = nearest(key, known) or f"known are {', '.join(known)}"
                self._add((*loc, key), f"unknown key {key!r} in {what}", hint, at_key=True)
        return value

    def cases(self) -> list[Case]:
        try:
            data = self._mapping(self._source.data, (), "a file of cases", ("tests",))
        except _Wrong:
            return []
        entries = data.get("tests")
        if not isinstance(entries, list) or not entries:
            self._add(("tests",), f"tests must be a list of cases, not {kind(entries)}")
            return []
        found = []
        for number, entry in enumerate(entries):
            try:
                found.append(self._case(entry, ("tests", number)))
            except _Wrong:
                continue
        return found

    def _case(self, entry: Any, loc: Loc) -> Case:
        entry = self._mapping(entry, loc, "a case", CASE_KEYS)
        name = entry.get("name")
        if not isinstance(name, str) or not name:
            self._add(loc, "the case has no name", "say what it shows")
            name = f"number {int(loc[-1]) + 1}"
        expected = self._expected(entry.get("expect"), (*loc, "expect"))
        alert, group = self._given(entry, loc)
        return Case(
            file=str(self._path),
            line=self._source.mark((*loc, "name")).line,
            name=name,
            alert=alert,
            group=group,
            integration=str(entry.get("integration", "default")),
            expected=expected,
        )

    def _given(self, entry: dict[str, Any], loc: Loc) -> tuple[Alert, Group]:
        if ("alert" in entry) == ("payload" in entry):
            self._add(loc, "a case has either an alert or a payload")
            raise _Wrong
        webhook = self._of_payload(entry, loc) if "payload" in entry else self._of_alert(entry, loc)
        wanted = entry.get("fingerprint") if "payload" in entry else None
        alerts = [alert for alert in webhook.alerts if wanted in (None, alert.fingerprint)]
        if len(alerts) == 1:
            return alerts[0], webhook.group
        if webhook.rejects and not alerts:
            self._add((*loc, "alert"), webhook.rejects[0].reason)
        elif not alerts:
            self._add((*loc, "fingerprint"), f"the payload has no alert with fingerprint {wanted!r}")
        else:
            prints = ", ".join(alert.fingerprint for alert in alerts[:5])
            self._add((*loc, "payload"), "the payload has several alerts", f"name one by its fingerprint: {prints}")
        raise _Wrong

    def _of_payload(self, entry: dict[str, Any], loc: Loc) -> Webhook:
        try:
            return parse_webhook((self._path.parent / str(entry["payload"])).read_bytes())
        except OSError as exc:
            self._add((*loc, "payload"), f"cannot be read: {exc.strerror or exc}")
        except PayloadError as exc:
            self._add((*loc, "payload"), str(exc))
        raise _Wrong

    def _of_alert(self, entry: dict[str, Any], loc: Loc) -> Webhook:
        at = (*loc, "alert")
        given = self._mapping(entry["alert"], at, "an alert", ALERT_KEYS)
        labels = self._texts(given.get("labels", {}), (*at, "labels"))
        annotations = self._texts(given.get("annotations", {}), (*at, "annotations"))
        group = {
            "receiver": "coc",
            "groupLabels": {},
            "commonLabels": labels,
            "commonAnnotations": annotations,
            "externalURL": "https://alertmanager.example",
            **self._mapping(entry.get("group", {}), (*loc, "group"), "a group", GROUP_NAMES),
        }
        times = {"startsAt": _STARTS, "endsAt": _ENDS if given.get("status") == "resolved" else ""}
        alert = {"status": "firing", **times, **given, "labels": labels, "annotations": annotations}
        try:
            return parse_webhook(to_json({**group, "alerts": [alert]}))
        except PayloadError as exc:
            self._add(at, str(exc))
            raise _Wrong from None

    def _texts(self, value: Any, loc: Loc) -> dict[str, str]:
        texts = self._mapping(value, loc, str(loc[-1]))
        for name, text in texts.items():
            if isinstance(text, dict | list | float) or text is None:
                self._add((*loc, name), f"a value here is text, not {kind(text)}", "put it in quotes", at_key=True)
        return {name: _as_text(text) for name, text in texts.items()}

    def _expected(self, value: Any, loc: Loc) -> dict[str, Any]:
        expect = self._mapping(value, loc, "expect", EXPECT_KEYS)
        if not expect:
            self._add(loc, "the case expects nothing", f"name one of {', '.join(EXPECT_KEYS)}")
        expected: dict[str, Any] = {name: expect[name] for name in ("rule", "dropped") if name in expect}
        for name in ("fallbacks", "clipped"):
            if name in expect:
                fields = expect[name]
                if not isinstance(fields, list):
                    self._add((*loc, name), f"{name} is a list of fields, not {kind(fields)}")
                    raise _Wrong
                expected[name] = sorted(map(str, fields))
        return expected | self._alarm(expect.get("alarm", {}), (*loc, "alarm"))

    def _alarm(self, value: Any, loc: Loc) -> dict[str, Any]:
        alarm = self._mapping(value, loc, "alarm", ALARM_KEYS)
        flat: dict[str, Any] = {}
        for name, wanted in alarm.items():
            if name == ADDITIONAL:
                extras = self._mapping(wanted, (*loc, ADDITIONAL), ADDITIONAL)
                flat.update({f"{ADDITIONAL}.{key}": _as_text(text) for key, text in extras.items()})
            else:
                flat[name] = wanted if name == "time" else _as_text(wanted)
        if flat:
            # An alarm that is not reported at all must not pass for one with empty fields.
            flat.setdefault("dropped", False)
        return flat


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
