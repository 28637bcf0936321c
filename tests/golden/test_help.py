"""The help of every command on a terminal of 100 columns."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.golden.normal import VERSION
from tests.golden.recording import same
from tests.golden.terminal import ON_PYTHON_3_11, run


def commands(*group: str) -> Iterator[tuple[str, ...]]:
    """The group itself, then all commands below it, by the help of each."""
    yield group
    listed = run(*group, "--help").out.partition("\n  COMMAND")[2]
    for name in re.findall(r"^    ([a-z][a-z-]*)\b", listed, re.MULTILINE):
        yield from commands(*group, name)


@ON_PYTHON_3_11
def test_the_help_of_every_command_is_as_recorded() -> None:
    every = list(commands())
    assert len(every) > 15
    same("help.txt", "\n".join(run(*command, "--help").text() for command in every))


def test_the_version_is_printed_on_one_line() -> None:
    same("version.txt", run("--version").text(VERSION))
