"""Alarms by when they last changed, and tallies of them: every backend finds what the memory store finds."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product

import pytest

from adapter.alarm import Outcome, Status
from adapter.clock import SECOND
from adapter.matchers import parse_matchers
from adapter.store.contract import Claim, Settlement, Store
from adapter.store.memory import MemoryStore
from adapter.store.recent import TALLIES
from adapter.store.views import AlarmQuery, Bounds, Coc
from tests.builders import NOON, a_provenance, delivered, firing, resolved, settled_as
from tests.fakes import FakeClock
from tests.store.places import Place

INTEGRATIONS = ("default", "dba")
NAMES = tuple(f"a{number}" for number in range(12))
TIGHT = Bounds(few=3, walked=5, searched=4, counted=6)
FLAGS = (None, True, False)


async def names(store: Store, query: AlarmQuery, bounds: Bounds) -> list[tuple[str, str]]:
    """All pages."""
    found, before = [], query.before
    for _ in range(200):
        page = await store.recent_alarms(replace(query, before=before), bounds)
        assert len(page.rows) <= query.limit
        found += [(row.integration, row.alarm.fingerprint) for row in page.rows]
        before = page.following
        if before is None:
            return found
    raise AssertionError("the pages do not end")


def queries() -> list[AlarmQuery]:
    some = [
        AlarmQuery(integration=name, status=status, coc=coc, limit=3)
        for name, status, coc in product((None, "dba"), (None, *Status), (None, *Coc))
    ]
    some += [AlarmQuery(mismatch=a, pending=b, fell_back=c, limit=2) for a, b, c in product(FLAGS, repeat=3)]
    some += [AlarmQuery(text="A1"), AlarmQuery(matchers=parse_matchers(["alertname=~.+"]), mismatch=True, limit=1)]
    return [*some, AlarmQuery(unseen_since=NOON + 20 * SECOND, limit=2), *TALLIES.values()]


def settlement(rng: random.Random, claim: Claim) -> Settlement:
    outcome = rng.choice((Outcome.DELIVERED, Outcome.DELIVERED, *Outcome))
    settled = delivered(claim) if outcome is Outcome.DELIVERED else settled_as(claim, outcome)
    return replace(settled, provenance=replace(a_provenance(), fallbacks=rng.choice(((), (("URL", "empty"),)))))


async def live(store: Store, seed: int) -> None:
    rng = random.Random(seed)
    for step in range(40):
        name, at = rng.choice(INTEGRATIONS), NOON + step * SECOND
        some = rng.sample(NAMES, rng.randint(1, 4))
        made = firing(*some, text=rng.choice("xy")) if rng.random() < 0.6 else resolved(*some)
        await store.accept(replace(made, integration=name, received=at))
        claims = sorted((await store.claim(name, 10)).claims, key=lambda claim: claim.report.seq)
        await store.settle([settlement(rng, claim) for claim in claims if rng.random() < 0.7])


@pytest.mark.parametrize("seed", range(4))
async def test_every_page_of_every_query_is_as_in_memory(durable: Place, seed: int) -> None:
    store, model = await durable.open(), MemoryStore(backlog=1000, clock=FakeClock())
    await live(store, seed)
    await live(model, seed)
    for query in queries():
        expected = await names(model, query, TIGHT)
        for bounds in (TIGHT, Bounds()):
            assert await names(store, query, bounds) == expected, query
        by_id = [(row.integration, row.alarm.fingerprint) for row in await store.alarms(replace(query, limit=100))]
        assert sorted(by_id) == sorted(expected), query
    for name in (None, *INTEGRATIONS):
        assert await store.tallies(name) == await model.tallies(name)


async def test_what_changed_last_stands_first_and_a_repeat_or_refresh_changes_nothing(store: Store) -> None:
    await store.accept(firing("a1", received=NOON))
    await store.accept(firing("a2", received=NOON + SECOND))
    await store.accept(firing("a1", received=NOON + 2 * SECOND))
    assert [name for _, name in await names(store, AlarmQuery(), Bounds())] == ["a2", "a1"]
    await store.accept(resolved("a1", received=NOON + 3 * SECOND))
    assert [name for _, name in await names(store, AlarmQuery(), Bounds())] == ["a1", "a2"]
    ((row, *_), _) = await store.recent_alarms(AlarmQuery())
    assert row.alarm.changed == NOON + 3 * SECOND


async def test_coc_is_what_it_accepted_in_this_episode(store: Store) -> None:
    async def shown() -> tuple[Coc, bool]:
        ((row,), _) = await store.recent_alarms(AlarmQuery())
        return row.coc, row.mismatch

    async def settle(outcome: Outcome | None = None) -> None:
        (claim,) = (await store.claim("default", 1)).claims
        await store.settle([settled_as(claim, outcome) if outcome else delivered(claim)])

    await store.accept(firing("a1"))
    assert await shown() == (Coc.NONE, True)
    await settle()
    assert await shown() == (Coc.ALARM, False)
    await store.accept(resolved("a1"))
    assert await shown() == (Coc.ALARM, True)
    await settle(Outcome.DEAD)
    assert await shown() == (Coc.ALARM, True)
    await store.accept(firing("a1"))
    assert await shown() == (Coc.NONE, True)
    await settle(Outcome.DROPPED)
    assert await shown() == (Coc.NONE, False)


async def test_a_tally_that_ends_early_says_so(durable: Place) -> None:
    store = await durable.open()
    await store.accept(firing(*NAMES[:5]))
    assert {name: (one.count, one.at_least) for name, one in (await store.tallies(None, TIGHT)).items()} == {
        "all": (5, False), "firing": (5, False), "resolved": (0, False), "coc_none": (5, False),
        "not_at_coc": (5, False), "open_at_coc": (0, False), "pending": (5, False), "fell_back": (0, False),
    }  # fmt: skip
    await store.accept(firing(*NAMES[5:8]))
    tallies = await store.tallies(None, TIGHT)
    assert (tallies["pending"].count, tallies["pending"].at_least) == (6, True)
    assert (tallies["all"].count, tallies["all"].at_least) == (6, True)
