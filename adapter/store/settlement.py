"""PURE: what settling one claim changes (promises 6 and 7). Every store decides it here and writes what comes out.

Inside its transaction a store loads the report by `claim.report.seq` and its alarm, locked where another process may
write too. Where either is gone, it was pruned long ago and the settlement counts for nothing. Else it calls `apply`,
settlement by settlement in the order given, each on what the one before left, and writes

- of the report: `ReportState`, `attempts_to_json(attempt_log, settlement.attempts)`, and the settlement's provenance
  where it has one;
- of the alarm: `AlarmState`; and, when `counted`, the next report of its queue is due `settlement.delay` from now and
  the lease is over. When not, due time and lease stay as they are.
- `reassert`: when the whole batch is applied and the alarm still has nothing pending, a report of kind `reassert` with
  the accepted body, after the alarm's last delivered report. That is one more pending report.

`lease_held`: no other worker has claimed the alarm since this claim. It is always so in a store that one process owns.

Why: who settles without its lease was too late, another worker has the report. Its outcome must not count. What COC
answered it may be older than what the other worker sent, so the episode may hold a wrong state at COC.
"""

from __future__ import annotations

from typing import NamedTuple

from adapter.alarm import Accepted, Outcome
from adapter.clock import Micros
from adapter.store.contract import Settlement


class AlarmState(NamedTuple):
    """Columns of an alarm that a settlement reads and writes."""

    pending: int
    accepted: Accepted | None  # accepted_body, accepted_status, accepted_at
    earlier_episode: int  # of the last settled report
    earlier_outcome: Outcome | None
    maybe_sent_episode: int  # the last one of which COC may have taken a report since it last accepted one
    fell_back: bool  # a field of what was rendered last


class ReportState(NamedTuple):
    """Columns of a report that a settlement reads and writes."""

    outcome: Outcome | None
    done: Micros
    attempts: int
    refused: bool


class Applied(NamedTuple):
    alarm: AlarmState
    report: ReportState
    counted: bool
    reassert: bool

    @property
    def left(self) -> bool:
        """Whether the report left the pending ones by this settlement."""
        return self.counted and self.report.outcome is not None


def apply(alarm: AlarmState, report: ReportState, settlement: Settlement, *, lease_held: bool) -> Applied:
    """What is to be written for one settlement."""
    accepted, made = settlement.accepted, settlement.provenance
    counted = lease_held and report.outcome is None
    left = counted and settlement.outcome is not None
    sent = bool(settlement.attempts) or accepted is not None
    after = AlarmState(
        pending=alarm.pending - left,
        accepted=accepted if accepted is not None and (lease_held or alarm.accepted is None) else alarm.accepted,
        earlier_episode=settlement.claim.report.episode if left else alarm.earlier_episode,
        earlier_outcome=settlement.outcome if left else alarm.earlier_outcome,
        maybe_sent_episode=_maybe_sent_episode(alarm, settlement, counted=counted, late=sent and not lease_held),
        fell_back=bool(made.fallbacks) if made and lease_held else alarm.fell_back,
    )
    written = ReportState(
        outcome=settlement.outcome if left else report.outcome,
        done=settlement.at if left else report.done,
        attempts=report.attempts + len(settlement.attempts),
        refused=report.refused or settlement.refused,
    )
    reassert = sent and not lease_held and after.pending == 0 and after.accepted is not None
    return Applied(after, written, counted, reassert)


def _maybe_sent_episode(alarm: AlarmState, settlement: Settlement, *, counted: bool, late: bool) -> int:
    """`late`: something was sent without the lease."""
    episode = settlement.claim.report.episode
    if late:
        return max(alarm.maybe_sent_episode, episode)
    if settlement.accepted is not None:
        return 0 if alarm.maybe_sent_episode == episode else alarm.maybe_sent_episode
    # A claim may know it by its seq alone (a crash of SQLite), which leaves with the report.
    carried = counted and settlement.outcome is not None and settlement.claim.maybe_sent
    if carried or any(attempt.ambiguous for attempt in settlement.attempts):
        return episode
    return alarm.maybe_sent_episode
