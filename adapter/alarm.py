"""Our records: what the adapter remembers of an alarm and what it owes to COC. Frozen; changed by `replace`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple

from adapter.clock import Micros


class Status(StrEnum):
    """What the last alert said."""

    FIRING = "firing"
    RESOLVED = "resolved"


class Kind(StrEnum):
    """Why a report is owed."""

    ALARM = "alarm"  # a new episode
    UPDATE = "update"  # content or mapping revision changed while firing
    REFRESH = "refresh"  # nothing changed, but COC last accepted a report longer than refresh_interval ago
    OK = "ok"  # resolved
    REASSERT = "reassert"  # the last state again, after a lost lease or an ambiguous attempt


class Priority(IntEnum):
    """Which alarms are claimed first, by what is pending of them."""

    NEWS = 0
    REFRESH = 1  # only what repeats to COC what it has: a refresh, or the update of an unchanged alert by new mappings


class Outcome(StrEnum):
    """How a report left the pending ones; each report has exactly one, once."""

    DELIVERED = "delivered"
    UNNEEDED = "unneeded"  # COC already has it so
    SUPERSEDED = "superseded"  # COC is, or was, sent a newer one instead
    DEAD = "dead"  # COC refused it for good; kept for a person
    DISCARDED = "discarded"  # an ok whose alarm COC never took
    DROPPED = "dropped"  # a rule says it is not to be reported


class News(StrEnum):
    """What one alert was to intake."""

    NEWS = "news"
    REPEAT = "repeat"
    REFRESH = "refresh"
    STALE = "stale"
    REJECTED = "rejected"


class Alarm(NamedTuple):
    """The state of one alert identity in one integration, as far as intake needs it."""

    fingerprint: str
    status: Status
    episode: int  # from firing to resolved; the first is 1
    coc_alarm_id: str  # fixed for the episode
    starts: Micros  # the newest startsAt of the episode
    ends: Micros  # 0 while firing
    content: bytes  # Alert.content of the last alert
    revision: str  # mapping revision in force at the last alert
    last_accepted_at: Micros  # when COC last accepted a report about it; 0 = never
    pending: int  # reports still owed
    priority: int = Priority.NEWS  # of what is pending
    origin: str = ""  # externalURL of the last webhook with news about it
    receiver: str = ""  # of that webhook, as it came: quoted as a regular expression
    reconciled: Micros = 0  # when reconciling closed this episode
    changed: Micros = 0  # when news about it last came, apart from new mappings

    @property
    def refreshing(self) -> bool:
        """Nothing but a refresh is pending."""
        return self.pending > 0 and self.priority == Priority.REFRESH


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One POST we owe to COC about an alarm."""

    seq: int  # the order in which they were owed
    integration: str
    fingerprint: str
    episode: int
    kind: Kind
    coc_alarm_id: str
    raw: bytes  # alertmanager.pack: the alert and its group as they came
    received: Micros
    webhook: int  # id of the webhook that brought it; 0 for a reassert or a replay
    attempts: int = 0
    refused: bool = False  # COC refused the mapped body once: only the built-in fallback is left to try
    body: bytes | None = None  # a body to send exactly as it is (replay "as sent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What COC last accepted for an alarm."""

    body: bytes  # JSON, as sent
    status: str  # "alarm" or "ok"
    at: Micros
    episode: int  # 0: one that is not the alarm's own any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One POST and what it came to. Holds no secret and no more than 500 characters of COC's words."""

    at: Micros
    seconds: float
    reason: str  # coc.verdict.Reason
    status: int  # HTTP status, 0 when there was no answer
    code: str  # COC's error_code
    message: str  # COC's error_msg, or what the network said
    ambiguous: bool = False  # COC may have taken it although no answer came


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Why an integration is not being reported to."""

    reason: str  # operator | credentials | endpoint | refusals
    since: Micros
    by: str  # who asked for it: "adapter" or a name given to the admin API
    detail: str = ""  # what COC answered, or why the operator asked for it

    @property
    def automatic(self) -> bool:
        return self.reason != "operator"

    @property
    def because(self) -> str:
        """Why the operator asked for it, in words of the operator's."""
        return "" if self.automatic else self.detail
