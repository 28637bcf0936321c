"""What replicas on one database read of each other, heartbeats and pauses; and settings of the server that matter."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from adapter.alarm import Pause
from adapter.logs import event
from adapter.store.postgres.connection import Database
from adapter.store.records import PAUSE_COLUMNS, pause_of

if TYPE_CHECKING:
    from adapter.store.postgres.connection import Connection

LEFT_SECONDS: Final = 30  # that a report waits until a replica with older mappings takes it too
ALIVE_SECONDS: Final = 35  # several heartbeats of 5 s, and a server that is away for a while

_BEAT: Final = """
INSERT INTO replica (name, revision, unanswered, started, seen) VALUES ($1, $2, $3, now(), now())
ON CONFLICT (name) DO UPDATE SET revision = excluded.revision, unanswered = excluded.unanswered, seen = excluded.seen
"""
_FIRST_SEEN: Final = "INSERT INTO revision VALUES ($1, now()) ON CONFLICT (name) DO NOTHING"
_FORGET: Final = "DELETE FROM replica WHERE seen < now() - interval '1 day'"
_LEAVE: Final = "DELETE FROM replica WHERE name = $1"
_LEAD: Final = """
INSERT INTO leader (task, replica, until) VALUES ($1, $2, now() + $3::float8 * interval '1 s')
ON CONFLICT (task) DO UPDATE SET replica = excluded.replica, until = excluded.until
WHERE leader.replica = excluded.replica OR leader.until < now()
"""
_LEADER: Final = "SELECT replica FROM leader WHERE task = $1"
_RESIGN: Final = "DELETE FROM leader WHERE replica = $1"
_LIST: Final = f"""
SELECT replica.name, revision, unanswered, first_seen, extract(epoch FROM now() - seen)::float8 AS silent,
       extract(epoch FROM now() - started)::float8 AS age, seen > now() - interval '{ALIVE_SECONDS} s' AS alive
FROM replica LEFT JOIN revision ON revision.name = replica.revision ORDER BY replica.name
"""  # noqa: S608
_SETTINGS: Final = """
SELECT current_setting('server_version') AS version,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_standby_names') AS synchronous_standby_names,
       (SELECT count(*) FROM pg_stat_replication) AS standbys
