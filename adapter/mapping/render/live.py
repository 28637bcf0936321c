"""The mapping revision in force and the child that renders by it; a new one is proven before it takes its place."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from adapter.errors import Finding, MappingError
from adapter.mapping.render.engine import FailureReason, places
from adapter.mapping.render.process import Child, ChildDied, CompileError, Limits
from adapter.mapping.render.program import one_line
from adapter.mapping.render.renderer import WorkerRenderer
from adapter.mapping.render.request import RenderRequest, RenderResult
from adapter.mapping.rules import files
from adapter.mapping.rules.model import RuleSet

_TRIED: Final = "tried on a plain alert, the template wants too much"
MEMORY: Final = 400 * 1024 * 1024
MAX_TRIED: Final = 8  # templates that end the child before the trial is given up; the fence meets the rest at work


class LiveMappings:
    """Renders by one revision at a time.

    - A call of `render` uses one revision throughout, the one in force when it began.
    - `reload` changes the revision in force only for one that was read whole, checked, compiled and tried in a child of
      its own; the old one serves until then, and its child ends when the last call that uses it returns.
    """

    def __init__(self, directory: Path, limits: Limits, fence: WorkerRenderer, findings: Sequence[Finding]) -> None:
        self._directory = directory
        self._limits = limits
        self._fence = fence
        self._refused = ""  # the digest of a set known to be broken
        self._findings = tuple(findings)
        self._reloading = asyncio.Lock()

    @classmethod
    async def open(
        cls, directory: Path, *, deadline: float = 1.0, memory: int = MEMORY, watch: Path | None = None
    ) -> LiveMappings:
        """The directory's rules, proven. `deadline`: CPU seconds an alert may take; `memory`: bytes the child may have.

        A template that wants too much of a plain alert falls back from the start, and `findings` says so: with nothing
        older to go on with, the rest of the rules is worth more than none. `watch`: the directory `reload` looks at,
        when these rules only stand in for broken ones there. MappingError with everything wrong.
        """
        limits = Limits(deadline, memory)
        ruleset = await asyncio.to_thread(files.load, directory)
        fence, findings = await _prove(ruleset, limits)
        return cls(watch or directory, limits, fence, findings)

    @property
    def revision(self) -> str:
        """The digest of the set in force."""
        return self._fence.revision

    @property
    def rules(self) -> RuleSet:
        """The set in force."""
        return self._fence.rules

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Why the last reload was refused, or what the trial at the start found; empty when all is well."""
        return self._findings

    async def render(self, jobs: Sequence[RenderRequest]) -> list[RenderResult]:
        """Render all, in order, by one revision. Never fails for a template: what does falls back."""
        return await self._fence.render(jobs)

    async def reload(self) -> bool:
        """Take over what the directory holds now: True when it was swapped in, False when nothing changed.

        MappingError when it is refused, again for as long as the directory stays as it is; the old one goes on.
        """
        async with self._reloading:
            try:
                return await self._reload()
            except MappingError as exc:
                self._findings = exc.findings
                raise

    async def _reload(self) -> bool:
        taken = await asyncio.to_thread(files.snapshot, self._directory)
        if taken.revision == self._fence.revision:
            if self._refused:
                self._findings, self._refused = (), ""
            return False
        if taken.revision == self._refused:
            raise MappingError(self._findings)
        try:
            fence, findings = await _prove(await asyncio.to_thread(files.parse, taken), self._limits)
            if findings:
                await fence.retire()
                raise MappingError(findings)
        except MappingError:
            self._refused = taken.revision
            raise
        old, self._fence = self._fence, fence
        self._findings, self._refused = (), ""
        await old.retire()
        return True

    async def close(self) -> None:
        """End the child. Calls under way finish first."""
        await self._fence.retire()


async def _prove(ruleset: RuleSet, limits: Limits) -> tuple[WorkerRenderer, list[Finding]]:
    """A fence whose child has compiled every template and tried each rule once, and what the trial found.

    What the trial found is quarantined. MappingError for what cannot be compiled.
    """
    data = ruleset.as_data()
    bad: dict[int, FailureReason] = {}
    child = None
    while child is None:
        try:
            child = await Child.start(data, bad, limits, eager=not bad)
            if len(bad) < MAX_TRIED:
                bad.update(await child.rehearse())
        except CompileError as exc:
            raise MappingError([_finding(ruleset, exc.place, f"the template cannot be compiled: {exc}")]) from exc
        except ChildDied as exc:
            child, place = None, exc.under.place
            if place is None or place in bad:
                raise MappingError([_finding(ruleset, -1, f"{_TRIED}: {exc}")]) from exc
            bad[place] = (exc.reason, one_line(exc))
        except BaseException:
            if child is not None:
                await child.stop()
            raise
    findings = [_finding(ruleset, place, f"{_TRIED}: {_told(why)}") for place, why in sorted(bad.items())]
    return WorkerRenderer(ruleset, data, child, limits, bad), findings


def _told(why: FailureReason) -> str:
    reason, detail = why
    return detail or str(reason)


def _finding(ruleset: RuleSet, index: int, message: str) -> Finding:
    if index < 0:
        return Finding(ruleset.files[0].source.name, 0, 0, message)
    return ruleset.finding(*places(ruleset.as_data())[index], message)
