"""Who may have how many reports pending: the arithmetic, and each store's intake by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.alarm import Kind, News
from adapter.clock import SECOND
from adapter.errors import BacklogFull, SpaceLow
from adapter.store.backlog import Backlog, Waiting
from adapter.store.contract import Store
from adapter.store.sqlite.database import Options
from adapter.store.sqlite.disk import RESERVE
from adapter.store.sqlite.store import SqliteStore
from tests.builders import NOON, delivered, firing, resolved, retried
from tests.fakes import FakeClock
from tests.store.places import Place, PostgresPlace

HOUR = 3600 * SECOND
ACCEPTED = NOON + SECOND
LATER = ACCEPTED + HOUR
"""When a refresh of what COC accepted at ACCEPTED is due."""

waiting = st.builds(Waiting, st.integers(0, 30))


@given(st.integers(1, 40), st.dictionaries(st.sampled_from("abcd"), waiting), st.integers(1, 4))
def test_each_integration_has_its_reserve_and_all_together_have_the_bound(
    bound: int, waits: dict[str, Waiting], count: int
) -> None:
    names = "abcd"[:count]
    backlog = Backlog(bound, frozenset(names))
    assert backlog.reserved * count <= bound
    for name in names:
        own = waits.get(name, Waiting()).news
        share = backlog.share(name, waits)
        assert backlog.reserved <= share <= bound
        others = sum(waits.get(other, Waiting()).news for other in names if other != name)
        assert share + others <= bound or share == backlog.reserved
        assert backlog.taken(name, waits) + (share - own) == bound or share == 0


def test_an_integration_alone_has_the_whole_bound_and_those_that_left_count_for_nothing() -> None:
    assert Backlog(10, frozenset("a")).share("a", {"a": Waiting(3), "gone": Waiting(1000)}) == 10
    assert Backlog(10, frozenset("ab")).share("a", {"gone": Waiting(1000)}) == 7
    assert Backlog(10).share("a", {"b": Waiting(4)}) == 6  # no names given: one pot


async def full(store: Store, integration: str) -> int:
    """Fill it; how many it took."""
    for number in range(1000):
        try:
            await store.accept(firing(f"a{number}", integration=integration))
        except BacklogFull:
            return number
    raise AssertionError("it is never full")


async def test_8_a_dead_neighbour_leaves_each_integration_its_reserve(place: Place) -> None:
    store = await place.open(backlog=30, integrations=("one", "two", "three"))
    assert await full(store, "one") == 20
    assert await full(store, "two") == 5
    assert await full(store, "three") == 5
    assert sum(count.pending for count in (await store.counts()).values()) == 30


async def test_8_what_an_integration_left_behind_takes_no_place(place: Place) -> None:
    store = await place.open(backlog=10, integrations=("one",))
    await store.accept(firing(*(f"a{n}" for n in range(9)), integration="gone"))
    assert await full(store, "one") == 10


async def refreshing(store: Store, *names: str) -> None:
    """COC has these alarms, and a refresh of each is pending."""
    await store.accept(firing(*names))
    claims = (await store.claim("default", 100)).claims
    await store.settle([delivered(claim, at=ACCEPTED) for claim in claims])
    receipt = await store.accept(firing(*names, received=LATER, refresh=HOUR))
    assert [kind for _, kind in receipt.owed] == [Kind.REFRESH] * len(names)


async def claimed(store: Store, limit: int = 100) -> list[tuple[str, Kind]]:
    claims = (await store.claim("default", limit)).claims
    return [(claim.report.fingerprint, claim.report.kind) for claim in claims]


async def test_8_refreshes_take_no_place_of_news(place: Place) -> None:
    store = await place.open(backlog=3)
    await refreshing(store, "a1", "a2", "a3")
    assert (await store.accept(firing("b1", "b2", "b3", received=LATER))).pending == 6
    with pytest.raises(BacklogFull):
        await store.accept(firing("b4", received=LATER))
    assert (await store.counts())["default"].refreshing == 3


async def test_8_a_refresh_that_would_not_fit_is_not_owed_and_refuses_nothing(place: Place) -> None:
    store = await place.open(backlog=3)
    await store.accept(firing("a1", "a2"))
    await store.settle([delivered(claim, at=ACCEPTED) for claim in (await store.claim("default", 9)).claims])
    await store.accept(firing("b1", "b2", received=LATER))
    for intake in (firing("a1", "a2", received=LATER, refresh=HOUR), firing("a1", "a2", revision="r2", received=LATER)):
        receipt = await store.accept(intake)
        assert (receipt.owed, receipt.news[News.REPEAT]) == ((), 2)
    await store.settle([delivered(claim, at=LATER) for claim in (await store.claim("default", 9)).claims])
    receipt = await store.accept(firing("a1", "a2", revision="r2", received=LATER))
    assert [kind for _, kind in receipt.owed] == [Kind.UPDATE] * 2


async def test_8_the_ok_of_an_alarm_whose_refresh_waits_has_the_tenth_of_every_ok(place: Place) -> None:
    store = await place.open(backlog=2)
    await refreshing(store, "a1")
    await store.accept(firing("b1", "b2", received=LATER))
    assert [kind for _, kind in (await store.accept(resolved("a1", received=LATER))).owed] == [Kind.OK]


async def test_4_news_is_claimed_before_refreshes_and_keeps_its_order_of_arrival(place: Place) -> None:
    store = await place.open()
    await refreshing(store, "a1", "a2", "a3")
    await place.advance(store, 0.01)
    await store.accept(firing("n1", received=LATER))
    await place.advance(store, 0.01)
    await store.accept(resolved("a2", received=LATER))  # behind its own refresh, which becomes news with it
    await place.advance(store, 0.01)
    await store.accept(firing("n2", received=LATER))
    assert await claimed(store, 3) == [("n1", Kind.ALARM), ("a2", Kind.REFRESH), ("n2", Kind.ALARM)]
    assert await claimed(store) == [("a1", Kind.REFRESH), ("a3", Kind.REFRESH)]


async def test_4_an_update_by_new_mappings_alone_waits_behind_news(place: Place) -> None:
    store = await place.open()
    await store.accept(firing("a1", "a2"))
    await store.settle([delivered(claim, at=ACCEPTED) for claim in (await store.claim("default", 9)).claims])
    await store.accept(firing("a1", "a2", revision="r2"))
    await place.advance(store, 0.01)
    await store.accept(firing("n1", revision="r2"))
    await place.advance(store, 0.01)
    await store.accept(firing("a2", text="worse", revision="r2"))
    assert await claimed(store) == [("n1", Kind.ALARM), ("a2", Kind.UPDATE), ("a1", Kind.UPDATE)]


async def test_4_the_order_survives_a_restart_and_delays(place: Place) -> None:
    store = await place.open()
    await refreshing(store, "a1", "a2")
    claim = (await store.claim("default", 1)).claims[0]
    await store.accept(firing("n1", "n2", received=LATER))
    news = (await store.claim("default", 1)).claims[0]
    await store.settle([retried(claim, 60.0), retried(news, 30.0)])
    claims = await store.claim("default", 9)
    assert [claim.report.fingerprint for claim in claims.claims] == ["n2", "a2"]
    assert claims.next_due == pytest.approx(30.0, abs=1.0)
    store = await place.restart(store)
    if not isinstance(place, PostgresPlace):  # which waits for the delays
        assert [name for name, _ in await claimed(store)] == ["n2", "n1", "a2", "a1"]


async def test_10_refreshing_alarms_are_counted_in_every_step(place: Place) -> None:
    store = await place.open()

    async def count() -> int:
        return (await store.counts())["default"].refreshing

    await refreshing(store, "a1", "a2", "a3")
    assert await count() == 3
    await store.settle([delivered((await store.claim("default", 1)).claims[0], at=LATER)])
    assert await count() == 2
    await store.accept(firing("a2", text="worse", received=LATER))
    assert await count() == 1
    await store.settle([delivered(claim, at=LATER) for claim in (await store.claim("default", 9)).claims])
    await store.settle([delivered(claim, at=LATER) for claim in (await store.claim("default", 9)).claims])
    assert await count() == 0


async def test_8_where_space_is_kept_for_resolves_no_refresh_is_owed_and_none_refused(tmp_path: Path) -> None:
    free = [2 * RESERVE]
    options = Options(free=lambda folder: free[0])
    store = await SqliteStore.open(tmp_path / "adapter.db", backlog=9, clock=FakeClock(), options=options)
    await store.accept(firing("a1"))
    await store.settle([delivered(claim, at=ACCEPTED) for claim in (await store.claim("default", 9)).claims])
    free[0] = RESERVE - 1
    for changes in ({"refresh": HOUR}, {"revision": "r2"}):
        receipt = await store.accept(firing("a1", received=LATER, **changes))
        assert (receipt.owed, receipt.news[News.REPEAT]) == ((), 1)
    with pytest.raises(SpaceLow):
        await store.accept(firing("b1", received=LATER))
    free[0] = 2 * RESERVE
    assert len((await store.accept(firing("a1", received=LATER, refresh=HOUR))).owed) == 1
    await store.close()
