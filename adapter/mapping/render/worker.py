"""The child process: compiles the rules it is sent and renders alerts, within limits that end it and not the parent.

Memory is bounded by RLIMIT_AS. Time is bounded by a CPU timer per alert whose signal is not handled: it ends the
process even inside C code, even when the parent is gone, and does not mistake a busy machine for an endless loop.
Started as `python -m adapter.mapping.worker MARKER_FD MEMORY_BYTES`; imports little, because it is counted twice.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Final

from pydantic_core import from_json, to_json

from adapter.mapping.render import protocol
from adapter.mapping.render.body import Subject
from adapter.mapping.render.engine import CannotCompile
from adapter.mapping.render.marker import ProgressMark
from adapter.mapping.render.program import Program
from adapter.mapping.render.request import Contract, RenderRequest

PATIENCE: Final = 0.1  # part of the deadline one template may take before it is not run again

_PLAIN: Final[Mapping[str, Any]] = {
    "status": "firing",
    "labels": {"alertname": "Rehearsal", "severity": "warning", "instance": "host.example:9100", "job": "rehearsal"},
    "annotations": {"summary": "A plain alert.", "description": "It tries every rule before alerts come."},
    "startsAt": "2026-01-02T03:04:05Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "https://prometheus.example/graph",
    "fingerprint": "0123456789abcdef",
}
_GROUP: Final[Mapping[str, Any]] = {
    "receiver": "rehearsal",
    "groupKey": "{}",
    "groupLabels": {},
    "commonLabels": {},
    "commonAnnotations": {},
    "externalURL": "https://alertmanager.example",
}


class Worker:
    """Answers frames one after another."""

    def __init__(self, marker: ProgressMark) -> None:
        self._marker = marker
        self._program: Program | None = None
        self._deadline = 1.0

    def answer(self, kind: bytes, payload: bytes) -> bytes:
        if kind == protocol.LOAD:
            return to_json({"broken": self._load(from_json(payload))})
        assert self._program is not None, "LOAD comes first"
        try:
            if kind == protocol.REHEARSE:
                following = self._rehearse(self._program, from_json(payload)["from"])
                return to_json({"next": following, "bad": protocol.pack_bad(self._program.bad)})
            return self._render(self._program, payload)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self._marker.idle()

    def _load(self, order: dict[str, Any]) -> tuple[int, str] | None:
        self._deadline = order["deadline"]
        try:
            self._program = Program(
                order["rules"],
                protocol.unpack_bad(order["bad"]),
                mark=self._marker.place,
                clock=time.monotonic,
                cpu=time.thread_time,
                patience=self._deadline * PATIENCE,
                eager=order["eager"],
            )
        except CannotCompile as exc:
            return exc.index, str(exc)
        return None

    def _rehearse(self, program: Program, number: int) -> int | None:
        subject = Subject("rehearsal", 1, "alarm", Contract(), _PLAIN, _GROUP)
        started = time.monotonic()
        while number < len(program.rules):
            self._begin(number)
            program.rehearse(subject, "default", program.rules[number])
            number += 1
            if time.monotonic() - started > self._deadline / 4:
                break
        return number if number < len(program.rules) else None

    def _render(self, program: Program, payload: bytes) -> bytes:
        started, size, known = time.monotonic(), 0, set(program.bad)
        answers: list[tuple[Sequence[Any], bytes] | None] = []
        for number, job in enumerate(protocol.unpack_jobs(payload)):
            self._begin(number)
            answers.append(answer := self._one(program, job))
            size += len(answer[1]) if answer else 0
            if size > protocol.MAX_ANSWERS or time.monotonic() - started > self._deadline / 4:
                break
        learnt = {index: why for index, why in program.bad.items() if index not in known}
        return protocol.pack_answers(answers, learnt)

    def _begin(self, number: int) -> None:
        self._marker.job(number)
        signal.setitimer(signal.ITIMER_PROF, self._deadline)

    def _one(self, program: Program, job: RenderRequest) -> tuple[Sequence[Any], bytes] | None:
        """An answer; None when the alert cannot be read at all."""
        try:
            both = from_json(job.raw)
            subject = Subject(job.alarm_id, job.time_ms, job.status, job.contract, both["alert"], both["group"])
            *told, body = program.render(subject, job.integration)
            return told, b"" if body is None else to_json(body)
        except (ValueError, KeyError, TypeError, AttributeError, MemoryError):
            return None


def serve(requests: BinaryIO, answers: BinaryIO, worker: Worker) -> None:
    """Until the parent closes its end."""
    while len(prefix := requests.read(protocol.PREFIX.size)) == protocol.PREFIX.size:
        length, kind = protocol.PREFIX.unpack(prefix)
        payload = requests.read(length)
        if len(payload) < length:
            return
        answers.write(protocol.frame(kind, worker.answer(kind, payload)))
        answers.flush()


def main() -> None:
    marker = ProgressMark(int(sys.argv[1]))
    memory = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    # Nothing that prints may end up between two frames.
    with os.fdopen(os.dup(0), "rb") as requests, os.fdopen(os.dup(1), "wb") as answers:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        os.close(nothing)
        serve(requests, answers, Worker(marker))


if __name__ == "__main__":
    main()
