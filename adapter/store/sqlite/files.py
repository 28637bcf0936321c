"""The folder a SQLite store lives in: is it safe, is it ours, is what was created there durable."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from adapter.errors import StoreRefused
from adapter.store.sqlite.recovery import companions

_UNSAFE: Final = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs", "ncpfs")


def prepare(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> None:
    """Make the folder, and refuse one whose locks and fsync cannot be relied on."""
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
        descriptor = os.open(lock_file(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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


def lock_file(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def sync_folder(folder: Path) -> None:
    """Make new names in it durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def bytes_on_disk(path: Path) -> int:
    return sum(file.stat().st_size for file in companions(path) if file.exists())
