"""A fast server in place of COC: counts distinct alarmIds and answers with COC's success body.

    python -m bench.sink PORT

Every `POST` is a report, answered after the latency that is set. `GET /stats` and `GET /arrivals` return what arrived,
`GET /reset?latency=SECONDS` starts over. Times are CLOCK_MONOTONIC, which is one clock for all processes of a machine.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from array import array
from typing import Final, cast

import uvloop

_SUCCESS: Final = b'{"data":null,"error_code":"COC.00000000","error_msg":"success","provider_code":"049"}'
_MARK: Final = b'"alarmId":'
_LENGTH: Final = b"content-length:"


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def cut(buffer: bytes) -> tuple[bytes, bytes, bytes] | None:
    """The first complete request of a buffer: (head, body, rest). None while it is incomplete."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = buffer[:end]
    lower = head.lower()
    at = lower.find(_LENGTH)
    length = int(lower[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    total = end + 4 + length
    if len(buffer) < total:
        return None
    return head, buffer[end + 4 : total], buffer[total:]


def alarm_id(body: bytes) -> bytes:
    """The value of alarmId, with or without a blank after the colon; empty when there is none."""
    at = body.find(_MARK)
    if at < 0:
        return b""
    start = body.index(b'"', at + len(_MARK)) + 1
    return body[start : body.index(b'"', start)]


class Counters:
    def __init__(self) -> None:
        self.latency = 0.0
        self.reset(0.0)

    def reset(self, latency: float) -> None:
        self.latency = latency
        self.requests = 0
        self.seen: set[bytes] = set()
        self.arrivals = array("d")  # one for each new alarmId

    def count(self, body: bytes) -> None:
        self.requests += 1
        name = alarm_id(body)
        if name not in self.seen:
            self.seen.add(name)
            self.arrivals.append(time.monotonic())

    def control(self, target: str) -> bytes:
        if target.startswith("/reset?latency="):
            self.reset(float(target.partition("=")[2]))
        if target == "/arrivals":
            return json.dumps(self.arrivals.tolist()).encode()
        last = self.arrivals[-1] if self.arrivals else 0.0
        return json.dumps({"requests": self.requests, "distinct": len(self.seen), "last": last}).encode()


class Connection(asyncio.Protocol):
    def __init__(self, counters: Counters, loop: asyncio.AbstractEventLoop) -> None:
        self._counters, self._loop = counters, loop
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but ancestry

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (request := cut(self._buffer)) is not None:
            head, body, self._buffer = request
            if head.startswith(b"POST"):
                self._counters.count(body)
                self._answer_after(self._counters.latency, answer(_SUCCESS))
            else:
                self._transport.write(answer(self._counters.control(head.split(b" ", 2)[1].decode())))

    def _answer_after(self, latency: float, reply: bytes) -> None:
        if latency:
            self._loop.call_later(latency, self._write, reply)
        else:
            self._transport.write(reply)

    def _write(self, reply: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(reply)


async def serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    counters = Counters()
    server = await loop.create_server(lambda: Connection(counters, loop), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
