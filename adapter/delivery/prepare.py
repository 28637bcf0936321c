"""Renders claims and decides about each: a body to send, or a settlement where nothing is to be sent.

A report that cannot be prepared becomes a dead letter and does not affect the others of its batch. When the renderer
itself fails, nothing is decided and the caller gives the claims back.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from adapter.alarm import Attempt, Outcome
from adapter.clock import Clock, Micros
from adapter.coc.verdict import Reason
from adapter.delivery.contract import Observer, Renderer
from adapter.delivery.decide import decide, request_for, with_fallback
from adapter.logs import RepeatFilter
from adapter.mapping.render.request import Contract, RenderRequest, RenderResult
from adapter.mapping.rules.language import WHEN
from adapter.store.contract import Claim, Settlement
from adapter.store.views import Provenance

logger = logging.getLogger(__name__)


class Ready(NamedTuple):
    """A claim with the body to send."""

    claim: Claim
    request: RenderRequest
    rendered: RenderResult | None  # None for a body that is sent exactly as it was
    body: bytes


async def prepare(
    claims: Sequence[Claim],
    *,
    renderer: Renderer,
    contract: Contract,
    clock: Clock,
    observer: Observer,
    repeats: RepeatFilter,
) -> list[Ready | Settlement]:
    """What to send, and what to settle without sending. RenderError when the renderer cannot serve."""
    started = clock.monotonic()
    prepared: list[Ready | Settlement] = []
    requests: list[tuple[Claim, RenderRequest]] = []
    for claim in claims:
        try:
            requests.append((claim, request_for(claim, contract)))
        except MemoryError:  # no fault of the report
            raise
        except Exception as exc:
            prepared.append(_dead_letter(claim, clock.now(), exc, repeats))
    results = await renderer.render([request for _, request in requests])
    observer.rendered(len(requests), clock.monotonic() - started)
    for (claim, request), result in zip(requests, results, strict=True):
        if failed := result.fallbacks.get(WHEN):
            fields = {"integration": claim.report.integration, "fingerprint": claim.report.fingerprint}
            repeats.warn(logger, "a condition failed", key=fields["integration"], **fields, error=failed)
        try:
            prepared.append(_ready_or_settled(claim, request, result, clock.now()))
        except MemoryError:  # no fault of the report
            raise
        except Exception as exc:
            prepared.append(_dead_letter(claim, clock.now(), exc, repeats))
    return prepared


def _ready_or_settled(claim: Claim, request: RenderRequest, result: RenderResult, now: Micros) -> Ready | Settlement:
    if claim.report.body is not None:
        return Ready(claim, request, None, claim.report.body)
    if claim.report.refused:
        return Ready(claim, request, *with_fallback(claim, request, result))
    body = decide(claim, request, result)
    if isinstance(body, Outcome):
        return Settlement(
            claim=claim,
            at=now,
            outcome=body,
            provenance=provenance(result, result.json),
            unknown_severity=result.unknown_severity,
        )
    return Ready(claim, request, result, body)


def _dead_letter(claim: Claim, now: Micros, exc: Exception, repeats: RepeatFilter) -> Settlement:
    repeats.bug(logger, "a report cannot be prepared and is kept as a dead letter", exc)
    return Settlement(claim=claim, at=now, outcome=Outcome.DEAD, attempts=(internal_error(now, "prepared", exc),))


def internal_error(now: Micros, done: str, exc: Exception, *, ambiguous: bool = False) -> Attempt:
    """The record of a bug in the adapter, in place of an answer from COC. Quotes neither the alert nor the error."""
    message = f"cannot be {done}: {type(exc).__name__}"
    return Attempt(
        at=now, seconds=0.0, reason=Reason.UNEXPECTED, status=0, code="", message=message, ambiguous=ambiguous
    )


def provenance(rendered: RenderResult, body: bytes | None) -> Provenance:
    """Which rule made a body and which fields fell back, for `explain`."""
    return Provenance(
        rule=rendered.rule,
        mapping=rendered.mapping,
        revision=rendered.revision,
        fallbacks=tuple((field, why.reason.value) for field, why in rendered.fallbacks.items()),
        clipped=rendered.clipped,
        body=body,
    )
