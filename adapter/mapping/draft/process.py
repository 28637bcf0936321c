"""The service's end of the draft process, in which everything runs that a person typed.

What a person tries delays no delivery and makes no field of a real alert fall back. Nothing is logged or counted.
The process starts with the first draft, stays for the next ones, and ends after a minute without any.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, TypeVar

from adapter.errors import RenderError
from adapter.mapping.draft import frames
from adapter.mapping.draft.comparing import Compared, Comparing, Draft, OutOfTime
from adapter.mapping.draft.turns import Turn, Turns
from adapter.mapping.render import protocol
from adapter.mapping.render.engine import CannotCompile, detail_of
from adapter.mapping.render.live import MEMORY, LiveMappings
from adapter.mapping.render.process import Limits, WorkerDied, WorkerProcess
from adapter.mapping.render.renderer import Call
from adapter.mapping.render.request import FailureReason, RenderRequest, RenderResult
from adapter.mapping.rules.model import RuleSet

SECONDS: Final = 5.0  # for one draft, by the wall clock
REST_SECONDS: Final = 2.0  # then, for the alerts that it did not come to
IDLE_SECONDS: Final = 60.0
MOST_WAITING: Final = 4

T = TypeVar("T")

_MODULE: Final = "adapter.mapping.draft.worker"


class DraftProcess:
    """Renders by the rules that serve when a call has its turn, and by a draft over them."""

    def __init__(
        self,
        mappings: LiveMappings,
        limits: Limits = Limits(1.0, MEMORY),  # noqa: B008 - it is immutable
        *,
        seconds: float = SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._mappings, self._limits = mappings, limits
        self._seconds, self._idle_seconds = seconds, idle_seconds
        self._turns = Turns(MOST_WAITING)
        self._worker: WorkerProcess | None = None
        self._loaded = ""  # the revision of the rules that it has
        self._given: dict[str, bytes] = {}  # the directories of applications that it has
        self._too_large: dict[str, bytes] = {}  # those during which it ended
        self._tried = ""  # the revision that the next is about
        self._quarantined: dict[int, FailureReason] = {}  # of the serving rules' templates
        self._idle: asyncio.Task[None] | None = None

    async def render(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        """All, in order, by the serving rules. Busy; RenderError when it takes too long."""
        async with self._turn() as turn:
            rules = self._mappings.rules
            deadline = await self._begin(rules)
            call = Call(requests, rules.revision)
            while chunk := call.chunk():
                payload = protocol.pack_requests([requests[number] for number in chunk])
                try:
                    await self._prepare(rules)
                    answer = await self._ask(protocol.RENDER, payload, turn, deadline)
                    call.answered(chunk, list(protocol.unpack_results(answer)))
                except (WorkerDied, OutOfTime) as exc:
                    if self._now() >= deadline or not isinstance(exc, WorkerDied):
                        message = f"previews take longer than {self._seconds:g} s; try fewer alerts"
                        raise RenderError(message) from exc
                    if call.on_worker_death(chunk, exc) is not None:
                        self._quarantine(exc)
            return [call.results[number] for number in range(len(requests))]

    async def compare(
        self, draft: Draft, requests: Sequence[RenderRequest], *, client: str = "", seq: int = 0
    ) -> Compared:
        """What the draft makes of the alerts, beside what the serving rules do. Busy; Superseded; RenderError."""
        async with self._turn(client, seq) as turn:
            rules = self._mappings.rules
            deadline = await self._begin(rules)
            comparing = await asyncio.to_thread(Comparing, rules, draft, requests)
            going_on = True
            while going_on:
                try:
                    await self._prepare(rules)
                    await comparing.run(lambda kind, payload: self._ask(kind, payload, turn, deadline))
                    return await asyncio.to_thread(comparing.result)
                except OutOfTime:
                    comparing.out_of_time(None, self._seconds)
                    break
                except WorkerDied as death:
                    if self._now() >= deadline:
                        comparing.out_of_time(death.in_progress.place, self._seconds)
                        break
                    going_on = comparing.on_death(death)
                    self._quarantine(death)
            deadline = self._now() + REST_SECONDS
            with suppress(WorkerDied, OutOfTime):
                await self._prepare(rules)
                await comparing.finish(lambda kind, payload: self._ask(kind, payload, turn, deadline))
            return await asyncio.to_thread(comparing.result)

    async def close(self) -> None:
        """End the process. Nothing is under way any more."""
        if self._idle is not None:
            self._idle.cancel()
        await self._end()

    @asynccontextmanager
    async def _turn(self, client: str = "", seq: int = 0) -> AsyncIterator[Turn]:
        async with self._turns.turn(client, seq) as turn:
            if self._idle is not None:
                self._idle.cancel()
            try:
                yield turn
            finally:
                self._idle = asyncio.create_task(self._end_when_idle())

    async def _end_when_idle(self) -> None:
        await asyncio.sleep(self._idle_seconds)
        self._idle = None  # a turn that begins now does not cancel it
        self._turns.forget()
        await self._end()

    async def _end(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()

    async def _begin(self, rules: RuleSet) -> float:
        """The deadline, which does not count how long a process takes to start."""
        with suppress(WorkerDied):  # the next question starts another
            await self._prepare(rules)
        return self._now() + self._seconds

    async def _prepare(self, rules: RuleSet) -> None:
        """A process with these rules and the directories that alerts are rendered by."""
        if self._tried != rules.revision:
            self._tried, self._quarantined = rules.revision, {}
        try:
            if self._worker is None:
                self._worker, self._loaded = await WorkerProcess.spawn(self._limits, _MODULE), ""
            if self._loaded != rules.revision:
                self._given = {}
                await self._worker.load(rules, self._quarantined)
                self._loaded = rules.revision
        except BaseException as exc:
            await self._end()
            if isinstance(exc, CannotCompile | WorkerDied):
                raise RenderError(f"the draft process cannot be started: {exc}") from exc
            raise
        for integration, index in list(self._mappings.applications.items()):
            if self._given.get(integration) is not index and self._too_large.get(integration) is not index:
                self._too_large[integration] = index  # unless it is taken over
                await self._tell(partial(WorkerProcess.set_directory, integration=integration, index=index))
                self._given[integration] = self._too_large.pop(integration)

    async def _ask(self, kind: bytes, payload: bytes, turn: Turn, deadline: float) -> bytes:
        turn.check()
        left = deadline - self._now()
        if left <= 0:
            raise OutOfTime
        return await self._tell(lambda worker: worker.ask(kind, payload, left))

    async def _tell(self, what: Callable[[WorkerProcess], Awaitable[T]]) -> T:
        """After any failure the process has ended."""
        assert self._worker is not None
        try:
            return await what(self._worker)
        except BaseException:
            self._worker = None
            raise

    def _quarantine(self, death: WorkerDied) -> None:
        """The template of the serving rules that ended the process, if it was one."""
        place = death.in_progress.place
        if place is not None and place >= frames.SERVING_PLACES:
            self._quarantined[place - frames.SERVING_PLACES] = FailureReason(death.reason, detail_of(death))

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
