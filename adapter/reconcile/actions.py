"""Carries out what was concluded from one poll: commits an intake for each action, counts it and logs it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, NamedTuple

from adapter.alertmanager import Alert
from adapter.errors import BacklogFull, SpaceLow
from adapter.logs import event
from adapter.reconcile.cluster import Cluster
from adapter.reconcile.contract import Parts
from adapter.reconcile.intakes import Intakes, alert_again
from adapter.reconcile.judge import Act, Candidate, Key, Suspect
from adapter.reconcile.member import NoAnswer
from adapter.reconcile.poll import Poller
from adapter.reconcile.snapshot import Invalid, Member, alert_of
from adapter.store.contract import Intake, ReconcileStore
from adapter.store.views import AlarmQuery, AlarmRow, TrackedAlarm

_logger: Final = logging.getLogger(__name__)


class Missing(NamedTuple):
    """An alert that fires and is not open here, and where it was found: its member and group."""

    suspect: Suspect
    found: tuple[str, Member] | None


class Actions:
    """Of one poll."""

    def __init__(self, cluster: Cluster, parts: Parts, poller: Poller, intakes: Intakes) -> None:
        self._cluster, self._parts, self._poller, self._intakes = cluster, parts, poller, intakes

    async def _accept(self, intake: Intake) -> Sequence[str]:
        """Fingerprints of which a report is owed now: none that a webhook overtook or that does not fit."""
        try:
            receipt = await self._parts.store.accept(intake)
        except (BacklogFull, SpaceLow):
            return ()
        self._parts.observer.receipt(intake.integration, receipt)
        if receipt.owed:
            self._parts.owed(intake.integration)
        return [fingerprint for fingerprint, _ in receipt.owed]

    async def _did(self, act: Act, intake: Intake) -> None:
        for fingerprint in await self._accept(intake):
            self._parts.observer.reconcile_acted(intake.integration, act)
            fields = {"alertmanager": self._cluster.name, "integration": intake.integration, "fingerprint": fingerprint}
            event(_logger, logging.INFO, f"{act} by reconciling", **fields)

    async def close(self, one: Candidate, members: Sequence[str]) -> None:
        row = await row_of(self._parts.store, one.key)
        if row is not None:
            raw = await self._last_raw(one.key)
            await self._did(Act.CLOSED, self._intakes.close(one, raw, row.labels, members))

    async def reopen(self, one: Candidate) -> None:
        row = await row_of(self._parts.store, one.key)
        alert = await self._alert(one.key, row)
        if alert is not None:
            await self._did(Act.REOPENED, self._intakes.reopen(one, alert, await self._last_raw(one.key)))

    async def refresh(self, integration: str, alarm: TrackedAlarm) -> None:
        key = Key(integration, alarm.fingerprint)
        row, raw = await row_of(self._parts.store, key), await self._last_raw(key)
        if row is None:
            return
        alert = alert_again(alarm, raw, row.labels) if raw else await self._alert(key, row)
        if alert is not None:
            await self._accept(self._intakes.refresh(integration, alarm, alert, raw))

    async def _alert(self, key: Key, row: AlarmRow | None) -> Alert | None:
        """As Alertmanager lists it now."""
        if row is None:
            return None
        try:
            element = await self._poller.find(row.labels, key.fingerprint)
            return alert_of(element) if element else None
        except (NoAnswer, Invalid):
            return None

    async def adopt(self, missing: Sequence[Missing]) -> set[Key]:
        """Open what no webhook brought, group by group."""
        intakes: dict[tuple[object, ...], list[tuple[Suspect, str, Member]]] = {}
        for suspect, found in missing:
            if found is not None:
                address, member = found
                group = (suspect.key.integration, address, member.receiver, tuple(sorted(member.group_labels.items())))
                intakes.setdefault(group, []).append((suspect, address, member))
        for alerts in intakes.values():
            suspect, address, member = alerts[0]
            origin = self._cluster.dns or address
            pairs = [(member.alert, suspect.episode) for suspect, _, member in alerts]
            await self._did(Act.ADOPTED, self._intakes.adopt(suspect.key.integration, origin, member, pairs))
        return {suspect.key for alerts in intakes.values() for suspect, _, _ in alerts}

    async def _last_raw(self, key: Key) -> bytes | None:
        rows = await self._parts.store.trail(key.integration, key.fingerprint, 1)
        return rows[0].report.raw if rows else None


async def row_of(store: ReconcileStore, key: Key) -> AlarmRow | None:
    query = AlarmQuery(integration=key.integration, fingerprint=key.fingerprint, limit=1)
    return next(iter(await store.alarms(query)), None)
