"""Reconcile: what Alertmanager and the adapter disagree on, and letting through what is held."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from adapter.console.forms import Done
from adapter.console.visit import Visit

ROWS: Final = 50


async def load(visit: Visit) -> Mapping[str, Any]:
    _ = visit.language
    answer = (await visit.ask("GET /api/v1/reconcile")).content
    states = {
        "in_step": _("in step"),
        "suppressed": _("suppressed"),
        "absent": _("absent"),
        "unrouted": _("no longer routed here"),
        "foreign": _("of another Alertmanager"),
        "missing": _("missing here"),
    }
    return {"alertmanagers": answer.alertmanagers, "states": states, "most": ROWS}


async def approve(visit: Visit) -> Done:
    answer = await visit.ask("POST /api/v1/reconcile/{name}/approve", path={"name": visit.path["name"]})
    return Done("/ui/reconcile", f"approved.{answer.content.approved}")
