"""Alarms: the list, and the trail of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from adapter.admin.explain import explain
from adapter.admin.integrations import Reporting
from adapter.admin.openapi import BEFORE, INTEGRATION, PAGING, Call, Operation, Order, Paged, Problem, Query
from adapter.admin.schemas import AlarmModel, ReportModel, TalliesModel, TrailModel
from adapter.alarm import Status
from adapter.clock import SECOND, Clock, Micros
from adapter.mapping.rules.model import RuleSet
from adapter.matchers import MatcherError, parse_matchers
from adapter.reconcile.reconciling import Reconciling
from adapter.store.views import AlarmQuery, AlarmRow, Coc, OperatorStore, Place, ReportRow, Tally
from adapter.units import seconds

_BOOLEAN = {"type": "boolean"}
_FILTERS = (
    INTEGRATION,
    Query("status", "only alarms in this state", {"type": "string", "enum": list(Status)}),
    Query("coc", "only alarms of which COC accepted this last, in this episode", {"type": "string", "enum": list(Coc)}),
    Query("mismatch", "only alarms that are firing and not at COC, or resolved and open there", _BOOLEAN),
    Query("pending", "only alarms with reports that wait, or without", _BOOLEAN),
    Query("fell_back", "only alarms with a field that fell back in what was rendered last, or without", _BOOLEAN),
    Query("text", "part of the fingerprint or of any label value, case does not matter"),
    Query("matcher", "as Alertmanager's, such as severity=~critical|warning; all given must hold",
          {"type": "array", "items": {"type": "string"}}),
    Query("unseen", "only open alarms that no webhook has named for so long, such as 24h"),
    Query("order", "recent: what changed last first. A page looks at some thousand alarms and may then end early; "
          "X-Next-Before tells whether there may be more", {"type": "string", "enum": list(Order)}),
    BEFORE,
)  # fmt: skip
_REPORTS = 50  # a page of the trail


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    store: OperatorStore
    clock: Clock
    integrations: Mapping[str, Reporting]
    reconciling: Reconciling
    rules: Callable[[], RuleSet]  # in force

    def operations(self) -> Sequence[Operation]:
        return (
            Operation("GET", "/api/v1/alarms", "alarms, by id or by when they changed",
                      self._alarms, list[AlarmModel], _FILTERS, paged=True),
            Operation("GET", "/api/v1/alarms/tallies", "how many alarms each filter finds, counted up to 10000",
                      self._tallies, TalliesModel, (INTEGRATION,)),
            Operation("GET", "/api/v1/alarms/{integration}/{fingerprint}",
                      "one alarm: what came, what was sent, what COC said, or why not",
                      self._trail, TrailModel, (BEFORE, PAGING[1]), errors=(404,)),
        )  # fmt: skip

    async def _alarms(self, call: Call) -> list[AlarmRow] | Paged:
        query, before = self._query(call), call.one("before")
        if call.choice("order", Order) is not Order.RECENT:
            if before is not None:
                raise Problem(400, "before goes with order=recent")
            return await self.store.alarms(query)
        page = await self.store.recent_alarms(replace(query, after=0, before=_place(before)))
        return Paged(page.rows, {"before": f"{page.following.changed}-{page.following.id}"} if page.following else {})

    def _query(self, call: Call) -> AlarmQuery:
        after, limit = call.paging()
        try:
            matchers = parse_matchers(call.every("matcher"))
        except MatcherError as exc:
            raise Problem(400, str(exc)) from exc
        return AlarmQuery(
            integration=call.one("integration"),
            status=call.choice("status", Status),
            text=call.one("text") or "",
            matchers=matchers,
            unseen_since=self._unseen_since(call.one("unseen")),
            coc=call.choice("coc", Coc),
            mismatch=call.flag("mismatch"),
            pending=call.flag("pending"),
            fell_back=call.flag("fell_back"),
            after=after,
            limit=limit,
        )

    def _unseen_since(self, text: str | None) -> Micros | None:
        try:
            return self.clock.now() - round(seconds(text) * SECOND) if text else None
        except ValueError as exc:
            raise Problem(400, f"unseen: {exc}") from exc

    async def _tallies(self, call: Call) -> dict[str, Tally]:
        return await self.store.tallies(call.one("integration"))

    async def _trail(self, call: Call) -> Paged:
        integration, fingerprint = call.path["integration"], call.path["fingerprint"]
        before, limit = call.whole("before", 0, 0, 2**62), call.whole("limit", _REPORTS, 1, 1000)
        rows = await self.store.alarms(AlarmQuery(integration=integration, fingerprint=fingerprint, limit=1))
        newest = await self.store.trail(integration, fingerprint)
        reports = await self.store.trail(integration, fingerprint, limit, before or None)
        delivery = self.integrations.get(integration)
        alarm = rows[0] if rows else None
        sentences = explain(
            alarm,
            newest,
            pause=delivery.pause if delivery else None,
            breaker=delivery.breaker_state if delivery else None,
            now=self.clock.now(),
            standing=self.reconciling.sentences(alarm) if alarm else (),
        )
        content = {
            "explanation": [sentence.text for sentence in sentences],
            "sentences": sentences,
            "alarm": alarm,
            "reports": [self._placed(report) for report in reports],
        }
        return Paged(content, {"before": str(reports[-1].report.seq)} if len(reports) == limit else {})

    def _placed(self, row: ReportRow) -> ReportModel:
        """The report with the line of its rule."""
        model, rules, made = ReportModel.model_validate(row), self.rules(), row.provenance
        if made is None or made.rule is None or made.mapping is None or made.revision != rules.revision:
            return model
        return model.model_copy(update={"rule_line": rules.line_of(made.mapping, made.rule)})


def _place(text: str | None) -> Place | None:
    """Of `before`."""
    if text is None:
        return None
    numbers = text.split("-")
    if len(numbers) != 2 or not all(one.isascii() and one.isdigit() and len(one) < 19 for one in numbers):
        raise Problem(400, "before is what the header X-Next-Before told")
    return Place(*map(int, numbers))
