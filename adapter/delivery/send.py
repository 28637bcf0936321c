"""Sends one report and judges the answer: what to write about the report, and what it says about the integration.

Refused content is sent once more as the built-in body. Nothing is sent when the answer could come after the lease.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from adapter.alarm import Accepted, Attempt, Outcome, Pause, Report
from adapter.clock import Clock
from adapter.coc.verdict import Action, Verdict
from adapter.delivery.backoff import back_off
from adapter.delivery.contract import Observer, Reporter
from adapter.delivery.decide import with_fallback
from adapter.delivery.prepare import Ready, internal_error, provenance
from adapter.delivery.throttle import Throttle
from adapter.errors import StoreUnavailable
from adapter.logs import RepeatFilter, event
from adapter.store.contract import Claim, DeliveryStore, Settlement

logger = logging.getLogger(__name__)


class Sender:
    """Sends the reports of one integration; any number of `send` calls may run at once."""

    def __init__(
        self,
        throttle: Throttle,
        *,
        store: DeliveryStore,
        reporter: Reporter,
        clock: Clock,
        jitter: Callable[[], float],
        observer: Observer,
        repeats: RepeatFilter,
    ) -> None:
        self._throttle, self._store, self._reporter = throttle, store, reporter
        self._clock, self._jitter, self._observer, self._repeats = clock, jitter, observer, repeats

    async def send(self, ready: Ready) -> Settlement:
        """Send one report; a bug met on the way counts as an attempt that COC may have taken."""
        try:
            return await self._send(ready)
        except Exception as exc:
            self._repeats.bug(logger, "a report cannot be handled and is tried again (a bug in the adapter)", exc)
            now = self._clock.now()
            attempt = internal_error(now, "handled", exc, ambiguous=True)
            delay = back_off(ready.claim.report.attempts + 1, self._jitter())
            return Settlement(claim=ready.claim, at=now, attempts=(attempt,), delay=delay)

    async def _send(self, ready: Ready) -> Settlement:
        claim, report = ready.claim, ready.claim.report
        if self._too_late(claim):
            return Settlement(claim=claim, at=self._clock.now())
        version = self._throttle.credentials_version
        verdict, attempt = await self._post(ready.body)
        attempts: tuple[Attempt, ...] = (attempt,)
        refused = report.refused
        if verdict.action is Action.REFUSED and not refused and ready.rendered is not None:
            refused = True
            if self._too_late(claim):
                self._throttle.answered()
                return Settlement(claim=claim, at=self._clock.now(), attempts=attempts, refused=True)
            rendered, body = with_fallback(claim, ready.request, ready.rendered)
            ready = ready._replace(rendered=rendered, body=body)
            verdict, attempt = await self._post(body)
            attempts = (*attempts, attempt)
        at = self._clock.now()
        outcome, delay = await self._judge(report, verdict, version)
        accepted = None
        if outcome is Outcome.DELIVERED:
            accepted = Accepted(body=ready.body, status=ready.request.status, at=at, episode=report.episode)
        return Settlement(
            claim=claim,
            at=at,
            outcome=outcome,
            delay=delay,
            accepted=accepted,
            attempts=attempts,
            refused=refused if outcome or verdict.action is Action.RETRY else report.refused,
            provenance=provenance(ready.rendered, ready.body) if ready.rendered else None,
            unknown_severity=ready.rendered is not None and ready.rendered.unknown_severity,
        )

    def _too_late(self, claim: Claim) -> bool:
        """The answer could come after the lease, when another replica already sends for this alarm."""
        return claim.send_before is not None and self._clock.monotonic() > claim.send_before

    async def _post(self, body: bytes) -> tuple[Verdict, Attempt]:
        at, started = self._clock.now(), self._clock.monotonic()
        verdict = await self._reporter.report(body)
        seconds = self._clock.monotonic() - started
        reason = verdict.reason.value
        self._observer.coc_answered(self._throttle.name, reason, seconds)
        return verdict, Attempt(
            at=at,
            seconds=seconds,
            reason=reason,
            status=verdict.status,
            code=verdict.code,
            message=verdict.message,
            ambiguous=verdict.ambiguous,
        )

    async def _judge(self, report: Report, verdict: Verdict, version: int) -> tuple[Outcome | None, float]:
        """The outcome of the report; without one, seconds until it is tried again."""
        throttle = self._throttle
        if verdict.action is Action.RETRY:
            throttle.failed(report.fingerprint, verdict)
            return None, 0.0 if throttle.probing else back_off(report.attempts + 1, self._jitter())
        if verdict.action is Action.PAUSE and version != throttle.credentials_version:
            return None, 0.0  # these credentials are no longer used
        throttle.answered()
        if verdict.action is Action.PAUSE:
            await self._pause_for(verdict, verdict.reason.value)
            return None, 0.0
        if verdict.action is Action.REFUSED:
            return await self._refused(report, verdict), 0.0
        throttle.accepted(report.fingerprint)
        if throttle.pause_unwritten or (throttle.pause is not None and throttle.pause.automatic):
            await self._write_pause(None)
        return Outcome.DELIVERED, 0.0

    async def _refused(self, report: Report, verdict: Verdict) -> Outcome | None:
        if self._throttle.refused(report.fingerprint):
            await self._pause_for(verdict, "refusals")
            return None
        event(
            logger, logging.ERROR, "dead letter",
            integration=report.integration, fingerprint=report.fingerprint,
            status=verdict.status, code=verdict.code, answer=verdict.message,
        )  # fmt: skip
        return Outcome.DEAD

    async def _pause_for(self, verdict: Verdict, reason: str) -> None:
        pause = self._throttle.pause_for(verdict, reason)
        if pause is not None:
            await self._write_pause(pause)
        elif self._throttle.pause_unwritten:
            await self._write_pause(self._throttle.pause)

    async def _write_pause(self, pause: Pause | None) -> None:
        """While the store cannot write it, a pause holds in this process; the next verdict of its kind tries again."""
        throttle = self._throttle
        try:
            pause = await self._store.set_pause(throttle.name, pause, automatic=True)
            throttle.pause_unwritten = False
        except StoreUnavailable as exc:
            throttle.pause_unwritten = True
            event(logger, logging.WARNING, "pause not written", integration=throttle.name, error=exc)
        throttle.observe_pause(pause)
