"""Who has the draft process: one at a time, a few waiting, the latest of a client."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.mapping.draft.turns import Busy, Superseded, Turns


class Visitors:
    """Each takes a turn and keeps it until it is let go."""

    def __init__(self, most: int = 4) -> None:
        self.turns = Turns(most)
        self.doors: dict[str, asyncio.Event] = {}
        self.inside: list[str] = []
        self.ends: dict[str, str] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, client: str = "", seq: int = 0) -> None:
        self.doors[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._visit(name, client, seq))
        await settle()

    async def _visit(self, name: str, client: str, seq: int) -> None:
        try:
            async with self.turns.turn(client, seq) as turn:
                self.inside.append(name)
                try:
                    await self.doors[name].wait()
                    turn.check()
                finally:
                    self.inside.remove(name)
            self.ends[name] = "done"
        except (Busy, Superseded) as exc:
            self.ends[name] = type(exc).__name__

    async def let_go(self, name: str) -> None:
        self.doors[name].set()
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_turns_are_taken_one_after_another_in_order() -> None:
    visitors = Visitors()
    for name in "abc":
        await visitors.come(name)
    assert visitors.inside == ["a"]
    await visitors.let_go("a")
    assert visitors.inside == ["b"]
    await visitors.let_go("b")
    await visitors.let_go("c")
    assert visitors.ends == dict.fromkeys("abc", "done")


async def test_four_wait_and_the_next_is_told_that_it_is_busy() -> None:
    visitors = Visitors()
    for name in "abcdef":
        await visitors.come(name)
    assert visitors.ends == {"f": "Busy"}


async def test_a_later_draft_of_the_client_takes_the_place_of_an_older_one() -> None:
    visitors = Visitors()
    await visitors.come("running", "c", 1)
    await visitors.come("waiting", "c", 2)
    await visitors.come("other", "d", 1)
    await visitors.come("latest", "c", 3)
    assert visitors.ends == {"waiting": "Superseded"}
    await visitors.come("too late", "c", 2)
    assert visitors.ends["too late"] == "Superseded"
    await visitors.let_go("running")
    assert visitors.ends["running"] == "Superseded"
    for name in ("other", "latest"):
        await visitors.let_go(name)
        assert visitors.ends[name] == "done"


async def test_a_draft_superseded_just_as_its_turn_begins_leaves_the_turn_to_the_next() -> None:
    """Its turn had begun, it had not run yet, and nobody ended that turn."""
    visitors = Visitors()
    await visitors.come("first", "c", 1)
    await visitors.come("second", "c", 2)
    visitors.doors["first"].set()
    await visitors.come("third", "c", 3)
    await visitors.let_go("second")
    await visitors.let_go("third")
    assert visitors.ends == {"first": "Superseded", "second": "Superseded", "third": "done"}


async def test_one_that_goes_away_while_it_waits_holds_up_nobody() -> None:
    visitors = Visitors()
    for name in "abc":
        await visitors.come(name)
    visitors.tasks["b"].cancel()
    visitors.doors["a"].set()
    await settle()
    assert visitors.inside == ["c"]


@given(st.lists(st.tuples(st.sampled_from("cd"), st.integers(1, 3), st.booleans(), st.booleans()), max_size=12))
def test_after_any_visits_the_next_one_has_its_turn(visits: Sequence[tuple[str, int, bool, bool]]) -> None:
    async def run() -> None:
        visitors = Visitors(2)
        for number, (client, seq, cancelled, yields) in enumerate(visits):
            name = str(number)
            visitors.doors[name] = asyncio.Event()
            visitors.tasks[name] = asyncio.create_task(visitors._visit(name, client, seq))
            if yields:
                await asyncio.sleep(0)
            if cancelled:
                visitors.tasks[str(number // 2)].cancel()
            visitors.doors[str(number // 2)].set()
        for door in visitors.doors.values():
            door.set()
        await settle()
        await settle()
        await visitors.come("last")
        assert visitors.inside == ["last"]

    asyncio.run(run())


def test_what_clients_sent_is_forgotten_when_nobody_tries_anything() -> None:
    async def run() -> None:
        turns = Turns(4)
        async with turns.turn("c", 5):
            pass
        with pytest.raises(Superseded):
            async with turns.turn("c", 4):
                pass
        turns.forget()
        async with turns.turn("c", 1):
            pass

    asyncio.run(run())
