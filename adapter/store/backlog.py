"""PURE: promise 8 as arithmetic. Which webhooks the bound turns away."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from adapter.alarm import Kind, Status
from adapter.errors import BacklogFull
from adapter.store.plan import Change


@dataclass(slots=True)
class Added:
    """What a webhook adds to the pending reports. Neither figure ever goes down while the webhook is worked through."""

    reports: int = 0
    other: int = 0  # those that are not the `ok` of a firing alarm

    def count(self, changes: Iterable[Change], superseding: int) -> None:
        """Add these changes; `superseding` of them are updates that each replace a pending one."""
        for change in changes:
            if change.step.owed is not None:
                self.reports += 1
                closes = change.known is not None and change.known.status is Status.FIRING
                self.other += not (closes and change.step.owed is Kind.OK)
        self.reports -= superseding
        self.other -= superseding


def refuse_over(bound: int, pending: int, added: Added) -> None:
    """BacklogFull when `added` may not come on top of what is `pending` over all integrations."""
    if added.reports <= 0:
        return
    reserve = 0 if added.other > 0 else -(-bound // 10)
    if pending + added.reports > bound + reserve:
        raise BacklogFull(
            f"the backlog is full: {pending} reports wait for COC and limits.backlog is {bound}; "
            "alerts are taken again when it has drained"
        )
