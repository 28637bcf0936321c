"""COC took a report and the adapter does not know: COC ends with the current state, whatever the mapping is by then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from adapter.alarm import Outcome, Pause
from tests.builders import NOON
from tests.faults.chaos import at
from tests.model.world import World, body_of
from tests.store.places import MemoryPlace, SqlitePlace

PLACES = ("memory", "sqlite")


@pytest.fixture(params=PLACES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    place = MemoryPlace() if request.param == "memory" else SqlitePlace(tmp_path)
    made = await World(place).begin()
    yield made
    await made.end()


def a1(*, firing: bool = True, severity: str = "warning") -> bytes:
    alert: dict[str, Any] = {
        "fingerprint": "a1",
        "status": "firing" if firing else "resolved",
        "labels": {"alertname": "a1", "severity": severity},
        "annotations": {},
        "startsAt": at(1),
        "endsAt": "0001-01-01T00:00:00Z" if firing else at(2),
    }
    return body_of([alert])


async def outcomes(world: World) -> list[Outcome | None]:
    return [row.outcome for row in await world.store.store.trail("default", "a1")][::-1]


async def killed_before_it_is_written(world: World, body: bytes) -> None:
    """COC takes what this webhook owes, and the process is killed before that is settled."""
    before = len(world.coc.taken)
    world.coc.mood = lambda sent: "silent"
    await world.say(body)
    assert len(world.coc.taken) == before + 1
    world.coc.mood = lambda sent: "accept"


async def rested(world: World) -> list[str]:
    """What COC heard of the alarm, once all that was owed has left."""
    assert await world.drained() < 100
    return world.states("a1")


async def test_the_ok_of_an_alarm_that_a_rule_drops_after_the_crash_is_sent(world: World) -> None:
    await killed_before_it_is_written(world, a1())
    world.renderer.drop.add("a1")
    await world.crash()
    assert await outcomes(world) == [Outcome.DROPPED]
    await world.say(a1(firing=False))
    assert await rested(world) == ["alarm", "ok"]


async def test_the_ok_of_an_alarm_that_coc_refuses_after_the_crash_is_sent(world: World) -> None:
    await killed_before_it_is_written(world, a1())
    world.coc.mood = lambda sent: "refuse"
    await world.crash()
    assert await outcomes(world) == [Outcome.DEAD]
    world.coc.mood = lambda sent: "accept"
    await world.say(a1(firing=False))
    assert await rested(world) == ["alarm", "ok"]


async def test_it_is_remembered_over_a_second_crash(world: World) -> None:
    await killed_before_it_is_written(world, a1())
    world.renderer.drop.add("a1")
    await world.crash()
    await world.crash()
    await world.say(a1(firing=False))
    assert await rested(world) == ["alarm", "ok"]


async def test_the_ok_of_an_alarm_dropped_before_it_was_ever_sent_is_dropped(world: World) -> None:
    world.renderer.drop.add("a1")
    await world.say(a1())
    await world.crash()
    await world.say(a1(firing=False))
    assert await rested(world) == []


def change_mapping(world: World, level: str) -> None:
    world.renderer.level = level
    world.renderer.revision += "+"


async def test_an_update_whose_answer_was_lost_is_sent_again_although_the_mapping_went_back(world: World) -> None:
    await world.say(a1())
    change_mapping(world, "Critical")
    world.coc.mood = lambda sent: "lost"
    await world.say(a1())
    assert world.coc.taken[-1].body["alarmLevel"] == "Critical"
    world.coc.mood = lambda sent: "accept"
    change_mapping(world, "")
    await rested(world)
    assert world.coc.taken[-1].body["alarmLevel"] == "Minor"


async def test_an_update_that_was_cut_off_is_sent_again_although_the_mapping_went_back(world: World) -> None:
    await world.say(a1())
    change_mapping(world, "Critical")
    await killed_before_it_is_written(world, a1())
    change_mapping(world, "")
    await world.crash()
    await rested(world)
    assert world.coc.taken[-1].body["alarmLevel"] == "Minor"


async def test_what_replaces_an_update_that_was_cut_off_is_sent(world: World) -> None:
    await world.say(a1())
    await killed_before_it_is_written(world, a1(severity="critical"))
    await world.delivery.set_pause(Pause(reason="operator", since=NOON, by="kim"))
    await world.crash()
    await world.say(a1())
    await world.delivery.set_pause(None)
    await rested(world)
    assert (await outcomes(world))[1:] == [Outcome.SUPERSEDED, Outcome.DELIVERED]
    assert world.coc.taken[-1].body["alarmLevel"] == "Minor"


async def test_an_update_is_unneeded_again_once_coc_has_accepted_one(world: World) -> None:
    world.coc.mood = lambda sent: "lost"
    await world.say(a1())
    world.coc.mood = lambda sent: "accept"
    await rested(world)
    change_mapping(world, "")
    await world.say(a1())
    assert (await outcomes(world))[1:] == [Outcome.UNNEEDED]
