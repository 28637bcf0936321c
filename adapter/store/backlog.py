"""PURE: how many reports each integration may have pending, and when refreshes are owed at all (promise 8).

`limits.backlog` bounds the news of all integrations together. Half of it is reserved, an equal part for each of them,
so that one whose COC is down cannot fill the places of another. Integrations that are not in adapter.yml count for
nothing. Refreshes take no place of news: few are pending for one alarm, and none is owed that would not fit under the
bound together with all that is pending.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Waiting(NamedTuple):
    """What is pending of one integration."""

    pending: int = 0
    refreshing: int = 0  # alarms of which nothing but a refresh is pending

    @property
    def news(self) -> int:
        return self.pending - self.refreshing


class Backlog(NamedTuple):
    """The bound and who shares it."""

    bound: int
    integrations: frozenset[str] = frozenset()  # none given: all that the store knows, and nothing is reserved

    @property
    def reserved(self) -> int:
        """Reports that each integration may have pending however many the others have."""
        count = len(self.integrations)
        return min(-(-self.bound // (2 * count)), self.bound // count) if count > 1 else 0

    def taken(self, integration: str, waiting: Mapping[str, Waiting]) -> int:
        """Places that are not free for `integration`: its own news, and what others have or is reserved for them."""
        own = waiting.get(integration, Waiting()).news
        names = (self.integrations or waiting.keys()) - {integration}
        others = sum(max(waiting.get(name, Waiting()).news, self.reserved) for name in names)
        return own + (min(others, self.bound - self.reserved) if self.reserved else others)

    def share(self, integration: str, waiting: Mapping[str, Waiting]) -> int:
        """The news at which `integration` takes no more, as things are."""
        own = waiting.get(integration, Waiting()).news
        return max(0, self.bound - self.taken(integration, waiting) + own)

    def has_room(self, waiting: Mapping[str, Waiting], refreshes: int) -> bool:
        """Whether so many refreshes more may be owed."""
        served = self.integrations or waiting.keys()
        return sum(one.pending for name, one in waiting.items() if name in served) + refreshes <= self.bound
