"""PURE: the frames between the service and its worker process. Each is a length, a kind and a payload.

    LOAD     {rules, quarantined, deadline, compile_all}  -> {"broken": null | [place, message]}
    TRY_OUT  {rule}                       -> {"greedy": {...}}    one rule, rendered for a plain alert
    RENDER   header, then the raw alerts  -> header, then the bodies; one answer at least, maybe not all

A RENDER payload carries the raw alerts as bytes, so that one which is not JSON spoils no other. Its answer carries the
bodies as the bytes that COC gets, because the service seldom reads them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic_core import from_json, to_json

from adapter.mapping.render.request import Contract, FailureReason, Fallback, Reason, RenderRequest, RenderResult

LOAD: Final = b"L"
TRY_OUT: Final = b"T"
RENDER: Final = b"R"

PREFIX: Final = struct.Struct(">Ic")
_HEADER: Final = struct.Struct(">I")

MAX_ANSWERS: Final = 4 * 1024 * 1024  # bytes of bodies after which the worker sends what it has


def frame(kind: bytes, payload: bytes) -> bytes:
    return PREFIX.pack(len(payload), kind) + payload


def pack_requests(requests: Sequence[RenderRequest]) -> bytes:
    header = to_json([[len(r.raw), r.integration, r.alarm_id, r.time_ms, r.status, *r.contract] for r in requests])
    return b"".join([_HEADER.pack(len(header)), header, *(request.raw for request in requests)])


def unpack_requests(payload: bytes) -> Iterator[RenderRequest]:
    (size,) = _HEADER.unpack_from(payload)
    at = _HEADER.size + size
    for length, integration, alarm_id, time_ms, status, *contract in from_json(payload[_HEADER.size : at]):
        yield RenderRequest(payload[at : at + length], integration, alarm_id, time_ms, status, Contract(*contract))
        at += length


def pack_reasons(reasons: Mapping[int, FailureReason]) -> dict[str, list[str]]:
    return {str(place): [str(reason), detail] for place, (reason, detail) in reasons.items()}


def unpack_reasons(reasons: Mapping[str, Sequence[str]]) -> dict[int, FailureReason]:
    return {int(place): FailureReason(Reason(reason), detail) for place, (reason, detail) in reasons.items()}


def pack_answers(answers: Sequence[tuple[Sequence[Any], bytes] | None]) -> bytes:
    """Each: the fields of a RenderResult but revision and body, and the body, empty for none. None: unreadable."""
    header = to_json([None if answer is None else [*answer[0], len(answer[1])] for answer in answers])
    return b"".join([_HEADER.pack(len(header)), header, *(answer[1] for answer in answers if answer is not None)])


def unpack_answers(payload: bytes, revision: str) -> list[RenderResult | None]:
    (size,) = _HEADER.unpack_from(payload)
    at = _HEADER.size + size
    results: list[RenderResult | None] = []
    for answer in from_json(payload[_HEADER.size : at]):
        if answer is None:
            results.append(None)
            continue
        rule, mapping, dropped, fallbacks, clipped, length = answer
        fell_back = tuple(Fallback(field, Reason(reason), detail) for field, reason, detail in fallbacks)
        body = payload[at : at + length] if length else None
        results.append(RenderResult(rule, mapping, revision, dropped, fell_back, tuple(clipped), body))
        at += length
    return results
