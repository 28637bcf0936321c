"""PURE: a rendered alert as people and programs see it."""

from __future__ import annotations

from typing import Any

from adapter.coc.fields import ADDITIONAL
from adapter.mapping.render.request import RenderResult


def flat(result: RenderResult) -> dict[str, Any]:
    """The rule and the body's fields on one level, without the revision."""
    fields = {"rule": result.rule, "dropped": result.dropped, **body_fields(result)}
    fields.pop(f"{ADDITIONAL}.mappingRevision", None)
    return fields


def body_fields(result: RenderResult) -> dict[str, Any]:
    fields = result.body or {}
    additional = fields.pop(ADDITIONAL, {})
    return fields | {f"{ADDITIONAL}.{key}": text for key, text in additional.items()}


def shown(value: object) -> str:
    """A field's value for a person."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def rule_of(result: RenderResult) -> str:
    return f"rule {result.rule} of {result.mapping}" if result.rule is not None else "no rule"


def changed(before: RenderResult, after: RenderResult) -> list[str]:
    """The names of `flat` that differ."""
    old, new = flat(before), flat(after)
    return [name for name in new | old if old.get(name) != new.get(name)]


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
