"""What reconciling needs besides Alertmanager: the store, the clock, an observer, and what webhooks met."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from adapter.clock import Clock, Micros
from adapter.lifecycle import Policy
from adapter.store.contract import Receipt, ReconcileStore


class Observer(Protocol):
    """Counts what happens."""

    def reconcile_polled(self, alertmanager: str, result: str) -> None: ...
    def reconcile_shown(self, alertmanager: str, valid_at: Micros, held: int) -> None: ...
    def reconcile_acted(self, integration: str, act: str) -> None: ...
    def receipt(self, integration: str, receipt: Receipt) -> None: ...


class Trouble(Protocol):
    """What webhooks have met here, for the likely reason why an alert is missing."""

    @property
    def refused_at(self) -> Micros:
        """When a webhook was last answered 503; 0 for never."""
        ...

    def why_missing(self, integration: str) -> str: ...


class NotHeld(Exception):
    """Nothing is held that could be let through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What every cluster's loop uses."""

    store: ReconcileStore
    clock: Clock
    observer: Observer
    policy: Policy
    revision: Callable[[], str]
    owed: Callable[[str], None]  # called with the integration when reports were enqueued
    reporting: Callable[[str], bool]  # False while COC is silent or the integration is paused: no refreshes are owed
    not_ready: Callable[[], Awaitable[str | None]]  # why webhooks cannot be accepted now
    trouble: Trouble
    states_changed: Callable[[], None]
