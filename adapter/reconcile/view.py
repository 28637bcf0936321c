"""What reconciling shows of itself: rows for the admin API, and sentences about one alarm for `explain`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from adapter.clock import Micros, moment
from adapter.reconcile.cluster import Mode, Rules
from adapter.reconcile.judge import Key, Memory, State
from adapter.reconcile.member import Report
from adapter.reconcile.snapshot import Listed, Silence
from adapter.reconcile.snapshot import State as Firing


class MemberRow(NamedTuple):
    """One member as of the last poll."""

    address: str
    result: str
    cluster_status: str | None
    up_since: Micros
    alerts: int
    seconds: float
    error: str


class AlarmRef(NamedTuple):
    """An alarm that is held, or an alert that is missing."""

    integration: str
    fingerprint: str
    alertname: str
    because: str = ""  # the likely reason why it is missing


@dataclass(slots=True, kw_only=True)
class View:
    """Of one cluster."""

    name: str
    mode: Mode
    replica: str = ""  # that polls it, when it is another one
    valid_at: Micros = 0
    members: Sequence[MemberRow] = ()
    origins: Sequence[str] = ()
    states: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(State, 0))
    held: Sequence[AlarmRef] = ()
    missing: Sequence[AlarmRef] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the last valid snapshot shows of single alarms."""

    name: str = ""
    at: Micros = 0
    listed: Mapping[str, Listed] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    silences: Mapping[str, Silence] = field(default_factory=dict)

    def sentences(self, key: Key, rules: Rules, *, held: bool) -> Iterator[str]:
        """About an open alarm in scope."""
        if not self.at:
            return
        item, absence = self.listed.get(key.fingerprint), self.memory.absent.get(key)
        if absence is not None:
            yield self._absent(absence.polls, absence.since, absence.unrouted or absence.listed_elsewhere, rules, held)
        elif item is not None and item.state is Firing.SUPPRESSED:
            yield self._suppressed(item)
        elif item is not None:
            yield f"Alertmanager {self.name} lists it as active, as of {_when(self.at)}."

    def _absent(self, polls: int, since: Micros, unrouted: bool, rules: Rules, held: bool) -> str:
        if unrouted:
            return (
                f"It fires in Alertmanager {self.name}, but is no longer routed here since {_when(since)}: it is kept "
                "open (reconcile: close_unrouted)."
            )
        missed = f"Not in Alertmanager {self.name} since {_when(since)}, {polls} polls"
        if held:
            return f"{missed}; held, as many disappeared at once: `coc-adapter reconcile approve {self.name}`."
        if rules.mode in (Mode.CLOSE, Mode.REPAIR):
            return f"{missed}; it is closed after {rules.absent_polls} polls over {rules.grace // 1_000_000} s."
        return f"{missed}; nothing closes it (reconcile: mode {rules.mode})."

    def _suppressed(self, item: Listed) -> str:
        why = []
        for id_ in item.silenced_by:
            silence = self.silences.get(id_)
            detail = f" {silence.comment!r} of {silence.author} until {silence.ends_at}" if silence else ""
            why.append(f"silence {id_}{detail}")
        why += [f"inhibited by {id_}" for id_ in item.inhibited_by]
        return f"It still fires in Alertmanager {self.name}, which does not send it: {', '.join(why) or 'suppressed'}."


def member_row(report: Report) -> MemberRow:
    status = report.status
    return MemberRow(
        address=report.address,
        result=report.result,
        cluster_status=status.cluster if status else None,
        up_since=status.since if status else 0,
        alerts=len(report.listed),
        seconds=round(report.seconds, 3),
        error=report.error,
    )


def _when(time: Micros) -> str:
    return moment(time).strftime("%Y-%m-%d %H:%M:%S UTC")
