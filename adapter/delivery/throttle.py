"""How many reports of one integration may be under way now: pause, breaker, rate limit and refusals joined.

Holds state and speaks of its changes to log and watcher; decides nothing that `retry` does not decide.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal, Protocol

from adapter.alarm import Pause
from adapter.clock import Clock
from adapter.coc.verdict import Verdict
from adapter.delivery.backoff import Breaker, Bucket, Refusals
from adapter.logs import event

PROBE_SECONDS = 60.0  # between probes of an integration that paused itself

logger = logging.getLogger(__name__)


class ThrottleWatcher(Protocol):
    """Who wants to know when a gate changes; must not block."""

    def paused(self, integration: str, reason: str | None) -> None: ...
    def breaker(self, integration: str, state: Literal["closed", "open", "half_open"]) -> None: ...


class Throttle:
    """One integration's gate. `allowed` counts what is already under way."""

    def __init__(
        self,
        name: str,
        *,
        limit: int,
        rate: float,
        clock: Clock,
        jitter: Callable[[], float],
        watcher: ThrottleWatcher,
    ) -> None:
        self.name = name
        self.limit = limit
        self.pause: Pause | None = None
        self.ways = 0  # how often secrets or certificates have changed
        self.breaker = Breaker()
        self._clock, self._jitter, self._watcher = clock, jitter, watcher
        self._refusals = Refusals()
        self._bucket = Bucket(rate, at=clock.monotonic())
        self._probe_at = 0.0

    @property
    def wide_open(self) -> bool:
        """Nothing but the in-flight limit holds reports back."""
        return self.pause is None and self._bucket.rate <= 0 and not self.breaker.open and not self.breaker.ramp

    @property
    def probing(self) -> bool:
        """Only single probes get through."""
        return self.pause is not None or self.breaker.open

    def allowed(self, active: int) -> int:
        """How many may be under way at once now, `active` of them already are."""
        now = self._clock.monotonic()
        if self.pause is not None:
            return 1 if self.pause.automatic and now >= self._probe_at else 0
        allowed = self.breaker.allowed(self.limit, now)
        if self._bucket.rate <= 0:
            return allowed
        self._bucket = self._bucket.filled(now)
        return min(allowed, active + self._bucket.available(self.limit))

    def hold(self) -> float:
        """Seconds until it may open without anything finishing; 0 when only something finishing can open it."""
        now = self._clock.monotonic()
        if self.pause is not None:
            return max(0.0, self._probe_at - now) if self.pause.automatic else 0.0
        return max(self.breaker.until - now, self._bucket.wait, 0.0)

    def sent(self) -> None:
        """One report went through."""
        self._bucket = self._bucket.take(1)

    def set_rate(self, rate: float) -> None:
        """Reports a second from now on; what was saved up at the old rate stays."""
        if rate != self._bucket.rate:
            self._bucket = self._bucket.filled(self._clock.monotonic())._replace(rate=rate)

    def probe_now(self) -> None:
        """Reports go out differently from now on; what COC says of one sent before is out of date."""
        self.ways += 1
        self._probe_at = 0.0

    def failed(self, alarm: str, verdict: Verdict) -> None:
        """A transient failure: the first of a row is loud, the rest quiet."""
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
        self._tell(before)

    def answered(self) -> None:
        """COC answered, which ends a row of transient failures."""
        before, self.breaker = self.breaker, self.breaker.succeeded(self.limit)
        if before is self.breaker:
            return
        if before.failures > 0 or before.open:
            event(logger, logging.WARNING, "COC answers again", integration=self.name)
        self._tell(before)

    def accepted(self, alarm: str) -> None:
        self._refusals = self._refusals.add(alarm, False)

    def refused(self, alarm: str) -> bool:
        """COC refused a content; True when so many are refused that the integration is to blame."""
        self._refusals = self._refusals.add(alarm, True)
        if self.pause is not None:
            self._probe_at = self._clock.monotonic() + PROBE_SECONDS
            return True
        return self._refusals.systemic

    def pause_for(self, verdict: Verdict, reason: str) -> Pause | None:
        """The pause a verdict asks for; None when there is one already, which then waits for its next probe."""
        self._probe_at = self._clock.monotonic() + PROBE_SECONDS
        if self.pause is not None:
            return None
        words = " ".join(part for part in (str(verdict.status or ""), verdict.code, verdict.message) if part)
        detail = f"{words} ({verdict.hint})" if verdict.hint else words
        return Pause(reason=reason, since=self._clock.now(), by="adapter", detail=detail[:500])

    def observe(self, pause: Pause | None) -> bool:
        """Take over what the store says of the pause; True when that changes something."""
        if pause == self.pause:
            return False
        earlier, self.pause = self.pause, pause
        self._watcher.paused(self.name, pause.reason if pause else None)
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
            self._tell(before)
            event(logger, logging.WARNING, "integration resumed", integration=self.name)
        return True

    def _tell(self, before: Breaker) -> None:
        if before.state != self.breaker.state:
            self._watcher.breaker(self.name, self.breaker.state)
