"""The whole state on one page."""

from __future__ import annotations

import platform
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapter import __version__
from adapter.admin.integrations import Integrations
from adapter.admin.openapi import Call, Operation
from adapter.admin.schemas import StatusModel
from adapter.clock import Micros
from adapter.errors import Finding
from adapter.mapping.render.live import LiveMappings
from adapter.store.contract import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    store: Store
    started: Micros
    integrations: Integrations
    mappings: LiveMappings
    mappings_folder: str
    config: Mapping[str, Any]
    findings: Callable[[], Sequence[Finding]]
    restart_needed: Callable[[], bool]
    serving_since: Callable[[], Micros]
    not_ready: Callable[[], Awaitable[str | None]]

    def operations(self) -> Sequence[Operation]:
        return (
            Operation("GET", "/api/v1/status", "build, configuration, mappings, store, integrations",
                      self._status, StatusModel),
        )  # fmt: skip

    async def _status(self, call: Call) -> dict[str, Any]:
        reason = await self.not_ready()
        mapping = {
            "revision": self.mappings.revision,
            "serving_since": self.serving_since(),
            "directory": self.mappings_folder,
            "findings": self.findings(),
        }
        return {
            "version": __version__,
            "python": platform.python_version(),
            "started_at": self.started,
            "ready": reason is None,
            "not_ready_because": reason,
            "restart_needed": self.restart_needed(),
            "config": self.config,
            "mapping": mapping,
            "store": self.store.describe(),
            "integrations": await self.integrations.rows(),
        }
