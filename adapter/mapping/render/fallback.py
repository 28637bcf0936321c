"""PURE: the built-in mapping, for an alarm that no template may touch."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json

from adapter.mapping.render.body import Origin, Subject, all_fall_back, compose
from adapter.mapping.render.request import Reason, RenderRequest, RenderResult

_NO_ALERT = {"labels": {}, "annotations": {}, "fingerprint": "", "generatorURL": ""}
_NO_GROUP = {"externalURL": ""}


def fallback(job: RenderRequest, revision: str, reason: Reason, detail: str = "") -> RenderResult:
    """The built-in body, every field fallen back with that reason; also for a job whose bytes cannot be read."""
    alert, group = _unpack(job.raw)
    subject = Subject(job.alarm_id, job.time_ms, job.status, job.contract, alert, group)
    composed = compose(subject, Origin(None, None, revision), {}, all_fall_back(reason, job.contract, detail))
    told = tuple(composed.fallbacks), tuple(composed.clipped)
    return RenderResult(None, None, revision, False, *told, to_json(composed.body))


def _unpack(raw: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        both = from_json(raw)
        alert, group = _NO_ALERT | both["alert"], _NO_GROUP | both["group"]
    except (ValueError, KeyError, TypeError):
        return _NO_ALERT, _NO_GROUP
    if not isinstance(alert["labels"], dict) or not isinstance(alert["annotations"], dict):
        return _NO_ALERT, _NO_GROUP
    return alert, group
