"""PURE: our open alarms and what Alertmanager lists -> what is in step, gone, missing, and what may be done about it.

    listed                                        state        then
    --------------------------------------------  -----------  --------------------------------------------------------
    active, under a receiver of the integration   in step      the count of its absence is over; perhaps a refresh
    silenced or inhibited, under such a receiver  suppressed   the same, but no refresh
    under others alone                            unrouted     counted like an absence
    not at all                                    absent       after N polls over `grace`: a candidate, looked for once
                                                               more without a receiver: unrouted or gone
    an alarm that another Alertmanager sent       foreign      nothing, ever
    active, and unknown here or resolved before   missing      after N polls and `adopt_after`
    active, and closed by us though it fired      reopened     at once

`look` counts one valid snapshot. `conclude` takes what the second look found. A snapshot that is not valid is no
evidence: the caller goes on with a new Memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from adapter.alertmanager import micros
from adapter.clock import SECOND, Micros
from adapter.reconcile.cluster import Mode, Rules, unquoted
from adapter.reconcile.snapshot import Listed
from adapter.reconcile.snapshot import State as Firing
from adapter.store.views import TrackedAlarm

SHARE: Final = 0.2  # of the open alarms in scope: more at once are held
MOST_REFRESHED: Final = 1000  # at a poll


class State(StrEnum):
    """Of an alarm of ours, or of an alert we lack."""

    IN_STEP = "in_step"
    SUPPRESSED = "suppressed"
    ABSENT = "absent"
    UNROUTED = "unrouted"
    FOREIGN = "foreign"
    MISSING = "missing"


class Act(StrEnum):
    """What reconciling did."""

    CLOSED = "closed"
    ADOPTED = "adopted"
    REOPENED = "reopened"


class Key(NamedTuple):
    integration: str
    fingerprint: str


class Absence(NamedTuple):
    """For how long an alarm is not listed where it should be."""

    episode: int
    since: Micros  # the first snapshot that lacked it
    steady: float  # the same in monotonic seconds
    polls: int = 1
    looked: int = 0  # the number of the poll at which it was last looked for
    unrouted: bool = False  # found elsewhere then
    listed_elsewhere: bool = False  # now


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What valid snapshots in a row have shown."""

    polls: int = 0
    absent: Mapping[Key, Absence] = field(default_factory=dict)
    unknown: Mapping[Key, int] = field(default_factory=dict)  # alerts we lack: in how many snapshots


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One valid snapshot, and what is known here at its start."""

    at: Micros
    steady: float  # monotonic seconds
    listed: Mapping[str, Listed]
    open: Mapping[str, Sequence[TrackedAlarm]]  # of each integration
    closed: Mapping[str, Mapping[str, TrackedAlarm]]  # those of `unlisted` that are known, of each integration
    receivers: Mapping[str, frozenset[str]]  # of each integration
    origins: frozenset[str]  # whose alarms are in scope, as they are written in alarms
    elsewhere: frozenset[str] = frozenset()  # those of other clusters
    quiet: frozenset[str] = frozenset()  # integrations that an operator paused, or resumed since the last poll
    refused_at: Micros = 0  # when a webhook was last answered 503


class Candidate(NamedTuple):
    """An alarm that may be gone."""

    key: Key
    alarm: TrackedAlarm
    absence: Absence


class Suspect(NamedTuple):
    """An alert that fires and is not open here."""

    key: Key
    episode: int  # of the alarm that was, 0 when it is unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one snapshot shows."""

    memory: Memory
    states: Mapping[str, Counter[State]]  # by integration
    in_scope: int  # open alarms
    candidates: Sequence[Candidate]
    suspects: Sequence[Suspect]
    mistakes: Sequence[Candidate]  # closed by us and active again
    due: Sequence[tuple[str, TrackedAlarm]]  # for a refresh: integration and alarm


class Conclusion(NamedTuple):
    """What is done and what is held."""

    memory: Memory
    states: Mapping[str, Counter[State]]
    close: Sequence[Candidate]
    held: Sequence[Candidate]


def unlisted(facts_listed: Mapping[str, Listed], open_: Iterable[TrackedAlarm], own: frozenset[str]) -> Iterator[str]:
    """Alerts that are active under a receiver of an integration and not open there."""
    names = {alarm.fingerprint for alarm in open_}
    for fingerprint, item in facts_listed.items():
        if item.state is Firing.ACTIVE and fingerprint not in names and not own.isdisjoint(item.receivers):
            yield fingerprint


def receivers_of(alarms: Iterable[TrackedAlarm], origins: frozenset[str]) -> set[str]:
    """The receivers that sent the webhooks of these alarms, by name."""
    return {unquoted(quoted) for quoted in {alarm.receiver for alarm in alarms if alarm.origin in origins} if quoted}


