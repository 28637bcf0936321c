"""What an operator asks of PostgreSQL: alarms, trails, dead letters, rejects; and what is done about dead letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from adapter.alarm import Kind
from adapter.clock import Micros
from adapter.store.postgres.connection import Link
from adapter.store.postgres.counts import RunningCounts
from adapter.store.postgres.rows import ALARM_COLUMNS, REPORT_COLUMNS, alarm_row, key_of, outcome_of, report_row
from adapter.store.records import has_labels, has_text
from adapter.store.replay import Owed, Past, replayed
from adapter.store.views import AlarmQuery, AlarmRow, RejectRow, ReportRow

if TYPE_CHECKING:
    from adapter.store.postgres.connection import Connection

_PAGE: Final = 1000  # rows read at a time where Python has to look into the labels
_ALARMS: Final = f"""
SELECT {ALARM_COLUMNS} FROM alarm a
WHERE a.id > $1 AND ($2::text IS NULL OR a.integration = $2) AND ($3::text IS NULL OR a.status = $3)
  AND ($4::bytea IS NULL OR a.key = $4)
ORDER BY a.id LIMIT $5
"""  # noqa: S608
_REPORT: Final = f"""
SELECT {REPORT_COLUMNS}, r.outcome, r.handled, r.done, r.provenance, r.provenance_body, r.attempt_log,
       w.receiver, w.external_url, w.alerts,
       CASE WHEN r.outcome IS NULL AND r.seq = (SELECT min(seq) FROM report WHERE alarm = a.id AND outcome IS NULL)
            THEN extract(epoch FROM a.due - clock_timestamp())::float8 END AS due_in
FROM report r JOIN alarm a ON a.id = r.alarm LEFT JOIN webhook w ON w.id = r.webhook
"""  # noqa: S608
_TRAIL: Final = f"{_REPORT} WHERE a.integration = $1 AND a.key = $2 ORDER BY r.seq DESC LIMIT $3"
_DEAD: Final = f"""{_REPORT}
WHERE r.outcome = 'dead' AND r.handled IS NULL AND r.seq > $1 AND ($2::text IS NULL OR r.integration = $2)
ORDER BY r.seq LIMIT $3
"""
_REJECTS: Final = "SELECT id, integration, received, reason, head FROM reject WHERE id > $1 ORDER BY id LIMIT $2"
_LETTERS: Final = """
SELECT seq, alarm FROM report WHERE seq = ANY($1::bigint[]) AND outcome = 'dead' AND handled IS NULL ORDER BY seq
"""
_LOCK: Final = "SELECT id, integration FROM alarm WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE"
_PAST: Final = "SELECT seq, alarm, kind, coc_alarm_id, outcome FROM report WHERE alarm = ANY($1::bigint[]) ORDER BY seq"
_AGAIN: Final = """
INSERT INTO report (integration, alarm, episode, kind, coc_alarm_id, raw, crc, received, webhook, body)
SELECT r.integration, r.alarm, r.episode, u.kind, r.coc_alarm_id, r.raw, r.crc, $1::bigint, 0,
       CASE WHEN u.as_sent THEN r.provenance_body END
FROM unnest($2::bigint[], $3::text[], $4::boolean[]) WITH ORDINALITY AS u(seq, kind, as_sent, place)
JOIN report r ON r.seq = u.seq ORDER BY u.place
RETURNING alarm
"""
_HANDLED: Final = "UPDATE report SET handled = $1 WHERE seq = ANY($2::bigint[])"
_QUEUE: Final = """
UPDATE alarm a SET pending = a.pending + u.more, due = coalesce(a.due, now())
FROM unnest($1::bigint[], $2::bigint[]) AS u(id, more) WHERE a.id = u.id
"""


async def alarms(link: Link, query: AlarmQuery) -> list[AlarmRow]:
    """Text and labels are looked for in Python: PostgreSQL's text could not hold a label with NUL in it."""
    inside = bool(query.text or query.labels)
    page = _PAGE if inside else query.limit
    found: list[AlarmRow] = []
    after = query.after
    key = None if query.fingerprint is None else key_of(query.fingerprint)
    while True:
        async with link.read() as connection:
            rows = await connection.fetch(_ALARMS, after, query.integration, query.status, key, page)
        for row in map(alarm_row, rows):
            after = row.id
            if has_text(query.text, row.alarm.fingerprint, row.labels) and has_labels(query.labels, row.labels):
                found.append(row)
        if len(rows) < page or len(found) >= query.limit:
            return found[: query.limit]


