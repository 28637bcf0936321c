"""The sandbox's answer to a report: what COC's documentation says, or the fault that was asked for.

A RequestLog keeps the alarms it took, in order of arrival, the last refusals, and counts; its memory is bounded.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import struct
from collections import Counter, deque
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from aiohttp import web

from adapter.clock import SECOND, Clock
from adapter.coc.endpoint import PATH
from adapter.sandbox.auth import Auth, Refusal
from adapter.sandbox.contract import JOIN, read_body, violations
from adapter.sandbox.faults import Fault

KEPT_REFUSALS: Final = 1000
_MASKED: Final = frozenset({"authorization", "x-auth-token", "x-security-token"})
_LOGIN = b"<!doctype html><html><head><title>Log in</title></head><body><form>Please log in</form></body></html>"
_WORDS = {
    400: ("COC.00000001", "the request is not valid"),
    401: ("common.01010001", "Token missing or invalid."),
    403: ("APIGW.0302", "The IAM user is not authorized to access the API"),
    404: ("APIGW.0101", "The API does not exist or has not been published in the environment"),
    413: ("APIGW.0201", "Request entity too large"),
    429: (
        "APIGW.0308",
        "The throttling threshold has been reached: policy user over ratelimit, limit:10, time:1 second",
    ),
}
_ACCEPTED = json.dumps({"error_code": "COC.00000000", "error_msg": "success", "provider_code": "049", "data": None})


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
            "received_at": stamp(self.received),
            "integration": self.integration,
            "headers": {
                name: "<secret>" if name.lower() in _MASKED else value
                for name, value in headers.items()
                if name.lower() != "content-length"
            },
            "body": json.loads(self.body),
        }


def stamp(seconds: float) -> str:
    """RFC 3339, UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class RequestLog:
    """What came. Beyond `keep` alarms the oldest is forgotten; the counts go on."""

    def __init__(self, keep: int) -> None:
        self.alarms: deque[TakenAlarm] = deque(maxlen=keep)
        self.refusals: deque[dict[str, Any]] = deque(maxlen=KEPT_REFUSALS)
        self.answers: Counter[str] = Counter()
        self.taken = 0  # how many alarms were ever taken

    def take(self, request: web.Request, body: bytes, now: float) -> None:
        self.taken += 1
        self.answers["200"] += 1
        # A name that tells keys apart without showing them.
        integration = "key-" + hashlib.sha256(_key(request).encode("utf-8", "replace")).hexdigest()[:8]
        self.alarms.append(TakenAlarm(self.taken, now, body, request.raw_headers, integration))

    def refuse(self, refusal: Refusal, alarm_id: str, now: float) -> None:
        self.answers[str(refusal.status)] += 1
        self.refusals.append({"received_at": stamp(now), **refusal._asdict(), "alarm_id": alarm_id})

    def since(self, seq: int, limit: int) -> Iterator[TakenAlarm]:
        """At most `limit` alarms after `seq`, oldest first."""
        return islice((alarm for alarm in tuple(self.alarms) if alarm.seq > seq), limit)

    def clear(self) -> int:
        """Forget everything but the numbering; returns how many alarms were forgotten."""
        count = len(self.alarms)
        self.alarms.clear()
        self.refusals.clear()
        self.answers.clear()
        return count


class Sandbox:
    """The state of one sandbox: who may report, what came, which faults play."""

    def __init__(self, auth: Auth, keep: int, require_application_id: bool, clock: Clock) -> None:
        self.auth = auth
        self.log = RequestLog(keep)
        self.faults: list[Fault] = []
        self.clock = clock
        self.require_application_id = require_application_id

    def received(self) -> list[dict[str, Any]]:
        """What GET /alarms lists, for a program that runs the sandbox inside itself."""
        return [alarm.shown() for alarm in tuple(self.log.alarms)]

    async def report(self, request: web.Request) -> web.StreamResponse:
        """Any POST that is not the sandbox's own."""
        now = self.clock.now() / SECOND
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return self._refuse(Refusal(413, *_WORDS[413]), "", now)
        alarm, trouble = read_body(body)
        alarm_id = str(alarm.get("alarmId", ""))[:255] if alarm else ""
        fault = next((fault for fault in self.faults if fault.plays(alarm_id)), None)
        if fault is not None:
            await asyncio.sleep(fault.delay)
            if fault.reset == "before":
                self.log.answers["reset"] += 1
                return _reset(request)
            if fault.answers:
                return self._played(fault, alarm_id, now)
        objection = self._objection(request, body, alarm, trouble)
        if objection is not None:
            answer = self._refuse(objection, alarm_id, now)
        else:
            self.log.take(request, body, now)
            answer = _answer(200, _ACCEPTED)
        return _reset(request) if fault is not None and fault.reset == "after" else answer

    def _objection(
        self, request: web.Request, body: bytes, alarm: dict[str, Any] | None, trouble: str
    ) -> Refusal | None:
        """Why COC would not take it; None when it would."""
        path, key = _path(request), _key(request)
        if not key or path.rpartition("/")[0] + "/" != PATH:
            return Refusal(404, *_WORDS[404])
        now = datetime.fromtimestamp(self.clock.now() / SECOND, UTC)
        refusal = self.auth.refusal(key=key, path=path, headers=request.headers, body=body, now=now)
        if refusal is not None:
            return refusal
        if alarm is None:
            return Refusal(400, "COC.00000001", trouble)
        messages = violations(alarm, require_application_id=self.require_application_id)
        return Refusal(400, "COC.00000001", JOIN.join(messages)) if messages else None

    def _refuse(self, refusal: Refusal, alarm_id: str, now: float) -> web.Response:
        self.log.refuse(refusal, alarm_id, now)
        return _answer(refusal.status, json.dumps({"error_code": refusal.code, "error_msg": refusal.message}))

    def _played(self, fault: Fault, alarm_id: str, now: float) -> web.Response:
        status = fault.status or (400 if fault.code else 200)
        code, message = _WORDS.get(max(status, 400), ("APIGW.0601", "Internal server error"))
        answer = self._refuse(Refusal(status, fault.code or code, fault.message or message), alarm_id, now)
        if fault.html:
            answer.content_type = "text/html"
        if fault.body is not None:
            answer.body = fault.body.encode("utf-8", "replace")
        elif fault.html:
            answer.body = _LOGIN
        if fault.retry_after:
            answer.headers["Retry-After"] = fault.retry_after
        if 300 <= status <= 399:
            answer.headers["Location"] = "/elsewhere"
        return answer

    def counts(self) -> dict[str, Any]:
        """Numbers only: alarms kept, and every POST by how it was answered."""
        return {"alarms": len(self.log.alarms), "answers": dict(sorted(self.log.answers.items()))}


def _path(request: web.Request) -> str:
    return request.raw_path.partition("?")[0]


def _key(request: web.Request) -> str:
    return unquote(_path(request).rpartition("/")[2])


def _answer(status: int, text: str) -> web.Response:
    return web.Response(status=status, body=text.encode(), content_type="application/json")


def _reset(request: web.Request) -> web.StreamResponse:
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        # Linger of zero: the kernel sends RST at close instead of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()
