"""Who else serves from the same database, and whether its settings keep the promise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from adapter.store.postgres.connection import Link

ALIVE_SECONDS: Final = 35.0  # several heartbeats of 5 s, and a server that is away for a while

_BEAT: Final = """
INSERT INTO replica (name, revision, started, seen) VALUES ($1, $2, now(), now()) ON CONFLICT (name) DO UPDATE
SET revision = excluded.revision, seen = excluded.seen
"""
_FORGET: Final = "DELETE FROM replica WHERE seen < now() - interval '1 day'"
_LEAVE: Final = "DELETE FROM replica WHERE name = $1"
_LIST: Final = """
SELECT name, revision, extract(epoch FROM now() - seen)::float8 AS silent,
       extract(epoch FROM now() - started)::float8 AS age FROM replica ORDER BY name
"""
_SETTINGS: Final = """
SELECT current_setting('server_version') AS version,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_standby_names') AS synchronous_standby_names,
       (SELECT count(*) FROM pg_stat_replication) AS standbys
"""
_LEASES: Final = "SELECT count(*) FROM alarm WHERE lease_until > now()"


@dataclass(frozen=True, slots=True)
class Replica:
    """One process that serves, or served a while ago, from this database. Seconds by the server's clock."""

    name: str
    revision: str  # of its mappings
    silent: float
    age: float

    @property
    def alive(self) -> bool:
        return self.silent < ALIVE_SECONDS


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What `describe` tells; as of the last beat."""

    replicas: Sequence[Replica] = ()
    settings: Mapping[str, Any] | None = None

    @property
    def live(self) -> int:
        return sum(replica.alive for replica in self.replicas)

    def as_dict(self) -> dict[str, Any]:
        return {
            "replicas": [asdict(replica) | {"alive": replica.alive} for replica in self.replicas],
            "settings": dict(self.settings or {}),
            "warnings": warnings(self.settings or {}),
        }


async def beat(link: Link, name: str, revision: str) -> Surroundings:
    """Say that this replica lives, durably: it is also the proof that a commit is possible now."""
    async with link.write() as connection:
        await connection.execute(_BEAT, name, revision)
        await connection.execute(_FORGET)
        replicas = [Replica(**row) for row in await connection.fetch(_LIST)]
        settings = dict((await connection.fetch(_SETTINGS))[0])
    return Surroundings(replicas, settings)


async def leave(link: Link, name: str) -> None:
    async with link.write() as connection:
        await connection.execute(_LEAVE, name)


async def serving(link: Link) -> list[str]:
    """Who works on this database now: live replicas, and the leases that a killed one left behind."""
    async with link.read() as connection:
        found = [f"replica {row['name']}" for row in await connection.fetch(_LIST) if row["silent"] < ALIVE_SECONDS]
        leases = await connection.fetchval(_LEASES)
    return found + ([f"{leases} reports under way"] if leases else [])


def warnings(settings: Mapping[str, Any]) -> list[str]:
    """PURE. Settings of the server under which an acknowledged alert may be lost."""
    if not settings:
        return []
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
