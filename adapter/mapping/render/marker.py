"""A few shared bytes that say what the child was doing, for the parent that finds it dead."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from typing import Final, NamedTuple

_SIZE: Final = mmap.PAGESIZE
_NONE: Final = 0  # both numbers are stored plus one


class InProgress(NamedTuple):
    """What was under way: the job's number in its frame and the template's place; None where nothing was."""

    job: int | None
    place: int | None


class ProgressMark:
    """Both processes map the same file; the child writes, the parent reads after the child's death."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, _SIZE)
        self._words = memoryview(self._map).cast("I")

    @classmethod
    def create(cls) -> ProgressMark:
        if sys.platform == "linux":
            fd = os.memfd_create("coc-adapter-marker")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, _SIZE)
        return cls(fd)

    def job(self, number: int) -> None:
        self._words[1] = _NONE
        self._words[0] = number + 1

    def place(self, index: int) -> bool:
        """True, so that it can stand in a condition."""
        self._words[1] = index + 1
        return True

    def idle(self) -> None:
        self._words[0] = self._words[1] = _NONE

    def read(self) -> InProgress:
        job, place = self._words[0], self._words[1]
        return InProgress(job - 1 if job else None, place - 1 if place else None)

    def close(self) -> None:
        self._words.release()
        self._map.close()
        os.close(self.fd)
