"""What delivery needs besides the store: a renderer, a reporter and an observer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from adapter.coc.verdict import Verdict
from adapter.mapping.render.request import RenderRequest, RenderResult
from adapter.store.contract import Settled, Settlement


class Renderer(Protocol):
    """Renders by the mapping revision in force: one result for each request, in order."""

    async def render(self, requests: Sequence[RenderRequest]) -> list[RenderResult]: ...


class Reporter(Protocol):
    """POSTs one body to COC and judges the answer."""

    async def report(self, body: bytes) -> Verdict: ...


class Observer(Protocol):
    """Counts what happens. Called on the event loop; must not block."""

    def rendered(self, alarms: int, seconds: float) -> None: ...
    def coc_answered(self, integration: str, reason: str, seconds: float) -> None: ...
    def report_settled(self, settlement: Settlement, settled: Settled) -> None: ...
    def paused(self, integration: str, reason: str | None) -> None: ...
    def breaker(self, integration: str, state: Literal["closed", "open", "half_open"]) -> None: ...
