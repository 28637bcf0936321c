"""Alarms: the list, and the trail of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapter.admin.explain import explain
from adapter.admin.integrations import Reporting
from adapter.admin.openapi import INTEGRATION, Call, Operation, Problem, Query
from adapter.admin.schemas import AlarmModel, TrailModel
from adapter.alarm import Status
from adapter.clock import SECOND, Clock, Micros
from adapter.matchers import MatcherError, parse_matchers
from adapter.reconcile.reconciling import Reconciling
from adapter.store.views import AlarmQuery, AlarmRow, OperatorStore
from adapter.units import seconds

_FILTERS = (
    INTEGRATION,
    Query("status", "only alarms in this state", {"type": "string", "enum": list(Status)}),
    Query("text", "part of the fingerprint or of any label value, case does not matter"),
    Query("matcher", "as Alertmanager's, such as severity=~critical|warning; all given must hold",
          {"type": "array", "items": {"type": "string"}}),
    Query("unseen", "only open alarms that no webhook has named for so long, such as 24h"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    store: OperatorStore
    clock: Clock
    integrations: Mapping[str, Reporting]
    reconciling: Reconciling

    def operations(self) -> Sequence[Operation]:
        return (
            Operation("GET", "/api/v1/alarms", "alarms, by id",
                      self._alarms, list[AlarmModel], _FILTERS, paged=True),
            Operation("GET", "/api/v1/alarms/{integration}/{fingerprint}",
                      "one alarm: what came, what was sent, what COC said, or why not",
                      self._trail, TrailModel, errors=(404,)),
        )  # fmt: skip

    async def _alarms(self, call: Call) -> list[AlarmRow]:
        status = call.one("status")
        if status is not None and status not in tuple(Status):
            raise Problem(400, "status is firing or resolved")
        after, limit = call.paging()
        try:
            matchers = parse_matchers(call.every("matcher"))
        except MatcherError as exc:
            raise Problem(400, str(exc)) from exc
        return await self.store.alarms(
            AlarmQuery(
                integration=call.one("integration"),
                status=Status(status) if status else None,
                text=call.one("text") or "",
                matchers=matchers,
                unseen_since=self._unseen_since(call.one("unseen")),
                after=after,
                limit=limit,
            )
        )

    def _unseen_since(self, text: str | None) -> Micros | None:
        try:
            return self.clock.now() - round(seconds(text) * SECOND) if text else None
        except ValueError as exc:
            raise Problem(400, f"unseen: {exc}") from exc

    async def _trail(self, call: Call) -> dict[str, Any]:
        integration, fingerprint = call.path["integration"], call.path["fingerprint"]
        rows = await self.store.alarms(AlarmQuery(integration=integration, fingerprint=fingerprint, limit=1))
        reports = await self.store.trail(integration, fingerprint)
        delivery = self.integrations.get(integration)
        alarm = rows[0] if rows else None
        sentences = explain(
            alarm,
            reports,
            pause=delivery.pause if delivery else None,
            breaker=delivery.breaker_state if delivery else None,
            now=self.clock.now(),
            standing=self.reconciling.sentences(alarm) if alarm else (),
        )
        return {"explanation": sentences, "alarm": alarm, "reports": reports}