"""
_LEASES: Final = "SELECT count(*) FROM alarm WHERE lease_until > now()"
_PAUSES: Final = f"SELECT {PAUSE_COLUMNS} FROM pause"  # noqa: S608
_RESUME: Final = "DELETE FROM pause WHERE integration = $1 AND NOT ($2::boolean AND reason = 'operator')"
_PAUSE: Final = f"INSERT INTO pause ({PAUSE_COLUMNS}) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"  # noqa: S608

logger = logging.getLogger(__name__)


class Replicas:
    """Heartbeats and pauses, which replicas read of each other."""

    def __init__(self, database: Database, name: str) -> None:
        self.name = name
        self.surroundings: dict[str, Any] = {"replicas": [], "settings": {}, "warnings": [], "waits": None}
        """For `describe`; as of the last heartbeat."""
        self._database = database
        self._revision = ""
        self._silent: Collection[str] = ()
        self._silent_elsewhere: frozenset[str] = frozenset()
        self._newest = ""  # of the living replicas, as of the last heartbeat

    async def heartbeat(self, revision: str, silent: Collection[str] = ()) -> int:
        """Durable: it is also the proof that a commit is possible now."""
        self._revision, self._silent = revision, silent
        async with self._database.write() as connection:
            await connection.execute(_BEAT, self.name, revision, list(silent))
            await connection.execute(_FORGET)
            if revision:
                await connection.execute(_FIRST_SEEN, revision)
            rows = [dict(row) for row in await connection.fetch(_LIST)]
            settings = dict((await connection.fetch(_SETTINGS))[0])
        self._newest = newest(rows)
        others = [set(row["unanswered"]) for row in rows if row["alive"] and row["name"] != self.name]
        self._silent_elsewhere = frozenset(set.intersection(*others) if others else ())
        hidden = ("first_seen", "unanswered")
        replicas = [{name: value for name, value in row.items() if name not in hidden} for row in rows]
        before, found, waits = self.surroundings, warnings(settings), self._waiting()
        self.surroundings = {"replicas": replicas, "settings": settings, "warnings": found, "waits": waits}
        for warning in found:
            if warning not in before["warnings"]:
                event(logger, logging.WARNING, "the database weakens the promise", detail=warning)
        if waits and waits != before["waits"]:
            event(logger, logging.WARNING, "this replica waits", detail=waits)
        return sum(replica["alive"] for replica in replicas)

    @property
    def waits(self) -> bool:
        """Whether another replica has newer mappings."""
        return bool(self._newest and self._revision) and self._newest != self._revision

    def _waiting(self) -> str | None:
        """Why, for an operator."""
        if not self.waits:
            return None
        return (
            f"another replica has the newer mapping revision {self._newest}, this one has {self._revision}: until its "
            f"files are the same it claims only reports that others left for {LEFT_SECONDS} s"
        )

    def deciding(self, revision: str) -> str:
        return self._newest if self._newest and revision == self._revision else revision

    async def probe(self) -> None:
        await self.heartbeat(self._revision, self._silent)

    def silent(self, integration: str) -> bool:
        """Whether its COC answers none of the other living replicas, of which there is one, at the last heartbeat."""
        return integration in self._silent_elsewhere

    async def lead(self, task: str, seconds: float) -> str:
        async with self._database.write() as connection:
            await connection.execute(_LEAD, task, self.name, seconds)
            return str(await connection.fetchval(_LEADER, task))

    async def leave(self) -> None:
        async with self._database.write() as connection:
            await connection.execute(_LEAVE, self.name)
            await connection.execute(_RESIGN, self.name)

    async def pauses(self) -> dict[str, Pause]:
        async with self._database.read() as connection:
            return await _pauses(connection)

    async def set_pause(self, integration: str, pause: Pause | None, *, automatic: bool = False) -> Pause | None:
        async with self._database.write() as connection:
            await connection.execute(_RESUME, integration, automatic)
            if pause is not None:
                await connection.execute(_PAUSE, integration, pause.reason, pause.since, pause.by, pause.detail)
            return (await _pauses(connection)).get(integration)


async def _pauses(connection: Connection) -> dict[str, Pause]:
    return {row["integration"]: pause_of(row) for row in await connection.fetch(_PAUSES)}


def newest(replicas: Iterable[Mapping[str, Any]]) -> str:
    """PURE. The mapping revision of a living replica that was first seen last; an empty text while none has one."""
    seen = [(row["first_seen"], row["revision"]) for row in replicas if row["alive"] and row["first_seen"]]
    return max(seen)[1] if seen else ""


async def users(database: Database) -> list[str]:
    """What works on this database now: live replicas, and leases that a killed one left behind."""
    async with database.read() as connection:
        live = [f"replica {row['name']}" for row in await connection.fetch(_LIST) if row["alive"]]
        leases = await connection.fetchval(_LEASES)
    return live + ([f"{leases} reports under way"] if leases else [])


def warnings(settings: Mapping[str, Any]) -> list[str]:
    """PURE. Settings of the server under which an acknowledged alert may be lost."""
    found = []
    if settings["synchronous_commit"] in ("off", "local"):
        found.append(f"synchronous_commit is {settings['synchronous_commit']}: the last commits may be lost in a crash")
    for name in ("fsync", "full_page_writes"):
        if settings[name] != "on":
            found.append(f"{name} is {settings[name]}: a crash of the machine may lose or corrupt everything")
    if settings["standbys"] and not settings["synchronous_standby_names"]:
        found.append(
            f"synchronous_standby_names is empty and there are {settings['standbys']} standbys: "
            "a failover may lose the last commits"
        )
    return found
