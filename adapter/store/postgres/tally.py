"""How many reports are pending and alarms firing: sums over many rows, so that no transaction waits for another.

Each transaction adds its difference to one row of its integration, last thing before the commit. The sums are exact
for what is committed; what other transactions are about to commit is not in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from adapter.store.postgres.connection import Connection

SHARDS: Final = 32

_ADD: Final = """
INSERT INTO tally AS t (integration, shard, pending, firing)
SELECT integration, $2, pending, firing FROM unnest($1::text[], $3::bigint[], $4::bigint[])
    AS u(integration, pending, firing) ORDER BY integration
ON CONFLICT (integration, shard) DO UPDATE
SET pending = t.pending + excluded.pending, firing = t.firing + excluded.firing
"""
_SUMS: Final = """
SELECT integration, sum(pending)::bigint AS pending, sum(firing)::bigint AS firing FROM tally GROUP BY integration
"""


class Sum(NamedTuple):
    """Of one integration; also used for differences."""

    pending: int
    firing: int


async def add(connection: Connection, shard: int, differences: Mapping[str, Sum]) -> None:
    """Take the locks of the tally last: whoever holds one waits for nothing any more."""
    changed = {name: sums for name, sums in differences.items() if sums != (0, 0)}
    if changed:
        pending = [sums.pending for sums in changed.values()]
        firing = [sums.firing for sums in changed.values()]
        await connection.execute(_ADD, list(changed), shard, pending, firing)


async def sums(connection: Connection) -> dict[str, Sum]:
    return {row["integration"]: Sum(row["pending"], row["firing"]) for row in await connection.fetch(_SUMS)}
