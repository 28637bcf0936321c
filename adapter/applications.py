"""Keeps the directory of applications of one integration: from the store at a start, then from COC at an interval.

What is certain replaces the directory as a whole; anything else leaves it as it is, for reports never wait for it.
Replicas share it by the store: each takes over what another one has fetched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from adapter.application import Directory, Lookup, Node
from adapter.clock import SECOND, Clock, Micros
from adapter.coc.verdict import Reason, Verdict
from adapter.errors import StoreUnavailable
from adapter.logs import event
from adapter.mapping.render.live import LiveMappings
from adapter.metrics import EMPTY, Metrics
from adapter.store.contract import DirectoryStore

UNKNOWN_SECONDS: Final = 60.0  # between fetches for unknown names
SHARED_SECONDS: Final = 5.0  # between looks at what other replicas have fetched
TICK_SECONDS: Final = 1.0
FIRST_WAIT: Final = 10.0  # seconds after a failure, doubled each time
LONGEST_WAIT: Final = 600.0

logger = logging.getLogger(__name__)


class Lister(Protocol):
    async def fetch(self) -> Sequence[Node] | Verdict: ...


class Applications:
    """`tick` every `tick_seconds` does what is due; nothing else asks COC."""

    def __init__(
        self,
        name: str,
        lister: Lister,
        *,
        store: DirectoryStore,
        mappings: LiveMappings,
        metrics: Metrics,
        clock: Clock,
        jitter: Callable[[], float],
        interval: float,
        shared: bool,
    ) -> None:
        """`interval`: seconds between fetches. `shared`: other replicas fetch too."""
        self.directory: Directory | None = None
        self.fetched: Micros = 0  # when; 0 for never
        self.problem = ""  # why the last fetch changed nothing
        self._problem_kind: object = None
        self.tick_seconds = min(interval, TICK_SECONDS)
        self._name, self._lister, self._store, self._mappings = name, lister, store, mappings
        self._metrics, self._clock, self._jitter, self._interval = metrics, clock, jitter, interval
        self._shared = shared
        self._due = self._look_due = self._unknown_due = clock.monotonic()
        self._wanted = False  # a mapping asked for a name that is unknown
        self._failures = 0
        self._doubted: float | None = None  # since when COC lists nothing

    async def load(self) -> None:
        """Take over what the store has; the next fetch is due an interval after that was fetched."""
        with suppress(StoreUnavailable):
            await self._take_over()
        age = (self._clock.now() - self.fetched) / SECOND
        if self.directory is not None and 0 <= age < self._interval:
            self._due = self._clock.monotonic() + self._interval - age

    def looked_up(self, lookups: Sequence[Lookup]) -> None:
        self._wanted = self._wanted or Lookup.UNKNOWN in lookups

    async def tick(self) -> None:
        now = self._clock.monotonic()
        wanted = self._wanted and not self._failures and now >= self._unknown_due
        if self._shared and (now >= self._look_due or now >= self._due or wanted):
            self._look_due = now + SHARED_SECONDS
            with suppress(StoreUnavailable):
                if await self._take_over():
                    self._due = now + self._interval
                    return
        if now >= self._due or wanted:
            if wanted:
                self._unknown_due, self._wanted = now + UNKNOWN_SECONDS, False
            await self._fetch()

    async def _take_over(self) -> bool:
        """Whether the store had a newer directory than this one. One that cannot be read is fetched anew."""
        fetched = (await self._store.directories_fetched()).get(self._name, 0)
        packed = await self._store.directory(self._name) if fetched > self.fetched else None
        if packed is None:
            return False
        try:
            directory = await asyncio.to_thread(Directory.unpack, packed)
        except ValueError:  # of another version, or damaged
            return False
        await self._use(directory, fetched)
        self._wanted = False
        return True

    async def _fetch(self) -> None:
        self._failures += 1  # until it is known to have succeeded
        step = min(self._interval, FIRST_WAIT) * 2.0 ** min(self._failures - 1, 30)
        self._due = self._clock.monotonic() + min(step, LONGEST_WAIT) * (1 + self._jitter()) / 2
        answer = await self._lister.fetch()
        now = self._clock.monotonic()
        if isinstance(answer, Verdict):
            self._due = max(self._due, now + (answer.retry_after or 0.0))
            self._metrics.applications_fetched(self._name, answer.reason)
            self._failed((answer.reason, answer.status), answer.words)
            return
        self._failures, self._due = 0, now + self._interval
        if not answer and self.directory and not self._is_empty_again(now):
            self._metrics.applications_fetched(self._name, EMPTY)
            self._failed(EMPTY, "COC lists no application any more; it is believed when it says so again")
            return
        self._doubted = None
        self._metrics.applications_fetched(self._name, Reason.ACCEPTED)
        await self._keep(await asyncio.to_thread(Directory, answer))

    def _is_empty_again(self, now: float) -> bool:
        if self._doubted is None:
            self._doubted = now
        return self._doubted <= now - self._interval

    async def _keep(self, directory: Directory) -> None:
        before, fetched = self.directory, self._clock.now()
        if before is None or before.nodes != directory.nodes:
            await self._use(directory, fetched)
        self.fetched = fetched
        if self.problem or before is None:
            event(logger, logging.INFO, "applications fetched", integration=self._name, known=len(directory))
        self.problem = ""
        with suppress(StoreUnavailable):  # kept at the next fetch
            packed = await asyncio.to_thread(directory.pack)
            await self._store.keep_directory(self._name, fetched, packed)

    async def _use(self, directory: Directory, fetched: Micros) -> None:
        self.directory, self.fetched = directory, fetched
        self._metrics.applications_known(self._name, len(directory))
        await self._mappings.set_applications({self._name: directory.index})

    def _failed(self, kind: object, problem: str) -> None:
        """Only another kind of problem than before is logged."""
        if not self.problem or kind != self._problem_kind:
            known = len(self.directory) if self.directory else 0
            event(
                logger, logging.WARNING, "applications cannot be fetched; reports go on",
                integration=self._name, error=problem, known=known,
            )  # fmt: skip
        self.problem, self._problem_kind = problem, kind
