"""Measures how long a trivial request waits for a server's event loop.

    python -m bench.probe PORT

Requests /-/healthy every two milliseconds until standard input ends, then prints the waits in seconds as JSON. It is a
process of its own, with a higher priority if allowed, so that a busy load generator does not look like a busy server.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from contextlib import suppress

from bench.load import get
from bench.sink import cut

EVERY = 0.002  # seconds


def probe(connection: socket.socket) -> float:
    """Seconds from the request to the whole answer."""
    started, buffer = time.monotonic(), b""
    connection.sendall(get("/-/healthy"))
    while cut(buffer) is None:
        received = connection.recv(65536)
        if not received:
            raise ConnectionError("the server closed the connection of the probe")
        buffer += received
    return time.monotonic() - started


def main(port: int) -> None:
    with suppress(PermissionError):
        os.nice(-10)
    waits: list[float] = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while not waits or not select.select([sys.stdin], [], [], EVERY)[0]:
            waits.append(probe(connection))
    print(json.dumps(waits))


if __name__ == "__main__":
    main(int(sys.argv[1]))
