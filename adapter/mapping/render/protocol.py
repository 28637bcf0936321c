"""PURE: the frames between the service and its worker process. Each is a length, a kind and a payload.

    LOAD     {rules, quarantined, deadline}  -> null, or [place, message] of a template that cannot be compiled
    TRY_OUT  a rule's number              -> {place: [reason, detail]} of its templates that want too much
    DIRECTORY  [integration, index]       -> null; the index replaces the one before it, null removes that
    RENDER   header, then the raw alerts  -> header, then the bodies; one answer at least, maybe not all

A RENDER payload carries the raw alerts as bytes, so that one which is not JSON spoils no other. Its answer carries the
bodies as the bytes that COC gets, because the service seldom reads them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pydantic_core import from_json, to_json

from adapter.application import Lookup
from adapter.mapping.render.request import Contract, FailureReason, Reason, RenderRequest, RenderResult

LOAD: Final = b"L"
TRY_OUT: Final = b"T"
DIRECTORY: Final = b"D"
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


def unpack_reasons(reasons: Mapping[str, Sequence[str]]) -> dict[str, FailureReason]:
    return {key: FailureReason(Reason(reason), detail) for key, (reason, detail) in reasons.items()}


def unpack_places(reasons: Mapping[str, Sequence[str]]) -> dict[int, FailureReason]:
    return {int(place): why for place, why in unpack_reasons(reasons).items()}


def pack_directory(integration: str, index: bytes) -> bytes:
    """`index`: Index.pack, or `null`."""
    return b"[%b,%b]" % (to_json(integration), index)


def pack_results(results: Sequence[RenderResult]) -> bytes:
    header = to_json([[*result[:7], len(result.json or b""), result.lookups] for result in results])
    return b"".join([_HEADER.pack(len(header)), header, *(result.json or b"" for result in results)])


def unpack_results(payload: bytes) -> Iterator[RenderResult]:
    (size,) = _HEADER.unpack_from(payload)
    at = _HEADER.size + size
    for row in from_json(payload[_HEADER.size : at]):
        rule, mapping, revision, dropped, fallbacks, clipped, unknown, length, lookups = row
        body = payload[at : at + length] if length else None
        found = tuple(map(Lookup, lookups)) if lookups else ()
        reasons = unpack_reasons(fallbacks)
        yield RenderResult(rule, mapping, revision, dropped, reasons, tuple(clipped), unknown, body, found)
        at += length
