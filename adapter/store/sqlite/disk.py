"""The disk under a SQLite store: the folder that one process owns, and the free space that intake leaves to delivery.

Refused are a folder that another process serves, and network file systems, whose locks and fsync cannot be relied on.

A settlement needs space, and even a deletion does, for the log. So intake stops while some is left: on the disk, and in
a file whose size is limited. When something else fills the disk to the last byte, settlements fail and are tried again
until there is space.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from adapter.errors import StoreRefused, StoreUnavailable

MIB: Final = 2**20
RESERVE: Final = 32 * MIB
PAGE_SIZE: Final = 4096
_UNLIMITED: Final = 2**62
_UNSAFE: Final = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs", "ncpfs")


def prepare(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> None:
    """Create the folder; refuse one whose locks and fsync cannot be relied on."""
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StoreRefused(f"the store's folder {folder} cannot be made: {exc.strerror}") from exc
    kind = filesystem(folder, mounts)
    if kind in _UNSAFE or kind.startswith("fuse"):
        raise StoreRefused(
            f"the store's folder {folder} is on {kind}, where file locks and fsync cannot be relied on; "
            "use a local disk or a block volume, or postgresql://"
        )


def filesystem(folder: Path, mounts: Path) -> str:
    """The type of the filesystem that holds the folder, as the kernel names it; empty where it cannot be told."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
        device = folder.stat().st_dev
    except OSError:
        return ""
    number = f"{os.major(device)}:{os.minor(device)}"
    found = ""
    longest = -1
    for fields in (line.split() for line in lines):
        point = _unescaped(fields[4])
        # btrfs and overlay answer stat with a device of their own, so the mount point decides where no number fits.
        inside = folder.resolve().is_relative_to(point)
        rank = len(point) + (1_000_000 if fields[2] == number else 0)
        if inside and rank >= longest:
            longest, found = rank, fields[fields.index("-") + 1]
    return found


def _unescaped(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def lock(path: Path) -> int:
    """Take the store for this process; the descriptor holds the lock until it is closed."""
    try:
        descriptor = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise StoreRefused(f"the store's folder {path.parent} cannot be written to: {exc.strerror}") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(descriptor)
        raise StoreRefused(
            f"the store {path.name} in the folder {path.parent} is in use by another process; only one may serve it"
        ) from exc
    return descriptor


def sync_folder(folder: Path) -> None:
    """Make new names in it durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """What an ordinary user may still write there."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class DiskReserve:
    """`refresh` measures; `require` and `check_size` raise StoreUnavailable for a webhook that there is no space for.

    Both measure anew at each webhook, because one can be 16 MiB. All methods run in the writer's thread but `left`.
    Reports other than the `ok` of a firing alarm are taken down to the reserve, an `ok` down to half of it: a lost
    alarm heals at Alertmanager's next repeat, a lost ok does not.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_pages: int | None,
        reserve: int = RESERVE,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._folder = folder
        self._max_pages = max_pages
        self._free = free
        self._reserve = reserve
        self._file_reserve = 0 if max_pages is None else min(reserve, max_pages * PAGE_SIZE // 8)
        self._disk_left = reserve
        self._file_left = self._file_reserve

    def refresh(self, connection: sqlite3.Connection) -> None:
        try:
            self._disk_left = self._free(self._folder)
        except OSError as exc:
            raise StoreUnavailable(f"the free space of {self._folder} cannot be read: {exc.strerror}") from exc
        self._file_left = self._pages_left(connection)

    @property
    def reached(self) -> bool:
        return self._disk_left < self._reserve or self._file_left < self._file_reserve

    def require(self, other: int) -> None:
        """For a webhook that adds reports, `other` of them not the `ok` of a firing alarm."""
        share = 1 if other > 0 else 2
        if self._disk_left < self._reserve // share:
            raise StoreUnavailable(
                f"less than {self._reserve // MIB} MiB are free for the store in {self._folder}; "
                "alerts are taken again when there is more"
            )
        if self._file_left < self._file_reserve // share:
            raise StoreUnavailable("the store's file is at its size limit; alerts are taken again when it has drained")

    def check_size(self, connection: sqlite3.Connection, other: int) -> None:
        """The same, after the webhook's rows were written and before they are committed."""
        self._file_left = self._pages_left(connection)
        self.require(other)

    def left(self, connection: sqlite3.Connection) -> int:
        """Bytes that can still be stored: as far as the disk and the file's limit allow, pages free in the file too."""
        freed = _pragma(connection, "freelist_count") * PAGE_SIZE
        return min(self._free(self._folder) + freed, self._pages_left(connection))

    def _pages_left(self, connection: sqlite3.Connection) -> int:
        """Bytes, by the file's limit alone."""
        if self._max_pages is None:
            return _UNLIMITED
        used = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
        return (self._max_pages - used) * PAGE_SIZE


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    found: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return found