def look(memory: Memory, facts: Facts, rules: Rules) -> Judgement:
    """Count one valid snapshot."""
    states: dict[str, Counter[State]] = {}
    absent: dict[Key, Absence] = {}
    candidates: list[Candidate] = []
    due: list[tuple[str, TrackedAlarm]] = []
    in_scope, lists = 0, {item.receivers for item in facts.listed.values()}
    for integration, alarms in facts.open.items():
        counted = states[integration] = Counter()
        own, quiet = facts.receivers.get(integration, frozenset()), integration in facts.quiet
        own_lists = {receivers for receivers in lists if not own.isdisjoint(receivers)}
        for alarm in alarms:
            if alarm.origin not in facts.origins:
                counted[State.FOREIGN] += alarm.origin not in facts.elsewhere
                continue
            in_scope += 1
            item = facts.listed.get(alarm.fingerprint)
            if item is not None and item.receivers in own_lists:
                firing = item.state is Firing.ACTIVE
                counted[State.IN_STEP if firing else State.SUPPRESSED] += 1
                if firing and not quiet and _refresh_due(alarm, facts.at, rules):
                    due.append((integration, alarm))
                continue
            if quiet:
                counted[State.ABSENT] += 1
                continue
            key = Key(integration, alarm.fingerprint)
            absence = absent[key] = _counted(memory.absent.get(key), alarm, item, facts)
            if _is_candidate(alarm, absence, facts, rules):
                candidates.append(Candidate(key, alarm, absence))
    unknown, suspects, mistakes = _lacking(memory, facts, rules)
    return Judgement(
        memory=Memory(polls=memory.polls + 1, absent=absent, unknown=unknown),
        states=states,
        in_scope=in_scope,
        candidates=sorted(candidates, key=lambda one: (one.absence.looked, one.absence.since, one.alarm.id)),
        suspects=suspects,
        mistakes=mistakes,
        due=sorted(due, key=lambda one: one[1].last_accepted_at)[:MOST_REFRESHED],
    )


def _counted(before: Absence | None, alarm: TrackedAlarm, item: Listed | None, facts: Facts) -> Absence:
    if before is None or before.episode != alarm.episode or alarm.last_seen >= before.since:
        before = Absence(alarm.episode, facts.at, facts.steady, polls=0)
    return before._replace(polls=before.polls + 1, listed_elsewhere=item is not None)


def _is_candidate(alarm: TrackedAlarm, absence: Absence, facts: Facts, rules: Rules) -> bool:
    latest = max(alarm.last_seen, facts.refused_at)
    return (
        absence.polls >= rules.absent_polls
        and (facts.steady - absence.steady) * SECOND >= rules.grace
        and facts.at - latest >= rules.grace
        and alarm.last_seen < facts.at
        and not alarm.pending
    )


def _refresh_due(alarm: TrackedAlarm, at: Micros, rules: Rules) -> bool:
    if not rules.refresh_interval or alarm.pending or not alarm.last_accepted_at:
        return False
    return abs(at - alarm.last_accepted_at) >= rules.refresh_interval


def _lacking(memory: Memory, facts: Facts, rules: Rules) -> tuple[dict[Key, int], list[Suspect], list[Candidate]]:
    """Alerts that fire and are not open here: for how many snapshots, those that count, and our own mistakes."""
    unknown: dict[Key, int] = {}
    suspects: list[Suspect] = []
    mistakes: list[Candidate] = []
    for integration, closed in facts.closed.items():
        own = facts.receivers.get(integration, frozenset())
        for fingerprint in unlisted(facts.listed, facts.open.get(integration, ()), own):
            key, alarm = Key(integration, fingerprint), closed.get(fingerprint)
            starts = micros(facts.listed[fingerprint].starts_at)
            if alarm is not None and starts <= alarm.ends:
                if alarm.reconciled and integration not in facts.quiet:
                    mistakes.append(Candidate(key, alarm, Absence(alarm.episode, facts.at, facts.steady)))
                continue
            polls = unknown[key] = memory.unknown.get(key, 0) + 1
            if polls >= rules.absent_polls and facts.at - starts >= rules.adopt_after:
                suspects.append(Suspect(key, alarm.episode if alarm else 0))
    return unknown, suspects, mistakes


def to_look_for(judged: Judgement, rules: Rules, approved: frozenset[Key]) -> list[Candidate]:
    """Whom to look for once more: those that waited longest for it, and all that an operator let through."""
    first = judged.candidates[: rules.max_close]
    return [*first, *(one for one in judged.candidates[rules.max_close :] if one.key in approved)]


def conclude(judged: Judgement, found: Mapping[Key, bool | None], rules: Rules, approved: frozenset[Key]) -> Conclusion:
    """`found`: for each that was looked for, whether a member lists it; None where one did not answer."""
    absent = dict(judged.memory.absent)
    waiting: list[Candidate] = []
    gone: list[Candidate] = []
    for one in judged.candidates:
        unrouted = one.absence.unrouted
        if one.key in found:
            answer = found[one.key]
            if answer is None:
                del absent[one.key]
                continue
            unrouted = answer
            absent[one.key] = one.absence._replace(looked=judged.memory.polls, unrouted=unrouted)
        if unrouted and not rules.close_unrouted:
            continue
        waiting.append(one)
        if one.key in found:
            gone.append(one)
    close, held = _bounded(judged.in_scope, waiting, gone, rules, approved)
    states = {name: Counter(counted) for name, counted in judged.states.items()}
    for key, absence in absent.items():
        states[key.integration][State.UNROUTED if absence.unrouted or absence.listed_elsewhere else State.ABSENT] += 1
    for key in judged.memory.absent.keys() - absent.keys():
        states[key.integration][State.ABSENT] += 1
    memory = Memory(polls=judged.memory.polls, absent=absent, unknown=judged.memory.unknown)
    return Conclusion(memory, states, close, held)


def _bounded(
    in_scope: int, waiting: Sequence[Candidate], gone: Sequence[Candidate], rules: Rules, approved: frozenset[Key]
) -> tuple[list[Candidate], list[Candidate]]:
    """What is closed, and what is held because so many disappeared at once."""
    if rules.mode not in (Mode.CLOSE, Mode.REPAIR):
        return [], []
    let_through = [one for one in gone if one.key in approved]
    rest = [one for one in waiting if one.key not in approved]
    if len(rest) > rules.max_close and len(rest) > SHARE * in_scope:
        return let_through, rest
    return let_through + [one for one in gone if one.key not in approved][: rules.max_close], []
