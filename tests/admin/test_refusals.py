"""Dead letters by the words in which COC refused them."""

from __future__ import annotations

from adapter.admin.refusals import LISTED, Groups
from adapter.store.views import Refusal


def refusal(seq: int, alarm: int = 1, message: str = "no such application", at: int = 0) -> Refusal:
    return Refusal(seq, "default", alarm, at or seq, 400, "COC.30001", message)


def test_the_largest_group_stands_first_with_its_alarms_and_its_beginning() -> None:
    groups = Groups()
    groups.add([refusal(1, message="busy"), refusal(2, alarm=7), refusal(3, alarm=7, at=1), refusal(4, alarm=8)])
    groups.add([refusal(5, message="busy", at=9)])
    large, small = groups.largest_first()
    assert (large.message, large.reports, large.alarms, large.since) == ("no such application", 3, 2, 1)
    assert large.ids == [2, 3, 4]
    assert (small.message, small.reports, small.alarms, small.since) == ("busy", 2, 1, 1)


def test_a_group_lists_its_first_ids_and_counts_all() -> None:
    groups = Groups()
    groups.add(refusal(seq) for seq in range(1, LISTED + 3))
    (group,) = groups.largest_first()
    assert (group.reports, len(group.ids), group.ids[-1]) == (LISTED + 2, LISTED, LISTED)
