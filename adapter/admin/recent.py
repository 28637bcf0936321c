"""Alerts that came lately, for trying mappings on: the newest of each alarm, as varied as possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from adapter.admin.openapi import INTEGRATION, Call, Operation, Problem, Query
from adapter.admin.schemas import RecentAlertModel
from adapter.alarm import Status
from adapter.alertmanager import unpack
from adapter.store.views import OperatorStore, RecentRow, ReportRow

MOST_ALERTS: Final = 1000  # their answer is put together in the event loop
LAST_REPORTS: Final = 5000  # of all alarms, among which is looked

MOST_BYTES: Final = 16 * 1024 * 1024  # of alerts, about

_AT_ONCE: Final = 50  # reports
_NO_RULE: Final = "-"


class Wanted(NamedTuple):
    """Which alerts; each must meet every criterion given."""

    limit: int
    integration: str | None = None
    rule: str | None = None  # "-": no rule took it
    text: str = ""  # in the fingerprint or any label value, in any case
    status: Status | None = None
    fell_back: bool | None = None

    def matches(self, row: RecentRow) -> bool:
        texts = (row.fingerprint, *row.labels.values())
        return (
            self.integration in (None, row.integration)
            and (self.rule is None or (row.rendered and self.rule == (row.rule or _NO_RULE)))
            and self.status in (None, row.status)
            and self.fell_back in (None, row.fell_back)
            and (not self.text or any(self.text.casefold() in text.casefold() for text in texts))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentAlerts:
    store: OperatorStore

    def operations(self) -> Sequence[Operation]:
        boolean = {"type": "boolean"}
        query = (
            Query("limit", f"how many, 1 to {MOST_ALERTS}", {"type": "integer"}),
            INTEGRATION,
            Query("rule", "only alerts that this rule took; - for those that none took"),
            Query("text", "part of the fingerprint or of any label value, case does not matter"),
            Query("status", "only alarms in this state", {"type": "string", "enum": list(Status)}),
            Query("fell_back", "only alerts of which a field fell back, or none did", boolean),
        )
        summary = "the newest alert of each alarm, each rule and alertname once before any twice"
        return (Operation("GET", "/api/v1/alerts/recent", summary, self._recent_alerts, list[RecentAlertModel], query),)

    async def _recent_alerts(self, call: Call) -> list[dict[str, Any]]:
        _, limit = call.paging()
        status, fell_back = call.one("status"), call.one("fell_back")
        if status is not None and status not in tuple(Status):
            raise Problem(400, "status is firing or resolved")
        if fell_back not in (None, "true", "false"):
            raise Problem(400, "fell_back is true or false")
        wanted = Wanted(
            limit=limit,
            integration=call.one("integration"),
            rule=call.one("rule"),
            text=call.one("text") or "",
            status=Status(status) if status else None,
            fell_back=None if fell_back is None else fell_back == "true",
        )
        return [_shown(row) for row in await recent_reports(self.store, wanted)]


def _shown(row: ReportRow) -> dict[str, Any]:
    alert, group = unpack(row.report.raw)
    made = row.provenance
    return {
        "id": row.report.seq,
        "integration": row.report.integration,
        "fingerprint": row.report.fingerprint,
        "status": alert["status"],
        "rule": made.rule if made else None,
        "fell_back": made is not None and bool(made.fallbacks),
        "received_at": row.report.received,
        "alert": alert,
        "group": group,
    }


async def recent_reports(store: OperatorStore, wanted: Wanted) -> list[ReportRow]:
    if wanted.limit == 0:
        return []
    rows = varied(filter(wanted.matches, await store.recent(LAST_REPORTS)))[: wanted.limit]
    return await read_reports(store, [row.seq for row in rows])


async def read_reports(store: OperatorStore, seqs: Sequence[int]) -> list[ReportRow]:
    """Those that there are, in this order; only the first ones of alerts that are huge."""
    wanted, left, found = list(dict.fromkeys(seqs)), MOST_BYTES, []
    while wanted and left > 0:
        rows = {row.report.seq: row for row in await store.reports(wanted[:_AT_ONCE])}
        found += [rows[seq] for seq in wanted[:_AT_ONCE] if seq in rows and _is_readable(rows[seq])]
        left -= sum(len(row.report.raw) for row in rows.values())
        del wanted[:_AT_ONCE]
    return found


def _is_readable(row: ReportRow) -> bool:
    """Whether no disk has changed its bytes."""
    try:
        unpack(row.report.raw)
    except (ValueError, KeyError):
        return False
    return True


def varied(rows: Iterable[RecentRow]) -> list[RecentRow]:
    """Each rule once, then each alertname that has not come, before any comes twice; the newest first."""
    rules: Counter[str | None] = Counter()
    names: Counter[str] = Counter()
    ranked = []
    for row in rows:
        name = row.labels.get("alertname", "")
        rule_rank, name_rank = rules[row.rule], names[name]
        rules[row.rule] += 1
        names[name] += 1
        ranked.append((min(rule_rank, name_rank), rule_rank, row))
    return [row for *_, row in sorted(ranked, key=lambda item: item[:2])]
