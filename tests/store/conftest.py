from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from adapter.store.contract import Store
from tests.postgres import PostgresServer, postgres_server
from tests.store.places import MemoryPlace, Place, PostgresPlace, SqlitePlace

DURABLE = ("sqlite", "postgresql")
PLACES = ("memory", *DURABLE)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for all tests of this process; each takes a new database of it."""
    with postgres_server("-c fsync=off") as server:  # the machine does not crash here, only the server
        yield server


@pytest.fixture(params=PLACES)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    new = _make(request, tmp_path)
    yield new
    await new.leave()


@pytest.fixture
async def store(place: Place) -> Store:
    return await place.open()


@pytest.fixture(params=DURABLE)
async def durable(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """A place that keeps what was committed after the process is gone."""
    new = _make(request, tmp_path)
    yield new
    await new.leave()


def _make(request: pytest.FixtureRequest, folder: Path) -> Place:
    if request.param == "memory":
        return MemoryPlace()
    if request.param == "sqlite":
        return SqlitePlace(folder)
    return PostgresPlace(request.getfixturevalue("postgres"))
