"""PURE: the answers of Alertmanager's API -> what its members list. No more is kept of an alert than is judged by.

Sources: Alertmanager `api/v2/openapi.yaml`, `gettableAlert`, `alertGroup`, `alertmanagerStatus`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum, StrEnum
from typing import Any, Final, NamedTuple

from pydantic_core import from_json

from adapter.alertmanager import Alert, micros
from adapter.clock import SECOND, Micros

SKEW: Final = 30 * SECOND  # between a member's clock and ours
_FIRING_END: Final = "0001-01-01T00:00:00Z"
_SPACE: Final = " \t\r\n"


class Result(StrEnum):
    """What came of asking a member, or the whole cluster: then the first of these that any member gave."""

    UNREACHABLE = "unreachable"  # no connection, or no whole answer in time
    REFUSED = "refused"  # any status but 200
    TOO_LARGE = "too_large"
    INVALID = "invalid"  # not what Alertmanager answers
    SKEWED = "skewed"  # its clock is not ours
    SETTLING = "settling"  # it started a short while ago, or its cluster has not settled
    INCOMPLETE = "incomplete"  # its cluster has another number of members than were asked
    NO_WATCHDOG = "no_watchdog"  # no Prometheus reports to it
    RELOADED = "reloaded"  # another configuration, or another process, than at the last poll
    VALID = "valid"


class State(IntEnum):
    """Of a listed alert; the greatest of several members counts."""

    SUPPRESSED = 1  # silenced or inhibited
    ACTIVE = 2


class Listed(NamedTuple):
    """One alert as listed."""

    state: State
    receivers: tuple[str, ...]
    starts_at: str
    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()


class Invalid(Exception):
    """The answer is not what Alertmanager answers."""


class Status(NamedTuple):
    """What a member says of itself."""

    since: Micros  # its start
    version: str
    cluster: str  # ready, settling or disabled
    peers: int
    config: str  # its configuration, word for word

    def shows_mutes(self) -> bool:
        """Since 0.28 /alerts/groups tells which alerts a time interval mutes."""
        try:
            major, minor = (int(part) for part in self.version.lstrip("v").split(".")[:2])
        except ValueError:
            return False
        return (major, minor) >= (0, 28)


class Elements:
    """A JSON array of objects that comes in pieces -> its elements, soon after each is whole.

    All elements are taken to begin with the same key, as whatever writes a type's fields in order does. Where they do
    not, they come with the last piece.
    """

    def __init__(self) -> None:
        self._text = ""
        self._begun = False
        self._beginning = ""  # of an element
        self._wanted = 0  # characters before elements that were not whole are tried again

    def feed(self, text: str, *, last: bool = False) -> list[Any]:
        """Those that are whole now. Invalid when it is no array, or with `last` when its end is missing."""
        self._text += text
        if not self._begun and not self._begin(last):
            return []
        if last:
            return self._parsed("[" + self._text)
        if len(self._text) < self._wanted:
            return []
        if not self._beginning:
            first, colon, _ = self._text.partition('":')
            self._beginning = first if colon else ""
        whole = self._text[: self._text.rfind(self._beginning)].rstrip() if self._beginning else ""
        if not whole.endswith(","):
            return []
        try:
            found = self._parsed(f"[{whole[:-1]}]")
        except Invalid:  # no element begins there
            self._wanted = 2 * len(self._text)
            return []
        self._text, self._wanted = self._text[self._text.rfind(self._beginning) :], 0
        return found

    def _begin(self, last: bool) -> bool:
        self._text = self._text.lstrip(_SPACE)
        if self._text[:1] not in ("", "[") or (last and not self._text):
            raise Invalid("the answer is no JSON array")
        self._begun = bool(self._text)
        self._text = self._text[1:].lstrip(_SPACE)
        return self._begun

    @staticmethod
    def _parsed(text: str) -> list[Any]:
        try:
            found: list[Any] = from_json(text, cache_strings="keys")
        except ValueError as exc:
            raise Invalid("the answer ends within, or is not JSON") from exc
        if not all(type(element) is dict for element in found):
            raise Invalid("the answer is no JSON array of objects")
        return found


def listed(element: Any, shared: dict[tuple[str, ...], tuple[str, ...]]) -> tuple[str, Listed]:
    """One element of GET /alerts: fingerprint and what is kept. `shared`: so that equal receivers are one object."""
    try:
        status, fingerprint, starts_at = element["status"], element["fingerprint"], element["startsAt"]
        receivers = tuple([receiver["name"] for receiver in element["receivers"]])
        if type(fingerprint) is not str or type(starts_at) is not str:
            raise TypeError
        if status["state"] == "active":
            item = Listed(State.ACTIVE, shared.setdefault(receivers, receivers), starts_at)
        else:
            silenced, inhibited = tuple(status["silencedBy"] or ()), tuple(status["inhibitedBy"] or ())
            item = Listed(State.SUPPRESSED, shared.setdefault(receivers, receivers), starts_at, silenced, inhibited)
        return fingerprint, item
    except (KeyError, TypeError) as exc:
        raise Invalid("an element is no alert") from exc


def union(parts: Iterable[Mapping[str, Listed]]) -> dict[str, Listed]:
    """Each alert as the member lists it that thinks most of it, under the receivers of all."""
    whole: dict[str, Listed] = {}
    for part in parts:
        if not whole:
            whole = dict(part)
            continue
        for fingerprint, item in part.items():
            other = whole.setdefault(fingerprint, item)
            if other is item:
                continue
            best = max(item, other, key=lambda one: one.state)
            if set(item.receivers) != set(other.receivers):
                best = best._replace(receivers=tuple(dict.fromkeys((*other.receivers, *item.receivers))))
            whole[fingerprint] = best
    return whole


def status_of(data: Any) -> Status:
    try:
        peers = data["cluster"].get("peers") or []
        return Status(
            since=micros(_text(data["uptime"])),
            version=_text(data["versionInfo"]["version"]),
            cluster=_text(data["cluster"]["status"]),
            peers=len(peers),
            config=_text(data["config"]["original"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise Invalid("/api/v2/status is not Alertmanager's") from exc


def health(status: Status, *, theirs: Micros, ours: Micros, members: int, settle: Micros) -> tuple[Result, str]:
    """Whether a member can be believed, and why not. `theirs`, `ours`: the two clocks; 0 where it did not say."""
    if not theirs or abs(theirs - ours) > SKEW:
        return Result.SKEWED, "its clock is more than 30 s from ours" if theirs else "it says no time"
    if not status.since or theirs + SECOND - status.since < settle:  # `theirs` is cut to seconds
        return Result.SETTLING, "it started a short while ago"
    if status.cluster not in ("ready", "disabled"):
        return Result.SETTLING, f"its cluster is {status.cluster[:40]}"
    if status.cluster == "ready" and status.peers != members:
        return Result.INCOMPLETE, f"its cluster has {status.peers} members, {members} were asked"
    return Result.VALID, ""


def alert_of(element: Mapping[str, Any]) -> Alert:
    """An alert of the API as a webhook would bring it: while it fires, it has no end."""
    try:
        starts_at = _text(element["startsAt"])
        return Alert(
            status="firing",
            labels=_texts(element["labels"]),
            annotations=_texts(element["annotations"]),
            startsAt=starts_at,
            endsAt=_FIRING_END,
            generatorURL=_text(element.get("generatorURL") or ""),
            fingerprint=_text(element["fingerprint"]),
            starts=micros(starts_at),
            ends=0,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise Invalid("an element is no alert") from exc


class Silence(NamedTuple):
    comment: str
    author: str
    ends_at: str


class Member(NamedTuple):
    """An alert of a group, as GET /alerts/groups tells it."""

    alert: Alert
    receiver: str
    group_labels: Mapping[str, str]
    common_labels: Mapping[str, str]
    common_annotations: Mapping[str, str]
    muted: bool
    active: bool


def members_of(group: Any, wanted: frozenset[str]) -> Iterator[Member]:
    """Those alerts of one group that are wanted, by fingerprint."""
    try:
        alerts, receiver, labels = group["alerts"], _text(group["receiver"]["name"]), _texts(group["labels"])
        if not any(element["fingerprint"] in wanted for element in alerts):
            return
        common = _common([_texts(element["labels"]) for element in alerts])
        annotations = _common([_texts(element["annotations"]) for element in alerts])
        for element in alerts:
            if element["fingerprint"] in wanted:
                status = element["status"]
                muted, active = bool(status.get("mutedBy")), status["state"] == "active"
                yield Member(alert_of(element), receiver, labels, common, annotations, muted, active)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise Invalid("an element is no group of alerts") from exc


def _common(parts: list[dict[str, str]]) -> dict[str, str]:
    first, *others = parts
    return {name: text for name, text in first.items() if all(other.get(name) == text for other in others)}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    if not value.isascii():
        value.encode()  # a lone surrogate, which no store takes, is a ValueError
    return value


def _texts(value: Any) -> dict[str, str]:
    return {_text(name): _text(text) for name, text in value.items()}
