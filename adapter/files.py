"""Reads files that people name, after asking for their type and size.

A FIFO or a device would wait or never end, a sparse file of gigabytes would fill the memory. Nothing is read beyond the
size that was asked for, so that a file of /proc, which has none, counts as empty.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

MAX_BYTES: Final = 4 * 1024 * 1024  # bytes; of certificates in PEM form too
MAX_SECRET_BYTES: Final = 64 * 1024
MAX_PAYLOAD_BYTES: Final = 64 * 1024 * 1024  # of a webhook body for a preview or a test


def content(path: Path, most: int) -> bytes:
    """The bytes of a regular file. OSError when there is none, or when it has more than `most` bytes."""
    _size(path.stat(), path, most)  # before it is opened, which may do something to a device
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_size(os.fstat(descriptor), path, most))  # it may be another file by now


def _size(status: os.stat_result, path: Path, most: int) -> int:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    if status.st_size > most:
        raise OSError(errno.EFBIG, f"it is larger than {most // 1024} KiB", str(path))
    return status.st_size
