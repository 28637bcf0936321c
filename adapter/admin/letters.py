"""Dead letters, which COC refused for good, and rejects, which the adapter could not use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from adapter.admin.openapi import INTEGRATION, Call, Operation
from adapter.admin.schemas import DiscardedModel, IdsModel, RejectModel, ReplayedModel, ReplayModel, ReportModel
from adapter.alarm import Kind
from adapter.store.views import OperatorStore, RejectRow, ReportRow

Replayed = Callable[[str, Sequence[Kind]], None]
"""Counts what a replay enqueued for an integration, and wakes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    store: OperatorStore
    replayed: Replayed

    def operations(self) -> Sequence[Operation]:
        return (
            Operation("GET", "/api/v1/dead-letters", "reports COC refused for good",
                      self._dead_letters, list[ReportModel], (INTEGRATION,), paged=True),
            Operation("POST", "/api/v1/dead-letters/replay", "owe them again",
                      self._replay, list[ReplayedModel], takes=ReplayModel),
            Operation("POST", "/api/v1/dead-letters/discard", "take them off",
                      self._discard, list[DiscardedModel], takes=IdsModel),
            Operation("GET", "/api/v1/rejects", "what could not be used",
                      self._rejects, list[RejectModel], paged=True),
        )  # fmt: skip

    async def _dead_letters(self, call: Call) -> list[ReportRow]:
        return await self.store.dead_letters(call.one("integration"), *call.paging())

    async def _replay(self, call: Call) -> list[dict[str, Any]]:
        replayed = await replay(self.store, call.body.ids, as_sent=call.body.as_sent, count=self.replayed)
        return [{"id": seq, "kinds": kinds} for seq, kinds in replayed.items()]

    async def _discard(self, call: Call) -> list[dict[str, Any]]:
        return [{"id": seq} for seq in await self.store.discard(call.body.ids)]

    async def _rejects(self, call: Call) -> list[RejectRow]:
        return await self.store.rejects(*call.paging())


async def replay(
    store: OperatorStore, seqs: Sequence[int], *, as_sent: bool, count: Replayed
) -> dict[int, tuple[Kind, ...]]:
    """Owe dead letters again; the kinds enqueued, by seq. Seqs that are no dead letters are left out.

    `count` is called with the integration and the kinds right after the commit: nothing may come between the two,
    neither another settlement, whose figures are newer, nor a failure.
    """
    integrations = {}
    for seq in seqs:
        for row in await store.dead_letters(None, seq - 1, 1):
            integrations[row.report.seq] = row.report.integration
    replayed = await store.replay(seqs, as_sent=as_sent)
    for seq, kinds in replayed.items():
        count(integrations[seq], kinds)
    return replayed
