"""The output of `demo --once`."""

from __future__ import annotations

from tests.golden.normal import PORTS
from tests.golden.recording import same
from tests.golden.terminal import run_apart


def ordered(text: str) -> str:
    """Sort the rows of the table, because different alarms may reach COC in any order."""
    lines = text.splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith("------")) + 1
    last = lines.index("\n", first)
    return "".join([*lines[:first], *sorted(lines[first:last]), *lines[last:]])


def test_the_demo_prints_what_is_recorded() -> None:
    same("demo.txt", ordered(run_apart("demo", "--once").text(PORTS)))
