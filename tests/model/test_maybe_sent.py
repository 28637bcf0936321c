"""COC accepted a report and the adapter does not know: COC ends with the current state, also after a mapping change."""

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
    world = await World(place).begin()
    yield world
    await world.end()


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
    """COC accepts the report of this webhook, and the process is killed before it is settled."""
    before = len(world.coc.accepted)
    world.coc.behaviour = lambda sent: "silent"
    await world.send(body)
    assert len(world.coc.accepted) == before + 1
    world.coc.behaviour = lambda sent: "accept"


async def rested(world: World) -> list[str]:
    """The states of the alarm at COC after everything is delivered."""
    assert await world.drained() < 100
    return world.states("a1")


async def test_the_ok_of_an_alarm_that_a_rule_drops_after_the_crash_is_sent(world: World) -> None:
    await killed_before_it_is_written(world, a1())
    world.renderer.drop.add("a1")
    await world.crash()
    assert await outcomes(world) == [Outcome.DROPPED]
    await world.send(a1(firing=False))
    assert await rested(world) == ["alarm", "ok"]


async def test_the_ok_of_an_alarm_that_coc_refuses_after_the_crash_is_sent(world: World) -> None:
    await killed_before_it_is_written(world, a1())
    world.coc.behaviour = lambda sent: "refuse"
    await world.crash()
    assert await outcomes(world) == [Outcome.DEAD]
    world.coc.behaviour = lambda sent: "accept"
    await world.send(a1(firing=False))
    assert await rested(world) == ["alarm", "ok"]


async def test_it_is_remembered_over_a_second_crash(world: World) -> None:
    await killed_before_it_is_written(world, a1())
    world.renderer.drop.add("a1")
    await world.crash()
    await world.crash()
    await world.send(a1(firing=False))
    assert await rested(world) == ["alarm", "ok"]


async def test_the_ok_of_an_alarm_dropped_before_it_was_ever_sent_is_dropped(world: World) -> None:
    world.renderer.drop.add("a1")
    await world.send(a1())
    await world.crash()
    await world.send(a1(firing=False))
    assert await rested(world) == []


def change_mapping(world: World, level: str) -> None:
    world.renderer.level = level
    world.renderer.revision += "+"


async def test_an_update_whose_answer_was_lost_is_sent_again_although_the_mapping_went_back(world: World) -> None:
    await world.send(a1())
    change_mapping(world, "Critical")
    world.coc.behaviour = lambda sent: "lost"
    await world.send(a1())
    assert world.coc.accepted[-1].body["alarmLevel"] == "Critical"
    world.coc.behaviour = lambda sent: "accept"
    change_mapping(world, "")
    await rested(world)
    assert world.coc.accepted[-1].body["alarmLevel"] == "Minor"


async def test_an_update_that_was_interrupted_is_sent_again_although_the_mapping_went_back(world: World) -> None:
    await world.send(a1())
    change_mapping(world, "Critical")
    await killed_before_it_is_written(world, a1())
    change_mapping(world, "")
    await world.crash()
    await rested(world)
    assert world.coc.accepted[-1].body["alarmLevel"] == "Minor"


async def test_the_update_after_one_that_was_interrupted_is_sent(world: World) -> None:
    await world.send(a1())
    await killed_before_it_is_written(world, a1(severity="critical"))
    await world.delivery.set_pause(Pause(reason="operator", since=NOON, by="kim"))
    await world.crash()
    await world.send(a1())
    await world.delivery.set_pause(None)
    await rested(world)
    assert (await outcomes(world))[1:] == [Outcome.SUPERSEDED, Outcome.DELIVERED]
    assert world.coc.accepted[-1].body["alarmLevel"] == "Minor"


async def test_an_update_is_unneeded_again_once_coc_has_accepted_one(world: World) -> None:
    world.coc.behaviour = lambda sent: "lost"
    await world.send(a1())
    world.coc.behaviour = lambda sent: "accept"
    await rested(world)
    change_mapping(world, "")
    await world.send(a1())
    assert (await outcomes(world))[1:] == [Outcome.UNNEEDED]
