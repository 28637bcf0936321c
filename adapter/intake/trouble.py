"""What webhooks have met since the start: the likely reason why an alert is missing here, and a reason not to close."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from adapter.alertmanager import Webhook
from adapter.clock import Micros


class Met(NamedTuple):
    """Webhooks of one integration that were committed since the start."""

    last_at: Micros
    origin: str  # externalURL of the last one
    truncated: int  # alerts that Alertmanager cut off
    rejected: int  # alerts that could not be used


class Trouble:
    """By integration; of webhooks that named none that there is, for all of them."""

    def __init__(self) -> None:
        self.refused_at: Micros = 0
        """When a webhook was last answered 503; 0 for never."""
        self._refused: Counter[str | None] = Counter()
        self._truncated: Counter[str] = Counter()
        self._rejected: Counter[str] = Counter()
        self._last: dict[str, tuple[Micros, str]] = {}

    def answered(self, integration: str | None, status: int, at: Micros) -> None:
        if status == 503:
            self.refused_at = at
        if status >= 400:
            self._refused[integration] += 1

    def accepted(self, integration: str, webhook: Webhook, at: Micros) -> None:
        self._last[integration] = at, webhook.group.externalURL
        if webhook.truncated:
            self._truncated[integration] += webhook.truncated
        if webhook.rejected:
            self._rejected[integration] += webhook.rejected

    def met(self, integration: str) -> Met | None:
        """None before the first one."""
        if integration not in self._last:
            return None
        return Met(*self._last[integration], self._truncated[integration], self._rejected[integration])

    def why_missing(self, integration: str) -> str:
        """In a few words, for an alert that Alertmanager lists and no webhook brought."""
        refused = self._refused[integration] + self._refused[None]
        if self._truncated[integration]:
            return f"Alertmanager cut {self._truncated[integration]} alerts off (max_alerts)"
        if self._rejected[integration]:
            return f"{self._rejected[integration]} alerts could not be used (rejects)"
        if refused:
            return f"{refused} webhooks were refused"
        return "the store was lost or restored, or a long group_interval or repeat_interval holds it back"
