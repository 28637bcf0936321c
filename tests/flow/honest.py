"""An honest sender in a process of its own, so that its measurements share no event loop with an attack."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import select
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.flow.attacks import PATIENCE, Statuses, authorization
from tests.stage import REPOSITORY, alert, webhook


@dataclass
class HonestTraffic:
    """What an honest sender measured. `began` is on the monotonic clock, which all processes share.

    `resent`: requests sent again because the connection was closed.
    """

    statuses: Statuses = field(default_factory=Counter)
    began: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    resent: int = 0

    def quantile(self, part: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]

    def between(self, first: float, last: float) -> list[float]:
        """How long the requests took that began in this time."""
        return [seconds for began, seconds in zip(self.began, self.seconds, strict=True) if first <= began < last]


@asynccontextmanager
async def honest_traffic(port: int, pause: float = 0.02, path: str = "/webhook") -> AsyncIterator[HonestTraffic]:
    """Send webhooks, or reads of another path, until the end; the yielded record is filled then."""
    traffic = HonestTraffic()
    command = [sys.executable, "-m", "tests.flow.honest", str(port), str(pause), path]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, limit=2**26)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert await asyncio.wait_for(process.stdout.readline(), PATIENCE) == b"sending\n"
        yield traffic
        process.stdin.close()
        record = json.loads(await asyncio.wait_for(process.stdout.read(), PATIENCE))
        traffic.statuses.update({int(status): count for status, count in record["statuses"].items()})
        traffic.began, traffic.seconds, traffic.resent = record["began"], record["seconds"], record["resent"]
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()


def send(port: int, pause: float, path: str, stopped: Callable[[], bool]) -> HonestTraffic:
    """Send one request after the other until `stopped`; like Alertmanager, again when a connection fails."""
    traffic = HonestTraffic()
    method = "POST" if path == "/webhook" else "GET"
    headers = {"Authorization": authorization()}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    while not stopped():
        body = webhook(alert(f"Good{len(traffic.seconds) % 50}"))
        started = time.monotonic()
        status = 0
        for _ in range(10):
            try:
                connection.request(method, path, body if method == "POST" else None, headers)
                answer = connection.getresponse()
                answer.read()
                status = answer.status
                break
            except (OSError, http.client.HTTPException):
                connection.close()
                traffic.resent += 1
                time.sleep(0.05)
        traffic.began.append(started)
        traffic.seconds.append(time.monotonic() - started)
        traffic.statuses[status] += 1
        time.sleep(pause)
    connection.close()
    return traffic


if __name__ == "__main__":
    print("sending", flush=True)
    poller = select.poll()
    poller.register(sys.stdin, select.POLLHUP)
    port, pause, path = sys.argv[1:]
    print(json.dumps(vars(send(int(port), float(pause), path, lambda: bool(poller.poll(0))))))
