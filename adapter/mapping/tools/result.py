"""PURE: a rendered alert as people and programs see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapter.coc.fields import ADDITIONAL, tidy
from adapter.mapping.render.request import RenderResult


def flat(result: RenderResult) -> dict[str, Any]:
    """The rule and the body's fields on one level, without the revision."""
    return flat_of({"rule": result.rule, "dropped": result.dropped, "body": result.body})


def flat_of(rendered: Mapping[str, Any]) -> dict[str, Any]:
    """As `flat`, of what `as_dict` shows."""
    fields = {"rule": rendered["rule"], "dropped": rendered["dropped"], **body_fields(rendered["body"])}
    fields.pop(f"{ADDITIONAL}.mappingRevision", None)
    return fields


def body_fields(body: Mapping[str, Any] | None) -> dict[str, Any]:
    fields = dict(body or {})
    additional = fields.pop(ADDITIONAL, {})
    return fields | {f"{ADDITIONAL}.{key}": text for key, text in additional.items()}


def shown(value: object) -> str:
    """A field's value for a person."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def rule_of(result: RenderResult) -> str:
    return f"rule {result.rule} of {result.mapping}" if result.rule is not None else "no rule"


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """The names of two `flat` whose values differ."""
    return [name for name in {**after, **before} if before.get(name) != after.get(name)]


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Lines for a person about two `flat`."""
    names = changed(before, after)
    return [f"  {name}: {_or_absent(before.get(name))} -> {_or_absent(after.get(name))}" for name in names]


def _or_absent(value: object) -> str:
    return "(absent)" if value is None else shown(value)


def title(alertname: str, fingerprint: str, status: str) -> str:
    """An alert on one line."""
    return f"{tidy(alertname, lines=False)} {on_one_line(fingerprint)} {status}"


def on_one_line(text: str) -> str:
    return text.replace("\n", "\\n").replace("\t", "\\t")


def as_dict(fingerprint: str, result: RenderResult) -> dict[str, Any]:
    """What `render --output=json` and the admin API show of an alert."""
    return {
        "fingerprint": fingerprint,
        "rule": result.rule,
        "mapping": result.mapping,
        "dropped": result.dropped,
        "fallbacks": [{"field": field, "reason": why.reason} for field, why in result.fallbacks.items()],
        "clipped": list(result.clipped),
        "body": result.body,
    }
