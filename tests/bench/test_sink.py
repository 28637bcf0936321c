from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load import drive, post
from bench.process import Sink, free_port
from bench.sink import alarm_id, cut, serve


@pytest.mark.parametrize("body", [b'{"time":1,"alarmId":"ab12"}', b'{"alarmId": "ab12", "time": 1}'])
def test_the_alarm_id_is_found_with_and_without_a_blank(body: bytes) -> None:
    assert alarm_id(body) == b"ab12"


def test_a_body_without_an_alarm_id_counts_as_the_empty_one() -> None:
    assert alarm_id(b"{}") == b""


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(min_value=1, max_value=40))
def test_requests_are_cut_apart_wherever_the_network_splits_them(bodies: list[bytes], step: int) -> None:
    stream, buffer, received = b"".join(post(body) for body in bodies), b"", []
    for start in range(0, len(stream), step):
        buffer += stream[start : start + step]
        while (request := cut(buffer)) is not None:
            received.append(request[1])
            buffer = request[2]
    assert received == bodies
    assert buffer == b""


async def test_the_sink_counts_each_alarm_once_and_every_request() -> None:
    port = free_port()
    server = asyncio.create_task(serve(port))
    sink = Sink(port)
    try:
        await _until_up(sink)
        bodies = [json.dumps({"alarmId": name}).encode() for name in ("a", "b", "a", "c", "a")]
        load = await drive(port, bodies, connections=2)
        stats = await sink.wait(3, patience=10)
        assert (stats["requests"], stats["distinct"], len(load.latencies)) == (5, 3, 5)
        assert await sink.arrivals() == sorted(await sink.arrivals())
        await sink.reset()
        assert (await sink.stats())["requests"] == 0
    finally:
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)


async def _until_up(sink: Sink) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await sink.stats()
                return
            except OSError:
                await asyncio.sleep(0.01)
