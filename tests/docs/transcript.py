"""Runs the commands that a page shows, in the order of the page, and compares what they print with what it shows.

In a block of kind `console` a line that begins with `$ ` is a command, `> ` continues it, and the lines up to the next
command are its output. A shown line that ends with ` ...` stands for every line that begins so, a line of `...` for any
number of lines. Times and revisions may differ. A block whose first line is `# PATH` is the file of that path.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tests.stage import REPOSITORY

_BLOCK = re.compile(r"^(#{2,3}) ([^\n]*)$|^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_ASKS = re.compile(
    r"coc-adapter (?:alarms|applications|integrations list|dead-letters list|reconcile)\b|curl -s \S+(?: \||$)"
)
PATIENCE = 15.0  # seconds
_VARYING = (
    (re.compile(r"\b20\d\d-\d\d-\d\d([T ])\d\d:\d\d:\d\d(?:\.\d+)?( UTC|Z)?"), r"DATE\1TIME\2"),
    (re.compile(r"revision([ =])[0-9a-f]{12}\b"), r"revision\1REVISION"),
    (re.compile(r"(mappingRevision\W+)[0-9a-f]{12}"), r"\1REVISION"),
    (re.compile(r" +$", re.MULTILINE), ""),
)


class Command(NamedTuple):
    """A command and what it prints as shown."""

    text: str
    shown: str


class Block(NamedTuple):
    """A block of code in a page."""

    section: str
    kind: str
    text: str

    @property
    def path(self) -> str:
        """The name of the file, from a comment in its first line."""
        found = re.match(r"# (\S+\.\w+)\n", self.text)
        return found[1] if found else ""

    @property
    def commands(self) -> list[Command]:
        found = re.findall(r"^\$ ((?:.*\n)(?:> .*\n)*)((?:(?!\$ ).*\n)*)", self.text, re.MULTILINE)
        return [Command(text.replace("\n> ", "\n").rstrip("\n"), shown) for text, shown in found]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page in their order, without the indentation of a list."""
    found, section = [], ""
    for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        if match[1]:
            section = match[2]
        else:
            found.append(Block(section, match[4], re.sub(rf"^{match[3]}", "", match[5], flags=re.MULTILINE)))
    return found


class Terminal:
    """A shell in a folder with the page's files. `instead` maps what the page writes, as ports, to what is used."""

    def __init__(self, folder: Path, instead: Mapping[str, str]) -> None:
        self.folder, self.instead = folder, dict(instead)
        self.place = folder
        own = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{own['PATH']}"
        self.environment = own | {
            "PATH": programs,
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "200",
            "LC_ALL": "C.UTF-8",
        }

    def used(self, text: str) -> str:
        """The page's text with this machine's ports."""
        for written, used in self.instead.items():
            text = text.replace(written, used)
        return text

    def write(self, block: Block) -> None:
        """Write the file of a block."""
        path = self.place / block.path
        path.parent.mkdir(parents=True, exist_ok=True)
        text = block.text if block.kind == "yaml" else block.text.split("\n", 1)[1]
        path.write_text(self.used(text), encoding="utf-8")

    def check(self, command: Command) -> None:
        """Run a command, which has to print what is shown. One that only asks is run again for up to PATIENCE."""
        end = time.monotonic() + PATIENCE * bool(_ASKS.match(command.text))
        while not same(command.shown, printed := self.run(command.text)):
            assert time.monotonic() < end, f"$ {command.text}\nprinted:\n{printed}\nshown:\n{command.shown}"
            time.sleep(0.2)

    def run(self, text: str) -> str:
        """What a command prints, with the page's ports. `cd` holds for the commands that follow."""
        if text.startswith("cd "):
            self.place /= text.removeprefix("cd ")
            return ""
        words = ["bash", "-c", self.used(text)]
        out, both = subprocess.PIPE, subprocess.STDOUT
        ended = subprocess.run(
            words, cwd=self.place, env=self.environment, stdout=out, stderr=both, text=True, timeout=120
        )
        printed = ended.stdout
        for written, used in self.instead.items():
            printed = printed.replace(used, written)
        return printed


def same(shown: str, printed: str) -> bool:
    """Whether the output is what is shown, but for what varies."""
    for pattern, placeholder in _VARYING:
        shown, printed = pattern.sub(placeholder, shown), pattern.sub(placeholder, printed)
    lines = [_line(line) for line in shown.rstrip("\n").split("\n")]
    return re.fullmatch("".join(lines), printed.rstrip("\n") + "\n") is not None


def _line(line: str) -> str:
    if line.strip() == "...":
        return r"(?:.*\n)*?"
    if line.endswith(" ..."):
        return re.escape(line.removesuffix("...").rstrip()) + r".*\n"
    return re.escape(line) + r"\n"
