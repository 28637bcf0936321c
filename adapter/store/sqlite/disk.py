"""The disk under a SQLite store: the folder that one process owns, and the free space that intake leaves to delivery.

Refused are a folder that another process serves, and network file systems, whose locks and fsync cannot be relied on.

A settlement needs space, and even a deletion does, for the log. So intake stops while some is left: on the disk, and in
a file whose size is limited. When something else fills the disk to the last byte, settlements fail and are tried again
until there is space.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from adapter.errors import SpaceLow, StoreRefused, StoreUnavailable

MIB: Final = 2**20
RESERVE: Final = 32 * MIB
PAGE_SIZE: Final = 4096
_UNLIMITED: Final = 2**62
_UNSAFE: Final = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs", "ncpfs")


def sync_folder(folder: Path) -> None:
    """Make new names in it durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def prepare(
    path: Path, mounts: Path = Path("/proc/self/mountinfo"), sync: Callable[[Path], None] = sync_folder
) -> None:
    """Create the folder, for its owner alone; refuse one whose locks and fsync cannot be relied on."""
    folder = path.parent
    try:
        for new in reversed([one for one in (folder, *folder.parents) if not one.is_dir()]):
            new.mkdir(mode=0o700, exist_ok=True)
            sync(new.parent)
    except OSError as exc:
        raise StoreRefused(f"the store's folder {folder} cannot be made: {exc.strerror}") from exc
    kind = filesystem(folder, mounts)
    if kind in _UNSAFE or kind.startswith("fuse"):
        raise StoreRefused(
            f"the store's folder {folder} is on {kind}, where file locks and fsync cannot be relied on; "
            "use a local disk or a block volume, or postgresql://"
        )


def filesystem(folder: Path, mounts: Path) -> str:
    """The type of the filesystem that holds the folder, as the kernel names it; empty where it is unknown."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    inside, found = folder.resolve(), ""
    longest = -1
    for fields in map(str.split, lines):
        point = re.sub(r"\\(\d{3})", lambda code: chr(int(code[1], 8)), fields[4])
        if inside.is_relative_to(point) and len(point) >= longest:  # the last of those at one point lies on top
            longest, found = len(point), fields[fields.index("-") + 1]
    return found


def real(path: Path) -> Path:
    """The file that a link means, so that SQLite and the lock have one name for it. A link in a circle stays."""
    with contextlib.suppress(OSError):  # a folder that cannot be entered is refused where it is prepared
        if path.is_symlink():
            return Path(os.path.realpath(path))
    return path


class StoreLock:
    """Keeps the store for this process: the name `.lock` beside it, and the file itself under all of its names.

    A file of the store is never opened twice here: to close one of two descriptors would end SQLite's own locks.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: dict[tuple[int, int], int] = {}  # device and inode -> the descriptor that holds the lock
        self._hold(path.with_name(path.name + ".lock"), os.O_CREAT)

    def hold_file(self) -> None:
        """The file at the path, made when there is none. Hard links, bind mounts and a removed `.lock` lead to it."""
        if not self._path.exists():
            create(self._path)
        status = self._path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise StoreRefused(f"the store {self._path} is not a regular file")
        if identity(status) not in self._held:
            self._hold(self._path, 0)

    def _hold(self, file: Path, flags: int) -> None:
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
        except OSError as exc:
            raise StoreRefused(f"the store's folder {file.parent} cannot be written to: {exc.strerror}") from exc
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(descriptor)
            raise StoreRefused(
                f"the store {self._path.name} in the folder {self._path.parent} is in use by another process; "
                "only one may serve it"
            ) from exc
        self._held[identity(os.fstat(descriptor))] = descriptor

    def release(self) -> None:
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()


def identity(status: os.stat_result) -> tuple[int, int]:
    """Device and inode: the same for every name of a file."""
    return status.st_dev, status.st_ino


def create(path: Path) -> None:
    """An empty file that its owner alone can read; SQLite gives the files beside it the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    sync_folder(path.parent)


def too_open(path: Path) -> list[str]:
    """What other users of the machine may do to the store, each with the command that ends it."""
    try:
        file, folder = path.stat().st_mode, path.parent.stat().st_mode
    except OSError:  # moved away, which the probe says
        return []
    problems = []
    if file & 0o077:
        problems.append(f"{path} can be read by other users (mode {file & 0o777:03o}): chmod 600 {path}*")
    if folder & 0o002:
        problems.append(f"{path.parent} can be changed by all users: chmod o-w {path.parent}")
    return problems


def free_bytes(folder: Path) -> int:
    """What an ordinary user may still write there."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


class DiskReserve:
    """Space that intake leaves to delivery.

    Reports other than the `ok` of a firing alarm are taken down to the reserve, an `ok` down to half of it: a lost
    alarm heals at Alertmanager's next repeat, a lost ok does not.
    """

    def __init__(self, folder: Path, *, max_pages: int | None, reserve: int, free: Callable[[Path], int]) -> None:
        self._folder = folder
        self._max_pages = max_pages
        self._free = free
        self._reserve = reserve
        self._file_reserve = 0 if max_pages is None else min(reserve, max_pages * PAGE_SIZE // 8)
        self.reached = False
        """Whether the reserve was in use at the last measurement."""

    def measure(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """Bytes left on the disk, and in the file by its limit. Called by the writer's thread and a reader's."""
        try:
            disk = self._free(self._folder)
        except OSError as exc:
            raise StoreUnavailable(f"the free space of {self._folder} cannot be read: {exc.strerror}") from exc
        file = _UNLIMITED
        if self._max_pages is not None:
            used = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
            file = (self._max_pages - used) * PAGE_SIZE
        self.reached = disk < self._reserve or file < self._file_reserve
        return disk, file

    def require(self, connection: sqlite3.Connection, other: int) -> None:
        """StoreUnavailable when there is no space for a webhook, before or after its rows are written.

        SpaceLow where there would be for one of resolves.

        `other`: how many of the reports that it adds are not the `ok` of a firing alarm.
        """
        disk, file = self.measure(connection)
        share = 1 if other > 0 else 2
        resolves_fit = disk >= self._reserve // 2 and file >= self._file_reserve // 2
        refusal = SpaceLow if resolves_fit else StoreUnavailable
        if disk < self._reserve // share:
            raise refusal(
                f"less than {self._reserve // MIB} MiB are free for the store in {self._folder}; "
                "alerts are taken again when there is more"
            )
        if file < self._file_reserve // share:
            raise refusal("the store's file is at its size limit; alerts are taken again when it has drained")

    def left(self, connection: sqlite3.Connection) -> int:
        """Bytes that can still be stored: as far as the disk and the file's limit allow, pages free in the file too."""
        disk, file = self.measure(connection)
        return min(disk + _pragma(connection, "freelist_count") * PAGE_SIZE, file)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    found: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return found
