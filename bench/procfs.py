"""Reads CPU, memory and writes of a process tree, and the CPU of the whole machine, from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
TICKS: Final = os.sysconf("SC_CLK_TCK")
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of a tree in bytes. `rss` counts a page once per process that maps it, `pss` once in all."""

    rss: int
    pss: int


def parse_stat(text: str) -> tuple[int, int]:
    """(parent's pid, CPU ticks) from /proc/PID/stat. The name may contain blanks and parentheses.

    The ticks include those of children that ended and were waited for.
    """
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[1]), sum(int(field) for field in fields[11:15])


def tree(root: int, parents: dict[int, int]) -> list[int]:
    """`root` and all its descendants, given each process's parent."""
    members, frontier = [root], [root]
    while frontier:
        parent = frontier.pop()
        children = [pid for pid, its in parents.items() if its == parent]
        members += children
        frontier += children
    return members


def _stats() -> dict[int, tuple[int, int]]:
    stats = {}
    for entry in PROC.iterdir():
        if entry.name.isdecimal():
            try:
                stats[int(entry.name)] = parse_stat((entry / "stat").read_text())
            except (OSError, ValueError):
                continue  # it ended after the listing
    return stats


def pids(root: int) -> list[int]:
    """The living processes of a tree."""
    return tree(root, {pid: parent for pid, (parent, _) in _stats().items()})


def cpu_seconds(root: int) -> float:
    """User and system time of the tree, with that of children that ended and were waited for."""
    stats = _stats()
    members = tree(root, {pid: parent for pid, (parent, _) in stats.items()})
    return sum(stats[pid][1] for pid in members if pid in stats) / TICKS


def memory(root: int) -> Memory:
    rss = pss = 0
    for pid in pids(root):
        try:
            text = (PROC / str(pid) / "smaps_rollup").read_text()
        except OSError:
            continue
        sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in text.splitlines()[1:]}
        rss += sizes.get("Rss:", 0)
        pss += sizes.get("Pss:", 0)
    return Memory(rss=rss, pss=pss)


def written_bytes(root: int) -> int:
    """Bytes that the tree wrote to storage."""
    total = 0
    for pid in pids(root):
        try:
            text = (PROC / str(pid) / "io").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("write_bytes"))
    return total


def machine_busy_seconds() -> float:
    """CPU seconds used since boot over all cores, with the time that the host took."""
    fields = [int(field) for field in (PROC / "stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / TICKS
