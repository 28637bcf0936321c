"""A second, small implementation of the lifecycle table: which report each alert owes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class SentAlert(NamedTuple):
    """One alert of an acknowledged webhook. `starts` and `ends` in seconds; `words` is the content that may change."""

    name: str
    firing: bool
    starts: int
    ends: int
    words: str


@dataclass
class AlarmRecord:
    """The state of one alarm."""

    firing: bool = False
    starts: int = 0
    seen: tuple[str, str] = ("", "")  # words and mapping revision
    at_coc: bool = False  # COC accepted a report about it, and no news is pending
    owed: list[str] = field(default_factory=list)  # kinds, in order, without refreshes


class Reference:
    """All alarms of one integration."""

    def __init__(self) -> None:
        self.records: dict[str, AlarmRecord] = {}
        self.refreshes = True  # COC answers, nothing is paused and there is room

    def receive(self, sent: SentAlert, revision: str) -> str:
        """The kind of report that is owed for it, or an empty text."""
        new = sent.name not in self.records
        record = self.records.setdefault(sent.name, AlarmRecord())
        kind = self._fires(record, sent, revision) if sent.firing else self._resolves(record, sent, new)
        if kind:
            record.owed.append(kind)
        return kind

    def _fires(self, record: AlarmRecord, sent: SentAlert, revision: str) -> str:
        seen, before = (sent.words, revision), record.seen
        if record.firing and record.at_coc and not self.refreshes and sent.words == before[0]:
            seen = before  # the new revision is looked at with a later repeat
        record.seen = seen
        if not record.firing:
            record.firing, record.starts = True, sent.starts
            return "alarm"
        record.starts = max(record.starts, sent.starts)
        return "update" if seen != before else ""

    def _resolves(self, record: AlarmRecord, sent: SentAlert, new: bool) -> str:
        if new:
            return "ok"
        if not record.firing or sent.ends < record.starts:
            return ""
        record.firing = False
        return "ok"
