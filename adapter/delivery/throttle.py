"""Limits how many reports of one integration are held and sent: pause, breaker, slow start and rate limit in one place.

Keeps the state and tells the log and the observer when it changes. `backoff` decides; nothing is sent or written here.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Final, TypeVar

from adapter.alarm import Pause
from adapter.clock import Clock
from adapter.coc.verdict import Verdict
from adapter.delivery.backoff import Breaker, Bucket, Refusals
from adapter.delivery.contract import Observer
from adapter.logs import event

T = TypeVar("T")

PROBE_SECONDS: Final = 60.0  # between probes of an integration that paused itself

logger = logging.getLogger(__name__)


class Throttle:
    """Each report is taken by `take` and sent inside `with throttle as admitted`; if not admitted, it is given back."""

    def __init__(
        self, name: str, *, limit: int, rate: float, clock: Clock, jitter: Callable[[], float], observer: Observer
    ) -> None:
        self.name = name
        self.pause: Pause | None = None
        self.pause_unwritten = False  # the store does not have the pause, or its end, yet
        self.breaker = Breaker()
        self.ignore_delay = False  # COC answers again, or a pause has ended: what waits is due at once
        self.credentials_version = 0
        self.closed = False
        self._limit, self._active = limit, 0  # reports being sent, at most and now
        self._clock, self._jitter, self._observer = clock, jitter, observer
        self._refusals = Refusals()
        self._bucket, self._turn = Bucket(rate, at=clock.monotonic()), asyncio.Lock()
        self._probe_at = 0.0
        self._pause_changed_at = -math.inf

    async def take(self, queue: asyncio.Queue[T]) -> T:
        """The next of `queue`, as the rate limit allows. What waits for the rate limit stays in the queue."""
        if self._bucket.rate <= 0:
            return await queue.get()
        async with self._turn:
            while wait := self._filled().wait:
                await self._clock.sleep(wait)
            taken = await queue.get()
            self._bucket = self._bucket.take(1)
            return taken

    def _filled(self) -> Bucket:
        self._bucket = self._bucket.filled(self._clock.monotonic())
        return self._bucket

    def __enter__(self) -> bool:
        admitted = self._active < self._allowed()
        self._active += 1
        return admitted

    def __exit__(self, *exc_info: object) -> None:
        self._active -= 1

    def _allowed(self) -> int:
        """How many may be sent at once, rate limit aside."""
        now = self._clock.monotonic()
        if self.closed:
            return 0
        if self.pause is not None:
            return 1 if self.pause.automatic and now >= self._probe_at else 0
        return self.breaker.allowed(self._limit, now)

    @property
    def probing(self) -> bool:
        """Only single probes are sent."""
        return self.pause is not None or self.breaker.open

    def worth_holding(self) -> int:
        """How many reports are worth having here, from claim to settlement.

        While all goes well, twice as many as are sent at once, or what the rate limit lets through within a second;
        else no more than may be sent now, since the next answer may change everything.
        """
        allowed = self._allowed()
        if not allowed or self.probing or self.breaker.ramp:
            return allowed
        most = 2 * self._limit
        if self._bucket.rate <= 0:
            return most
        return min(most, self._active + int(self._bucket.rate) + self._filled().available(most))

    def hold(self) -> float:
        """Seconds until more may be sent if nothing else happens; 0 if that alone changes nothing."""
        now = self._clock.monotonic()
        if self.pause is not None:
            return max(0.0, self._probe_at - now) if self.pause.automatic else 0.0
        return max(self.breaker.until - now, self._bucket.wait, 0.0)

    def set_rate(self, rate: float) -> None:
        """Reports a second from now on, 0 for no limit; what was saved up at the old rate stays."""
        if rate != self._bucket.rate:
            self._bucket = self._filled()._replace(rate=rate)

    def credentials_changed(self) -> None:
        """The next probe is due, and a refusal of the old credentials no longer counts."""
        self.credentials_version += 1
        self._probe_at = 0.0

    def failed(self, alarm: str, verdict: Verdict) -> None:
        """Count a transient failure; only the first in a row is logged."""
        now = self._clock.monotonic()
        if self.pause is not None:
            self._probe_at = now + max(PROBE_SECONDS, verdict.retry_after or 0.0)
        before, self.breaker = self.breaker, self.breaker.failed(alarm, now, self._jitter(), verdict.retry_after)
        if before.failures == 0 and not before.open:
            event(
                logger, logging.WARNING, "report failed, will be tried again",
                integration=self.name, fingerprint=alarm, reason=verdict.reason.value,
                status=verdict.status, answer=verdict.message, hint=verdict.hint,
            )  # fmt: skip
        if self.breaker.open and not before.open:
            event(logger, logging.ERROR, "COC does not answer, probing", integration=self.name)
        self._observe_breaker(before)

    def answered(self) -> None:
        """COC answered, which ends a row of transient failures."""
        before, self.breaker = self.breaker, self.breaker.succeeded(self._limit)
        if before is self.breaker:
            return
        if before.lasting and not self.breaker.lasting:
            self.ignore_delay = True
        if before.failures > 0 or before.open:
            event(logger, logging.WARNING, "COC answers again", integration=self.name)
        self._observe_breaker(before)

    def accepted(self, alarm: str) -> None:
        self._refusals = self._refusals.add(alarm, False)

    def refused(self, alarm: str) -> bool:
        """COC refused a content; whether so many are refused that the integration is to blame."""
        self._refusals = self._refusals.add(alarm, True)
        return self.pause is not None or self._refusals.systemic

    def pause_for(self, verdict: Verdict, reason: str) -> Pause | None:
        """The pause that a verdict asks for; None when there is one. Either way the next probe is a minute away."""
        self._probe_at = self._clock.monotonic() + PROBE_SECONDS
        if self.pause is not None:
            return None
        return Pause(reason=reason, since=self._clock.now(), by="adapter", detail=verdict.words[:500])

    def outdated(self, asked: float) -> bool:
        """Whether a pause that the store was asked for at `asked` (monotonic seconds) is older than the one here."""
        return self.pause_unwritten or asked <= self._pause_changed_at

    def observe_pause(self, pause: Pause | None) -> None:
        """Take over the pause in force, or its end."""
        if pause == self.pause:
            return
        earlier, self.pause = self.pause, pause
        self._pause_changed_at = self._clock.monotonic()
        self.ignore_delay = pause is None
        self._observer.paused(self.name, pause.reason if pause else None)
        if pause:
            self._probe_at = self._clock.monotonic() + PROBE_SECONDS
            if earlier is None or earlier.reason != pause.reason:  # answers under way may ask for it once more
                event(
                    logger, logging.ERROR, "integration paused",
                    integration=self.name, reason=pause.reason, by=pause.by, detail=pause.detail,
                )  # fmt: skip
        else:
            self._refusals = Refusals()
            before, self.breaker = self.breaker, Breaker()
            self._observe_breaker(before)
            event(logger, logging.WARNING, "integration resumed", integration=self.name)

    def _observe_breaker(self, before: Breaker) -> None:
        if before.state != self.breaker.state:
            self._observer.breaker(self.name, self.breaker.state)
