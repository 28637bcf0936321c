"""One revision behind its child: whatever a template does to the child costs the fields concerned and nothing else.

A template found running when the child was stopped at its deadline is quarantined: it falls back at once from then on,
for as long as the revision is in force. After a crash it is tried once more first, because a child may also be killed
from outside. A rule that ends the child twice is quarantined whole, and a call that has lost its child too often falls
back for the alerts that are left, so that a revision full of traps stalls each call for a few deadlines at most.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapter.mapping.render import protocol
from adapter.mapping.render.engine import FailureReason, places
from adapter.mapping.render.fallback import fallback
from adapter.mapping.render.marker import InProgress
from adapter.mapping.render.process import Child, ChildDied, CompileError, Limits
from adapter.mapping.render.program import one_line
from adapter.mapping.render.request import Reason, RenderRequest, RenderResult
from adapter.mapping.rules.language import WHEN
from adapter.mapping.rules.model import RuleSet

CHUNK_JOBS: Final = 64
CHUNK_BYTES: Final = 4 * 1024 * 1024
MAX_DEATHS: Final = 4  # of one call


class WorkerRenderer:
    """Renders by one rule set until retired."""

    def __init__(
        self, ruleset: RuleSet, data: Mapping[str, Any], child: Child, limits: Limits, bad: Mapping[int, FailureReason]
    ) -> None:
        """`bad`: the templates that are quarantined from the start; the child knows them already."""
        self.rules = ruleset
        self.revision = ruleset.revision
        self._data = data
        self._places = places(data)
        self._child: Child | None = child
        self._limits = limits
        self._bad = dict(bad)
        self._deaths: Counter[tuple[int, int]] = Counter()  # by file and rule
        self._turn = asyncio.Lock()
        self._calls = 0
        self._retired = False

    async def render(self, jobs: Sequence[RenderRequest]) -> list[RenderResult]:
        """All jobs, in order; what the child cannot do falls back."""
        self._calls += 1
        try:
            call = _Call(self, jobs)
            while call.left:
                async with self._turn:
                    await call.step()
            return call.results
        finally:
            self._calls -= 1
            await self._end_if_unused()

    async def retire(self) -> None:
        """No new calls come: end the child when the last one returns."""
        self._retired = True
        await self._end_if_unused()

    async def ask(self, jobs: Sequence[RenderRequest]) -> list[RenderResult]:
        """Answers for the first jobs, one at least. ChildDied when the child did not survive it."""
        if self._child is None:
            self._child = await self._restarted()
        try:
            reply = await self._child.render(protocol.pack_jobs(jobs))
            answers, bad = protocol.unpack_answers(reply, self.revision)
        except BaseException:
            self._child = None
            raise
        self._bad.update(bad)
        return [
            fallback(job, self.revision, Reason.ERROR) if answer is None else answer
            for job, answer in zip(jobs, answers, strict=False)
        ]

    def quarantine(self, index: int, why: FailureReason) -> None:
        """Do not run this template again, nor any of its rule's after the second death."""
        place = self._places[index]
        self._bad[index] = why
        self._deaths[place.file, place.rule] += 1
        if self._deaths[place.file, place.rule] > 1:
            for other, (file, rule, field) in enumerate(self._places):
                if (file, rule) == (place.file, place.rule) and field != WHEN:
                    self._bad.setdefault(other, why)

    async def _restarted(self) -> Child:
        try:
            return await Child.start(self._data, self._bad, self._limits, eager=False)
        except CompileError as exc:
            raise ChildDied(Reason.CRASH, InProgress(None, None), str(exc), sure=False) from exc

    async def _end_if_unused(self) -> None:
        if self._retired and self._calls == 0 and self._child is not None:
            child, self._child = self._child, None
            await child.stop()


class _Call:
    """One call of render, taken forward a chunk at a time, so that calls at the same time take turns."""

    def __init__(self, fence: WorkerRenderer, jobs: Sequence[RenderRequest]) -> None:
        self._fence = fence
        self._jobs = jobs
        self._found: dict[int, RenderResult] = {}
        self.left = list(range(len(jobs)))
        self._suspects: Counter[int] = Counter()  # how often the child died at this job
        self._deaths = 0
        self._next = CHUNK_JOBS  # how many jobs to take at once

    @property
    def results(self) -> list[RenderResult]:
        return [self._found[number] for number in range(len(self._jobs))]

    async def step(self) -> None:
        chunk = self._chunk()
        try:
            answers = await self._fence.ask([self._jobs[number] for number in chunk])
        except ChildDied as death:
            self._on_worker_death(chunk, death)
            return
        for number, rendered in zip(chunk, answers, strict=False):
            self._found[number] = rendered
        del self.left[: len(answers)]
        self._next = CHUNK_JOBS

    def _chunk(self) -> list[int]:
        size = 0
        chunk: list[int] = []
        for number in self.left[: self._next]:
            size += len(self._jobs[number].raw)
            if chunk and size > CHUNK_BYTES:
                break
            chunk.append(number)
        return chunk

    def _on_worker_death(self, chunk: list[int], death: ChildDied) -> None:
        """Find the one to blame; every death brings the end of the call nearer."""
        self._deaths += 1
        job, place = death.under
        done = 0 if job is None or job >= len(chunk) else job
        # What was rendered before it died is safe to render, but its answers were not sent: those go first.
        self._next = done or CHUNK_JOBS
        if self._deaths >= MAX_DEATHS:
            self._give_up(self.left[done:], death)
        if job is None or job >= len(chunk):
            return
        number = chunk[job]
        self._suspects[number] += 1
        if death.sure or self._suspects[number] > 1:
            if place is not None:
                self._fence.quarantine(place, (death.reason, one_line(death)))
            elif number in self.left:
                self._give_up([number], death)

    def _give_up(self, numbers: Sequence[int], death: ChildDied) -> None:
        for number in numbers:
            self._found[number] = fallback(self._jobs[number], self._fence.revision, death.reason, one_line(death))
            self.left.remove(number)
