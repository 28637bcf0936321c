"""The exception tree: each branch is a decision of the caller.

AdapterError
├── ConfigError          findings in adapter.yml or a web config: print all of them, exit 1
├── MappingError         findings in mapping files: refuse the revision, keep the old one
├── PayloadError         the webhook is not one: answer 400, keep its head as a reject
├── RenderError          the worker process cannot render: fall back, or try again
└── StoreError
    ├── StoreUnavailable cannot commit now: answer 503, try again
    │   ├── BacklogFull  the bound is reached: answer 503 to a webhook that would add to it
    │   └── SpaceLow     the rest of the disk is for resolves: answer 503 to new alarms
    └── StoreRefused     cannot be opened safely: say why in one line and do not start
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

LONGEST_EXCERPT: Final = 1000  # characters
_NOT_PRINTED: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ud800-\udfff]+")


def one_line(message: str, longest: int) -> str:
    """One line without control characters or lone surrogates, which not every store and terminal can take."""
    # Cut first, generously: an answer of megabytes needs no more than its head cleaned.
    line = _NOT_PRINTED.sub(" ", message[: longest * 20]).strip()
    return line if len(line) <= longest else line[: longest - 1] + "…"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing wrong in a file a person edits. Lines and columns count from 1; 0 means the whole file.

    An error cannot work and refuses the file. With a warning it serves, though probably not as meant.
    """

    file: str
    line: int
    col: int
    message: str
    hint: str = ""  # what to do instead, where there is an answer
    source: str = ""  # the line's text, for the caret
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.col}:" + (" warning:" if self.severity == "warning" else "")
        return f"{place} {self.text}"

    @property
    def text(self) -> str:
        """Message and hint, without the place."""
        return self.message + (f" ({self.hint})" if self.hint else "")

    def with_caret(self) -> str:
        """The finding, and below it the source line, or what of a long one is near, with a caret under the column."""
        if not self.source:
            return str(self)
        start = 0 if len(self.source) <= LONGEST_EXCERPT else max(0, self.col - LONGEST_EXCERPT // 2)
        shown = self.source[start : start + LONGEST_EXCERPT]
        return f"{self}\n    {shown}\n    {' ' * (self.col - 1 - start)}^"


class AdapterError(Exception):
    """The adapter cannot do what was asked."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class _WithFindings(AdapterError):
    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(sorted(set(findings)))  # aliases of one place have the same ones
        super().__init__("\n".join(str(finding) for finding in self.findings))


class ConfigError(_WithFindings):
    """The configuration cannot be used."""


class MappingError(_WithFindings):
    """The mapping files cannot be used."""


class PayloadError(AdapterError):
    """The body is not an Alertmanager webhook."""


class TooManyAlerts(PayloadError):
    """The body holds more than one webhook may."""


class RenderError(AdapterError):
    """The worker process cannot render."""


class StoreError(AdapterError):
    """The store cannot do it."""


class StoreUnavailable(StoreError):
    """The store cannot commit now."""


class BacklogFull(StoreUnavailable):
    """The backlog bound is reached."""


class SpaceLow(StoreUnavailable):
    """The rest of the space is kept for resolves."""


class StoreRefused(StoreError):
    """The store cannot be opened safely."""
