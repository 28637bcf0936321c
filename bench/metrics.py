"""Reads the adapter's metrics: the sum of every family's samples, by name."""

from __future__ import annotations

from collections import Counter

from bench.load import Client, get


def sums(exposition: str) -> dict[str, float]:
    """Add the samples of the text format up over their labels."""
    totals: Counter[str] = Counter()
    for line in exposition.splitlines():
        if line and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            totals[series.split("{", 1)[0]] += float(value)  # type: ignore[assignment]
    return dict(totals)


async def scrape(port: int) -> dict[str, float]:
    client = await Client.connect(port)
    try:
        status, body = await client.send(get("/metrics"))
    finally:
        client.close()
    if status != 200:
        raise RuntimeError(f"/metrics was answered {status}")
    return sums(body.decode())
