"""PURE: what parent and child say to each other. Every frame is a length, a kind and a payload.

    LOAD      {rules, bad, deadline, eager} -> {"broken": null | [place, message]}
    REHEARSE  {from}                      -> {"next": number | null, "bad": {...}}    every rule once on a plain alert
    RENDER    header, then the raw alerts -> header {"answers": [...], "bad": {...}}, then the bodies
                                                  at least one answer, maybe not all

A RENDER payload keeps the raw alerts as bytes, so that one which is not JSON spoils nothing but its own answer; its
answer keeps the bodies as the bytes that go to COC, which few have to be read again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pydantic_core import from_json, to_json

from adapter.mapping.render.engine import FailureReason
from adapter.mapping.render.request import Contract, Fallback, Reason, RenderRequest, RenderResult

LOAD: Final = b"L"
REHEARSE: Final = b"P"
RENDER: Final = b"R"

PREFIX: Final = struct.Struct(">Ic")
_HEADER: Final = struct.Struct(">I")

MAX_ANSWERS: Final = 4 * 1024 * 1024  # bytes of answers after which the child stops and sends what it has


def frame(kind: bytes, payload: bytes) -> bytes:
    return PREFIX.pack(len(payload), kind) + payload


def pack_jobs(jobs: Sequence[RenderRequest]) -> bytes:
    header = to_json([[len(j.raw), j.integration, j.alarm_id, j.time_ms, j.status, *j.contract] for j in jobs])
    return b"".join([_HEADER.pack(len(header)), header, *(job.raw for job in jobs)])


def unpack_jobs(payload: bytes) -> Iterator[RenderRequest]:
    (size,) = _HEADER.unpack_from(payload)
    at = _HEADER.size + size
    for length, integration, alarm_id, time_ms, status, *contract in from_json(payload[_HEADER.size : at]):
        yield RenderRequest(payload[at : at + length], integration, alarm_id, time_ms, status, Contract(*contract))
        at += length


def pack_bad(bad: Mapping[int, FailureReason]) -> dict[str, list[str]]:
    return {str(index): [str(reason), detail] for index, (reason, detail) in bad.items()}


def unpack_bad(bad: Mapping[str, Sequence[str]]) -> dict[int, FailureReason]:
    return {int(index): (Reason(reason), detail) for index, (reason, detail) in bad.items()}


def pack_answers(answers: Sequence[tuple[Sequence[Any], bytes] | None], bad: Mapping[int, FailureReason]) -> bytes:
    """An answer is what Rendered says before its body, and that, empty for none. None: it cannot be read at all."""
    told = [None if answer is None else [*answer[0], len(answer[1])] for answer in answers]
    header = to_json({"answers": told, "bad": pack_bad(bad)})
    return b"".join([_HEADER.pack(len(header)), header, *(answer[1] for answer in answers if answer is not None)])


def unpack_answers(payload: bytes, revision: str) -> tuple[list[RenderResult | None], dict[int, FailureReason]]:
    (size,) = _HEADER.unpack_from(payload)
    at = _HEADER.size + size
    header = from_json(payload[_HEADER.size : at])
    answers: list[RenderResult | None] = []
    for answer in header["answers"]:
        if answer is None:
            answers.append(None)
            continue
        rule, mapping, dropped, fallbacks, clipped, length = answer
        told = tuple(Fallback(field, Reason(reason), detail) for field, reason, detail in fallbacks)
        body = payload[at : at + length] if length else None
        answers.append(RenderResult(rule, mapping, revision, dropped, told, tuple(clipped), body))
        at += length
    return answers, unpack_bad(header["bad"])
