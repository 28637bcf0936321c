"""A store beside the memory store: every call goes to both, one at a time, and both must answer the same."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from adapter.errors import StoreUnavailable
from adapter.store.contract import Claims, Receipt, Store
from adapter.store.memory import MemoryStore
from adapter.store.views import Counts, ReportRow
from tests.builders import FOREVER
from tests.fakes import FakeClock
from tests.store.places import Place

_NOT_COMPARED = {"size", "probe", "close"}


class Pair:
    """A Store. Answers what the real one answers."""

    def __init__(self, real: Store, model: MemoryStore) -> None:
        self.real, self.model = real, model
        self.differences: list[str] = []
        self._turn = asyncio.Lock()

    def __getattr__(self, name: str) -> Any:
        if name == "describe":
            return self.real.describe

        async def both(*args: Any, **kwargs: Any) -> Any:
            # The caller may be cancelled; the call must still reach both stores.
            return await asyncio.shield(asyncio.ensure_future(self._both(name, args, kwargs)))

        return both

    async def _both(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        async with self._turn:
            answers = [await _answer(store, name, args, kwargs) for store in (self.real, self.model)]
        real, model = (_comparable(answer) for answer in answers)
        if name not in _NOT_COMPARED and not (real == model and _is_in_time(*answers)):
            self.differences.append(f"{name}{args}{kwargs}\n  {answers[0]}\n  is in memory\n  {answers[1]}")
        if isinstance(answers[0], StoreUnavailable):
            raise answers[0]
        return answers[0]

    async def idle(self) -> None:
        """Wait for the cancelled calls that still run."""
        async with self._turn:
            pass


async def _answer(store: Store, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return await getattr(store, name)(*args, **kwargs)
    except StoreUnavailable as exc:
        return exc


def _comparable(answer: Any) -> Any:
    """Without what may differ: the order of claims due at once, zeros, due times."""
    if isinstance(answer, StoreUnavailable):
        return str(answer)
    if isinstance(answer, Receipt):
        return replace(answer, news={news: count for news, count in answer.news.items() if count})
    if isinstance(answer, Claims):
        return {claim.report.seq: claim for claim in answer.claims}
    if isinstance(answer, dict):
        return {name: one for name, one in answer.items() if one != Counts(pending=0, open_alarms=0, oldest=None)}
    if isinstance(answer, list) and answer and isinstance(answer[0], ReportRow):
        return [(replace(row, due_in=None), row.due_in is None) for row in answer]
    return answer


def _is_in_time(real: Any, model: Any) -> bool:
    """Whether the real store is asked again no later than the model says; earlier does no harm."""
    if not isinstance(model, Claims) or model.next_due is None:
        return True
    return real.next_due is not None and real.next_due < model.next_due + 0.001


class PairPlace:
    """Where a real store is opened with a memory store beside it."""

    shared = False

    def __init__(self, real: Place) -> None:
        self._real = real

    @property
    def clock(self) -> FakeClock:
        return self._real.clock

    @clock.setter
    def clock(self, clock: FakeClock) -> None:
        self._real.clock = clock

    async def open(self, *, backlog: int = 1000, **more: Any) -> Pair:
        return await self._beside(
            await self._real.open(backlog=backlog, **more), MemoryStore(backlog=backlog, clock=self.clock, **more)
        )

    async def crash(self, pair: Pair) -> Pair:
        await pair.idle()
        for store in (pair.real, pair.model):  # when alerts were last seen is all that a crash may lose
            await store.maintain(self.clock.now(), FOREVER)
        pair.model.restart(killed=True)
        return await self._beside(await self._real.crash(pair.real), pair.model)

    async def restart(self, pair: Pair) -> Pair:
        await pair.idle()
        pair.model.restart(killed=False)
        return await self._beside(await self._real.restart(pair.real), pair.model)

    async def _beside(self, real: Store, model: MemoryStore) -> Pair:
        await real.claim("default", 0)  # only after a first claim is an end a crash
        return Pair(real, model)

    async def advance(self, pair: Pair, seconds: float) -> None:
        await self._real.advance(pair.real, seconds)

    async def leave(self) -> None:
        await self._real.leave()
