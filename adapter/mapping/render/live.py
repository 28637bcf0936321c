"""The mapping rules in force, and everything there is to say about the files they come from.

A changed directory takes effect as a whole, once it was read, checked, compiled and tried out in a worker process of
its own. Until then, and where it is refused, the rules before it serve.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from adapter.application import Index, Lookup
from adapter.errors import Finding, MappingError
from adapter.mapping.render.engine import CannotCompile, detail_of
from adapter.mapping.render.process import Limits, WorkerDied, WorkerProcess
from adapter.mapping.render.renderer import WorkerRenderer
from adapter.mapping.render.request import FailureReason, Reason, RenderRequest, RenderResult
from adapter.mapping.rules import files
from adapter.mapping.rules.model import RuleSet

MEMORY: Final = 400 * 1024 * 1024

LookedUp = Callable[[str, Sequence[Lookup]], None]
"""Gets an integration, and what the filter `application` said for one of its alerts."""

CANNOT_COMPILE: Final = "the template cannot be compiled"
EXCESSIVE: Final = "tried on a plain alert, the template wants too much"


class LiveMappings:
    """Renders by one revision at a time. A call of `render` uses the one that is in force when it begins."""

    def __init__(
        self,
        directory: Path,
        limits: Limits,
        renderer: WorkerRenderer,
        findings: Sequence[Finding],
        tried: str,
        applications: dict[str, bytes],
        looked_up: LookedUp,
    ) -> None:
        """`tried`: the revision of the directory that the findings are about; empty when it is to be tried again."""
        self._directory = directory
        self._limits = limits
        self._renderer = renderer
        self._applications, self._looked_up = applications, looked_up
        # Why the directory is refused; else what the trial of the rules in force found, and their warnings.
        self.findings = tuple(findings)
        self._tried = tried
        self._reloading = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        deadline: float = 1.0,
        memory: int = MEMORY,
        instead: Path | None = None,
        looked_up: LookedUp = lambda integration, lookups: None,
    ) -> LiveMappings:
        """The directory's rules. `deadline`: CPU seconds a template may take; `memory`: bytes the worker may have.

        A template that wants too much of a plain alert is a finding and refuses nothing here, because there are no
        older rules. Where the rules cannot be used at all, those of `instead` serve until `reload` finds better ones;
        without `instead`, MappingError with every finding. `looked_up` is called for each alert rendered for COC that
        the filter `application` was asked about.
        """
        limits = Limits(deadline, memory)
        applications: dict[str, bytes] = {}
        try:
            rules = await asyncio.to_thread(files.load, directory)
            renderer, findings = await _try_out(rules, limits, applications)
            findings = (*findings, *rules.warnings)
            return cls(directory, limits, renderer, findings, rules.revision, applications, looked_up)
        except Exception as exc:
            findings = _findings_of(exc, directory)
            if instead is None:
                raise MappingError(findings) from exc
        renderer, _ = await _try_out(await asyncio.to_thread(files.load, instead), limits, applications)
        return cls(directory, limits, renderer, findings, "", applications, looked_up)

    @property
    def revision(self) -> str:
        return self._renderer.rules.revision

    @property
    def rules(self) -> RuleSet:
        return self._renderer.rules

    @property
    def applications(self) -> Mapping[str, bytes]:
        """The directories that alerts are rendered by, by integration; see WorkerProcess.set_directory."""
        return self._applications

    @property
    def refused(self) -> bool:
        """Whether the directory holds other rules than those in force."""
        return self._tried != self.revision

    async def render(self, requests: Sequence[RenderRequest]) -> list[RenderResult]:
        """Render all, in order, by one revision. A template that fails costs its field, see WorkerRenderer."""
        results = await self._renderer.render(requests)
        for request, result in zip(requests, results, strict=True):
            if result.lookups:
                self._looked_up(request.integration, result.lookups)
        return results

    async def set_applications(self, directories: Mapping[str, Index | None]) -> None:
        """Render by these directories of applications from now on; None takes one away. They are no part of a revision.

        Those of integrations that are not named stay. That under the empty name serves integrations without one.
        """
        for integration, index in directories.items():
            self._applications[integration] = b"null" if index is None else await asyncio.to_thread(index.pack)
        await self._renderer.hand_over()

    async def reload(self) -> bool:
        """Take over what the directory holds now: True when other rules are in force. `findings` holds any refusal."""
        async with self._reloading:
            tried = ""
            try:
                found = await asyncio.to_thread(files.snapshot, self._directory)
                if found.revision == self._tried:
                    return False
                tried = found.revision
                swapped = tried != self.revision
                if swapped:
                    await self._swap(found)
            except Exception as exc:
                self.findings = _findings_of(exc, self._directory)
                self._tried = "" if isinstance(exc, WorkerDied) else tried
                return False
            self.findings, self._tried = self.rules.warnings, tried
            return swapped

    async def close(self) -> None:
        """End the worker process. Calls under way finish first."""
        await self._renderer.stop()

    async def _swap(self, found: files.Snapshot) -> None:
        rules = await asyncio.to_thread(files.parse, self._directory, found)
        renderer, findings = await _try_out(rules, self._limits, self._applications)
        if findings:
            await renderer.stop()
            raise MappingError([*findings, *rules.warnings])
        await renderer.hand_over()
        old, self._renderer = self._renderer, renderer
        await old.stop()


async def _try_out(
    rules: RuleSet, limits: Limits, applications: Mapping[str, bytes]
) -> tuple[WorkerRenderer, Sequence[Finding]]:
    """A renderer whose worker process has compiled every template and run each on a plain alert; what that found.

    The first template that ends the process ends the trial. MappingError for one that cannot be compiled; WorkerDied
    when no template is to blame.
    """
    try:
        worker = await WorkerProcess.start(rules, {}, limits)
    except CannotCompile as exc:
        raise MappingError([rules.finding(exc.place, f"{CANNOT_COMPILE}: {exc}")]) from exc
    except WorkerDied as death:
        if not death.sure or death.in_progress.place is None:
            raise
        raise MappingError([rules.finding(death.in_progress.place, f"{CANNOT_COMPILE}: {death}")]) from death
    excessive: dict[int, FailureReason] = {}
    try:
        for rule in range(sum(len(file.rules) for file in rules.files)):
            excessive.update(await worker.try_out(rule))
        renderer = WorkerRenderer(rules, limits, worker, {}, applications)
    except WorkerDied as death:
        place = death.in_progress.place
        if place is None:
            raise
        excessive[place] = FailureReason(death.reason, detail_of(death))
        slow = {at: why for at, why in excessive.items() if why.reason is not Reason.MEMORY}
        renderer = WorkerRenderer(rules, limits, None, slow, applications)
    except BaseException:
        await worker.stop()
        raise
    findings = [rules.finding(at, f"{EXCESSIVE}: {why.detail or why.reason}") for at, why in sorted(excessive.items())]
    by_place = {(finding.file, finding.line, finding.col): finding for finding in findings}  # aliases share one
    return renderer, [*by_place.values()]


def _findings_of(exc: Exception, directory: Path) -> tuple[Finding, ...]:
    """Anything that went wrong is a finding, so that the rules in force serve on and the reload counts as refused."""
    if isinstance(exc, MappingError):
        return exc.findings
    what = str(exc) if isinstance(exc, WorkerDied) else f"{type(exc).__name__}: {exc}"
    return (Finding(str(directory), 0, 0, f"the rules cannot be tried out: {what}"),)
