"""Alarms, newest first, with the questions of 3 a.m. as filters; and the trail of one alarm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from adapter.admin.openapi import Problem
from adapter.console.language import Language
from adapter.console.visit import Visit

ROWS: Final = 40
WHERE: Final = 4  # labels shown of an alarm beside its name and severity
WHOLE: Final = 8000  # characters of an alert or a body
REPORTS: Final = 12  # on a page of a trail
_ASKED: Final = ("integration", "status", "coc", "mismatch", "pending", "fell_back", "before")


class Filter(NamedTuple):
    """A link above the list."""

    text: str
    query: Mapping[str, str]
    tally: str  # its name among the tallies
    urgent: bool = False


def filters(_: Language) -> list[Filter]:
    return [
        Filter(_("all"), {}, "all"),
        Filter(_("firing"), {"status": "firing"}, "firing"),
        Filter(_("NOT AT COC"), {"status": "firing", "mismatch": "true"}, "not_at_coc", urgent=True),
        Filter(
            _("OPEN AT COC THOUGH RESOLVED"), {"status": "resolved", "mismatch": "true"}, "open_at_coc", urgent=True
        ),
        Filter(_("waiting"), {"pending": "true"}, "pending"),
        Filter(_("fell back"), {"fell_back": "true"}, "fell_back"),
    ]


async def load(visit: Visit) -> Mapping[str, Any]:
    words, problem = visit.one("q"), ""
    query = {name: [visit.one(name)] for name in _ASKED if visit.one(name)}
    searched = {"matcher" if "=" in words or "~" in words else "text": [words]} if words else {}
    paging = {"order": ["recent"], "limit": [str(ROWS)]}
    try:
        answer = await visit.ask("GET /api/v1/alarms", query={**query, **searched, **paging})
        rows, following = answer.content, answer.following
    except Problem as exc:
        if exc.status != 400:
            raise
        rows, following, problem = [], {}, str(exc)
    chosen = {name: value for name, (value,) in query.items() if name not in ("before", "integration")}
    common = common_labels([row.labels for row in rows])
    return {
        "filters": filters(visit.language),
        "tallies": await _tallies(visit),
        "chosen": chosen,
        "words": words,
        "problem": problem,
        "rows": [(row, *at_coc(row, visit.language), where(row.labels, common)) for row in rows],
        "common": common,
        "following": following,
    }


async def _tallies(visit: Visit) -> Any:
    integration = visit.one("integration")
    query = {"integration": [integration]} if integration else {}
    return (await visit.ask("GET /api/v1/alarms/tallies", query=query)).content


def common_labels(rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The labels that all rows share, which need not be repeated in each."""
    if len(rows) < 2:
        return {}
    shared = set(rows[0].items()).intersection(*(row.items() for row in rows[1:]))
    return {name: value for name, value in sorted(shared) if name not in ("alertname", "severity")}


def where(labels: Mapping[str, str], common: Mapping[str, str]) -> str:
    rest = (f"{name}={value}" for name, value in labels.items() if name not in ("alertname", "severity", *common))
    return " ".join(sorted(rest)[:WHERE])


def at_coc(row: Any, _: Language) -> tuple[str, str, str]:
    """Class, icon and word for what COC has of an alarm in this episode."""
    firing = row.status == "firing"
    if row.coc == "none" and row.pending:
        return "warn", "…", _("not yet")
    if row.coc == "none":
        return ("bad", "✖", _("never")) if row.mismatch else ("soft", "-", _("not reported"))
    if row.coc == "alarm":
        return ("warn", "▲", _("still open")) if not firing else ("good", "●", _("open"))
    return ("bad", "✖", _("closed there")) if firing else ("soft", "○", _("closed"))


async def load_trail(visit: Visit) -> Mapping[str, Any]:
    path = {name: visit.path[name] for name in ("integration", "fingerprint")}
    query = {"limit": [str(REPORTS)], **({"before": [visit.one("before")]} if visit.one("before") else {})}
    answer = await visit.ask("GET /api/v1/alarms/{integration}/{fingerprint}", path=path, query=query)
    trail, reports = answer.content, answer.content.reports
    alarm = trail.alarm
    return {
        **path,
        "trail": trail,
        "reports": reports,
        "following": answer.following,
        "api": f"/api/v1/alarms/{quote(path['integration'], safe='')}/{quote(path['fingerprint'], safe='')}",
        "state": at_coc(alarm, visit.language) if alarm else None,
        "sentences": [visit.language.sentence(item) for item in trail.sentences],
        "outcomes": _outcomes(visit.language),
        "most": WHOLE,
        "elsewhere": _elsewhere(reports, alarm),
    }


def _outcomes(_: Language) -> dict[str, str]:
    return {
        "delivered": _("delivered"),
        "unneeded": _("unneeded: COC has it so already"),
        "superseded": _("superseded by a newer update"),
        "dropped": _("dropped by a rule"),
        "discarded": _("discarded"),
        "dead": _("refused for good"),
    }


def _elsewhere(reports: Sequence[Any], alarm: Any) -> dict[str, str]:
    """Where else the alert can be seen; the texts are the alert's own, so they may be no links at all."""
    newest = reports[0] if reports else None
    external = newest.webhook.get("externalURL") if newest else None
    name = alarm.labels.get("alertname", "") if alarm else ""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    query = quote('{alertname="' + escaped + '"}', safe="")
    return {
        "alertmanager": f"{str(external).rstrip('/')}/#/alerts?filter={query}" if external else "",
        "source": str((newest.alert or {}).get("generatorURL", "")) if newest else "",
    }
