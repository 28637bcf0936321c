"""Standard output and standard error that cannot change the terminal, whatever text a command prints.

Control characters, bidirectional controls, half characters and what the stream's encoding lacks become escapes such as
`\\u001b`, which mean the same in JSON. Line ends, tabs and what joins the parts of an emoji stay.
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
_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f]")


class Printable(io.TextIOBase):
    """Writes to `stream`; the rest of it is what the commands ask of a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        printable = _CONTROLS.sub(_escaped, text)
        try:
            self._stream.write(printable)
        except UnicodeEncodeError:
            self._stream.write(_BEYOND_ASCII.sub(_escaped, printable))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()


@contextmanager
def printable_streams() -> Iterator[None]:
    with redirect_stdout(Printable(sys.stdout)), redirect_stderr(Printable(sys.stderr)):
        yield


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
