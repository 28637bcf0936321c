"""PURE: attempts, verdicts and jitter -> when to try again, how many at once, and whether an integration is refused.

Rules:
1. A report is tried without limit; only COC's refusal of its content ends it.
2. Full jitter: the wait is anywhere between 0 and the step, so that many alarms are not retried at the same moment.
3. Retry-After holds back the whole integration, since COC throttles callers, not alarms.
4. The breaker opens after five transient failures in a row over two alarms or more. Then one report at a time is sent
   as a probe. Probes are at most four seconds apart, so a fresh alarm waits no longer than that once COC is back.
5. After an outage the in-flight limit doubles with every acceptance (1, 2, 4 ...) up to the configured one.
6. Many refusals of content at once mean a broken integration, not broken alarms: no more dead letters are made.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

STEPS: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
PROBE_STEPS: Final = (1.0, 2.0, 4.0)
OPEN_AFTER: Final = 5
OPEN_OVER: Final = 2
WINDOW: Final = 50
REFUSED_SHARE: Final = 0.2
REFUSED_OVER: Final = 5
_ROUNDING: Final = 1e-9  # tokens; a float may miss a whole token by this much


def back_off(attempts: int, jitter: float) -> float:
    """Seconds until the next try after `attempts` failed ones; `jitter` is uniform in [0, 1)."""
    return STEPS[min(max(attempts, 1), len(STEPS)) - 1] * jitter


class Breaker(NamedTuple):
    """What recent transient failures say about an integration. Times are monotonic seconds."""

    failures: int = 0  # in a row
    alarms: frozenset[str] = frozenset()  # the first OPEN_OVER alarms of that row
    open: bool = False
    probes: int = 0  # failed ones since it opened
    until: float = 0.0  # nothing is sent before
    ramp: int = 0  # in-flight limit of a slow start; 0 = no limit

    @property
    def state(self) -> Literal["closed", "open", "half_open"]:
        if self.open:
            return "open"
        return "half_open" if self.ramp else "closed"

    @property
    def lasting(self) -> bool:
        """ "COC has failed for a while, if only for a single alarm."""
        return self.open or self.failures >= OPEN_AFTER

    def succeeded(self, limit: int) -> Breaker:
        """COC answered, and not with a transient failure."""
        if not (self.failures or self.open or self.ramp):
            return self
        if self.open:
            # A Retry-After holds on: this may be the answer to an earlier request.
            return Breaker(ramp=2 if limit > 2 else 0, until=self.until)
        ramp = self.ramp * 2 if 0 < self.ramp * 2 < limit else 0
        return self._replace(failures=0, alarms=frozenset(), ramp=ramp)

    def failed(self, alarm: str, now: float, jitter: float, retry_after: float | None = None) -> Breaker:
        """One transient failure; `jitter` is uniform in [0, 1)."""
        hold = now + retry_after if retry_after else 0.0
        if self.open:
            wait = PROBE_STEPS[min(self.probes, len(PROBE_STEPS) - 1)] * (0.5 + jitter / 2)
            return self._replace(probes=self.probes + 1, until=max(self.until, hold, now + wait))
        failures = self.failures + 1
        alarms = self.alarms | {alarm} if len(self.alarms) < OPEN_OVER else self.alarms
        if failures >= OPEN_AFTER and len(alarms) >= OPEN_OVER:
            wait = PROBE_STEPS[0] * (0.5 + jitter / 2)
            return Breaker(open=True, until=max(self.until, hold, now + wait))
        return self._replace(failures=failures, alarms=alarms, until=max(self.until, hold))

    def allowed(self, limit: int, now: float) -> int:
        """How many reports may be in flight now."""
        if now < self.until:
            return 0
        if self.open:
            return 1
        return min(self.ramp, limit) if self.ramp else limit


class Refusals(NamedTuple):
    """The last verdicts on content, newest last: (alarm, refused). Starts with the first refusal."""

    window: tuple[tuple[str, bool], ...] = ()

    def add(self, alarm: str, refused: bool) -> Refusals:
        if not (refused or self.window):
            return self
        window = (*self.window, (alarm, refused))[-WINDOW:]
        first = next((place for place, (_, was_refused) in enumerate(window) if was_refused), len(window))
        return Refusals(window[first:])

    @property
    def systemic(self) -> bool:
        """More than a fifth of a full window, over enough different alarms."""
        refused = [alarm for alarm, was_refused in self.window if was_refused]
        return len(refused) > WINDOW * REFUSED_SHARE and len(set(refused)) >= REFUSED_OVER


class Bucket(NamedTuple):
    """A token bucket over monotonic seconds, so that a rate holds over any second."""

    rate: float  # tokens per second; 0 = no limit
    tokens: float = 1.0
    at: float = 0.0

    def filled(self, now: float) -> Bucket:
        """With the tokens added since `at`; holds at most those of a tenth of a second, or one."""
        most = max(1.0, self.rate / 10)
        return self._replace(tokens=min(most, self.tokens + (now - self.at) * self.rate), at=now)

    def take(self, count: int) -> Bucket:
        return self._replace(tokens=self.tokens - count)

    def available(self, wanted: int) -> int:
        return wanted if self.rate <= 0 else min(wanted, int(self.tokens + _ROUNDING))

    @property
    def wait(self) -> float:
        """Seconds until a token is available."""
        missing = 1 - self.tokens
        return 0.0 if self.rate <= 0 or missing <= _ROUNDING else missing / self.rate
