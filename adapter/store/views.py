"""What a store shows to operators: counts, rows of alarms, reports and rejects, and the provenance of a body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

from adapter.alarm import Accepted, Alarm, Attempt, Kind, Outcome, Report, Status
from adapter.clock import Micros
from adapter.matchers import Matcher


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Which mapping rendered a body and with what fallbacks, kept for `explain`."""

    rule: str | None
    mapping: str | None
    revision: str
    fallbacks: tuple[tuple[str, str], ...]  # (field, reason)
    clipped: tuple[str, ...]
    body: bytes | None  # JSON as sent, or as it would have been sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Of one integration."""

    pending: int
    open_alarms: int
    oldest: Micros | None  # when the oldest pending report was received
    dead: int = 0  # dead letters, neither replayed nor discarded
    refreshing: int = 0  # alarms of which nothing but a refresh is pending


class Coc(StrEnum):
    """What COC accepted last in the episode of an alarm."""

    ALARM = "alarm"
    OK = "ok"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRow:
    """One alarm."""

    id: int
    integration: str
    alarm: Alarm
    labels: Mapping[str, str]
    first_seen: Micros
    last_seen: Micros
    repeats: int = 0
    stale: int = 0
    conflicts: int = 0  # alerts that came under the fingerprint with other labels than the one before
    accepted: Accepted | None = None
    fell_back: bool = False  # a field of what was rendered last
    dropped: bool = False  # the last report of the episode, by a rule

    @property
    def coc(self) -> Coc:
        accepted = self.accepted
        return Coc(accepted.status) if accepted and accepted.episode == self.alarm.episode else Coc.NONE

    @property
    def mismatch(self) -> bool:
        """It is open and not at COC, or COC has it open and it is not; what a rule drops apart."""
        if self.alarm.status is Status.FIRING:
            return self.coc is not Coc.ALARM and not self.dropped
        return self.accepted is not None and self.accepted.status == Coc.ALARM and not self.dropped

    @property
    def place(self) -> Place:
        return Place(self.alarm.changed, self.id)

    def is_unseen(self, since: Micros) -> bool:
        return self.alarm.status is Status.FIRING and self.last_seen < since


class Place(NamedTuple):
    """Of an alarm among those ordered by when news about them last came."""

    changed: Micros
    id: int


class Page(NamedTuple):
    """Alarms, what changed last first. `following`: the place to go on from, None at the end."""

    rows: list[AlarmRow]
    following: Place | None


@dataclass(frozen=True, slots=True)
class Tally:
    count: int
    at_least: bool  # counting ended there


class Bounds(NamedTuple):
    """How many rows one page or tally may look at."""

    few: int = 5_000  # rows that are read whole and sorted
    walked: int = 20_000  # rows of an index
    searched: int = 2_500  # rows whose labels are looked into
    counted: int = 10_000


BOUNDS: Final = Bounds()


class TrackedAlarm(NamedTuple):
    """What reconciling needs of an alarm; one of a hundred thousand."""

    id: int
    fingerprint: str
    episode: int
    starts: Micros
    ends: Micros
    last_accepted_at: Micros
    pending: int
    origin: str
    receiver: str
    reconciled: Micros
    last_seen: Micros


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """One report, pending or not."""

    report: Report
    outcome: Outcome | None = None
    replayed: bool = False  # a dead letter that was enqueued again
    done: Micros = 0  # 0 while pending
    due_in: float | None = None  # seconds, for the head of its alarm's queue
    provenance: Provenance | None = None
    attempts: tuple[Attempt, ...] = ()  # the last ten
    sender: Mapping[str, Any] = field(
        default_factory=dict
    )  # of its webhook: receiver, externalURL, alerts; empty when pruned

    @property
    def webhook(self) -> dict[str, Any]:
        """The webhook that it came with."""
        return {"id": self.report.webhook, **self.sender}

    @property
    def body(self) -> bytes | None:
        """JSON as sent last, or as it would have been; None before the first rendering."""
        return self.provenance.body if self.provenance and self.provenance.body else self.report.body


class RecentRow(NamedTuple):
    """The newest report of an alarm, without the alert that it carries."""

    seq: int
    integration: str
    fingerprint: str
    status: Status  # of the alarm
    labels: Mapping[str, str]
    rule: str | None  # also None before the first rendering
    rendered: bool
    fell_back: bool


class Refusal(NamedTuple):
    """A dead letter and COC's last answer."""

    seq: int
    integration: str
    alarm: int
    at: Micros  # when it was refused for good
    status: int  # 0 without an answer
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectRow:
    id: int
    integration: str
    received: Micros
    reason: str
    head: bytes


