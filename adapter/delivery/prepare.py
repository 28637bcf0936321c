"""From claimed to ready: a claim is rendered, and either has a body to send or is settled without one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Protocol

from adapter.alarm import Outcome
from adapter.clock import Clock
from adapter.delivery.decide import decide, job_of, with_fallback
from adapter.delivery.send import Ready, internal_error, made_of
from adapter.mapping.render.request import Contract, RenderRequest, RenderResult
from adapter.store.contract import Claim, Settlement

AGAIN_SECONDS: Final = 1.0  # until claims that could not be rendered are tried again

logger = logging.getLogger(__name__)


class Renderer(Protocol):
    """The mapping revision in force."""

    async def render(self, jobs: Sequence[RenderRequest]) -> list[RenderResult]: ...


class Preparer:
    """Prepares batches of claims of one integration."""

    def __init__(
        self,
        renderer: Renderer,
        *,
        contract: Contract,
        clock: Clock,
        settle: Callable[[Settlement], None],
        rendered: Callable[[int, float], None],
    ) -> None:
        """`settle` takes what needs no sending; `rendered` hears how many alarms a rendering held, and its seconds."""
        self._renderer, self._contract, self._clock = renderer, contract, clock
        self._settle, self._rendered = settle, rendered

    async def prepare(self, claims: Sequence[Claim]) -> list[Ready]:
        """What is to be sent, in order. All are given back when rendering itself fails, or is cancelled."""
        started = self._clock.monotonic()
        jobs: list[tuple[Claim, RenderRequest]] = []
        for claim in claims:
            with self._alone(claim):
                jobs.append((claim, job_of(claim, self._contract)))
        try:
            rendered = await self._renderer.render([job for _, job in jobs])
        except BaseException:
            for claim, _ in jobs:
                self._settle(Settlement(claim=claim, at=self._clock.now(), delay=AGAIN_SECONDS))
            raise
        self._rendered(len(jobs), self._clock.monotonic() - started)
        ready: list[Ready] = []
        for (claim, job), made in zip(jobs, rendered, strict=True):
            with self._alone(claim):
                if (one := self._ready(claim, job, made)) is not None:
                    ready.append(one)
        return ready

    @contextmanager
    def _alone(self, claim: Claim) -> Iterator[None]:
        """Whatever is wrong with one report is no business of its siblings: it is kept for a person."""
        try:
            yield
        except Exception as exc:
            logger.exception("%s", "a report cannot be prepared and is kept as a dead letter")
            self._settle(replace(internal_error(claim, self._clock.now(), "prepared", exc), outcome=Outcome.DEAD))

    def _ready(self, claim: Claim, job: RenderRequest, rendered: RenderResult) -> Ready | None:
        """None for what is settled without being sent."""
        if claim.report.body is not None:
            return Ready(claim, job, None, claim.report.body)
        body: bytes | Outcome
        if claim.report.refused:
            rendered, body = with_fallback(claim, job, rendered.revision)
        else:
            body = decide(claim, job, rendered)
        if isinstance(body, Outcome):
            made = made_of(rendered, rendered.json)
            self._settle(Settlement(claim=claim, at=self._clock.now(), outcome=body, provenance=made))
            return None
        return Ready(claim, job, rendered, body)
