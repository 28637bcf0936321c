"""A stand-in COC: answers as COC's documentation says, shows what it took, and fails on request.

POST   /v1/event/huawei/custom/{integration_key}   what COC has
GET    /v1/application-view/search                 its applications
GET    /alarms?since=SEQ&limit=N                   what was taken, a JSON list in order of arrival
DELETE /alarms                                     forget it
GET    /refusals                                   the last 1000 requests that were not taken, and why
GET    /counts                                     alarms kept, requests by answer
PUT    /faults  (or POST)                          a JSON list of rules, see sandbox.faults
GET    /faults, DELETE /faults

It checks the integration key and no other credentials. What it keeps in memory is bounded.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from aiohttp import web

from adapter.application import Node
from adapter.coc.endpoint import APPLICATIONS_PATH, PATH, key_problem
from adapter.sandbox.applications import DEFAULT, page
from adapter.sandbox.contract import JOIN, read_body, violations
from adapter.sandbox.faults import Fault, read_faults

LARGEST_BODY: Final = 12 * 1024 * 1024  # bytes; documented for signed requests
KEPT_REFUSALS: Final = 1000
_MASKED: Final = frozenset({"authorization", "x-auth-token", "x-security-token"})
_ACCEPTED: Final = {"error_code": "COC.00000000", "error_msg": "success", "provider_code": "049", "data": None}
_LOGIN: Final = "<!doctype html><html><head><title>Log in</title></head><body><form>Please log in</form></body></html>"


class Refusal(NamedTuple):
    """An answer that takes nothing."""

    status: int
    code: str
    message: str


_INVALID: Final = Refusal(400, "COC.00000001", "the request is not valid")
_THROTTLED: Final = "The throttling threshold has been reached: policy user over ratelimit, limit:10, time:1 second"
_USUAL: Final = (
    _INVALID,
    Refusal(401, "common.01010001", "Token missing or invalid."),
    Refusal(403, "APIGW.0302", "The IAM user is not authorized to access the API"),
    Refusal(404, "APIGW.0101", "The API does not exist or has not been published in the environment"),
    Refusal(413, "APIGW.0201", "Request entity too large"),
    Refusal(429, "APIGW.0308", _THROTTLED),
)
_BY_STATUS: Final = {refusal.status: refusal for refusal in _USUAL}
# What COC says to an unknown key is not documented; this answer pauses the integration and loses nothing.
_UNKNOWN_KEY: Final = Refusal(401, "common.01010001", "Token missing or invalid: unknown integration key.")


class TakenAlarm(NamedTuple):
    """One alarm. Its body stays as it came, since most are never looked at."""

    seq: int
    received: float  # seconds since the epoch
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    integration: str

    def shown(self) -> dict[str, Any]:
        headers = {name.decode("latin-1"): value.decode("utf-8", "replace") for name, value in self.headers}
        return {
            "seq": self.seq,
            "received_at": _stamp(self.received),
            "integration": self.integration,
            "headers": {
                name: "<secret>" if name.lower() in _MASKED else value
                for name, value in headers.items()
                if name.lower() != "content-length"
            },
            "body": json.loads(self.body),
        }


class Sandbox:
    """One sandbox: what it took and refused, and the faults it plays. Beyond `keep` alarms it forgets the oldest."""

    def __init__(
        self, integration_key: str | None = None, *, keep: int = 100_000, applications: Sequence[Node] = DEFAULT
    ) -> None:
        """Without a key it takes every key."""
        self.applications = applications
        self.taken = 0  # how many alarms were ever taken
        self._key = integration_key
        self._alarms: deque[TakenAlarm] = deque(maxlen=keep)
        self._refusals: deque[dict[str, Any]] = deque(maxlen=KEPT_REFUSALS)
        self._answers: Counter[str] = Counter()
        self._faults: list[Fault] = []

    def application(self) -> web.Application:
        app = web.Application(client_max_size=LARGEST_BODY)
        app.add_routes(
            [
                web.get(APPLICATIONS_PATH, self._list_applications),
                web.get("/alarms", self._list_alarms),
                web.delete("/alarms", self._forget),
                web.get("/refusals", self._list_refusals),
                web.get("/counts", self._count),
                web.get("/faults", self._list_faults),
                web.put("/faults", self._set_faults),
                web.post("/faults", self._set_faults),
                web.delete("/faults", self._clear_faults),
                web.post("/{path:.*}", self._report),
            ]
        )
        return app

    def since(self, seq: int = 0) -> Iterator[TakenAlarm]:
        """The kept alarms after `seq`, oldest first."""
        return (alarm for alarm in tuple(self._alarms) if alarm.seq > seq)

    async def _list_applications(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        fault = next((fault for fault in self._faults if fault.plays("", "applications")), None)
        if fault is not None:
            await asyncio.sleep(fault.delay)
            if fault.reset:
                self._answers["reset"] += 1
                return _reset(request)
            if fault.answers:
                return self._play(fault, "", time.time())
        asked = {name: query[name] for name in query if not (name == "marker" and fault and fault.loop)}
        found = page(self.applications, asked, query.getall("code_list", []))
        if isinstance(found, str):
            return self._refuse(_INVALID._replace(message=found), "", time.time())
        return _answer(200, found)

    async def _report(self, request: web.Request) -> web.StreamResponse:
        """Any POST that is not the sandbox's own."""
        received = time.time()
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return self._refuse(_BY_STATUS[413], "", received)
        alarm, trouble = read_body(body)
        alarm_id = str(alarm.get("alarmId", ""))[:255] if alarm else ""
        fault = next((fault for fault in self._faults if fault.plays(alarm_id)), None)
        if fault is not None:
            await asyncio.sleep(fault.delay)
            if fault.reset == "before":
                self._answers["reset"] += 1
                return _reset(request)
            if fault.answers:
                return self._play(fault, alarm_id, received)
        path = request.raw_path.partition("?")[0]
        key = unquote(path.rpartition("/")[2])
        refusal = self._refusal(path, key, alarm, trouble)
        if refusal is not None:
            answer = self._refuse(refusal, alarm_id, received)
        else:
            self._take(request, key, body, received)
            answer = _answer(200, _ACCEPTED)
        return _reset(request) if fault is not None and fault.reset == "after" else answer

    def _refusal(self, path: str, key: str, alarm: dict[str, Any] | None, trouble: str) -> Refusal | None:
        """Why COC would not take it; None when it would."""
        if not key or path.rpartition("/")[0] + "/" != PATH:
            return _BY_STATUS[404]
        if self._key not in (None, key) or key_problem(key):
            return _UNKNOWN_KEY
        message = trouble if alarm is None else JOIN.join(violations(alarm))
        return _INVALID._replace(message=message) if message else None

    def _take(self, request: web.Request, key: str, body: bytes, received: float) -> None:
        self.taken += 1
        self._answers["200"] += 1
        # A name that tells keys apart without showing them.
        integration = "key-" + hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:8]
        self._alarms.append(TakenAlarm(self.taken, received, body, request.raw_headers, integration))

    def _refuse(self, refusal: Refusal, alarm_id: str, received: float) -> web.Response:
        self._answers[str(refusal.status)] += 1
        self._refusals.append({"received_at": _stamp(received), **refusal._asdict(), "alarm_id": alarm_id})
        return _answer(refusal.status, {"error_code": refusal.code, "error_msg": refusal.message})

    def _play(self, fault: Fault, alarm_id: str, received: float) -> web.Response:
        status = fault.status or (400 if fault.code else 200)
        usual = _BY_STATUS.get(max(status, 400), Refusal(status, "APIGW.0601", "Internal server error"))
        refusal = Refusal(status, fault.code or usual.code, fault.message or usual.message)
        answer = self._refuse(refusal, alarm_id, received)
        if fault.html:
            answer.content_type = "text/html"
        text = _LOGIN if fault.html and fault.body is None else fault.body
        if text is not None:
            answer.body = text.encode()
        if fault.retry_after:
            answer.headers["Retry-After"] = fault.retry_after
        if 300 <= status <= 399:
            answer.headers["Location"] = "/elsewhere"
        return answer

    async def _list_alarms(self, request: web.Request) -> web.StreamResponse:
        try:
            since, limit = int(request.query.get("since", "0")), int(request.query.get("limit", "1000000000"))
        except ValueError:
            return web.json_response({"error": "since and limit are whole numbers"}, status=400)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        between = "["
        # In pieces: 100,000 alarms in one string would take more memory than they take themselves.
        for alarm in islice(self.since(since), limit):
            try:
                text = json.dumps(alarm.shown())
            except RecursionError:
                text = json.dumps({"seq": alarm.seq, "error": "nested too deep to show"})
            await response.write((between + text).encode())
            between = ",\n"
        await response.write(b"[]\n" if between == "[" else b"]\n")
        return response

    async def _forget(self, request: web.Request) -> web.Response:
        """Forget everything but the numbering."""
        forgotten = len(self._alarms)
        for kept in (self._alarms, self._refusals, self._answers):
            kept.clear()
        return web.json_response({"forgotten": forgotten})

    async def _list_refusals(self, request: web.Request) -> web.Response:
        return web.json_response(list(self._refusals))

    async def _count(self, request: web.Request) -> web.Response:
        return web.json_response({"alarms": len(self._alarms), "answers": dict(sorted(self._answers.items()))})

    async def _list_faults(self, request: web.Request) -> web.Response:
        return web.json_response([fault.shown() for fault in self._faults])

    async def _set_faults(self, request: web.Request) -> web.Response:
        try:
            self._faults = read_faults(json.loads(await request.read()))
        except (ValueError, RecursionError) as exc:
            return web.json_response({"error": str(exc)}, status=400)
        return await self._list_faults(request)

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self._faults = []
        return await self._list_faults(request)


def _stamp(seconds: float) -> str:
    """RFC 3339, UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _answer(status: int, document: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=json.dumps(document).encode(), content_type="application/json")


def _reset(request: web.Request) -> web.StreamResponse:
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        # Linger of zero: the kernel sends RST at close instead of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()


@asynccontextmanager
async def serving(sandbox: Sandbox, host: str, port: int) -> AsyncIterator[int]:
    """Serve on `host`; the port, where 0 stands for a free one. OSError when it is taken."""
    runner = web.AppRunner(sandbox.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def serve_sandbox(
    host: str, port: int, integration_key: str | None, applications: Sequence[Node] = DEFAULT
) -> None:
    """Print the URL, then serve until SIGTERM or SIGINT."""
    async with serving(Sandbox(integration_key, applications=applications), host, port) as port:
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        await until_signal(lambda: print(url, flush=True))


async def until_signal(ready: Callable[[], None]) -> None:
    """Return at SIGTERM or SIGINT. `ready` is called once they do no more than that."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        ready()
        await stop.wait()
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
