"""Renders by one rule set in one worker process, and restarts the process when a template ends it.

That template goes into quarantine, see engine, and the alert is rendered again.
After any end but the deadline the alert is tried once more before that, because the process may have been killed from
outside. A call during which the process ends MAX_DEATHS times gives the alerts that are left the built-in body.
A process that ends while nothing is rendered is replaced at once, so that the next alert does not wait for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from adapter.errors import RenderError
from adapter.logs import event
from adapter.mapping.render.body import fallback
from adapter.mapping.render.engine import detail_of
from adapter.mapping.render.process import Limits, WorkerDied, WorkerProcess
from adapter.mapping.render.request import FailureReason, RenderRequest, RenderResult
from adapter.mapping.rules.model import RuleSet

CHUNK_ALERTS: Final = 64
CHUNK_BYTES: Final = 4 * 1024 * 1024
MAX_DEATHS: Final = 8  # of one call: about ten seconds, within the lease of a claim
MAX_TRIES: Final = 2  # of a directory; one that is too large must not cost every render
LEAST_LIFE: Final = 1.0  # seconds; what ended sooner is replaced by the next call, so that nothing starts in a loop

logger = logging.getLogger(__name__)


class WorkerRenderer:
    """Each has a worker process of its own: what one renders cannot end the process of another."""

    def __init__(
        self,
        rules: RuleSet,
        limits: Limits,
        worker: WorkerProcess | None,
        quarantined: Mapping[int, FailureReason],
        directories: Mapping[str, bytes],
    ) -> None:
        """`worker` has the rules already; without one the first call starts it. `quarantined`: by template's number.

        `directories`: what `WorkerProcess.set_directory` takes, by integration; may change between calls.
        """
        self.rules = rules
        self._limits = limits
        self._quarantined = dict(quarantined)
        self._directories = directories
        self._given: dict[str, bytes] = {}  # the directories that the worker process has
        self._ended_by: dict[str, tuple[bytes, int]] = {}  # directories during which one ended, and how often
        self._turn = asyncio.Lock()
        self._worker = worker
        self._watch = asyncio.create_task(self._replace(worker)) if worker else None

    async def render(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        """All, in order. Never fails because of a template."""
        async with self._turn:
            call = Call(requests, self.rules.revision)
            while chunk := call.chunk():
                try:
                    call.answered(chunk, await self._ask([requests[number] for number in chunk]))
                except WorkerDied as death:
                    place = call.on_worker_death(chunk, death)
                    if place is not None:
                        self._quarantined[place] = FailureReason(death.reason, detail_of(death))
            return [call.results[number] for number in range(len(requests))]

    async def hand_over(self) -> None:
        """Give the directories to a running worker process now, so that no render waits for it."""
        async with self._turn:
            if self._worker is not None:
                worker, self._worker = self._worker, None  # in case it ends
                with suppress(WorkerDied):
                    self._worker = await self._with_directories(worker)

    async def stop(self) -> None:
        """End the worker process once the calls under way have returned."""
        async with self._turn:
            if self._watch is not None:
                self._watch.cancel()
            if self._worker is not None:
                await self._worker.stop()

    async def _ask(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        """Results for the first requests, one at least. WorkerDied when the process did not survive them."""
        try:
            worker = await self._with_directories(self._worker or await self._start())
            return await worker.render(requests)
        except BaseException:
            self._worker = None
            raise

    async def _with_directories(self, worker: WorkerProcess) -> WorkerProcess:
        for integration, index in list(self._directories.items()):
            refused, tries = self._ended_by.get(integration, (b"", 0))
            tries = tries if refused is index else 0
            if self._given.get(integration) is index or tries == MAX_TRIES:
                continue
            try:
                await worker.set_directory(integration, index)
            except WorkerDied as death:
                self._ended_by[integration] = index, tries + 1
                message = "the rendering process ended while it took over a list of applications"
                event(logger, logging.WARNING, message, integration=integration, bytes=len(index), error=death)
                raise
            self._given[integration] = index
        return worker

    async def _start(self) -> WorkerProcess:
        self._worker = worker = await WorkerProcess.start(self.rules, self._quarantined, self._limits)
        self._watch = asyncio.create_task(self._replace(worker))
        self._given = {}
        return worker

    async def _replace(self, worker: WorkerProcess) -> None:
        """Start another process when this one has ended and no call has noticed."""
        clock = asyncio.get_running_loop().time
        started = clock()
        await worker.ended()
        lived = clock() - started
        async with self._turn:
            if self._worker is not worker:
                return
            self._worker = None
            death = await worker.exit_reason()
            event(logger, logging.INFO, "the rendering process has ended and is replaced", error=death)
            if lived >= LEAST_LIFE:
                with suppress(RenderError):
                    await self._start()


class Call:
    """The requests of one call of `render` that are left, and the results so far."""

    def __init__(self, requests: Sequence[RenderRequest], revision: str) -> None:
        self._requests = requests
        self._revision = revision
        self.results: dict[int, RenderResult] = {}
        self._left = list(range(len(requests)))
        self._deaths = 0
        self._tried_again: set[int] = set()

    def chunk(self) -> list[int]:
        """The numbers of the requests to ask for next; empty when none is left."""
        size = 0
        chunk: list[int] = []
        for number in self._left[:CHUNK_ALERTS]:
            size += len(self._requests[number].raw)
            if chunk and size > CHUNK_BYTES:
                break
            chunk.append(number)
        return chunk

    def answered(self, chunk: list[int], results: Sequence[RenderResult]) -> None:
        self.results.update(zip(chunk, results, strict=False))
        del self._left[: len(results)]

    def on_worker_death(self, chunk: list[int], death: WorkerDied) -> int | None:
        """The number of the template to put into quarantine."""
        self._deaths += 1
        alert, place = death.in_progress
        blamed = None
        if alert is not None:
            number = chunk[alert]
            if not death.sure and number not in self._tried_again:
                self._tried_again.add(number)
            elif place is None:
                self._give_up([number], death)
            else:
                blamed = place
        if self._deaths >= MAX_DEATHS:
            self._give_up(self._left[alert or 0 :], death)
        return blamed

    def _give_up(self, numbers: Sequence[int], death: WorkerDied) -> None:
        for number in numbers:
            self.results[number] = fallback(self._requests[number], self._revision, death.reason, detail_of(death))
            self._left.remove(number)
