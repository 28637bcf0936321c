"""The contract of a store, as promises. A store can be written from this file without reading another one.

1.  Durable. When `accept` returns, everything in its receipt survives `kill -9`, and a power loss where the disk
    honours a flush. When it raises, nothing is kept.
2.  One transaction. The alarm's new state and the report it owes are committed together or not at all.
3.  Lifecycle inside. `accept` applies `lifecycle.transition` to each alert in the order of the webhook, under a lock
    of the alarm. Two webhooks with the same alert at once give the same result as one after the other.
4.  In order. The reports of one alarm leave `claim` in the order they were owed, one at a time: while one is claimed
    or delayed, none behind it is claimed.
5.  Free repeats. An `accept` that owes nothing writes nothing. When an alert was last seen is kept in memory and
    written in batches by `maintain`.
6.  Nothing claimed is lost. A claim that is not settled (crash, cancelled task) is claimed again: after the next start
    in a store that one process owns, after the lease in one that several share. COC may have taken the report already,
    so the claim says `maybe_sent`, and so does every claim of its episode until COC accepts one. After a crash this
    may be said of more reports than were claimed. After an orderly end that gave every claim back, it is said of none.
7.  Settled once. `settle` takes a report out of the pending ones at most once. For a lost lease it says so, keeps the
    rest of the batch, and enqueues a `reassert` of the last accepted state if nothing else is pending. After an
    ambiguous attempt the claims of its episode say `maybe_sent`, until COC accepts one under a held lease.
8.  Bounded. `accept` raises BacklogFull rather than let the pending reports exceed the bound. An `ok` of a firing alarm
    is taken until a tenth over it. Pending reports are never pruned.
9.  Unavailable is not broken. StoreUnavailable means: nothing was changed, ask again later. The store reconnects or
    reopens by itself.
10. Counts belong to commits. `pending` and `open_alarms` of receipts and settlements are those of the integration
    right after that commit, and they are returned in commit order. Where replicas share the store, this holds for the
    replica's own commits; those of the others are counted from its next `counts` on, here and in promise 8.
11. Times passed in are wall times and only kept. Every delay is measured by the store's own monotonic clock.
12. After `close` every call raises StoreUnavailable. `close` waits for commits in progress.
13. A directory of applications is kept as a whole. The last one kept for an integration holds, for every replica.
14. What reconciling decides is overtaken by webhooks. An alert of an intake with `expected` is left out, and counts as
    nothing, unless what is expected of its alarm holds inside the transaction. Of repeats that other replicas have not
    written yet nothing is known.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from adapter.alarm import Accepted, Alarm, Attempt, Kind, News, Outcome, Pause, Report, Status
from adapter.alertmanager import Reject, Webhook
from adapter.clock import Micros
from adapter.lifecycle import Policy
from adapter.store.views import AlarmQuery, AlarmRow, OperatorStore, Provenance, ReportRow, TrackedAlarm


class Expected(NamedTuple):
    """What must still hold of an alarm, or its alert is left out."""

    episode: int  # 0: it is unknown
    before: Micros  # it was last seen before

    def holds(self, alarm: Alarm | None, last_seen: Micros) -> bool:
        return self.episode == (alarm.episode if alarm else 0) and last_seen < self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """One parsed webhook to accept."""

    integration: str
    webhook: Webhook
    received: Micros
    revision: str  # of the mappings in force
    policy: Policy
    refreshes: bool = True  # False: COC is silent or the integration is paused, and none is owed
    expected: Mapping[str, Expected] | None = None  # by fingerprint; set by reconciling, see promise 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What `accept` did. `owed` lists the enqueued reports in order: fingerprint and kind."""

    webhook: int  # id of its row; 0 when nothing was written
    news: Mapping[News, int]
    owed: tuple[tuple[str, Kind], ...]
    superseded: int
    pending: int
    open_alarms: int
    conflicts: int = 0  # alerts with other labels than the one before under the same fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A report to deliver now, with what delivery needs to know of its alarm."""

    report: Report
    accepted: Accepted | None  # what COC last accepted for the alarm, of any episode
    earlier: Outcome | None  # of the last settled report of the same episode
    maybe_sent: bool  # COC may have taken a report of this episode since it last accepted one
    token: int = 0  # the lease, where there is one
    send_before: float | None = None  # monotonic seconds; None without leases


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """At most `limit` claims, each of another alarm, longest due first."""

    claims: tuple[Claim, ...]
    next_due: float | None  # seconds until the next report is due, with fewer than `limit` claims; None: nothing waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What to write about one claim. Without an outcome the report stays pending and is due again after `delay`."""

    claim: Claim
    at: Micros
    outcome: Outcome | None = None
    delay: float = 0.0  # seconds
    accepted: Accepted | None = None  # set when COC accepted a body
    attempts: tuple[Attempt, ...] = ()
    refused: bool = False  # COC refused the mapped body
    provenance: Provenance | None = None
    unknown_severity: bool = False  # of the body in the provenance; counted and not stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The result of one settlement."""

    counted: bool  # False: the lease was lost or the report had left already
    reasserted: bool  # a `reassert` was enqueued
    pending: int
    open_alarms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long rows are kept after they are done, in microseconds."""

    delivered: Micros
    dead: Micros
    resolved: Micros


class Pruned(NamedTuple):
    """How many rows were over their retention and are gone."""

    reports: int  # dead letters apart
    dead_letters: int
    alarms: int
    webhooks: int
    rejects: int


class IntakeStore(Protocol):
    """What intake needs."""

    async def accept(self, intake: Intake) -> Receipt: ...

    async def reject(self, integration: str, received: Micros, rejects: Sequence[Reject]) -> None:
        """Keep bodies that are no webhook. The rejects inside a webhook are kept by `accept`."""
        ...


class DeliveryStore(Protocol):
    """What delivery needs."""

    async def claim(self, integration: str, limit: int, *, ignore_delay: bool = False) -> Claims:
        """Claim up to `limit` due alarms; with `ignore_delay` also delayed ones, since COC answers again."""
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]: ...

    async def pauses(self) -> dict[str, Pause]: ...

    async def set_pause(self, integration: str, pause: Pause | None, *, automatic: bool = False) -> Pause | None:
        """Pause, or resume with None. Returns the pause in force. It survives a restart and holds for every replica.

        `automatic`: the adapter decides this, not a person; an operator's pause then stays as it is.
        """
        ...


class DirectoryStore(Protocol):
    """What the directories of applications need. The nodes are bytes that the store does not read."""

    async def directories_fetched(self) -> dict[str, Micros]:
        """When the directory of each integration was last fetched."""
        ...

    async def directory(self, integration: str) -> bytes | None: ...

    async def keep_directory(self, integration: str, fetched: Micros, nodes: bytes) -> None: ...


@runtime_checkable
class SharedStore(Protocol):
    """What a store adds that several replicas can share."""

    async def lead(self, task: str, seconds: float) -> str:
        """Take or keep a task that one replica does, for so long. Returns the name of the replica that has it."""
        ...

    @property
    def replica(self) -> str:
        """The name of this one."""
        ...

    async def heartbeat(self, revision: str, silent: Collection[str] = ()) -> int:
        """Record that this replica lives, its mapping revision, and the integrations whose COC does not answer it.

        Returns how many replicas live, this one included.

        The caller repeats it every few seconds. A replica that stays silent for longer counts as dead.
        """
        ...

    def silent(self, integration: str) -> bool:
        """Whether its COC answers no other replica and reports wait: then no refresh is owed here either.

        Where none wait, one is owed, by which this replica finds out.
        """
        ...

    def deciding(self, revision: str) -> str:
        """The mapping revision that decides what is news, where this replica has `revision`.

        It is the newest, by when it was first seen, that a living replica had at the last heartbeat; a revision that
        was not beaten for yet is newer. While another one decides, this replica leaves reports to the replicas that
        have it, and claims only what they left for half a minute.
        """
        ...

    def log_in_by(self, url: str) -> bool:
        """Open new connections by this URL. False, and nothing changes, when more than user and password differ."""
        ...

    async def login_refused(self, url: str) -> str | None:
        """Why the server refuses a login by this URL; None where it accepts it, or cannot be asked now."""
        ...


class ReconcileStore(IntakeStore, Protocol):
    """What reconciling needs."""

    async def tracked(self, integration: str, status: Status, after: int, limit: int) -> list[TrackedAlarm]:
        """Open alarms, or with RESOLVED those that reconciling closed, by id."""
        ...

    async def known(self, integration: str, fingerprints: Sequence[str]) -> dict[str, TrackedAlarm]:
        """Those of these alarms that there are, by fingerprint."""
        ...

    async def alarms(self, query: AlarmQuery) -> list[AlarmRow]: ...

    async def trail(
        self, integration: str, fingerprint: str, limit: int = 50, before: int | None = None
    ) -> list[ReportRow]: ...

    async def pauses(self) -> dict[str, Pause]: ...


class Store(ReconcileStore, DeliveryStore, OperatorStore, DirectoryStore, Protocol):
    """The whole contract."""

    async def maintain(self, now: Micros, retention: Retention) -> Pruned:
        """Write when alerts were last seen, and prune what is over its retention in small steps.

        `now`: see PruningTime.
        """
        ...

    async def unseen(self, before: Micros) -> dict[str, int]:
        """How many open alarms no alert has named since, by integration."""
        ...

    async def probe(self) -> None:
        """Raise StoreUnavailable when nothing can be committed now."""
        ...

    async def size(self) -> int:
        """Bytes on disk, as far as the backend knows; 0 in memory."""
        ...

    def describe(self) -> dict[str, Any]:
        """For `status`: backend, place without secrets, warnings.

        Where they apply: `shared` when other replicas change the counts too; `free_bytes` that the store can still
        grow by, as of the last `size`.
        """
        ...

    async def close(self) -> None: ...
