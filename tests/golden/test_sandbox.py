"""The output and the answers of the sandbox COC."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import aiohttp
import pytest

from tests.golden.exchange import exchange
from tests.golden.normal import PORTS, rule
from tests.golden.recording import same
from tests.stage import KEY, REPOSITORY

ALARM = (
    b'{"alarmId": "a1", "alarmName": "A", "alarmLevel": "Major", "time": 1706933106000, "nameSpace": "shop",'
    b' "applicationId": "shop", "alarmDesc": "A happened", "alarmSource": "prometheus"}'
)
TAKEN = f"POST /v1/event/huawei/custom/{KEY}"
REQUESTS: tuple[tuple[str, bytes], ...] = (
    (TAKEN, ALARM),
    (TAKEN, b"no JSON"),
    (TAKEN, b'{"alarmId": "a b"}'),
    ("POST /v1/event/huawei/custom/another-key", ALARM),
    ("POST /elsewhere", ALARM),
    ("PUT /faults", b'[{"status": 503, "times": 1}, {"alarm_id": "a1", "code": "COC.00000009", "message": "no"}]'),
    (TAKEN, ALARM),
    (TAKEN, ALARM),
    ("GET /faults", b""),
    ("PUT /faults", b'{"state": 503}'),
    ("DELETE /faults", b""),
    ("GET /alarms", b""),
    ("GET /alarms?since=x", b""),
    ("GET /refusals", b""),
    ("GET /counts", b""),
    ("DELETE /alarms", b""),
    ("GET /alarms", b""),
)
# The time an alarm was received.
RECEIVED = rule(r'("received_at": )"[^"]+"', r'\1"MOMENT"')
# Names and versions of the HTTP client of the test and of the HTTP server of the sandbox.
PRODUCTS = rule(r"((?:\"User-Agent\": \"|< Server: ))Python/[^\"\n]+", r"\1PRODUCTS")


@pytest.fixture
def sandbox() -> Iterator[str]:
    """The URL that `sandbox` prints."""
    words = ("sandbox", "--listen-address=127.0.0.1:0", f"--integration-key={KEY}")
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "adapter", *words], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


async def test_the_sandbox_prints_and_answers_what_is_recorded(sandbox: str) -> None:
    rules = (RECEIVED, PRODUCTS, PORTS)
    # The encodings that aiohttp accepts depend on installed packages.
    async with aiohttp.ClientSession(headers={"Accept-Encoding": "gzip"}) as http:
        outputs = [await exchange(http, sandbox, *each, rules=rules) for each in REQUESTS]
    same("sandbox.txt", PRODUCTS.on("\n".join([PORTS.on(sandbox) + "\n", *outputs])))
