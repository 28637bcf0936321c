"""The playground: mapping files and tests in an editor, beside what a draft of them makes of real alerts.

With JavaScript the page asks the admin API itself; without it the form is answered with the draft in it. Neither writes
a mapping.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

from adapter.console.language import marked as _
from adapter.console.page import Page
from adapter.console.visit import Visit

TESTS: Final = "tests/"  # before the names of tests among the files
_KEPT: Final = "file:"  # before the name of a changed file in a hidden field of the form
_SAMPLES: Final = ("single-firing", "kube-shop-two-rules", "kube-node-filesystem", "unicode", "no-alertname")
_MOST_TRIED: Final = 20  # alerts, without JavaScript
_MOST_SHOWN: Final = 10
_SAID: Final = (
    _("no rule"), _("empty"), _("error"), _("timeout"), _("memory"), _("crash"), _("not a level"), _("too long"),
    _("it has no condition"), _("no rule takes it: the built-in mapping reports it"),
    _("it would drop the alert, which no rule may after a condition has failed"),
    _("the condition is true"), _("the condition is false"),
)  # fmt: skip
"""What the engine says in English and the scripts translate."""


class Row(NamedTuple):
    """A field of which serving and draft make something else, or that fell back."""

    field: str
    serving: str
    draft: str
    fallback: str  # why; empty where it did not


class Compared(NamedTuple):
    title: str
    late: bool
    rows: Sequence[Row]


async def load(visit: Visit) -> Mapping[str, Any]:
    return await _content(visit, visit.one("file"), {})


async def submit(visit: Visit) -> tuple[Page, Mapping[str, Any]]:
    """Try the draft in the form, or open another file of it."""
    path, typed = visit.form.get("path", ""), {}
    for name, text in visit.form.items():
        if name.startswith(_KEPT):
            typed[name.removeprefix(_KEPT)] = text
    if path and "draft" in visit.form:
        typed[path] = visit.form["draft"]
    content = await _content(visit, visit.form.get("open", path), typed)
    if "open" in visit.form:
        return PAGE, content
    return PAGE, {**content, **await _tried(visit, content["changed"])}


async def _content(visit: Visit, path: str, typed: Mapping[str, str]) -> dict[str, Any]:
    mappings = (await visit.ask("GET /api/v1/mappings")).content
    serving = {**mappings.files, **{TESTS + name: text for name, text in mappings.tests.items()}}
    changed = {name: text for name, text in _as_served(typed, serving) if text != serving.get(name)}
    paths = sorted({*serving, *changed}, key=lambda name: (name.startswith(TESTS), name))
    path = path if path in paths else paths[0]
    integrations = (await visit.ask("GET /api/v1/integrations")).content
    return {
        "revision": mappings.revision,
        "paths": [(name, name in changed) for name in paths],
        "path": path,
        "text": changed.get(path, serving.get(path, "")),
        "others": [(name, text) for name, text in changed.items() if name != path],
        "changed": changed,
        "rules": sorted({rule.name for rule in mappings.rules}),
        "integrations": [row.integration for row in integrations if row.state != "orphan"],
        "pasted": await _rejected(visit, visit.one("reject")),
        "samples": _samples(),
        "words": {text: visit.language(text) for text in _SAID},
        "tried": False,
        "findings": [],
        "failed": [],
        "compared": [],
    }


def _as_served(typed: Mapping[str, str], serving: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The texts with the line ends of the files in force; a form always sends CRLF."""
    for name, text in typed.items():
        plain = text.replace("\r\n", "\n")
        yield name, plain.replace("\n", "\r\n") if "\r\n" in serving.get(name, "") else plain


async def _rejected(visit: Visit, number: str) -> str:
    """The head of a reject, to be tried again; empty without one of that number."""
    if not number.isdecimal() or number == "0" or len(number) > 18:
        return ""
    query = {"after": [str(int(number) - 1)], "limit": ["1"]}
    rows = (await visit.ask("GET /api/v1/rejects", query=query)).content
    return next((row.head for row in rows if row.id == int(number)), "")


async def _tried(visit: Visit, changed: Mapping[str, str]) -> dict[str, Any]:
    """What the draft makes of recent alerts, of the samples where none has come."""
    recent = (await visit.ask("GET /api/v1/alerts/recent", query={"limit": [str(_MOST_TRIED)]})).content
    alerts: Sequence[Mapping[str, Any]] = [row.alert for row in recent] or _samples()["alerts"]
    tests = dict((await visit.ask("GET /api/v1/mappings")).content.tests)
    tests |= {name.removeprefix(TESTS): text for name, text in changed.items() if name.startswith(TESTS)}
    draft = {
        "files": {name: text for name, text in changed.items() if not name.startswith(TESTS)},
        "tests": tests,
        "alerts": {"ids": [row.id for row in recent]} if recent else {"body": _samples()},
    }
    answer = (await visit.ask("POST /api/v1/mappings/try", body=draft)).content
    compared = [
        Compared(_title(alert), result.late, list(_rows(result)))
        for alert, result in zip(alerts, answer.results, strict=False)
    ]
    compared.sort(key=lambda one: not one.rows)
    return {
        "tried": True,
        "findings": [{**vars(one), "file": f"{TESTS if one.test else ''}{one.file}"} for one in answer.findings],
        "failed": [test for test in answer.tests if not test.passed],
        "compared": compared[:_MOST_SHOWN],
    }


def _title(alert: Mapping[str, Any]) -> str:
    labels = alert.get("labels") or {}
    return " ".join(str(labels[name]) for name in ("alertname", "namespace", "pod", "instance") if labels.get(name))


def _rows(result: Any) -> Iterator[Row]:
    if result.draft is None:
        return
    serving, draft = _fields(result.serving), _fields(result.draft)
    why = {fallback.field: fallback.reason for fallback in result.draft.fallbacks}
    for field in dict.fromkeys((*result.changed, *why)):
        yield Row(field, serving.get(field, ""), draft.get(field, ""), why.get(field, ""))


def _fields(rendered: Any) -> dict[str, str]:
    if rendered is None:
        return {}
    body = dict(rendered.body or {})
    additional = body.pop("additional", {})
    fields = {"rule": rendered.rule, "dropped": rendered.dropped, **body}
    fields |= {f"additional.{name}": value for name, value in additional.items()}
    return {name: str(value) for name, value in fields.items()}


@cache
def _samples() -> dict[str, Any]:
    """One webhook body with some of the shipped samples."""
    folder = files("adapter").joinpath("samples")
    bodies = [json.loads(folder.joinpath(f"{name}.json").read_bytes()) for name in _SAMPLES]
    return {**bodies[0], "alerts": [alert for body in bodies for alert in body["alerts"]]}


PAGE: Final = Page("mappings", _("Mappings"), "/ui/mappings", "mappings.html", load, script="playground.js")
