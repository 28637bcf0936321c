"""The sandbox's answer to a report: what COC's documentation says, or the failure that was asked for."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import unquote

from aiohttp import web

from adapter.clock import SECOND, Clock
from adapter.coc.endpoint import PATH
from adapter.sandbox.auth import Auth, Refusal
from adapter.sandbox.box import RequestLog
from adapter.sandbox.contract import JOIN, read_body, violations
from adapter.sandbox.faults import Fault

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
_SUCCESS = {"error_code": "COC.00000000", "error_msg": "success", "provider_code": "049", "data": None}


class _Answer(NamedTuple):
    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}


_TAKEN = _Answer(200, json.dumps(_SUCCESS).encode())


class Sandbox:
    """What it was told, what it took, what it is to play."""

    def __init__(self, door: Auth, keep: int, require_application_id: bool, clock: Clock) -> None:
        self.door = door
        self.box = RequestLog(keep)
        self.faults: list[Fault] = []
        self.clock = clock
        self.require_application_id = require_application_id

    def received(self) -> list[dict[str, Any]]:
        """What GET /alarms lists, for a program that runs the sandbox inside itself."""
        return [alarm.shown() for alarm in tuple(self.box.alarms)]

    async def report(self, request: web.Request) -> web.StreamResponse:
        """Any POST that is not the sandbox's own."""
        now = self.clock.now() / SECOND
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _plain(self._refuse(Refusal(413, *_WORDS[413]), "", now))
        alarm, trouble = read_body(body)
        alarm_id = str(alarm.get("alarmId", ""))[:255] if alarm else ""
        fault = next((fault for fault in self.faults if fault.plays(alarm_id)), None)
        if fault is not None:
            await asyncio.sleep(fault.delay)
            if fault.reset == "before":
                self.box.answers["reset"] += 1
                return _reset(request)
            if fault.answers:
                return await _broken(request, self._played(fault, alarm_id, now), fault)
        objection = self._objection(request, body, alarm, trouble)
        if objection is not None:
            answer = self._refuse(objection, alarm_id, now)
        else:
            self.box.take(body, request.raw_headers, _key(request), now)
            self.box.answers["200"] += 1
            answer = _TAKEN
        return _plain(answer) if fault is None else await _broken(request, answer, fault)

    def _objection(
        self, request: web.Request, body: bytes, alarm: dict[str, Any] | None, trouble: str
    ) -> Refusal | None:
        """Why COC would not take it; None when it would."""
        path, key = _path(request), _key(request)
        if not key or path.rpartition("/")[0] + "/" != PATH:
            return Refusal(404, *_WORDS[404])
        now = datetime.fromtimestamp(self.clock.now() / SECOND, UTC)
        refusal = self.door.refusal(key=key, method="POST", path=path, headers=request.headers, body=body, now=now)
        if refusal is not None:
            return refusal
        if alarm is None:
            return Refusal(400, "COC.00000001", trouble)
        messages = violations(alarm, require_application_id=self.require_application_id)
        return Refusal(400, "COC.00000001", JOIN.join(messages)) if messages else None

    def _refuse(self, refusal: Refusal, alarm_id: str, now: float) -> _Answer:
        self.box.answers[str(refusal.status)] += 1
        self.box.refuse(*refusal, alarm_id, now)
        words = {"error_code": refusal.code, "error_msg": refusal.message}
        return _Answer(refusal.status, json.dumps(words).encode())

    def _played(self, fault: Fault, alarm_id: str, now: float) -> _Answer:
        status = fault.status or (400 if fault.code else 200)
        code, message = _WORDS.get(max(status, 400), ("APIGW.0601", "Internal server error"))
        answer = self._refuse(Refusal(status, fault.code or code, fault.message or message), alarm_id, now)
        if fault.body is not None:
            answer = answer._replace(body=fault.body.encode("utf-8", "replace"))
        elif fault.html:
            answer = answer._replace(body=_LOGIN)
        kind = "text/html" if fault.html else answer.content_type
        headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
        if 300 <= status <= 399:
            headers["Location"] = "/elsewhere"
        return answer._replace(content_type=kind, headers=headers)

    def counts(self) -> dict[str, Any]:
        """Numbers only: alarms kept, and every POST by how it was answered."""
        return {"alarms": len(self.box.alarms), "answers": dict(sorted(self.box.answers.items()))}


def _path(request: web.Request) -> str:
    return request.raw_path.partition("?")[0]


def _key(request: web.Request) -> str:
    return unquote(_path(request).rpartition("/")[2])


def _plain(answer: _Answer) -> web.Response:
    return web.Response(
        status=answer.status, body=answer.body, content_type=answer.content_type, headers=answer.headers
    )


async def _broken(request: web.Request, answer: _Answer, fault: Fault) -> web.StreamResponse:
    """The answer, cut off as the fault says."""
    if fault.reset == "after":
        return _reset(request)
    if not fault.half and fault.reset != "during":
        return _plain(answer)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_type = answer.content_type
    response.content_length = len(answer.body)
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2 if fault.half else 5])
    if fault.half:
        response.force_close()
        if request.transport is not None:
            request.transport.close()
        return response
    return _reset(request)


def _reset(request: web.Request) -> web.StreamResponse:
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        # Linger of zero: the kernel sends RST at close instead of FIN.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response()