class Removed(NamedTuple):
    """What left an integration by one step, and what of it another one took over."""

    alarms: int = 0  # rows
    open_alarms: int = 0
    reports: int = 0  # that were pending
    dead_letters: int = 0
    taken_open: int = 0  # open alarms more of the other one
    taken_reports: int = 0  # pending reports more of the other one
    owed: int = 0  # of `taken_reports`, those that nobody owed before

    def plus(self, other: Removed) -> Removed:
        return Removed(*(mine + more for mine, more in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmQuery:
    """A page of alarms. An alarm must meet every criterion given."""

    integration: str | None = None
    status: Status | None = None
    fingerprint: str | None = None
    text: str = ""  # case-insensitive, in any label value or the fingerprint
    matchers: tuple[Matcher, ...] = ()
    unseen_since: Micros | None = None  # only open alarms that no alert has named since
    coc: Coc | None = None
    mismatch: bool | None = None
    pending: bool | None = None
    fell_back: bool | None = None
    after: int = 0  # id of the last row of the previous page, by id
    before: Place | None = None  # where the previous page ended, by when they changed
    limit: int = 100

    def matches(self, row: AlarmRow) -> bool:
        wanted, texts = self.text.casefold(), (row.alarm.fingerprint, *row.labels.values())
        return (
            row.id > self.after
            and self.integration in (None, row.integration)
            and self.status in (None, row.alarm.status)
            and self.fingerprint in (None, row.alarm.fingerprint)
            and (not wanted or any(wanted in text.casefold() for text in texts))
            and (self.unseen_since is None or row.is_unseen(self.unseen_since))
            and self.coc in (None, row.coc)
            and self.mismatch in (None, row.mismatch)
            and self.pending in (None, row.alarm.pending > 0)
            and self.fell_back in (None, row.fell_back)
            and (self.before is None or row.place < self.before)
            and all(matcher.matches(row.labels) for matcher in self.matchers)
        )


class OperatorStore(Protocol):
    """What the admin API needs."""

    async def counts(self) -> dict[str, Counts]: ...

    async def alarms(self, query: AlarmQuery) -> list[AlarmRow]:
        """By id."""
        ...

    async def recent_alarms(self, query: AlarmQuery, bounds: Bounds = BOUNDS) -> Page:
        """Those that changed last first. A page may hold fewer than there are, and says where to go on."""
        ...

    async def tallies(self, integration: str | None, bounds: Bounds = BOUNDS) -> dict[str, Tally]:
        """How many alarms each filter finds, by the names of `recent.TALLIES`."""
        ...

    async def trail(
        self, integration: str, fingerprint: str, limit: int = 50, before: int | None = None
    ) -> list[ReportRow]:
        """The reports of one alarm, newest first; those with a seq below `before`."""
        ...

    async def dead_letters(self, integration: str | None, after: int, limit: int) -> list[ReportRow]:
        """Dead reports that were neither replayed nor discarded, by seq."""
        ...

    async def replay(self, seqs: Sequence[int], *, as_sent: bool) -> dict[int, tuple[Kind, ...]]:
        """Enqueue dead letters again, as new reports at the end of their alarms' queues. Returns the kinds, by seq.

        With `as_sent` the new report carries the body that COC refused, else it is rendered anew. Where a later report
        of the alarm was delivered or discarded meanwhile, a `reassert` of it follows, so that COC ends in the right
        state. Seqs that are no dead letters are left out of the result.
        """
        ...

    async def discard(self, seqs: Sequence[int]) -> list[int]:
        """Take dead letters off the list. Returns those that were on it."""
        ...

    async def recent(self, reports: int) -> list[RecentRow]:
        """Of the last so many reports of all alarms the newest of each, newest first."""
        ...

    async def reports(self, seqs: Sequence[int]) -> list[ReportRow]:
        """Those of these that there are, by seq."""
        ...

    async def refusals(self, integration: str | None, after: int, limit: int) -> list[Refusal]:
        """Of dead letters that were neither replayed nor discarded, by seq."""
        ...

    async def rejects(
        self, after: int, limit: int, *, integration: str | None = None, before: int | None = None
    ) -> list[RejectRow]:
        """By id, those above `after`; with `before` the newest first, those below it."""
        ...

    async def held(self, integration: str) -> list[int]:
        """The ids of its alarms, to be discarded or moved in steps of STEP."""
        ...

    async def discard_alarms(self, integration: str, ids: Sequence[int], now: Micros) -> Removed:
        """Nothing more is owed about these alarms, of an integration that is not served; those it has no more are left.

        Pending reports leave as discarded, dead letters are taken off the list, and firing alarms count as resolved.
        """
        ...

    async def move_alarms(self, integration: str, ids: Sequence[int], to: str, now: Micros) -> Removed:
        """Give these alarms, of an integration that is not served, with all their reports to `to`; see `moving`.

        Those that it has no more are left where they are: another replica may remove it at the same time. Each keeps
        its place in the queue and the order of its reports. The bound of the backlog does not matter.
        """
        ...
