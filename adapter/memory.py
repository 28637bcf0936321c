"""The memory that the process may have (`ulimit -v`), and what is left of it.

Where it ends, libraries do not raise MemoryError: one aborts the process, another drops connections. So nothing may
come near it: what takes much asks first. Without a limit nothing is asked.
"""

from __future__ import annotations

import ctypes
import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LEAST: Final = 128 * 1024 * 1024  # bytes of address space for a service without load and its worker process

_MARGIN: Final = 24 * 1024 * 1024  # that is left for everything else, or four times what is asked for
_SHARE: Final = 64  # of the limit
_STACK: Final = 2 * 1024 * 1024  # of a thread, which takes 8 MiB by default
_BLOCK: Final = 128 * 1024  # larger ones are mapped alone, and given back once they are free
_ARENA_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -8, -3, -1  # malloc.h of glibc


def own_limit() -> int | None:
    """Bytes of address space that this process may have, and so every child of it; None without a limit."""
    limits = [limit for limit in resource.getrlimit(resource.RLIMIT_AS) if limit != resource.RLIM_INFINITY]
    return min(limits, default=None)


def spend_little() -> None:
    """Under a limit: one arena for all threads, each of which would reserve 64 MiB. Before the first thread starts."""
    if own_limit() is None:
        return
    os.environ.setdefault("UV_THREADPOOL_SIZE", "2")  # of uvloop, for name service: 8 MiB each
    threading.stack_size(_STACK)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not in every C library
    if mallopt is not None:
        for option, value in ((_ARENA_MAX, 1), (_MMAP_THRESHOLD, _BLOCK), (_TRIM_THRESHOLD, _BLOCK)):
            mallopt(option, value)


def bounded(size: int) -> int:
    """A bound for what is kept in memory: as given, or a part of the limit where that is less."""
    limit = own_limit()
    return size if limit is None else min(size, limit // _SHARE)


def used() -> int:
    """Bytes of address space."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


class Room:
    """What is left under the limit, for those that ask."""

    def __init__(self, limit: Callable[[], int | None] = own_limit, used: Callable[[], int] = used) -> None:
        self._limit, self._used = limit, used
        self._reserved = 0

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Bytes that the block may take. MemoryError when they are not there."""
        self.check(size)
        self._reserved += size
        try:
            yield
        finally:
            self._reserved -= size

    def check(self, size: int) -> None:
        limit = self._limit()
        if limit is None:
            return
        taken = self._used() + self._reserved
        if taken + size + min(4 * size, _MARGIN) > limit:
            raise MemoryError(
                f"it may take {size >> 20} MiB, and {taken >> 20} of the {limit >> 20} MiB are taken that are allowed"
                " here (ulimit -v)"
            )
