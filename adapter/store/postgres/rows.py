"""PURE: rows of PostgreSQL -> our records, and the few encodings between them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final
from zlib import crc32

from adapter.alarm import Accepted, Alarm, Kind, Outcome, Report, Status
from adapter.store.records import attempts_from_json, labels_from_json, provenance_from_json, rebuilt
from adapter.store.views import AlarmRow, ReportRow

if TYPE_CHECKING:
    from asyncpg import Record as Row

# Statements are put together from these constants alone, which is why S608 is off for them.
ALARM_COLUMNS: Final = (
    "a.id, a.integration, a.fingerprint, a.status, a.episode, a.coc_alarm_id, a.starts, a.ends, a.content, a.revision,"
    " a.last_accepted_at, a.pending, a.labels, a.first_seen, a.last_seen, a.repeats, a.stale,"
    " a.accepted_body, a.accepted_status, a.accepted_at"
)
REPORT_COLUMNS: Final = (
    "r.seq, r.integration, a.fingerprint, r.episode, r.kind, r.coc_alarm_id, r.raw, r.crc, r.received, r.webhook,"
    " r.attempts, r.refused, r.body, a.labels, a.status, a.starts, a.ends, a.content, a.revision,"
    " a.last_accepted_at, a.pending"
)
_LONGEST_KEY: Final = 255  # bytes; an index entry has room for 2,700


def key_of(fingerprint: str) -> bytes:
    """What identifies an alarm in the index: the fingerprint itself, unless somebody sends a whole book as one."""
    text = fingerprint.encode(errors="replace")
    return text if len(text) <= _LONGEST_KEY else b"sha256:" + hashlib.sha256(text).digest()


def storable(text: str) -> str:
    """Text without NUL, which PostgreSQL refuses, and without what UTF-8 has no form for."""
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


def alarm_of(row: Row) -> Alarm:
    return Alarm(
        fingerprint=row["fingerprint"].decode(),
        status=Status(row["status"]),
        episode=row["episode"],
        coc_alarm_id=row["coc_alarm_id"],
        starts=row["starts"],
        ends=row["ends"],
        content=row["content"],
        revision=row["revision"],
        last_accepted_at=row["last_accepted_at"],
        pending=row["pending"],
    )


def accepted_of(row: Row) -> Accepted | None:
    if row["accepted_body"] is None:
        return None
    return Accepted(body=row["accepted_body"], status=row["accepted_status"], at=row["accepted_at"])


def alarm_row(row: Row) -> AlarmRow:
    return AlarmRow(
        id=row["id"],
        integration=row["integration"],
        alarm=alarm_of(row),
        labels=labels_from_json(row["labels"].decode()),
        first_seen=row["first_seen"],
        last_seen=row["last_seen"],
        repeats=row["repeats"],
        stale=row["stale"],
        accepted=accepted_of(row),
    )


def report_of(row: Row) -> Report:
    """The report; where its bytes no longer match their checksum, with what the alarm's row still knows."""
    raw = row["raw"]
    if crc32(raw) != row["crc"]:
        raw = rebuilt(alarm_of(row), row["kind"] == Kind.OK, labels_from_json(row["labels"].decode()))
    return Report(
        seq=row["seq"],
        integration=row["integration"],
        fingerprint=row["fingerprint"].decode(),
        episode=row["episode"],
        kind=Kind(row["kind"]),
        coc_alarm_id=row["coc_alarm_id"],
        raw=raw,
        received=row["received"],
        webhook=row["webhook"],
        attempts=row["attempts"],
        refused=row["refused"],
        body=row["body"],
    )


def report_row(row: Row) -> ReportRow:
    return ReportRow(
        report=report_of(row),
        outcome=outcome_of(row["outcome"]),
        replayed=row["handled"] == "replayed",
        done=row["done"],
        due_in=row["due_in"],
        provenance=provenance_from_json(row["provenance"], row["provenance_body"]),
        attempts=attempts_from_json(row["attempt_log"]),
        sender=_sender(row),
    )


def _sender(row: Row) -> dict[str, str | int]:
    if row["receiver"] is None:
        return {}
    receiver, external_url = row["receiver"].decode(), row["external_url"].decode()
    return {"receiver": receiver, "externalURL": external_url, "alerts": row["alerts"]}


def outcome_of(text: str | None) -> Outcome | None:
    return Outcome(text) if text else None
