"""PURE: dead letters grouped by the words in which COC refused them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from adapter.clock import Micros
from adapter.store.views import Refusal

LISTED: Final = 1000  # ids of a group


@dataclass(slots=True)
class Group:
    """Of one integration; see `Groups`."""

    integration: str
    status: int
    code: str
    message: str
    since: Micros
    reports: int = 0
    ids: list[int] = field(default_factory=list)  # the first ones
    alarm_ids: set[int] = field(default_factory=set)

    @property
    def alarms(self) -> int:
        return len(self.alarm_ids)


class Groups:
    def __init__(self) -> None:
        self._groups: dict[tuple[str, int, str, str], Group] = {}

    def add(self, refusals: Iterable[Refusal]) -> None:
        for one in refusals:
            words = one.integration, one.status, one.code, one.message
            group = self._groups.get(words)
            if group is None:
                group = self._groups[words] = Group(*words, since=one.at)
            group.reports += 1
            group.since = min(group.since, one.at)
            group.alarm_ids.add(one.alarm)
            if len(group.ids) < LISTED:
                group.ids.append(one.seq)

    def largest_first(self) -> list[Group]:
        return sorted(self._groups.values(), key=lambda group: -group.reports)
