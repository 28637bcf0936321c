"""A second, small implementation of the lifecycle table: which report each alert owes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Said(NamedTuple):
    """One alert of an acknowledged webhook. `starts` and `ends` in seconds; `words` is the content that may change."""

    name: str
    firing: bool
    starts: int
    ends: int
    words: str


@dataclass
class Life:
    """What is known of one alarm."""

    firing: bool = False
    starts: int = 0
    seen: tuple[str, str] = ("", "")  # words and mapping revision
    owed: list[str] = field(default_factory=list)  # kinds, in order; refreshes apart


class Reference:
    """All alarms of one integration."""

    def __init__(self) -> None:
        self.lives: dict[str, Life] = {}

    def hear(self, said: Said, revision: str) -> str:
        """The kind that is owed for it, or nothing."""
        new = said.name not in self.lives
        life = self.lives.setdefault(said.name, Life())
        kind = self._fires(life, said, revision) if said.firing else self._resolves(life, said, new)
        if kind:
            life.owed.append(kind)
        return kind

    def _fires(self, life: Life, said: Said, revision: str) -> str:
        seen, before = (said.words, revision), life.seen
        life.seen = seen
        if not life.firing:
            life.firing, life.starts = True, said.starts
            return "alarm"
        life.starts = max(life.starts, said.starts)
        return "update" if seen != before else ""

    def _resolves(self, life: Life, said: Said, new: bool) -> str:
        if new:
            return "ok"
        if not life.firing or said.ends < life.starts:
            return ""
        life.firing = False
        return "ok"
