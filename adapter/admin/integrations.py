"""Integrations: their state, pausing and resuming, and what one left that was taken out of adapter.yml."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from adapter.admin import orphans
from adapter.admin.applications import Applications
from adapter.admin.openapi import Call, Operation, Problem
from adapter.admin.schemas import IntegrationModel, MoveModel, PauseBodyModel, RemovedModel
from adapter.alarm import Pause
from adapter.clock import Clock, Micros
from adapter.reconcile.reconciling import Reconciling
from adapter.store.moving import orphans as left_over
from adapter.store.views import Counts, OperatorStore

_NONE: Final = Counts(pending=0, open_alarms=0, oldest=None)


class Reporting(Protocol):
    """What the API reads and changes of a delivery."""

    @property
    def pause(self) -> Pause | None: ...
    @property
    def breaker_state(self) -> str: ...
    @property
    def next_probe(self) -> float | None: ...
    async def set_pause(self, pause: Pause | None) -> None: ...


class Met(Protocol):
    """What webhooks of an integration were since the start."""

    @property
    def last_at(self) -> Micros: ...
    @property
    def origin(self) -> str: ...
    @property
    def truncated(self) -> int: ...
    @property
    def rejected(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Integrations:
    store: OperatorStore
    clock: Clock
    integrations: Mapping[str, Reporting]
    applications: Mapping[str, Applications]
    removed: orphans.Count
    reconciling: Reconciling
    webhooks: Callable[[str], Met | None]  # by integration
    removing: asyncio.Lock = field(default_factory=asyncio.Lock)  # a second removal would take what the first one moved

    def operations(self) -> Sequence[Operation]:
        return (
            Operation("GET", "/api/v1/integrations", "integrations with state and backlog",
                      self._integrations, list[IntegrationModel]),
            Operation("POST", "/api/v1/integrations/{name}/pause", "report nothing until resumed",
                      self._pause, IntegrationModel, takes=PauseBodyModel, errors=(404,)),
            Operation("POST", "/api/v1/integrations/{name}/resume", "lifts an automatic pause too",
                      self._resume, IntegrationModel, errors=(404,)),
            Operation("POST", "/api/v1/integrations/{name}/discard",
                      "end what an integration left that is no longer in adapter.yml",
                      self._discard_integration, RemovedModel, errors=(404, 409)),
            Operation("POST", "/api/v1/integrations/{name}/move",
                      "give it to another integration: alarms and reports, in their order",
                      self._move_integration, RemovedModel, takes=MoveModel, errors=(404, 409)),
        )  # fmt: skip

    async def rows(self) -> list[dict[str, Any]]:
        """Those of adapter.yml, then the orphans."""
        counts = await self.store.counts()
        left = left_over(counts, self.integrations)
        return [self._row(name, counts.get(name, _NONE)) for name in (*self.integrations, *sorted(left))]

    def _row(self, name: str, counts: Counts) -> dict[str, Any]:
        delivery, directory = self.integrations.get(name), self.applications.get(name)
        pause = delivery.pause if delivery else None
        return {
            "id": name,
            "integration": name,
            "state": ("paused" if pause else "running") if delivery else "orphan",
            "breaker": delivery.breaker_state if delivery else None,
            "pause": pause,
            "next_probe_in_seconds": delivery.next_probe if delivery else None,
            "webhooks": self.webhooks(name),
            "pending": counts.pending,
            "open_alarms": counts.open_alarms,
            "dead_letters": counts.dead,
            "oldest_pending_at": counts.oldest,
            "applications": directory and {
                "known": len(directory.directory or ()), "fetched_at": directory.fetched, "problem": directory.problem
            },
        }  # fmt: skip

    async def _integrations(self, call: Call) -> list[dict[str, Any]]:
        return await self.rows()

    async def _pause(self, call: Call) -> dict[str, Any]:
        by, because = call.user or "admin API", " ".join(call.body.because.split())
        return await self._set_pause(call, Pause(reason="operator", since=self.clock.now(), by=by, detail=because))

    async def _resume(self, call: Call) -> dict[str, Any]:
        return await self._set_pause(call, None)

    async def _set_pause(self, call: Call, pause: Pause | None) -> dict[str, Any]:
        name = call.path["name"]
        if name not in self.integrations:
            raise Problem(404, orphans.UNKNOWN)
        await self.integrations[name].set_pause(pause)
        if pause is None:
            self.reconciling.resumed(name)
        return self._row(name, (await self.store.counts()).get(name, _NONE))

    async def _discard_integration(self, call: Call) -> dict[str, Any]:
        name = call.path["name"]
        async with self.removing:
            return await orphans.discard(self.store, name, self.integrations, self.clock.now(), self.removed)

    async def _move_integration(self, call: Call) -> dict[str, Any]:
        name, now = call.path["name"], self.clock.now()
        async with self.removing:
            return await orphans.move(self.store, name, call.body.to, self.integrations, now, self.removed)
