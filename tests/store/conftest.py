from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from adapter.store.base import Store
from tests.store.places import MemoryPlace, Place, SqlitePlace

DURABLE: dict[str, Callable[[Path], Place]] = {"sqlite": SqlitePlace}
PLACES: dict[str, Callable[[Path], Place]] = {"memory": lambda folder: MemoryPlace(), **DURABLE}


@pytest.fixture(params=PLACES)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    made = PLACES[request.param](tmp_path)
    yield made
    await made.leave()


@pytest.fixture
async def store(place: Place) -> Store:
    return await place.open()


@pytest.fixture(params=DURABLE)
async def durable(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """A place that keeps what was committed after the process is gone."""
    made = DURABLE[request.param](tmp_path)
    yield made
    await made.leave()
