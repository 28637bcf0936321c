"""The contract of a store, as promises. A second backend can be written from this file without reading the first.

1.  Durable. When `accept` returns, everything in its receipt survives `kill -9`, and power loss where the disk keeps
    its word. When it raises, nothing of it was kept.
2.  One transaction. The alarm's new state and the report it owes are committed together or not at all.
3.  Lifecycle inside. `accept` applies `lifecycle.transition` to each alert in the order of the webhook, under a lock
    of the alarm, so that two webhooks with the same alert at once give the same result as one after the other.
4.  In order. The reports of one alarm leave `claim` in the order they were owed, one at a time: while one is claimed
    or waits for its delay, none behind it is given out.
5.  Free repeats. An `accept` that owes nothing writes nothing; when an alert was last seen is kept in memory and
    written in batches by `maintain`.
6.  Nothing claimed is lost. A claim that is not settled (crash, cancelled task) is given out again: at the next start
    for a store that one process owns, after the lease for one that several share. Whoever held it may have sent it,
    so it comes back in doubt, until an acceptance. More may be in doubt after a crash, but nothing after an orderly
    end to which every claim was given back.
7.  Settled once. `settle` takes a report out of the pending ones at most once; for a lost lease it says so, keeps the
    rest of the batch, and appends a `reassert` of the last accepted state if nothing else is pending. An ambiguous
    attempt puts its episode in doubt, and an acceptance by whoever holds the lease ends that.
8.  Bounded. `accept` raises BacklogFull rather than let the pending reports grow over the bound; an `ok` of a firing
    alarm is still taken until a tenth over it. What is pending is never pruned.
9.  Unavailable is not broken. StoreUnavailable means: nothing was changed, ask again later. The store reconnects or
    reopens by itself.
10. Counts belong to commits: `pending` and `open_alarms` of receipts and settlements are those of the integration
    right after that very step, and they are handed out in commit order. Where replicas share the store, this holds
    for the replica's own steps; what the others did is counted from its next `counts` on, here and in promise 8.
11. Times given in are wall times and only kept; every delay is measured by the store's own steady clock.
12. After `close` every call raises StoreUnavailable; close waits for commits under way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from adapter.alarm import Accepted, Attempt, Kind, News, Outcome, Pause, Report
from adapter.alertmanager import Reject, Webhook
from adapter.clock import Micros
from adapter.lifecycle import Policy
from adapter.store.views import AuditStore, Provenance

REJECTS_KEPT: Final = 1000  # the newest, over all integrations


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """One parsed webhook on its way into the store."""

    integration: str
    webhook: Webhook
    received: Micros
    revision: str  # of the mappings in force
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a webhook. `owed` names each report that was enqueued, in order."""

    webhook: int  # its id in the audit trail; 0 when nothing was written
    news: Mapping[News, int]
    owed: tuple[tuple[str, Kind], ...]
    superseded: int
    pending: int
    open_alarms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A report to deliver now, with what delivery must know of its alarm."""

    report: Report
    accepted: Accepted | None  # what COC last accepted for the alarm, of any episode
    earlier: Outcome | None  # of the last settled report of the same episode
    maybe_sent: bool  # COC may have taken a report of this episode since it last accepted one
    token: int = 0  # the lease, where there is one
    send_before: float | None = None  # monotonic seconds; None without leases


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What `claim` gave: at most `limit` claims, each of another alarm, longest due first."""

    claims: tuple[Claim, ...]
    next_due: float | None  # seconds until the next one is due when fewer than `limit` were given; None: nothing waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What to write about one claim. Without an outcome the report stays pending and is due again after `delay`."""

    claim: Claim
    at: Micros
    outcome: Outcome | None = None
    delay: float = 0.0  # seconds
    accepted: Accepted | None = None  # set when COC accepted a body
    attempts: tuple[Attempt, ...] = ()
    refused: bool = False  # remember that COC refused the mapped body
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What `settle` did with one settlement."""

    counted: bool  # False: the lease was lost or the report had left already; outcome not counted
    reasserted: bool  # a `reassert` was enqueued
    pending: int
    open_alarms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long what is done is kept, in microseconds."""

    delivered: Micros
    dead: Micros
    resolved: Micros


class IntakeStore(Protocol):
    """What intake needs."""

    async def accept(self, intake: Intake) -> Receipt: ...

    async def reject(self, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
        """Keep what was no webhook at all (the rejects inside a webhook are kept by `accept`)."""
        ...


class DeliveryStore(Protocol):
    """What delivery needs."""

    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        """Take up to `limit` due alarms; with `ignore_delay` also those whose delay is not over (COC answers again)."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]: ...

    async def pauses(self) -> dict[str, Pause]: ...

    async def set_pause(self, integration: str, pause: Pause | None, *, automatic: bool = False) -> Pause | None:
        """Pause, or resume with None; the pause in force after it. Survives a restart and is seen by every replica.

        `automatic`: the adapter decides this, not a person, and so leaves an operator's pause as it is.
        """
        ...


@runtime_checkable
class SharedStore(Protocol):
    """What a store adds that several replicas share."""

    async def heartbeat(self, revision: str) -> int:
        """Say that this replica lives and which mapping revision it uses; how many replicas live, this one included.

        The caller repeats it every few seconds; a replica that is silent for longer counts as dead.
        """
        ...


class Store(IntakeStore, DeliveryStore, AuditStore, Protocol):
    """The whole contract."""

    async def maintain(self, now: Micros, retention: Retention) -> None:
        """Write when alerts were last seen, prune what is over its retention in small steps, bound the log."""
        ...

    async def probe(self) -> None:
        """StoreUnavailable when nothing could be committed now."""
        ...

    async def size(self) -> int:
        """Bytes on disk, or as near as the backend can tell; 0 in memory."""
        ...

    def describe(self) -> dict[str, Any]:
        """For `status`: backend, place without secrets, and warnings about settings that weaken the promise.

        Where they apply: `shared` when other replicas change the counts too, `free_bytes` that can still be kept, as
        of the last `size`.
        """
        ...

    async def close(self) -> None: ...
