from __future__ import annotations

import os
import subprocess
import sys

from bench import procfs

STAT = "4711 (a (b) c) S 12 4711 4711 0 -1 4194560 100 0 0 0 150 50 7 3 20 0 1 0 100 1000 10"


def test_a_process_name_may_have_blanks_and_parentheses() -> None:
    assert procfs.parse_stat(STAT) == (12, 150 + 50 + 7 + 3)


def test_a_tree_has_grandchildren_and_no_other_processes() -> None:
    parents = {2: 1, 3: 2, 4: 3, 5: 1, 6: 5}
    assert sorted(procfs.tree(2, parents)) == [2, 3, 4]


def test_a_running_child_counts_in_cpu_memory_and_tree() -> None:
    busy = "import sys; x = [sum(range(20000)) for _ in range(300)]; print('done', flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", busy], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"done\n"
        assert child.pid in procfs.pids(os.getpid())
        assert procfs.cpu_seconds(child.pid) > 0
        memory = procfs.memory(child.pid)
        assert 0 < memory.pss <= memory.rss
    finally:
        child.communicate()
