"""Runs `python -m adapter` commands and returns their output as a terminal shows it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.golden.normal import Rule
from tests.stage import REPOSITORY

WIDTH = 100  # columns of the terminal
ON_PYTHON_3_11 = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="argparse changes its help and errors between versions of Python"
)


class Ran(NamedTuple):
    """A command that has ended."""

    words: tuple[str, ...]
    out: str
    errors: str
    code: int

    def text(self, *rules: Rule) -> str:
        """The command, its output, its error output after `2> `, and its exit code."""
        errors = "".join(f"2> {line}".rstrip() + "\n" for line in self.errors.splitlines())
        command = " ".join(["$ coc-adapter", *map(_quoted, self.words)])
        shown = f"{command}\n{self.out}{errors}exit {self.code}\n"
        for one in rules:
            shown = one.on(shown)
        return shown


def run(*words: str, folder: Path = REPOSITORY, standard_input: bytes = b"") -> Ran:
    """Run one command in `folder` in this process, which takes milliseconds instead of half a second.

    Not for `serve`, `demo` and `sandbox`, which set up logging for the whole process.
    """
    out, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="") for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
            patch.delenv(name)
        patch.setenv("COLUMNS", str(WIDTH))
        patch.setattr(sys, "argv", ["coc-adapter", *words])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(standard_input), encoding="utf-8"))
        patch.chdir(folder)
        with pytest.raises(SystemExit) as ended:
            runpy.run_module("adapter", run_name="__main__", alter_sys=True)
        code = ended.value.code
    return Ran(words, _written(out), _written(errors), code if isinstance(code, int) else int(code is not None))


async def run_in_thread(*words: str) -> Ran:
    """The same in a thread, for commands that call a server in this process."""
    return await asyncio.to_thread(run, *words)


def run_apart(*words: str, folder: Path = REPOSITORY, encoding: str = "utf-8") -> Ran:
    """Run one command in a process of its own, in a terminal of this encoding."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    ended = subprocess.run(
        [sys.executable, "-m", "adapter", *words],
        cwd=folder,
        env=environment | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": str(WIDTH), "PYTHONIOENCODING": encoding},
        capture_output=True,
        encoding=encoding,
        timeout=120,
    )
    return Ran(words, ended.stdout, ended.stderr, ended.returncode)


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode()


def _quoted(word: str) -> str:
    return word if word and not set(word) & set(" '\"{}<>|") else "'" + word.replace("'", "'\\''") + "'"
