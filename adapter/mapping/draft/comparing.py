"""One draft under way: what is asked of the draft process next, and what is known when that ends.

A template that ends the process goes into quarantine, as in production, and the next process goes on where that one
left off.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from pydantic_core import from_json, to_json

from adapter.mapping.draft import frames
from adapter.mapping.draft.frames import DraftFinding, Place, Posted, Read, TestResult
from adapter.mapping.render import protocol
from adapter.mapping.render.engine import detail_of
from adapter.mapping.render.process import WorkerDied
from adapter.mapping.render.request import FailureReason, Reason, RenderRequest
from adapter.mapping.rules.files import overlaid
from adapter.mapping.rules.language import WHEN
from adapter.mapping.rules.model import RuleSet

CHUNK_ALERTS: Final = 32  # their answer is read in the event loop
CHUNK_BYTES: Final = 1024 * 1024
LARGEST_ANSWER: Final = 32 * 1024 * 1024  # bytes of rows
MOST_DEATHS: Final = 8

Ask = Callable[[bytes, bytes], Awaitable[bytes]]
"""One frame to the draft process. WorkerDied; OutOfTime where there is no time left to ask."""


class OutOfTime(Exception):
    """The time for a draft is over."""


class Draft(NamedTuple):
    """What a person typed: mapping files that lie over the serving ones, None removes; tests; applications."""

    files: Mapping[str, str | None] = {}
    tests: Mapping[str, str] = {}
    applications: Any = None


class Compared(NamedTuple):
    """`rows`: one of each alert, {fingerprint, serving, draft, changed, tried} and `late` where it was not reached."""

    revision: str | None  # of the draft
    serving: str
    refused: bool  # the draft cannot serve
    findings: Sequence[DraftFinding]
    rows: Sequence[dict[str, Any]]
    tests: Sequence[TestResult]
    hits: Mapping[str, int]  # by rule


def nothing(serving: str) -> Compared:
    """Of a draft that was not tried."""
    return Compared(None, serving, refused=False, findings=(), rows=(), tests=(), hits={})


class Comparing:
    """`run` until it returns; after WorkerDied tell `on_death` and run it again with the next process."""

    def __init__(self, serving: RuleSet, draft: Draft, requests: Sequence[RenderRequest]) -> None:
        self._serving, self._requests = serving, requests
        snapshot, self._misnamed = overlaid(serving.texts, draft.files)
        self._revision = snapshot.revision
        self._posted = Posted({name: text.decode() for name, text in snapshot.files}, draft.tests, draft.applications)
        self._read: Read | None = None
        self._doing = frames.READ
        self._findings: list[DraftFinding] = []
        self._refused = False
        self._quarantined: dict[int, FailureReason] = {}
        self._failed: Counter[int] = Counter()
        self._why: dict[int, FailureReason] = {}
        self._rows: list[dict[str, Any]] = []
        self._size = 0  # of the rows
        self._tests: list[TestResult] = []
        self._cases_run = self._rehearsed = False
        self._deaths = 0

    async def run(self, ask: Ask) -> None:
        await self._prepare(ask)
        while self._goes_on():
            await self._compare(ask, frames.SERVING if self._refused else frames.COMPARE)
        if self._refused:
            return
        self._doing = frames.CASES
        while not self._cases_run:
            results = from_json(await ask(frames.CASES, to_json(len(self._tests))))
            self._tests += [TestResult(*result) for result in results]
            self._cases_run = not results
        self._doing = frames.REHEARSE
        if not self._rehearsed:
            excessive = from_json(await ask(frames.REHEARSE, to_json(self._unblamed())))
            self._why |= protocol.unpack_places(excessive)
            self._rehearsed = True

    async def finish(self, ask: Ask) -> None:
        """The alerts that the draft did not come to, by the serving rules."""
        first = len(self._rows)
        while self._goes_on():
            await self._compare(ask, frames.SERVING)
        for row in self._rows[first:]:
            row["late"] = True

    def on_death(self, death: WorkerDied) -> bool:
        """Whether to go on with another process."""
        self._deaths += 1
        place = death.in_progress.place
        if self._doing == frames.READ and not death.sure and self._deaths == 1:
            pass  # it may have ended before, or have been ended from outside
        elif self._doing == frames.READ:
            self._refuse(DraftFinding("", 0, 0, "error", f"the files cannot be read: {death}", "", test=False))
        elif place is None or place >= frames.SERVING_PLACES:
            return self._deaths < MOST_DEATHS
        elif self._doing == frames.COMPILE:
            self._refuse(self._at(place, "error", f"the template cannot be compiled: {death}"))
        else:
            self._quarantined[place] = FailureReason(death.reason, detail_of(death))
        return self._deaths < MOST_DEATHS

    def out_of_time(self, place: int | None, seconds: float) -> None:
        """`place`: of the template that ran."""
        count = len(self._rows)
        message = f"the {seconds:g} s for a draft were over after {count} of {len(self._requests)} alerts"
        if place is None or place >= frames.SERVING_PLACES or self._read is None:
            self._findings.append(DraftFinding("", 0, 0, "error", message, "", test=False))
        else:
            self._findings.append(self._at(place, "error", f"it ran when {message}"))

    def result(self) -> Compared:
        late = [self._unknown(request) for request in self._requests[len(self._rows) :]]
        rules = self._read.rules if self._read and not self._refused else ()
        hits = dict.fromkeys(rules, 0)
        hits |= Counter(row["draft"]["rule"] for row in self._rows if row["draft"] and row["draft"]["rule"] is not None)
        if late and self._size > LARGEST_ANSWER:
            message = f"the answer is larger than {LARGEST_ANSWER >> 20} MiB after {len(self._rows)} alerts; try fewer"
            self._findings.append(DraftFinding("", 0, 0, "error", message, "", test=False))
        findings = sorted({*self._findings, *self._failures()})
        return Compared(
            self._revision, self._serving.revision, self._refused, findings, [*self._rows, *late], self._tests, hits
        )

    async def _prepare(self, ask: Ask) -> None:
        if self._refused and self._read is None:
            return  # it ended the process that read it
        self._doing = frames.READ
        read = from_json(await ask(frames.READ, to_json(self._posted)))
        refused, findings, places, rules = read
        if self._read is None:
            self._read = Read(refused, findings, [Place(*place) for place in places], rules)
            self._findings += [DraftFinding(*finding) for finding in findings]
            self._findings += [
                DraftFinding(one.file, 0, 0, "error", one.message, one.hint, test=False) for one in self._misnamed
            ]
            self._refused |= refused or bool(self._misnamed)
        if self._refused:
            return
        self._doing = frames.COMPILE
        broken = from_json(await ask(frames.COMPILE, to_json(self._quarantined)))
        if broken is not None:
            place, message = broken
            self._refuse(self._at(place, "error", f"the template cannot be compiled: {message}"))

    def _goes_on(self) -> bool:
        """Whether alerts are left, and there is room for what becomes of them."""
        return len(self._rows) < len(self._requests) and self._size <= LARGEST_ANSWER

    def _chunk(self) -> list[RenderRequest]:
        chunk: list[RenderRequest] = []
        size, first = 0, len(self._rows)
        for request in self._requests[first : first + CHUNK_ALERTS]:
            size += len(request.raw)
            if chunk and size > CHUNK_BYTES:
                break
            chunk.append(request)
        return chunk

    async def _compare(self, ask: Ask, kind: bytes) -> None:
        self._doing = kind
        answer = await ask(kind, protocol.pack_requests(self._chunk()))
        rows, failed = from_json(answer)
        self._size += len(answer)
        self._rows += rows
        for place, (reason, detail, alerts) in failed.items():
            self._why.setdefault(int(place), FailureReason(Reason(reason), detail))
            self._failed[int(place)] += alerts

    def _unblamed(self) -> list[int]:
        """The numbers of the rules without a template that is known to want too much."""
        assert self._read is not None
        firsts = [number for number, place in enumerate(self._read.places) if place.field == WHEN]
        blamed = {bisect(firsts, place) - 1 for place in self._why | self._quarantined}
        return [number for number in range(len(firsts)) if number not in blamed]

    def _refuse(self, finding: DraftFinding) -> None:
        self._refused = True
        self._findings.append(finding)

    def _at(self, place: int, severity: str, message: str) -> DraftFinding:
        assert self._read is not None
        file, line, column, rule, field = self._read.places[place]
        return DraftFinding(file, line, column, severity, f"{field} of rule {rule!r}: {message}", "", test=False)

    def _failures(self) -> list[DraftFinding]:
        """Templates that gave nothing for some alerts, or want too much."""
        found = []
        for place, why in (self._why | self._quarantined).items():
            if why.reason is Reason.ERROR:
                alerts = self._failed[place]
                which = "an alert" if alerts == 1 else f"{alerts} alerts"
                found.append(self._at(place, "warning", f"it fails for {which}: {why.detail}"))
            else:
                found.append(self._at(place, "error", f"it wants too much: {why}"))
        return found

    def _unknown(self, request: RenderRequest) -> dict[str, Any]:
        fingerprint = from_json(request.raw)["alert"]["fingerprint"]
        return {"fingerprint": fingerprint, "serving": None, "draft": None, "late": True}
