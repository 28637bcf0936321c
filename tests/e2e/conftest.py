from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.browser import chromium
from tests.e2e.night import Night, night


@pytest.fixture
async def browser() -> AsyncIterator[Any]:
    async with chromium() as started:
        yield started


@pytest.fixture
async def on_call(tmp_path: Path) -> AsyncIterator[Night]:
    async with night(tmp_path) as running:
        yield running
