"""The directory of one integration: taken over from the store, fetched when due, replaced by what is certain alone."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from adapter.application import Directory, Lookup, Node
from adapter.applications import LONGEST_WAIT, Applications
from adapter.clock import SECOND
from adapter.coc.verdict import Action, Reason, Verdict
from adapter.errors import StoreUnavailable
from adapter.mapping.render.live import LiveMappings
from adapter.metrics import Metrics
from adapter.store.memory import MemoryStore
from tests.builders import NOON
from tests.fakes import FakeClock
from tests.mapping.builders import a_request, one_rule, opened, write
from tests.stage import values

HOUR = 3600.0
OLD, NEW = [Node("a", "Shop", "", "application")], [Node("b", "Shop", "", "application")]
REFUSED = Verdict(action=Action.PAUSE, reason=Reason.CREDENTIALS, status=403, message="no right", hint="ask for it")
DOWN = Verdict(action=Action.RETRY, reason=Reason.REFUSED_CONNECTION, message="cannot connect")


class Lister:
    """Lists what it is told to, and counts the fetches."""

    def __init__(self) -> None:
        self.answer: Sequence[Node] | Verdict = OLD
        self.asked = 0

    async def fetch(self) -> Sequence[Node] | Verdict:
        self.asked += 1
        return self.answer


class Rig:
    def __init__(self, mappings: LiveMappings, store: MemoryStore, clock: FakeClock) -> None:
        self.mappings, self.store, self.clock, self.lister = mappings, store, clock, Lister()
        self.metrics = Metrics(["default"], clock=clock)
        self.of = self.another(self.lister)

    def another(self, lister: Lister, **changes: Any) -> Applications:
        options: dict[str, Any] = {"interval": HOUR, "shared": False, "jitter": lambda: 1.0} | changes
        return Applications(
            "default", lister, store=self.store, mappings=self.mappings, metrics=self.metrics, clock=self.clock,
            **options,
        )  # fmt: skip

    async def after(self, seconds: float) -> int:
        """Let time pass, tick, and say how often COC was asked in all."""
        self.clock.pass_time(seconds)
        await self.of.tick()
        return self.lister.asked

    async def id_of(self, name: str) -> str:
        (result,) = await self.mappings.render([a_request({"app": name})])
        return str((result.body or {})["applicationId"])

    def fetches(self, result: str) -> float:
        scrape = generate_latest(self.metrics.registry).decode()
        return values(scrape, "coc_adapter_applications_fetches_total", result=result)

    def known(self) -> float:
        return values(generate_latest(self.metrics.registry).decode(), "coc_adapter_applications_known")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    write(tmp_path, a=one_rule(applicationId="{{ labels.app | application }}"))
    clock = FakeClock()
    async with opened(tmp_path) as mappings:
        yield Rig(mappings, MemoryStore(backlog=10, clock=clock), clock)


async def test_it_is_fetched_at_once_kept_and_fetched_again_after_the_interval(rig: Rig) -> None:
    await rig.of.load()
    assert await rig.after(0) == 1
    assert await rig.id_of("shop") == "a"
    assert await rig.store.directory("default") == Directory(OLD).pack()
    assert await rig.after(HOUR - 1) == 1
    rig.lister.answer = NEW
    assert await rig.after(1) == 2
    assert await rig.id_of("shop") == "b"
    assert (rig.fetches("accepted"), rig.known()) == (2, 1)


async def test_a_start_without_coc_has_what_the_store_has(rig: Rig) -> None:
    await rig.store.keep_directory("default", NOON - 5 * SECOND, Directory(OLD).pack())
    rig.lister.answer = DOWN
    await rig.of.load()
    assert await rig.id_of("Shop") == "a"
    assert rig.known() == 1
    assert await rig.after(HOUR - 6) == 0  # it was fetched five seconds before the start
    assert await rig.after(1) == 1
    assert await rig.id_of("Shop") == "a"


@pytest.mark.parametrize("fetched", [NOON + 1000 * SECOND, NOON - 2 * 3600 * SECOND])
async def test_what_the_store_has_from_long_ago_or_from_the_future_is_fetched_at_once(rig: Rig, fetched: int) -> None:
    await rig.store.keep_directory("default", fetched, Directory(OLD).pack())
    await rig.of.load()
    assert await rig.after(0) == 1


@pytest.mark.parametrize("packed", [b"", b"null", b"{}", b"[1]", b"[[]]", b'[["a"]]', b"\xff", b"[[1, 2, 3, 4, 5, 6]]"])
async def test_what_the_store_has_and_cannot_be_read_is_fetched_anew(rig: Rig, packed: bytes) -> None:
    await rig.store.keep_directory("default", NOON, packed)
    await rig.of.load()
    assert await rig.after(0) == 1
    assert await rig.id_of("Shop") == "a"
    replica = rig.another(Lister(), shared=True)
    await rig.store.keep_directory("default", NOON + 3600 * SECOND, packed)
    await replica.tick()
    assert replica.directory is not None


@pytest.mark.parametrize("answer", [REFUSED, DOWN])
async def test_a_failure_leaves_the_directory_and_is_logged_once(
    rig: Rig, answer: Verdict, caplog: pytest.LogCaptureFixture
) -> None:
    await rig.after(0)
    rig.lister.answer = answer
    for _ in range(30):
        await rig.after(HOUR)
    assert await rig.id_of("Shop") == "a"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == [
        "applications cannot be fetched; reports go on"
    ]
    assert rig.of.problem == answer.words
    assert rig.fetches(answer.reason) == 30
    rig.lister.answer = OLD
    await rig.after(HOUR)
    assert rig.of.problem == ""


async def test_it_backs_off_from_coc_and_not_for_longer_than_ten_minutes(rig: Rig) -> None:
    rig.lister.answer = DOWN
    waits, before = [], rig.clock.monotonic()
    await rig.after(0)
    while len(waits) < 10:
        if await rig.after(1) == len(waits) + 2:
            waits.append(rig.clock.monotonic() - before)
            before = rig.clock.monotonic()
    assert waits == [10, 20, 40, 80, 160, 320, *[LONGEST_WAIT] * 4]


async def test_it_waits_as_long_as_coc_asks(rig: Rig) -> None:
    rig.lister.answer = Verdict(action=Action.RETRY, reason=Reason.THROTTLED, status=429, retry_after=300.0)
    await rig.after(0)
    assert await rig.after(299) == 1
    assert await rig.after(1) == 2


async def test_an_unknown_name_is_looked_for_at_once_and_at_most_once_a_minute(rig: Rig) -> None:
    await rig.after(0)
    rig.of.looked_up([Lookup.NAME, Lookup.ID, Lookup.AMBIGUOUS])
    assert await rig.after(1) == 1
    for seconds, asked in ((1, 2), (1, 2), (57, 2), (1, 2), (1, 3)):
        rig.of.looked_up([Lookup.NAME, Lookup.UNKNOWN])
        assert await rig.after(seconds) == asked
    assert await rig.after(600) == 3


async def test_an_unknown_name_does_not_break_the_back_off(rig: Rig) -> None:
    rig.lister.answer = DOWN
    await rig.after(0)
    rig.of.looked_up([Lookup.UNKNOWN])
    assert await rig.after(9) == 1
    assert await rig.after(1) == 2


async def test_an_empty_list_is_believed_when_it_comes_twice_an_interval_apart(rig: Rig) -> None:
    await rig.after(0)
    rig.lister.answer = []
    assert await rig.after(HOUR) == 2
    rig.of.looked_up([Lookup.UNKNOWN])
    assert await rig.after(100) == 3  # too soon to say it again
    assert await rig.id_of("Shop") == "a"
    assert (rig.known(), rig.fetches("empty")) == (1, 2)
    assert "no application any more" in rig.of.problem
    await rig.after(HOUR)
    assert await rig.id_of("Shop") == "unmapped"
    assert (rig.known(), rig.of.problem) == (0, "")


async def test_a_list_between_two_empty_ones_ends_the_doubt(rig: Rig) -> None:
    await rig.after(0)
    for answer in ([], OLD, []):
        rig.lister.answer = answer
        await rig.after(HOUR)
    assert await rig.id_of("Shop") == "a"


async def test_a_first_list_that_is_empty_is_believed(rig: Rig) -> None:
    rig.lister.answer = []
    await rig.after(0)
    assert rig.of.directory is not None
    assert (rig.known(), rig.of.problem) == (0, "")


async def test_a_store_that_cannot_commit_keeps_nobody_from_a_new_name(rig: Rig) -> None:
    await rig.store.close()
    await rig.after(0)
    assert await rig.id_of("Shop") == "a"
    with pytest.raises(StoreUnavailable):
        await rig.store.directory("default")


async def test_replicas_take_over_what_one_of_them_has_fetched(rig: Rig) -> None:
    other = Lister()
    first, second = rig.another(rig.lister, shared=True), rig.another(other, shared=True)
    await first.tick()
    await second.tick()
    assert (rig.lister.asked, other.asked) == (1, 0)
    rig.lister.answer = NEW
    rig.clock.pass_time(HOUR)
    await first.tick()
    await second.tick()
    assert (rig.lister.asked, other.asked) == (2, 0)
    assert second.directory is not None
    assert second.directory.nodes == tuple(NEW)
    rig.clock.pass_time(HOUR)
    await second.tick()
    assert other.asked == 1


async def test_an_interval_of_a_tenth_of_a_second_is_kept(rig: Rig) -> None:
    rig.of = rig.another(rig.lister, interval=0.1)
    assert rig.of.tick_seconds == 0.1
    for asked in range(1, 5):
        assert await rig.after(0.1) == asked