async def trail(link: Link, integration: str, fingerprint: str, limit: int) -> list[ReportRow]:
    async with link.read() as connection:
        rows = await connection.fetch(_TRAIL, integration, key_of(fingerprint), limit)
    return [report_row(row) for row in rows]


async def dead_letters(link: Link, integration: str | None, after: int, limit: int) -> list[ReportRow]:
    async with link.read() as connection:
        rows = await connection.fetch(_DEAD, after, integration, limit)
    return [report_row(row) for row in rows]


async def rejects(link: Link, after: int, limit: int) -> list[RejectRow]:
    async with link.read() as connection:
        rows = await connection.fetch(_REJECTS, after, limit)
    return [RejectRow(**{**row, "reason": row["reason"].decode()}) for row in rows]


async def discard(link: Link, seqs: Sequence[int]) -> list[int]:
    async with link.write() as connection:
        letters, _ = await _letters(connection, seqs)
        await connection.execute(_HANDLED, "discarded", list(letters))
    return list(letters)


async def replay(
    link: Link, seqs: Sequence[int], *, as_sent: bool, now: Micros, counts: RunningCounts
) -> dict[int, tuple[Kind, ...]]:
    async with link.write() as connection:
        letters, names = await _letters(connection, seqs)
        if not letters:
            return {}
        owed = [
            new
            for past in (await _past(connection, list(names))).values()
            for new in replayed([one for one in past if one.seq in letters], past)
        ]
        more = Counter(await _owe_again(connection, owed, as_sent, now))
        await connection.execute(_HANDLED, "replayed", list(letters))
        await connection.execute(_QUEUE, list(more), list(more.values()))
    for alarm, added in more.items():
        counts.add(names[alarm], pending=added)
    kinds: dict[int, tuple[Kind, ...]] = {}
    for new in owed:
        kinds[new.asked] = (*kinds.get(new.asked, ()), new.kind)
    return kinds


async def _letters(connection: Connection, seqs: Sequence[int]) -> tuple[dict[int, int], dict[int, str]]:
    """Those that are dead letters, with their alarms, now locked; and the integrations of the alarms."""
    asked = sorted(set(seqs))
    alarms = {row["alarm"] for row in await connection.fetch(_LETTERS, asked)}
    names = {row["id"]: row["integration"] for row in await connection.fetch(_LOCK, sorted(alarms))}
    letters = {row["seq"]: row["alarm"] for row in await connection.fetch(_LETTERS, asked) if row["alarm"] in names}
    return letters, names


async def _past(connection: Connection, alarms: list[int]) -> dict[int, list[Past]]:
    past: dict[int, list[Past]] = {}
    for row in await connection.fetch(_PAST, alarms):
        one = Past(row["seq"], Kind(row["kind"]), row["coc_alarm_id"], outcome_of(row["outcome"]))
        past.setdefault(row["alarm"], []).append(one)
    return past


async def _owe_again(connection: Connection, owed: list[Owed], as_sent: bool, now: Micros) -> list[int]:
    """The alarm of each new report."""
    rows = await connection.fetch(
        _AGAIN,
        now,
        [new.source for new in owed],
        [new.kind.value for new in owed],
        [as_sent and new.kind is not Kind.REASSERT for new in owed],
    )
    return [row["alarm"] for row in rows]
