"""Dead letters, which COC refused for good, and rejects, which the adapter could not use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import from_json, to_json

from adapter.admin import orphans
from adapter.admin.openapi import BEFORE, INTEGRATION, Call, Operation, Order, Paged, Problem, Query
from adapter.admin.refusals import Group, Groups
from adapter.admin.schemas import (
    DiscardedModel,
    IdsModel,
    PreviewModel,
    RefusalsModel,
    RejectModel,
    ReplayedModel,
    ReplayModel,
    ReportModel,
    WouldSendModel,
)
from adapter.alarm import Kind
from adapter.coc.fields import closing
from adapter.errors import RenderError
from adapter.mapping.render.request import Contract, RenderRequest, RenderResult
from adapter.mapping.tools.request import request_of
from adapter.mapping.tools.result import as_dict, changed, flat
from adapter.store.views import AlarmQuery, OperatorStore, RejectRow, ReportRow

Replayed = Callable[[str, Sequence[Kind]], None]
"""Counts what a replay enqueued for an integration, and wakes it."""
Render = Callable[[Sequence[RenderRequest]], Awaitable[Sequence[RenderResult]]]

_READ: Final = 5000  # refusals at a time
_NEWEST: Final = 2**59


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    store: OperatorStore
    replayed: Replayed
    contracts: Mapping[str, Contract]
    render: Render  # by the mappings in force, apart from deliveries

    def operations(self) -> Sequence[Operation]:
        order = Query("order", "recent: the newest first", {"type": "string", "enum": list(Order)})
        return (
            Operation("GET", "/api/v1/dead-letters", "reports COC refused for good",
                      self._dead_letters, list[ReportModel], (INTEGRATION,), paged=True),
            Operation("GET", "/api/v1/dead-letters/groups", "them, by the words in which COC refused them",
                      self._groups, list[RefusalsModel], (INTEGRATION,)),
            Operation("POST", "/api/v1/dead-letters/preview", "what a replay would send now, beside what was sent",
                      self._preview, list[WouldSendModel], takes=PreviewModel),
            Operation("POST", "/api/v1/dead-letters/replay", "owe them again",
                      self._replay, list[ReplayedModel], takes=ReplayModel, errors=(409,)),
            Operation("POST", "/api/v1/dead-letters/discard", "take them off",
                      self._discard, list[DiscardedModel], takes=IdsModel),
            Operation("GET", "/api/v1/rejects", "what could not be used",
                      self._rejects, list[RejectModel], (INTEGRATION, order, BEFORE), paged=True),
        )  # fmt: skip

    async def _dead_letters(self, call: Call) -> list[ReportRow]:
        return await self.store.dead_letters(call.one("integration"), *call.paging())

    async def _groups(self, call: Call) -> list[Group]:
        groups, after = Groups(), 0
        while refusals := await self.store.refusals(call.one("integration"), after, _READ):
            groups.add(refusals)
            after = refusals[-1].seq
        return groups.largest_first()

    async def _preview(self, call: Call) -> list[dict[str, Any]]:
        letters = [row for row in await _letters(self.store, call.body.ids) if row.report.integration in self.contracts]
        try:
            results = await self.render(
                [request_of(row.report, self.contracts[row.report.integration]) for row in letters]
            )
        except RenderError as exc:
            raise Problem(503, str(exc)) from exc
        return [await self._compared(row, result) for row, result in zip(letters, results, strict=True)]

    async def _compared(self, row: ReportRow, result: RenderResult) -> dict[str, Any]:
        if result.body is not None and row.report.kind is Kind.OK:
            result = result._replace(json=to_json(await self._closing(row, result.body)))
        sent = result._replace(rule=row.provenance.rule if row.provenance else None, dropped=False, json=row.body)
        now = as_dict(row.report.fingerprint, result)
        return {"id": row.report.seq, "sent": sent.body, "now": now, "changed": changed(flat(sent), flat(result))}

    async def _closing(self, row: ReportRow, body: dict[str, Any]) -> dict[str, Any]:
        """An `ok` names the alarm as COC has it."""
        report = row.report
        query = AlarmQuery(integration=report.integration, fingerprint=report.fingerprint, limit=1)
        accepted = [alarm.accepted for alarm in await self.store.alarms(query) if alarm.accepted]
        return closing(from_json(accepted[0].body), body) if accepted and accepted[0].status == "alarm" else body

    async def _replay(self, call: Call) -> list[dict[str, Any]]:
        orphans.refuse_replay([row.report for row in await _letters(self.store, call.body.ids)], self.contracts)
        replayed = await replay(self.store, call.body.ids, as_sent=call.body.as_sent, count=self.replayed)
        return [{"id": seq, "kinds": kinds} for seq, kinds in replayed.items()]

    async def _discard(self, call: Call) -> list[dict[str, Any]]:
        return [{"id": seq} for seq in await self.store.discard(call.body.ids)]

    async def _rejects(self, call: Call) -> list[RejectRow] | Paged:
        integration, (after, limit) = call.one("integration"), call.paging()
        if call.choice("order", Order) is not Order.RECENT:
            return await self.store.rejects(after, limit, integration=integration)
        before = call.whole("before", _NEWEST, 0, _NEWEST)
        rows = await self.store.rejects(0, limit, integration=integration, before=before)
        return Paged(rows, {"before": str(rows[-1].id)} if len(rows) == limit else {})


async def _letters(store: OperatorStore, seqs: Sequence[int]) -> list[ReportRow]:
    """Those of them that are dead letters."""
    found = {row.report.seq: row for seq in seqs for row in await store.dead_letters(None, seq - 1, 1)}
    return [found[seq] for seq in dict.fromkeys(seqs) if seq in found]


async def replay(
    store: OperatorStore, seqs: Sequence[int], *, as_sent: bool, count: Replayed
) -> dict[int, tuple[Kind, ...]]:
    """Owe dead letters again; the kinds enqueued, by seq. Seqs that are no dead letters are left out.

    `count` is called with the integration and the kinds right after the commit: nothing may come between the two,
    neither another settlement, whose figures are newer, nor a failure.
    """
    integrations = {row.report.seq: row.report.integration for row in await _letters(store, seqs)}
    replayed = await store.replay(seqs, as_sent=as_sent)
    for seq, kinds in replayed.items():
        count(integrations[seq], kinds)
    return replayed
