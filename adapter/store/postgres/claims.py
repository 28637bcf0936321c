"""`claim` on PostgreSQL: leases by the server's clock, committed before anybody sends.

A lease is a token on the alarm's row that grows with each claim. The alarm is locked, not the report, so that the order
within an alarm falls out by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from adapter.store.contract import Claim, Claims
from adapter.store.postgres.connection import Link
from adapter.store.postgres.rows import REPORT_COLUMNS, accepted_of, outcome_of, report_of

if TYPE_CHECKING:
    from asyncpg import Record as Row

_DUE: Final = "due <= now()"
_ANY: Final = "due IS NOT NULL AND (lease_until IS NULL OR lease_until <= now())"
_LEASE: Final = """
WITH due AS MATERIALIZED (
    SELECT id, due, lease_until IS NOT NULL AS abandoned FROM alarm WHERE integration = $1 AND {which}
    ORDER BY due, id LIMIT $2 FOR UPDATE SKIP LOCKED)
UPDATE alarm a SET lease_token = lease_token + 1, lease_owner = $3, lease_until = now() + $4::float8 * interval '1 s',
                   due = now() + $4::float8 * interval '1 s'
FROM due WHERE a.id = due.id RETURNING a.id, due.due AS was_due, due.abandoned
"""
# Statements of their own, because the one above may have locked rows newer than what it could see of the reports.
# Whoever held a lease and never gave it back may have sent the first report that waits.
_DOUBT: Final = """
UPDATE alarm a SET maybe_sent_episode = (
    SELECT episode FROM report WHERE alarm = a.id AND outcome IS NULL ORDER BY seq LIMIT 1)
WHERE id = ANY($1::bigint[])
"""
_HEADS: Final = f"""
SELECT {REPORT_COLUMNS}, a.id, a.accepted_body, a.accepted_status, a.accepted_at, a.lease_token,
       CASE WHEN a.earlier_episode = r.episode THEN a.earlier_outcome END AS earlier,
       a.maybe_sent_episode = r.episode AS doubt
FROM alarm a CROSS JOIN LATERAL (
    SELECT * FROM report WHERE alarm = a.id AND outcome IS NULL ORDER BY seq LIMIT 1) r
WHERE a.id = ANY($1::bigint[])
"""  # noqa: S608
_NEXT: Final = """
SELECT extract(epoch FROM min(due) - clock_timestamp())::float8 FROM alarm
WHERE integration = $1 AND due IS NOT NULL AND (lease_until IS NULL OR lease_until <= clock_timestamp())
"""


@dataclass(frozen=True, slots=True)
class Lease:
    owner: str
    seconds: float
    send_before: float  # monotonic


async def claim(link: Link, integration: str, limit: int, lease: Lease, *, ignore_delay: bool) -> Claims:
    """Promises 4 and 6. The lease is committed before anybody sends."""
    sql = _LEASE.format(which=_ANY if ignore_delay else _DUE)
    async with link.write() as connection:
        leased = await connection.fetch(sql, integration, limit, lease.owner, lease.seconds)
        order = {row["id"]: (row["was_due"], row["id"]) for row in leased}
        if abandoned := [row["id"] for row in leased if row["abandoned"]]:
            await connection.execute(_DOUBT, abandoned)
        rows = await connection.fetch(_HEADS, list(order)) if order else []
        next_due = await connection.fetchval(_NEXT, integration) if len(rows) < limit else None
    rows.sort(key=lambda row: order[row["id"]])
    return Claims(claims=tuple(_claim(row, lease.send_before) for row in rows), next_due=next_due)


def _claim(row: Row, send_before: float) -> Claim:
    return Claim(
        report=report_of(row),
        accepted=accepted_of(row),
        earlier=outcome_of(row["earlier"]),
        maybe_sent=row["doubt"],
        token=row["lease_token"],
        send_before=send_before,
    )
