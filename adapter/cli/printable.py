"""Standard output and standard error that cannot change the terminal, by any text that a command prints.

Control characters, bidirectional controls and half characters become escapes such as `\\u001b`, which mean the same
in JSON, as does what the terminal's encoding has no character for. Line ends, tabs and what joins the parts of an emoji
stay.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Final, TextIO

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class Printable(io.TextIOBase):
    """Writes to `stream`; the rest of it is what the commands ask of a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        shown = _CONTROLS.sub(lambda found: _escape(found[0]), text)
        encoding = self._stream.encoding or "utf-8"
        try:
            shown.encode(encoding)
        except UnicodeEncodeError:
            shown = "".join(char if _fits(char, encoding) else _escape(char) for char in shown)
        self._stream.write(shown)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


def _escape(char: str) -> str:
    return json.dumps(char)[1:-1]


def _fits(char: str, encoding: str) -> bool:
    try:
        char.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def printable_streams() -> Iterator[None]:
    with redirect_stdout(Printable(sys.stdout)), redirect_stderr(Printable(sys.stderr)):
        yield
