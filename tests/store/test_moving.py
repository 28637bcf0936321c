"""Alarms of an integration that left adapter.yml: discarded, or moved to another one. On every backend."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.alarm import Kind, Outcome, Priority, Status
from adapter.clock import SECOND
from adapter.store.contract import Store
from adapter.store.moving import Side, merged, orphans
from adapter.store.settlement import AlarmState
from adapter.store.views import AlarmQuery, Counts, Removed
from tests.builders import NOON, accepted, an_alarm, an_alert, an_intake, delivered, firing, resolved, settled_as
from tests.store.places import Place

END = NOON + 60 * SECOND
states = st.builds(
    AlarmState, st.just(0), st.none() | st.just(accepted()), st.integers(0, 3), st.none() | st.just(Outcome.DELIVERED),
    st.integers(0, 3),
)  # fmt: skip


@st.composite
def sides(draw: st.DrawFn) -> Side:
    pending, state = draw(st.integers(0, 3)), draw(states)
    alarm = an_alarm(
        status=draw(st.sampled_from(Status)), episode=draw(st.integers(1, 3)), pending=pending,
        priority=draw(st.sampled_from(Priority)), last_accepted_at=state.accepted.at if state.accepted else 0,
    )  # fmt: skip
    return Side(alarm, state._replace(pending=pending), draw(st.booleans()))


@given(sides(), sides())
def test_of_two_alarms_the_newer_state_stays_and_no_report_is_forgotten(moved: Side, other: Side) -> None:
    result = merged(moved, other)
    alarm = result.alarm
    assert (alarm.status, alarm.content, alarm.starts) == (other.alarm.status, other.alarm.content, other.alarm.starts)
    assert alarm.pending == other.alarm.pending + (0 if result.superseded else moved.alarm.pending)
    assert alarm.episode == other.alarm.episode + result.first_episode
    assert result.superseded is other.sent
    assert alarm.last_accepted_at == (result.state.accepted.at if result.state.accepted else 0)
    if not other.sent:
        assert alarm.episode > moved.alarm.episode
        assert alarm.refreshing is (
            alarm.pending > 0 and all(side.alarm.refreshing for side in (moved, other) if side.alarm.pending)
        )


def test_an_orphan_is_what_holds_something_and_stands_in_no_adapter_yml() -> None:
    nothing, something = Counts(pending=0, open_alarms=0, oldest=None), Counts(pending=0, open_alarms=1, oldest=None)
    counts = {"served": something, "gone": something, "empty": nothing}
    assert orphans(counts, {"served": None}) == {"gone": something}


async def move(store: Store, name: str = "old", to: str = "default") -> Removed:
    return await store.move_alarms(await store.held(name), to, END)


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
    assert len(await store.trail("default", "a1")) == 2


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
    removed = await store.discard_alarms(await store.held("old"), END)
    assert removed == Removed(3, 3, 1, 1)
    assert await counted(store, "old") == (0, 0, 0, 0)
    assert await counted(store, "default") == (1, 1, 0, 0)
    rows = await store.alarms(AlarmQuery(integration="old"))
    assert {(row.alarm.status, row.alarm.ends, row.alarm.pending) for row in rows} == {(Status.RESOLVED, END, 0)}
    assert [row.outcome for row in await store.trail("old", "a3")] == [Outcome.DISCARDED]
    assert await store.dead_letters(None, 0, 9) == []
    assert await store.discard_alarms(await store.held("old"), END) == Removed()


async def test_what_was_moved_or_discarded_stays_so_over_a_restart(durable: Place) -> None:
    store = await durable.open()
    await store.accept(firing("a1", "a2", integration="old"))
    await store.accept(firing("b1", integration="older"))
    await move(store)
    await store.discard_alarms(await store.held("older"), END)
    store = await durable.restart(store)
    assert await counted(store, "default") == (2, 2, 0, 0)
    assert sorted(await sent(store)) == [(name, Kind.ALARM, "default") for name in ("a1", "a2")]


@pytest.mark.parametrize("count", [1100])
async def test_many_alarms_move_in_steps(place: Place, count: int) -> None:
    store = await place.open(backlog=10_000)
    await store.accept(an_intake(*(an_alert(f"a{n}") for n in range(count)), integration="old"))
    ids = await store.held("old")
    for first in range(0, count, 500):
        await store.move_alarms(ids[first : first + 500], "default", END)
    assert await counted(store, "default") == (count, count, 0, 0)
