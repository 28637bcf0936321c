"""Alarms of an integration that left adapter.yml: discarded, or moved to another one. On every backend."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapter.alarm import Kind, Outcome, Status
from adapter.alertmanager import unpack
from adapter.clock import SECOND
from adapter.lifecycle import Policy
from adapter.store.contract import Retention, Store
from adapter.store.moving import Side, merged, orphans
from adapter.store.settlement import AlarmState
from adapter.store.views import AlarmQuery, Counts, Removed
from tests.builders import (
    DAY,
    LATER,
    NOON,
    accepted,
    an_alarm,
    an_alert,
    an_intake,
    delivered,
    firing,
    resolved,
    settled_as,
)
from tests.store.places import Place

END = NOON + 60 * SECOND
FIRST, LAST = NOON, NOON + 40 * SECOND


def side(status: Status, seen: int, *waiting: int, sent: int = 0, **changes: object) -> Side:
    """An alarm whose alert was last seen then; seqs of what waits."""
    ends = END if status is Status.RESOLVED else 0
    state = AlarmState(len(waiting), changes.pop("accepted", None), 1, None, 0, fell_back=False)  # type: ignore[arg-type]
    alarm = an_alarm(status=status, pending=len(waiting), **({"ends": ends} | changes))
    reports = tuple([(seq, Kind.ALARM) for seq in waiting])
    return Side(alarm, state, seen, max((sent, *waiting)), sent, reports)


def test_the_state_seen_last_stays_unless_it_is_a_resolve_from_before_the_other_start() -> None:
    firing_late, resolved_early = side(Status.FIRING, LAST, 3), side(Status.RESOLVED, FIRST, sent=2)
    assert merged(firing_late, resolved_early).alarm.status is Status.FIRING
    assert merged(resolved_early, firing_late).alarm.status is Status.FIRING
    resolved_late, firing_early = side(Status.RESOLVED, LAST, 3), side(Status.FIRING, FIRST, sent=2)
    assert merged(resolved_late, firing_early).alarm.status is Status.RESOLVED
    newer_episode = side(Status.FIRING, FIRST, sent=2, starts=END + SECOND)
    assert merged(resolved_late, newer_episode).alarm.status is Status.FIRING


def test_only_what_was_owed_before_something_that_was_sent_is_superseded() -> None:
    assert merged(side(Status.FIRING, LAST, 1, 2, 5, 6), side(Status.RESOLVED, FIRST, sent=4)).superseded == (1, 2)
    assert merged(side(Status.FIRING, FIRST, 1, 2), side(Status.FIRING, LAST, 3, 4)).superseded == ()


def test_what_coc_would_not_have_in_the_end_is_owed() -> None:
    """The other one ended and says so last; the moved one is firing by a repeat that owed nothing."""
    ended = side(Status.RESOLVED, FIRST, sent=4)
    assert merged(side(Status.FIRING, LAST, 1), ended).owed is Kind.ALARM
    assert merged(side(Status.FIRING, LAST, 5), ended).owed is None
    open_there = side(Status.FIRING, FIRST, sent=4, accepted=accepted())
    assert merged(side(Status.RESOLVED, LAST, sent=3), open_there).owed is Kind.OK
    assert (
        merged(side(Status.FIRING, LAST, sent=3, accepted=accepted(), content=b"other"), open_there).owed is Kind.UPDATE
    )
    assert merged(side(Status.FIRING, LAST, sent=3), ended).owed is None  # a dead letter, or dropped


def test_an_orphan_is_what_holds_something_and_stands_in_no_adapter_yml() -> None:
    nothing, something = Counts(pending=0, open_alarms=0, oldest=None), Counts(pending=0, open_alarms=1, oldest=None)
    counts = {"served": something, "gone": something, "empty": nothing}
    assert orphans(counts, {"served": None}) == {"gone": something}


async def move(store: Store, name: str = "old", to: str = "default") -> Removed:
    return await store.move_alarms(name, await store.held(name), to, END)


async def sent(store: Store) -> list[tuple[str, Kind, str]]:
    """Deliver all that is due, in order: fingerprint, kind and integration."""
    left = []
    while claims := (await store.claim("default", 100)).claims:
        left += [(one.report.fingerprint, one.report.kind, one.report.integration) for one in claims]
        await store.settle([delivered(claim) for claim in claims])
    return left


async def counted(store: Store, name: str) -> tuple[int, int, int, int]:
    count = (await store.counts()).get(name) or Counts(pending=0, open_alarms=0, oldest=None)
    return count.pending, count.open_alarms, count.dead, count.refreshing


async def test_moved_reports_are_sent_in_the_order_they_were_owed_before_those_that_came_later(place: Place) -> None:
    store = await place.open()
    await store.accept(firing("a1", "a2", integration="old"))
    await place.advance(store, 0.01)
    await store.accept(resolved("a1", integration="old"))
    await place.advance(store, 0.01)
    await store.accept(firing("n1"))
    assert await move(store) == Removed(2, 1, 3, 0, 1, 3)
    assert await counted(store, "old") == (0, 0, 0, 0)
    assert await counted(store, "default") == (4, 2, 0, 0)
    order = await sent(store)
    assert order[:3] == [(name, Kind.ALARM, "default") for name in ("a1", "a2", "n1")]
    assert order[3:] == [("a1", Kind.OK, "default")]
    assert await move(store) == Removed()


async def test_a_moved_alarm_is_known_to_its_new_integration(place: Place) -> None:
    store = await place.open()
    await store.accept(firing("a1", integration="old"))
    await store.settle([delivered((await store.claim("old", 1)).claims[0])])
    await move(store)
    assert (await store.accept(firing("a1"))).owed == ()
    assert (await store.accept(resolved("a1"))).owed == (("a1", Kind.OK),)
    claim = (await store.claim("default", 1)).claims[0]
    assert claim.accepted is not None
    assert len(await store.trail("default", "a1")) == 3


async def test_a_coc_that_never_heard_of_an_open_alarm_is_told_it(place: Place) -> None:
    store = await place.open()
    await store.accept(firing("open", "changed", "ending", "dead", "dropped", integration="old"))
    for claim in (await store.claim("old", 9)).claims:
        outcome = {"dead": Outcome.DEAD, "dropped": Outcome.DROPPED}.get(claim.report.fingerprint)
        await store.settle([settled_as(claim, outcome) if outcome else delivered(claim)])
    await store.accept(firing("changed", text="worse", integration="old"))
    await store.accept(resolved("ending", integration="old"))
    assert await move(store) == Removed(5, 4, 2, 1, 4, 3, 1)
    assert await counted(store, "default") == (3, 4, 1, 0)
    claims = {claim.report.fingerprint: claim for claim in (await store.claim("default", 9)).claims}
    assert {name: claim.report.kind for name, claim in claims.items()} == {
        "open": Kind.ALARM, "changed": Kind.ALARM, "ending": Kind.OK,
    }  # fmt: skip
    assert unpack(claims["open"].report.raw)[0]["labels"]["alertname"] == "open"
    assert unpack(claims["changed"].report.raw)[0]["annotations"] == {"summary": "worse"}


async def test_an_alarm_whose_reports_are_pruned_is_told_as_coc_had_it(place: Place) -> None:
    store = await place.open()
    await store.accept(firing("a1", integration="old"))
    (claim,) = (await store.claim("old", 1)).claims
    await store.settle([delivered(claim)])
    await store.maintain(NOON + 30 * DAY, Retention(delivered=DAY, dead=DAY, resolved=DAY))
    assert await store.trail("old", "a1") == []
    await move(store)
    (claim,) = (await store.claim("default", 1)).claims
    assert (claim.report.kind, claim.report.body) == (Kind.ALARM, claim.accepted and claim.accepted.body)
    assert unpack(claim.report.raw)[0]["status"] == "firing"


async def test_an_alarm_that_fired_anew_where_it_was_is_sent_where_it_goes(place: Place) -> None:
    store = await place.open()
    for intake in (firing("a1"), resolved("a1")):
        await store.accept(replace(intake, received=NOON + SECOND))
        await store.settle([delivered((await store.claim("default", 1)).claims[0])])
    await store.accept(replace(firing("a1", text="anew", integration="old"), received=NOON + 2 * SECOND))
    assert await move(store) == Removed(1, 1, 1, 0, 1, 1)
    assert await sent(store) == [("a1", Kind.ALARM, "default")]
    (row,) = await store.alarms(AlarmQuery())
    assert (row.alarm.status, row.alarm.episode, row.last_seen) == (Status.FIRING, 2, NOON + 2 * SECOND)
    assert (await store.accept(firing("a1", text="anew"))).owed == ()
    assert (await store.accept(resolved("a1"))).owed == (("a1", Kind.OK),)


async def test_a_joined_alarm_was_last_seen_when_either_was_written_or_not(place: Place) -> None:
    store = await place.open()
    await store.accept(firing("a1"))
    await store.accept(firing("a1", integration="old"))
    await store.accept(replace(firing("a1", integration="old"), received=NOON + 5 * SECOND))  # a repeat
    await move(store)
    (row,) = await store.alarms(AlarmQuery())
    assert row.last_seen == NOON + 5 * SECOND


async def test_an_ok_is_not_superseded_by_what_was_sent_before_it(place: Place) -> None:
    store = await place.open()
    await store.accept(firing("a1"))
    await store.settle([delivered((await store.claim("default", 1)).claims[0])])
    await store.accept(replace(resolved("a1", integration="old"), received=NOON + SECOND))
    assert await move(store) == Removed(1, 0, 1, 0, -1, 1)
    assert await sent(store) == [("a1", Kind.OK, "default")]


async def test_a_repeat_of_the_moved_alarm_reopens_what_the_other_one_closed(place: Place) -> None:
    store = await place.open()
    await store.accept(firing("a1", integration="old"))
    await store.accept(firing("a1"))
    await store.accept(resolved("a1"))
    for _ in range(2):
        await store.settle([delivered((await store.claim("default", 1)).claims[0])])
    await store.accept(replace(firing("a1", integration="old"), received=NOON + SECOND))
    assert await move(store) == Removed(1, 1, 1, 0, 1, 1, 1)
    assert await sent(store) == [("a1", Kind.ALARM, "default")]
    assert [row.outcome for row in await store.trail("default", "a1")] == [
        Outcome.DELIVERED, Outcome.DELIVERED, Outcome.DELIVERED, Outcome.SUPERSEDED,
    ]  # fmt: skip


async def test_both_episodes_that_are_open_are_closed_by_one_ok_where_each_has_an_id(place: Place) -> None:
    store = await place.open()
    policy = Policy(refresh_interval=0, id_per_episode=True)
    await store.accept(an_intake(an_alert("a1"), policy=policy))
    await store.settle([delivered((await store.claim("default", 1)).claims[0])])
    later = an_alert("a1", startsAt=LATER)
    await store.accept(an_intake(later, policy=policy, integration="old", received=NOON + SECOND))
    await move(store)
    await store.accept(an_intake(an_alert("a1", "resolved"), policy=policy))
    told = {row.report.coc_alarm_id for row in await store.trail("default", "a1")}
    assert len(told) == 1


async def test_an_alarm_that_left_meanwhile_is_neither_moved_nor_discarded(place: Place) -> None:
    store = await place.open()
    await store.accept(firing("a1", "a2", integration="old"))
    ids = await store.held("old")
    assert (await store.move_alarms("old", ids, "default", END)).alarms == 2
    assert await store.move_alarms("old", ids, "third", END) == Removed()
    assert await store.discard_alarms("old", ids, END) == Removed()
    assert await counted(store, "default") == (2, 2, 0, 0)


async def test_the_queues_of_two_alarms_become_one_in_the_order_they_were_owed(place: Place) -> None:
    store = await place.open()
    await store.accept(firing("a1", integration="old"))
    await store.accept(resolved("a1", integration="old"))
    await store.accept(firing("a1"))
    await store.accept(firing("a1", text="worse"))
    assert await move(store) == Removed(1, 0, 2, 0, 0, 2)
    assert [kind for _, kind, _ in await sent(store)] == [Kind.ALARM, Kind.OK, Kind.ALARM, Kind.UPDATE]
    trail = await store.trail("default", "a1")
    assert [row.report.episode for row in trail] == [2, 2, 1, 1]
    rows = await store.alarms(AlarmQuery())
    assert [(row.alarm.status, row.alarm.episode, row.alarm.pending) for row in rows] == [(Status.FIRING, 2, 0)]


async def test_reports_older_than_what_coc_was_sent_are_superseded(place: Place) -> None:
    store = await place.open()
    await store.accept(firing("a1", integration="old"))
    await store.accept(resolved("a1", integration="old"))
    await store.accept(firing("a1"))
    claim = (await store.claim("default", 1)).claims[0]
    assert await move(store) == Removed(1, 0, 2, 0, 0, 0)  # while it is being sent
    assert (await store.settle([delivered(claim)]))[0].counted
    assert await sent(store) == []
    assert await counted(store, "default") == (0, 1, 0, 0)
    assert [row.outcome for row in await store.trail("default", "a1")] == [
        Outcome.DELIVERED, Outcome.SUPERSEDED, Outcome.SUPERSEDED,
    ]  # fmt: skip


async def test_dead_letters_move_and_can_be_replayed(place: Place) -> None:
    store = await place.open()
    await store.accept(firing("a1", integration="old"))
    await store.settle([settled_as((await store.claim("old", 1)).claims[0], Outcome.DEAD)])
    assert await move(store) == Removed(1, 1, 0, 1, 1, 0)
    (letter,) = await store.dead_letters("default", 0, 9)
    await store.replay([letter.report.seq], as_sent=False)
    assert [name for name, _, _ in await sent(store)] == ["a1"]
    assert await counted(store, "default") == (0, 1, 0, 0)


async def test_discarding_ends_all_that_is_owed_and_open(place: Place) -> None:
    store = await place.open()
    await store.accept(firing("a1", "a2", "a3", integration="old"))
    claims = (await store.claim("old", 2)).claims
    await store.settle([delivered(claims[0]), settled_as(claims[1], Outcome.DEAD)])
    await store.accept(firing("a1"))
    removed = await store.discard_alarms("old", await store.held("old"), END)
    assert removed == Removed(3, 3, 1, 1)
    assert await counted(store, "old") == (0, 0, 0, 0)
    assert await counted(store, "default") == (1, 1, 0, 0)
    rows = await store.alarms(AlarmQuery(integration="old"))
    assert {(row.alarm.status, row.alarm.ends, row.alarm.pending) for row in rows} == {(Status.RESOLVED, END, 0)}
    assert [row.outcome for row in await store.trail("old", "a3")] == [Outcome.DISCARDED]
    assert await store.dead_letters(None, 0, 9) == []
    assert await store.discard_alarms("old", await store.held("old"), END) == Removed()


async def test_what_was_moved_or_discarded_stays_so_over_a_restart(durable: Place) -> None:
    store = await durable.open()
    await store.accept(firing("a1", "a2", integration="old"))
    await store.accept(firing("b1", integration="older"))
    await move(store)
    await store.discard_alarms("older", await store.held("older"), END)
    store = await durable.restart(store)
    assert await counted(store, "default") == (2, 2, 0, 0)
    assert sorted(await sent(store)) == [(name, Kind.ALARM, "default") for name in ("a1", "a2")]


@pytest.mark.parametrize("count", [1100])
async def test_many_alarms_move_in_steps(place: Place, count: int) -> None:
    store = await place.open(backlog=10_000)
    await store.accept(an_intake(*(an_alert(f"a{n}") for n in range(count)), integration="old"))
    ids = await store.held("old")
    for first in range(0, count, 500):
        await store.move_alarms("old", ids[first : first + 500], "default", END)
    assert await counted(store, "default") == (count, count, 0, 0)
