"""Renders by one rule set in one worker process, and restarts the process when a template ends it.

A template that ends the process puts its rule into quarantine for as long as the rule set is in force: none of the
rule's field templates is run again, or its condition is not. Then the alert is rendered again. After any end but the
deadline the alert is tried once more before that, because the process may have been killed from outside. A call during
which the process ends MAX_DEATHS times gives the alerts that are left the built-in body, so that no rule set stalls a
call for more than a few deadlines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapter.mapping.render import protocol
from adapter.mapping.render.body import fallback
from adapter.mapping.render.engine import CannotCompile, detail_of
from adapter.mapping.render.process import Limits, WorkerDied, WorkerProcess
from adapter.mapping.render.request import FailureReason, Reason, RenderRequest, RenderResult
from adapter.mapping.render.worker import InProgress
from adapter.mapping.rules.model import RuleSet

CHUNK_ALERTS: Final = 64
CHUNK_BYTES: Final = 4 * 1024 * 1024
MAX_DEATHS: Final = 8  # of one call: about ten seconds, within the lease of a claim


class WorkerRenderer:
    """Each has a worker process of its own: what one renders cannot end the process of another."""

    def __init__(
        self,
        rules: RuleSet,
        limits: Limits,
        worker: WorkerProcess | None = None,
        quarantined: Mapping[int, FailureReason] | None = None,
    ) -> None:
        """`worker` has the rules already; without one the first call starts it. `quarantined`: by template's number."""
        self.rules = rules
        self._data: Mapping[str, Any] = rules.as_data()
        self._limits = limits
        self._worker = worker
        self._quarantined = dict(quarantined or {})
        self._turn = asyncio.Lock()
        self._calls = 0
        self._retired = False

    async def render(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        """All, in order. Never fails because of a template."""
        self._calls += 1
        try:
            call = _Call(self, requests)
            while call.left:
                async with self._turn:
                    await call.step()
            return call.results
        finally:
            self._calls -= 1
            await self._end_if_unused()

    async def retire(self) -> None:
        """No new calls come: end the worker process when the last one returns."""
        self._retired = True
        await self._end_if_unused()

    async def ask(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        """Results for the first requests, one at least. WorkerDied when the process did not survive them."""
        if self._worker is None:
            self._worker = await self._restarted()
        try:
            answer = await self._worker.render(protocol.pack_requests(requests))
        except BaseException:
            self._worker = None
            raise
        return [
            fallback(request, self.rules.revision, Reason.ERROR) if result is None else result
            for request, result in zip(requests, protocol.unpack_answers(answer, self.rules.revision), strict=False)
        ]

    def quarantine(self, place: int, why: FailureReason) -> None:
        """Leave the rule's field templates out from the next start on, or its condition if that is to blame."""
        self._quarantined[place] = why

    async def _restarted(self) -> WorkerProcess:
        try:
            return await WorkerProcess.start(self._data, self._quarantined, self._limits, compile_all=False)
        except CannotCompile as exc:
            raise WorkerDied(Reason.CRASH, InProgress(None, None), str(exc), sure=False) from exc

    async def _end_if_unused(self) -> None:
        if self._retired and self._calls == 0 and self._worker is not None:
            worker, self._worker = self._worker, None
            await worker.stop()


class _Call:
    """One call of `render`, one chunk a step, so that simultaneous calls take turns."""

    def __init__(self, renderer: WorkerRenderer, requests: Sequence[RenderRequest]) -> None:
        self._renderer = renderer
        self._requests = requests
        self._results: dict[int, RenderResult] = {}
        self.left = list(range(len(requests)))
        self._deaths = 0
        self._tried_again: set[int] = set()
        self._limit = CHUNK_ALERTS

    @property
    def results(self) -> list[RenderResult]:
        return [self._results[number] for number in range(len(self._requests))]

    async def step(self) -> None:
        chunk = self._chunk()
        try:
            results = await self._renderer.ask([self._requests[number] for number in chunk])
        except WorkerDied as death:
            self._on_worker_death(chunk, death)
            return
        self._results.update(zip(chunk, results, strict=False))
        del self.left[: len(results)]
        self._limit = CHUNK_ALERTS

    def _chunk(self) -> list[int]:
        size = 0
        chunk: list[int] = []
        for number in self.left[: self._limit]:
            size += len(self._requests[number].raw)
            if chunk and size > CHUNK_BYTES:
                break
            chunk.append(number)
        return chunk

    def _on_worker_death(self, chunk: list[int], death: WorkerDied) -> None:
        self._deaths += 1
        alert, place = death.in_progress
        done = alert or 0
        # The alerts before the one in progress were rendered, but their results were lost: they go first.
        self._limit = done or CHUNK_ALERTS
        if alert is not None:
            number = chunk[alert]
            if not death.sure and number not in self._tried_again:
                self._tried_again.add(number)
            elif place is None:
                self._give_up([number], death)
            else:
                self._renderer.quarantine(place, FailureReason(death.reason, detail_of(death)))
        if self._deaths >= MAX_DEATHS:
            self._give_up(self.left[done:], death)

    def _give_up(self, numbers: Sequence[int], death: WorkerDied) -> None:
        for number in numbers:
            request = self._requests[number]
            self._results[number] = fallback(request, self._renderer.rules.revision, death.reason, detail_of(death))
            self.left.remove(number)
