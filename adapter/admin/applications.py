"""COC's applications, as the adapter knows them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from adapter.admin.openapi import INTEGRATION, PAGING, Call, Operation, Query
from adapter.admin.schemas import ApplicationModel
from adapter.application import Directory
from adapter.clock import Micros

_FILTERS = (
    INTEGRATION,
    Query("text", "part of id, name, code or way, case does not matter"),
    Query("after", "how many rows the pages before had", {"type": "integer"}),
    PAGING[1],
)


class Applications(Protocol):
    """What the API reads of an integration's directory of applications."""

    @property
    def directory(self) -> Directory | None: ...
    @property
    def fetched(self) -> Micros: ...
    @property
    def problem(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownApplications:
    applications: Mapping[str, Applications]

    def operations(self) -> Sequence[Operation]:
        return (
            Operation("GET", "/api/v1/applications", "COC's applications, components and groups, by way",
                      self._applications, list[ApplicationModel], _FILTERS),
        )  # fmt: skip

    async def _applications(self, call: Call) -> list[dict[str, Any]]:
        after, limit = call.paging()
        wanted, text = call.one("integration"), call.one("text") or ""
        rows = [
            (name, node, way)
            for name, one in sorted(self.applications.items())
            if wanted in (None, name) and one.directory
            for node, way in await asyncio.to_thread(one.directory.matching, text)
        ]
        return [{**node._asdict(), "integration": name, "way": way} for name, node, way in rows[after : after + limit]]
