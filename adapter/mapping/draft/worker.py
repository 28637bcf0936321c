"""The draft process: all that a person typed is read, compiled, run and explained here, within the limits of `render`.

It holds the rules in force too, as the worker process of production does, and renders by both what is compared.
Started as `python -m adapter.mapping.draft.worker MARK_FD MEMORY_BYTES`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic_core import from_json, to_json

from adapter.application import Index
from adapter.mapping.draft import frames
from adapter.mapping.draft.frames import Compared, Posted, Read, TestResult
from adapter.mapping.draft.reading import Draft, TriedRule, read
from adapter.mapping.draft.tried import BUILT_IN, Because, because_not, because_true
from adapter.mapping.render import protocol
from adapter.mapping.render.body import Subject
from adapter.mapping.render.engine import CannotCompile, PassedOver, Program
from adapter.mapping.render.request import FailureReason, Reason, RenderResult
from adapter.mapping.render.worker import PLAIN, Worker, main
from adapter.mapping.rules.language import WHEN
from adapter.mapping.tools.case_file import Case
from adapter.mapping.tools.result import as_dict, changed, flat, shown

MOST_TRIED: Final = 20_000  # rules that are explained about one draft; the alerts after that have none
MAX_ANSWER: Final = 512 * 1024  # bytes of bodies after which an answer is sent
LONGEST_MESSAGE: Final = 2000  # characters about one test
TURN_SECONDS: Final = 0.1  # then an answer is sent, so that a newer draft need not wait for all of this one
NICE: Final = 5  # what a person tries waits for what production does

_FAILED: Final = (Reason.ERROR, Reason.TIMEOUT, Reason.MEMORY, Reason.CRASH)

Directories = Mapping[str, Index]


class DraftWorker(Worker):
    """Answers one frame after another."""

    _first_place = frames.SERVING_PLACES
    _draft: Draft | None = None
    _drafted: Program | None = None  # the draft's rules, once they are compiled
    _left_to_explain = 0

    def _answer(self, kind: bytes, payload: bytes) -> bytes:
        match kind:
            case protocol.LOAD:
                self._given: dict[str, Index] = {}
            case protocol.DIRECTORY:
                integration, index = from_json(payload)
                self._given.pop(integration, None)
                self._given |= {integration: Index(*index)} if index else {}
                return b"null"
            case protocol.RENDER:
                self._use(self._given)
            case frames.READ:
                return to_json(self._read(Posted(*from_json(payload))))
            case frames.COMPILE:
                return to_json(self._compile(from_json(payload)))
            case frames.COMPARE | frames.SERVING:
                return to_json(self._compare(payload, self._drafted if kind == frames.COMPARE else None))
            case frames.CASES:
                return to_json(self._run_cases(from_json(payload)))
            case frames.REHEARSE:
                return to_json(self._rehearse(from_json(payload)))
        return super()._answer(kind, payload)

    def _use(self, directories: Directories) -> None:
        for program in (self._program, self._drafted):
            if program is not None:
                program.set_directories(directories)

    @property
    def _applications(self) -> Directories:
        posted = self._draft.applications if self._draft else None
        return self._given if posted is None else posted

    def _read(self, posted: Posted) -> Read:
        self._draft = self._drafted = None
        signal.setitimer(signal.ITIMER_PROF, frames.READ_SECONDS)
        self._draft = read(posted)
        self._left_to_explain = MOST_TRIED
        return self._draft.answer

    def _compile(self, quarantined: Mapping[str, Sequence[str]]) -> tuple[int, str] | None:
        assert self._draft is not None, "READ comes first"
        assert self._draft.rules is not None, "a draft that is refused is not compiled"
        self._begin(0)
        try:
            self._drafted = self._compiled(self._draft.rules.as_data(), quarantined, 0)
        except CannotCompile as exc:
            return exc.place, str(exc)
        return None

    def _compare(self, payload: bytes, draft: Program | None) -> Compared:
        assert self._program is not None, "LOAD comes first"
        self._use(self._applications)
        started, size = time.monotonic(), 0
        compared = Compared([], {})
        for number, request in enumerate(protocol.unpack_requests(payload)):
            self._begin(number)
            serving = self._program.render(request)
            both = from_json(request.raw)
            subject = Subject(request, both["alert"], both["group"])
            fingerprint = subject.alert["fingerprint"]
            row: dict[str, Any] = {"fingerprint": fingerprint, "serving": as_dict(fingerprint, serving), "draft": None}
            if draft is not None:
                passed_over: PassedOver = []
                draft.passed_over = passed_over
                result = draft.render(request)
                size += len(result.json or b"")
                row |= {"draft": as_dict(fingerprint, result), "changed": changed(flat(serving), flat(result))}
                row["tried"] = self._explained(draft, subject, result, passed_over)
                self._note_failures(compared.failed, result, passed_over)
            compared.rows.append(row)
            size += len(serving.json or b"")
            if size > MAX_ANSWER or time.monotonic() - started > TURN_SECONDS:
                break
        if draft is not None:
            draft.passed_over = None
        return compared

    def _explained(
        self, program: Program, subject: Subject, result: RenderResult, passed_over: PassedOver
    ) -> list[dict[str, Any]]:
        """Every rule up to the one that took the alert."""
        assert self._draft is not None
        self._left_to_explain -= len(passed_over) + 1
        if self._left_to_explain < 0:
            return []
        context = program.context(subject)
        tried = []
        for (rule, gave), placed in zip(passed_over, self._draft.order, strict=False):
            self._begin_part(placed)
            context.parent["lookup"] = rule.lookup
            tried.append(_tried(rule.name, placed, because_not(placed.condition, context, gave)))
        if result.rule is None:
            return [*tried, _tried(None, None, BUILT_IN, taken=True)]
        placed = self._draft.order[len(passed_over)]
        self._begin_part(placed)
        context.parent["lookup"] = program.rules[len(passed_over)].lookup
        return [*tried, _tried(result.rule, placed, because_true(placed.condition, context), taken=True)]

    def _begin_part(self, rule: TriedRule) -> None:
        self._mark.place(rule.place)
        self._lap()

    def _note_failures(
        self, failed: dict[int, tuple[str, str, int]], result: RenderResult, passed_over: PassedOver
    ) -> None:
        """Templates that gave nothing, with a detail: others fall back together with one that is in quarantine."""
        assert self._draft is not None
        found = {
            rule.condition.place: why for rule, why in passed_over if rule.condition and isinstance(why, FailureReason)
        }
        for field, reason in result.fallbacks.items():
            if field != WHEN and reason.reason in _FAILED and (reason.detail or reason.reason is Reason.MEMORY):
                place = self._draft.numbers.get((result.mapping, result.rule, field))
                found |= {} if place is None else {place: reason}
        for place, why in found.items():
            _, _, alerts = failed.get(place, ("", "", 0))
            failed[place] = (why.reason, why.detail, alerts + 1)

    def _run_cases(self, first: int) -> list[TestResult]:
        assert self._draft is not None, "READ comes first"
        assert self._drafted is not None, "COMPILE comes first"
        started = time.monotonic()
        results: list[TestResult] = []
        for number, case in enumerate(self._draft.cases[first:]):
            self._begin(number)
            own = case.applications
            indexes = {name: one.index for name, one in own.items()} if own else self._applications
            self._drafted.set_directories(indexes)
            results.append(_test_result(case, self._drafted.render(case.request)))
            if time.monotonic() - started > TURN_SECONDS:
                break
        return results

    def _rehearse(self, rules: Sequence[int]) -> dict[int, FailureReason]:
        assert self._drafted is not None, "COMPILE comes first"
        excessive: dict[int, FailureReason] = {}
        for number in rules:
            self._begin(number)
            excessive |= self._drafted.try_out(self._drafted.rules[number], PLAIN)
        return excessive


def _tried(name: str | None, rule: TriedRule | None, because: Because, *, taken: bool = False) -> dict[str, Any]:
    at = {"file": rule.file, "line": rule.line} if rule else {"file": None, "line": None}
    return {"rule": name, **at, "taken": taken, "because": because._asdict()}


def _test_result(case: Case, rendered: RenderResult) -> TestResult:
    wrong = [
        f"{field}: expected {shown(expected)}, got {shown(got)}" for field, expected, got in case.differences(rendered)
    ]
    return TestResult(case.file, case.line, case.name, not wrong, "; ".join(wrong)[:LONGEST_MESSAGE])


if __name__ == "__main__":
    os.nice(NICE)
    main(DraftWorker)
