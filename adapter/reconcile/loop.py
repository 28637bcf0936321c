"""Polls one cluster again and again, and carries out what the judge concludes, by intakes as webhooks make them.

Of several replicas one polls. What it counts is in memory alone: a start, and a take-over, counts anew.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from adapter.alarm import Status
from adapter.clock import Micros
from adapter.errors import StoreUnavailable
from adapter.logs import RepeatFilter, event
from adapter.reconcile.actions import Actions, Missing, row_of
from adapter.reconcile.cluster import Cluster, Mode, Rules, spelled
from adapter.reconcile.contract import NotHeld, Parts
from adapter.reconcile.intakes import Intakes
from adapter.reconcile.judge import (
    Candidate,
    Facts,
    Judgement,
    Key,
    Memory,
    State,
    conclude,
    look,
    receivers_of,
    to_look_for,
    unlisted,
)
from adapter.reconcile.member import NoAnswer
from adapter.reconcile.poll import Poll, Poller
from adapter.reconcile.snapshot import Listed, Member, Result, Silence
from adapter.reconcile.snapshot import State as Firing
from adapter.reconcile.view import AlarmRef, Standing, View, member_row
from adapter.store.contract import SharedStore
from adapter.store.views import AlarmRow, TrackedAlarm

PAGE: Final = 1000
REST_SECONDS: Final = 0.002  # between pages
AT_ONCE: Final = 32  # questions and commits
LONGEST_INTERVAL: Final = 900.0
APPROVED_SECONDS: Final = 3600.0
MOST_SHOWN: Final = 1000  # held or missing ones

_T = TypeVar("_T")
_logger: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class _Seen:
    """What is read of the store for one poll."""

    open: dict[str, list[TrackedAlarm]]
    receivers: dict[str, frozenset[str]]
    origins: frozenset[str]  # in scope, as they are written
    elsewhere: frozenset[str]


class Loop:
    """Of one cluster."""

    def __init__(self, cluster: Cluster, parts: Parts, *, elsewhere: frozenset[str]) -> None:
        """`elsewhere`: origins of other clusters."""
        self.cluster = cluster
        self.view = View(name=cluster.name, mode=cluster.rules.mode)
        self.states: Mapping[str, Counter[State]] = {}
        self._parts, self._elsewhere = parts, elsewhere
        self._memory, self._standing = Memory(), Standing()
        self._learned: dict[str, set[str]] = {name: set() for name in cluster.integrations}
        self._held: dict[Key, str] = {}  # and the alert's name
        self._resumed: set[str] = set()  # integrations, since the last poll
        self._approved: frozenset[Key] = frozenset()
        self._approved_until = 0.0
        self._interval = cluster.interval
        self._repeats = RepeatFilter(parts.clock)

    async def run(self) -> None:
        clock = self._parts.clock
        async with Poller(self.cluster, clock) as poller:
            while True:
                started = clock.monotonic()
                leads = await self._turn(poller)
                wait = self._interval if leads else self._interval / 4
                await clock.sleep(max(0.0, started + wait - clock.monotonic()))

    async def _turn(self, poller: Poller) -> bool:
        """One poll, unless another replica does it. Whether this one does."""
        try:
            if not await self._leads():
                self._forget()
                return False
            await self.once(poller)
        except StoreUnavailable as exc:
            self._memory = Memory()
            self._repeats.warn(_logger, "store unavailable", key=self.cluster.name, error=exc)
        except Exception as exc:
            self._memory = Memory()
            self._repeats.bug(_logger, "a poll failed (a bug in the adapter)", exc)
        return True

    async def _leads(self) -> bool:
        store = self._parts.store
        if not isinstance(store, SharedStore):
            return True
        holder = await store.lead(f"reconcile {self.cluster.name}", 1.5 * self._interval)
        self.view.replica = "" if holder == store.replica else holder
        return holder == store.replica

    def _forget(self) -> None:
        """Another replica polls, and tells."""
        if self.view.valid_at or self.view.members:
            self.view = View(name=self.view.name, mode=self.view.mode, replica=self.view.replica)
            self._memory, self._standing, self.states, self._held = Memory(), Standing(), {}, {}
            self._parts.observer.reconcile_shown(self.cluster.name, 0, 0)
            self._parts.states_changed()

    async def once(self, poller: Poller) -> None:
        """One poll, and what follows from it."""
        started = self._parts.clock.now()
        seen = await self._read()
        receivers = sorted(set().union(*seen.receivers.values()))
        rules = self.cluster.rules if receivers else replace(self.cluster.rules, mode=Mode.OBSERVE, refresh_interval=0)
        poll = await poller.poll(receivers)
        self._parts.observer.reconcile_polled(self.cluster.name, poll.result)
        self.view.members = [member_row(report) for report in poll.reports]
        if poll.result is not Result.VALID:
            self._memory = Memory()
            why = next(report for report in poll.reports if report.result is poll.result)
            fields = {"alertmanager": self.cluster.name, "result": poll.result, "member": why.address}
            self._repeats.warn(_logger, "no evidence", key=(self.cluster.name, poll.result), **fields, error=why.error)
            return
        self._interval = max(self.cluster.interval, min(10 * poll.seconds, LONGEST_INTERVAL))
        self.view.valid_at = poll.at
        if await self._parts.not_ready() is not None:  # a webhook that says so may be refused now
            self._memory = Memory()
        else:
            await self._judge(poller, poll, seen, rules, started)
        self._parts.observer.reconcile_shown(self.cluster.name, poll.at, len(self._held))
        self._parts.states_changed()

    async def _judge(self, poller: Poller, poll: Poll, seen: _Seen, rules: Rules, started: Micros) -> None:
        """`started`: before the alarms were read; an alarm that a webhook names from then on is left alone."""
        facts = await self._facts(poll, seen)
        judged = await asyncio.to_thread(look, self._memory, facts, rules)
        approved = self._still_approved()
        found = await self._second_look(poller, to_look_for(judged, rules, approved))
        conclusion = conclude(judged, found, rules, approved)
        self._memory, self.states = conclusion.memory, conclusion.states
        parts, adopted = self._parts, set[Key]()
        intakes = Intakes(at=started, now=parts.clock.now(), revision=parts.revision(), policy=parts.policy)
        actions = Actions(self.cluster, parts, poller, intakes)
        missing = await self._missing(poller, judged, seen)
        if rules.mode in (Mode.CLOSE, Mode.REPAIR):
            members = [report.address for report in poll.reports]
            await each(conclusion.close, lambda one: actions.close(one, members))
            await each(judged.mistakes, actions.reopen)
            due = [(name, alarm) for name, alarm in judged.due if parts.reporting(name)]
            await each(due, lambda one: actions.refresh(*one))
        if rules.mode is Mode.REPAIR and all(report.status and report.status.shows_mutes() for report in poll.reports):
            adopted = await actions.adopt(missing)
        await self._show(poller, poll, conclusion.held, [one for one in missing if one.suspect.key not in adopted])

    # what is read

    async def _read(self) -> _Seen:
        """Open alarms, and what they tell of origins and receivers."""
        store, names = self._parts.store, self.cluster.integrations
        open_ = {name: await self._tracked(name, Status.FIRING) for name in names}
        written = {alarm.origin for alarms in open_.values() for alarm in alarms}
        own = self.cluster.origins
        seen = _Seen(
            open=open_,
            receivers={},
            origins=frozenset(origin for origin in written if spelled(origin) in own),
            elsewhere=frozenset(origin for origin in written if spelled(origin) in self._elsewhere),
        )
        self.view.origins = sorted(written - {""})
        for name in names:
            self._learned[name] |= receivers_of(open_[name], seen.origins)
            if not self._learned[name]:
                closed = [
                    one for one in await store.tracked(name, Status.RESOLVED, 0, PAGE) if spelled(one.origin) in own
                ]
                self._learned[name] |= receivers_of(closed, frozenset(one.origin for one in closed))
            seen.receivers[name] = self._receivers(name)
        return seen

    def _receivers(self, integration: str) -> frozenset[str]:
        """That belong to an integration."""
        configured = frozenset(self.cluster.receivers)
        if configured and len(self.cluster.integrations) == 1:
            return configured
        return frozenset(self._learned[integration] & configured if configured else self._learned[integration])

    async def _tracked(self, integration: str, status: Status) -> list[TrackedAlarm]:
        rows: list[TrackedAlarm] = []
        while True:
            page = await self._parts.store.tracked(integration, status, rows[-1].id if rows else 0, PAGE)
            rows += page
            if len(page) < PAGE:
                return rows
            await self._parts.clock.sleep(REST_SECONDS)

    async def _facts(self, poll: Poll, seen: _Seen) -> Facts:
        store = self._parts.store
        closed: dict[str, dict[str, TrackedAlarm]] = {}
        for name in self.cluster.integrations:
            closed[name] = {}
            lacking = list(unlisted(poll.listed, seen.open[name], seen.receivers[name]))
            for first in range(0, len(lacking), PAGE):
                closed[name] |= await store.known(name, lacking[first : first + PAGE])
        pauses = await store.pauses()
        quiet = {name for name, pause in pauses.items() if not pause.automatic} | self._resumed
        self._resumed = set()
        return Facts(
            at=poll.at,
            steady=poll.steady,
            listed=poll.listed,
            open=seen.open,
            closed=closed,
            receivers=seen.receivers,
            origins=seen.origins,
            elsewhere=seen.elsewhere,
            quiet=frozenset(quiet),
            refused_at=self._parts.trouble.refused_at,
        )

    # the second look

    async def _second_look(self, poller: Poller, candidates: Sequence[Candidate]) -> dict[Key, bool | None]:
        found: dict[Key, bool | None] = {}

        async def look_for(one: Candidate) -> None:
            row = await row_of(self._parts.store, one.key)
            if row is None:
                return
            try:
                found[one.key] = await poller.find(row.labels, one.key.fingerprint) is not None
            except NoAnswer:
                found[one.key] = None

        await each(candidates, look_for)
        return found

    async def _missing(self, poller: Poller, judged: Judgement, seen: _Seen) -> list[Missing]:
        """What fires and is not open here, with the member and group it was found in; without what is muted."""
        if not judged.suspects:
            return []
        wanted = frozenset(one.key.fingerprint for one in judged.suspects)
        try:
            groups = await poller.groups(sorted(set().union(*seen.receivers.values())), wanted)
        except NoAnswer:
            return [Missing(one, None) for one in judged.suspects]
        missing: list[Missing] = []
        by_name: dict[str, list[tuple[str, Member]]] = {}
        for address, member in groups:
            by_name.setdefault(member.alert.fingerprint, []).append((address, member))
        for one in judged.suspects:
            own = seen.receivers[one.key.integration]
            sent = [
                (address, member)
                for address, member in by_name.get(one.key.fingerprint, ())
                if member.receiver in own and member.active and not member.muted
            ]
            if sent:
                missing.append(Missing(one, sent[0]))
        return missing

    # what is shown

    async def _show(self, poller: Poller, poll: Poll, held: Sequence[Candidate], missing: Sequence[Missing]) -> None:
        self._held = {one.key: self._held.get(one.key) or await self._name(one.key) for one in held[:MOST_SHOWN]} | {
            one.key: "" for one in held[MOST_SHOWN:]
        }
        for suspect, _ in missing:
            self.states[suspect.key.integration][State.MISSING] += 1
        total: Counter[State] = Counter(dict.fromkeys(State, 0))
        for counted in self.states.values():
            total.update(counted)
        self.view.states = {state.value: total[state] for state in State}
        self.view.held = [AlarmRef(*key, name) for key, name in self._held.items()]
        self.view.missing = [
            AlarmRef(
                *suspect.key,
                found[1].alert.labels.get("alertname", "") if found else "",
                self._parts.trouble.why_missing(suspect.key.integration),
            )
            for suspect, found in missing[:MOST_SHOWN]
        ]
        self._standing = Standing(
            name=self.cluster.name,
            at=poll.at,
            listed=poll.listed,
            memory=self._memory,
            silences=await self._silences(poller, poll.listed),
        )
        self._approved &= self._memory.absent.keys()

    async def _name(self, key: Key) -> str:
        row = await row_of(self._parts.store, key)
        return row.labels.get("alertname", "") if row else ""

    async def _silences(self, poller: Poller, listed: Mapping[str, Listed]) -> Mapping[str, Silence]:
        wanted = {id_ for item in listed.values() if item.state is Firing.SUPPRESSED for id_ in item.silenced_by}
        return await poller.silences(frozenset(wanted)) if wanted else {}

    def sentences(self, row: AlarmRow) -> list[str]:
        """About one open alarm, for `explain`."""
        key = Key(row.integration, row.alarm.fingerprint)
        if row.integration not in self.cluster.integrations or spelled(row.alarm.origin) not in self.cluster.origins:
            return []
        return list(self._standing.sentences(key, self.cluster.rules, held=key in self._held))

    # the operator

    def approve(self) -> int:
        """Let the held list through at the next valid poll; how many these are. NotHeld."""
        if not self._held:
            other = f"; {self.view.replica} polls this Alertmanager, ask that replica" if self.view.replica else ""
            raise NotHeld(f"nothing is held of {self.cluster.name}{other}")
        self._approved = frozenset(self._held)
        self._approved_until = self._parts.clock.monotonic() + APPROVED_SECONDS
        event(_logger, logging.INFO, "approved", alertmanager=self.cluster.name, alarms=len(self._approved))
        return len(self._approved)

    def resumed(self, integration: str) -> None:
        """An operator lifted a pause: what is not listed is counted anew."""
        self._resumed.add(integration)

    def _still_approved(self) -> frozenset[Key]:
        if self._parts.clock.monotonic() >= self._approved_until:
            self._approved = frozenset()
        return self._approved


async def each(items: Iterable[_T], work: Callable[[_T], Awaitable[None]]) -> None:
    """A few at a time."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(item: _T) -> None:
        async with turns:
            await work(item)

    await asyncio.gather(*(one(item) for item in items))
