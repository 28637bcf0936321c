"""PURE: which reports a replay of dead letters enqueues, so that COC ends in the right state."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from adapter.alarm import Kind, Outcome

_REACHED_COC = frozenset({None, Outcome.DELIVERED, Outcome.UNNEEDED, Outcome.DISCARDED})


class Past(NamedTuple):
    """One report of an alarm, as far as a replay needs it."""

    seq: int
    kind: Kind
    coc_alarm_id: str
    outcome: Outcome | None


class Owed(NamedTuple):
    """A copy of the report `source` to enqueue; it counts for the dead letter `asked`."""

    asked: int
    source: int
    kind: Kind


def replayed(asked: Collection[int], trail: Sequence[Past]) -> list[Owed]:
    """The new reports of one alarm, in order, when the dead letters `asked` (seqs of its trail) are replayed.

    A report owed to the same COC alarm after a letter, and not itself refused, describes a newer state. It was sent
    before the replayed letter, or discarded because of it, so it must follow the letter once more.
    """
    letters = [past for past in trail if past.seq in asked]
    owed = [Owed(letter.seq, letter.seq, letter.kind) for letter in letters]
    for coc_alarm_id in dict.fromkeys(letter.coc_alarm_id for letter in letters):
        last = max(letter.seq for letter in letters if letter.coc_alarm_id == coc_alarm_id)
        newer = [
            past.seq
            for past in trail
            if past.coc_alarm_id == coc_alarm_id and past.seq > last and past.outcome in _REACHED_COC
        ]
        if newer:
            owed.append(Owed(last, max(newer), Kind.REASSERT))
    return owed


def kinds_by_letter(owed: Iterable[Owed]) -> dict[int, tuple[Kind, ...]]:
    """What `OperatorStore.replay` returns."""
    kinds: dict[int, tuple[Kind, ...]] = {}
    for report in owed:
        kinds[report.asked] = (*kinds.get(report.asked, ()), report.kind)
    return kinds
