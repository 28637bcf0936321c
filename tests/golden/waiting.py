"""Waits for a state of a running adapter over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from tests.stage import PATIENCE, Adapter, fetch, values

T = TypeVar("T")


async def asked_until(ask: Callable[[], Awaitable[T]], good: Callable[[T], Any], what: str) -> T:
    """Repeat a request until its answer is accepted, and return that."""
    end = time.monotonic() + PATIENCE
    while not good(answer := await ask()):
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}; last: {answer}"
        await asyncio.sleep(0.02)
    return answer


async def settled(service: Adapter, *names: str) -> None:
    """Wait until no report of these integrations, or of any, is pending."""

    def nothing(rows: list[dict[str, Any]]) -> bool:
        return not any(row["pending"] for row in rows if not names or row["id"] in names)

    await asked_until(lambda: integrations(service), nothing, "nothing pending")


async def integrations(service: Adapter) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(await fetch(f"{service.admin_url}/api/v1/integrations"))
    return rows


async def counted(service: Adapter, metric: str, count: float, **labels: str) -> str:
    """Wait until a metric is `count`; return that scrape."""
    return await asked_until(
        lambda: fetch(f"{service.url}/metrics"),
        lambda scrape: values(scrape, metric, **labels) == count,
        f"{metric} {labels} is {count}",
    )
