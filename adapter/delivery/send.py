"""One report's way out: send, judge, and say what is to be settled; also what its verdict means for the integration."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple, Protocol

from adapter.alarm import Accepted, Attempt, Outcome, Pause
from adapter.clock import Clock, Micros
from adapter.coc.verdict import Action, Reason, Verdict
from adapter.delivery.backoff import back_off
from adapter.delivery.decide import with_fallback
from adapter.delivery.throttle import Throttle
from adapter.errors import StoreUnavailable
from adapter.logs import event
from adapter.mapping.render.request import RenderRequest, RenderResult
from adapter.store.contract import Claim, DeliveryStore, Settlement
from adapter.store.views import Provenance

logger = logging.getLogger(__name__)


class Reporter(Protocol):
    """One way to COC."""

    async def report(self, body: bytes) -> Verdict: ...


class Ready(NamedTuple):
    """A claim that waits for its turn, its body made."""

    claim: Claim
    job: RenderRequest
    rendered: RenderResult | None  # None for a body that is sent exactly as it was
    body: bytes


class Sender:
    """Sends what is ready, one report per call, as many calls at once as its gate allows."""

    def __init__(
        self,
        gate: Throttle,
        *,
        store: DeliveryStore,
        reporter: Reporter,
        clock: Clock,
        jitter: Callable[[], float],
        answered: Callable[[str, str, float], None],
        on_pause: Callable[[Pause | None], None],
    ) -> None:
        """`answered` hears integration, reason and seconds of every POST; `on_pause` takes over a changed pause."""
        self._gate, self._store, self._reporter = gate, store, reporter
        self._clock, self._jitter, self._answered, self._on_pause = clock, jitter, answered, on_pause
        self.unwritten = False  # a pause or its end that the store does not know of yet

    async def send(self, ready: Ready) -> Settlement:
        """Send one report and judge the answer; refused content is sent once more as the built-in body."""
        try:
            return await self._send(ready)
        except Exception as exc:
            logger.exception("%s", "a report cannot be handled and is tried again; this is a defect of the adapter")
            settlement = internal_error(ready.claim, self._clock.now(), "handled", exc, ambiguous=True)
            return replace(settlement, delay=back_off(ready.claim.report.attempts + 1, self._jitter()))

    async def _send(self, ready: Ready) -> Settlement:
        claim = ready.claim
        if self._too_late(claim):
            return Settlement(claim=claim, at=self._clock.now())
        way = self._gate.ways
        verdict, attempt = await self._post(ready.body)
        attempts: tuple[Attempt, ...] = (attempt,)
        refused = claim.report.refused
        if verdict.action is Action.REFUSED and not refused and ready.rendered is not None:
            if self._too_late(claim):
                self._gate.answered()
                return Settlement(claim=claim, at=self._clock.now(), attempts=attempts, refused=True)
            rendered, plain = with_fallback(claim, ready.job, ready.rendered.revision)
            ready, refused = ready._replace(rendered=rendered, body=plain), True
            verdict, attempt = await self._post(ready.body)
            attempts = (*attempts, attempt)
        made = made_of(ready.rendered, ready.body) if ready.rendered else None
        settlement = Settlement(claim=claim, at=self._clock.now(), attempts=attempts, refused=refused, provenance=made)
        if verdict.action is Action.PAUSE and way != self._gate.ways:
            return replace(settlement, refused=claim.report.refused)  # said of a secret that has been changed since
        return await self._judge(settlement, verdict, ready)

    def _too_late(self, claim: Claim) -> bool:
        """The answer might come when the lease is over, and somebody else sends for this alarm."""
        return claim.send_before is not None and self._clock.monotonic() > claim.send_before

    async def _post(self, body: bytes) -> tuple[Verdict, Attempt]:
        at, started = self._clock.now(), self._clock.monotonic()
        verdict = await self._reporter.report(body)
        seconds = self._clock.monotonic() - started
        self._answered(self._gate.name, verdict.reason.value, seconds)
        attempt = Attempt(
            at=at,
            seconds=seconds,
            reason=verdict.reason.value,
            status=verdict.status,
            code=verdict.code,
            message=verdict.message,
            ambiguous=verdict.ambiguous,
        )
        return verdict, attempt

    async def _judge(self, settlement: Settlement, verdict: Verdict, ready: Ready) -> Settlement:
        """What a verdict makes of the report, and what it says about the integration."""
        report = settlement.claim.report
        if verdict.action is Action.RETRY:
            self._gate.failed(report.fingerprint, verdict)
            if self._gate.probing:
                return settlement
            return replace(settlement, delay=back_off(report.attempts + 1, self._jitter()))
        self._gate.answered()
        if verdict.action is Action.PAUSE:
            await self._pause_for(verdict, verdict.reason.value)
            return replace(settlement, refused=report.refused)
        if verdict.action is Action.REFUSED:
            return await self._refused(settlement, verdict)
        self._gate.accepted(report.fingerprint)
        if self.unwritten or (self._gate.pause is not None and self._gate.pause.automatic):
            await self._write_pause(None)
        accepted = Accepted(body=ready.body, status=ready.job.status, at=settlement.at)
        return replace(settlement, outcome=Outcome.DELIVERED, accepted=accepted)

    async def _refused(self, settlement: Settlement, verdict: Verdict) -> Settlement:
        fingerprint = settlement.claim.report.fingerprint
        if self._gate.refused(fingerprint):
            await self._pause_for(verdict, "refusals")
            return replace(settlement, refused=False)
        event(
            logger, logging.ERROR, "dead letter",
            integration=self._gate.name, fingerprint=fingerprint, status=verdict.status, code=verdict.code,
            answer=verdict.message,
        )  # fmt: skip
        return replace(settlement, outcome=Outcome.DEAD)

    async def _pause_for(self, verdict: Verdict, reason: str) -> None:
        pause = self._gate.pause_for(verdict, reason)
        if pause is not None:
            await self._write_pause(pause)
        elif self.unwritten:
            await self._write_pause(self._gate.pause)

    async def _write_pause(self, pause: Pause | None) -> None:
        """Without the store a pause still holds in this process; the next verdict of its kind writes it again."""
        try:
            pause = await self._store.set_pause(self._gate.name, pause, automatic=True)
            self.unwritten = False
        except StoreUnavailable as exc:
            self.unwritten = True
            event(logger, logging.WARNING, "pause not written", integration=self._gate.name, error=exc)
        self._on_pause(pause)


def internal_error(claim: Claim, at: Micros, what: str, exc: Exception, *, ambiguous: bool = False) -> Settlement:
    """Of a report that a defect of our own kept from being prepared or handled; the words hold nothing of either."""
    attempt = Attempt(
        at=at,
        seconds=0.0,
        reason=Reason.UNEXPECTED,
        status=0,
        code="",
        message=f"cannot be {what}: {type(exc).__name__}",
        ambiguous=ambiguous,
    )
    return Settlement(claim=claim, at=at, attempts=(attempt,))


def made_of(rendered: RenderResult, body: bytes | None) -> Provenance:
    """How a body came about, for `explain`."""
    return Provenance(
        rule=rendered.rule,
        mapping=rendered.mapping,
        revision=rendered.revision,
        fallbacks=tuple((item.field, item.reason.value) for item in rendered.fallbacks),
        clipped=rendered.clipped,
        body=body,
    )
