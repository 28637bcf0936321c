"""The worker process: compiles the rules it is sent and renders alerts, within limits that end it and not the service.

Memory is limited by RLIMIT_AS. Time is limited by a timer of CPU seconds. Nothing handles its signal, so that it ends
the process inside C code and after the service's death too. It stands still while other processes have the CPU.
Started as `python -m adapter.mapping.render.worker MARK_FD MEMORY_BYTES`. Every import delays the start of the service.
"""

from __future__ import annotations

import mmap
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Final, NamedTuple

from pydantic_core import from_json, to_json

from adapter.application import Index
from adapter.mapping.render import protocol
from adapter.mapping.render.body import Subject
from adapter.mapping.render.engine import CannotCompile, Program
from adapter.mapping.render.request import Contract, RenderRequest, RenderResult

PATIENCE: Final = 0.1  # part of the deadline one template may take before its rule is put into quarantine

_ALERT: Final[Mapping[str, Any]] = {
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
PLAIN: Final = Subject(RenderRequest(b"", "default", "rehearsal", 1, "alarm", Contract()), _ALERT, _GROUP)
"""What every rule is tried out on."""


class InProgress(NamedTuple):
    """The alert's number in its frame and the template's number; None where none was under way."""

    alert: int | None
    place: int | None


class ProgressMark:
    """What the worker is doing, in memory that both processes map: the service reads it after the worker's death."""

    SIZE: Final = mmap.PAGESIZE

    def __init__(self, fd: int) -> None:
        self.fd = fd
        os.ftruncate(fd, self.SIZE)
        self._map = mmap.mmap(fd, self.SIZE)
        self._words = memoryview(self._map).cast("I")  # both numbers plus one, 0 for none

    def alert(self, number: int) -> None:
        self._words[1] = 0
        self._words[0] = number + 1

    def place(self, number: int) -> None:
        self._words[1] = number + 1

    def idle(self) -> None:
        self._words[0] = self._words[1] = 0

    def read(self) -> InProgress:
        alert, place = self._words[0], self._words[1]
        return InProgress(alert - 1 if alert else None, place - 1 if place else None)

    def close(self) -> None:
        self._words.release()
        self._map.close()
        os.close(self.fd)


class Worker:
    """Answers one frame after another."""

    _first_place = 0  # added to the numbers of the loaded rules' templates in the progress mark

    def __init__(self, mark: ProgressMark) -> None:
        self._mark = mark
        self._program: Program | None = None
        self._deadline = 1.0

    def answer(self, kind: bytes, payload: bytes) -> bytes:
        try:
            return self._answer(kind, payload)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self._mark.idle()

    def _answer(self, kind: bytes, payload: bytes) -> bytes:
        if kind == protocol.LOAD:
            return to_json(self._load(from_json(payload)))
        assert self._program is not None, "LOAD comes first"
        if kind == protocol.TRY_OUT:
            self._begin(0)
            return to_json(self._program.try_out(self._program.rules[from_json(payload)], PLAIN))
        if kind == protocol.DIRECTORY:
            integration, index = from_json(payload)
            self._program.set_directory(integration, Index(*index) if index else None)
            return b"null"
        return self._render(self._program, payload)

    def _load(self, order: dict[str, Any]) -> tuple[int, str] | None:
        self._deadline = order["deadline"]
        self._begin(0)
        try:
            self._program = self._compiled(order["rules"], order["quarantined"], self._first_place)
        except CannotCompile as exc:
            return exc.place, str(exc)
        return None

    def _compiled(
        self, rules: Mapping[str, Any], quarantined: Mapping[str, Sequence[str]], first_place: int
    ) -> Program:
        mark = self._mark.place
        return Program(
            rules,
            protocol.unpack_places(quarantined),
            mark=(lambda place: mark(first_place + place)) if first_place else mark,
            clock=time.monotonic,
            lap=self._lap,
            patience=self._deadline * PATIENCE,
        )

    def _render(self, program: Program, payload: bytes) -> bytes:
        started, size = time.monotonic(), 0
        results: list[RenderResult] = []
        for number, request in enumerate(protocol.unpack_requests(payload)):
            self._begin(number)
            results.append(result := program.render(request))
            size += len(result.json or b"")
            if size > protocol.MAX_ANSWERS or time.monotonic() - started > self._deadline / 4:
                break
        return protocol.pack_results(results)

    def _begin(self, number: int) -> None:
        self._mark.alert(number)
        self._lap()

    def _lap(self) -> float:
        """CPU seconds since the timer was set. Sets it anew."""
        left, _ = signal.setitimer(signal.ITIMER_PROF, self._deadline)
        return self._deadline - left


def serve(requests: BinaryIO, answers: BinaryIO, worker: Worker) -> None:
    """Until the service closes its end."""
    while len(prefix := requests.read(protocol.PREFIX.size)) == protocol.PREFIX.size:
        length, kind = protocol.PREFIX.unpack(prefix)
        payload = requests.read(length)
        if len(payload) < length:
            return
        answers.write(protocol.frame(kind, worker.answer(kind, payload)))
        answers.flush()


def main(kind: type[Worker] = Worker) -> None:
    mark = ProgressMark(int(sys.argv[1]))
    memory = int(sys.argv[2])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    # Printed text must not come between two frames.
    with os.fdopen(os.dup(0), "rb") as requests, os.fdopen(os.dup(1), "wb") as answers:
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(2, 1)
        os.close(nothing)
        serve(requests, answers, kind(mark))


if __name__ == "__main__":
    main()
