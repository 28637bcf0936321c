"""Reads again what may change while the service runs: mapping files, secrets, certificates, web config, log level.

`poll` runs every few seconds, so that a changed ConfigMap takes effect by itself; `reload` is SIGHUP and
`POST /-/reload`, which read adapter.yml and the store's URL too. A broken file is refused as a whole with its findings;
what was in force stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from adapter import logs
from adapter.clock import Clock
from adapter.coc.client import CocClient
from adapter.config import Config, load_config
from adapter.delivery.pipeline import Delivery
from adapter.errors import ConfigError, Finding
from adapter.logs import event
from adapter.mapping.render.live import LiveMappings
from adapter.metrics import Metrics
from adapter.server.access import Access
from adapter.store.contract import SharedStore, Store

logger = logging.getLogger(__name__)


class Reloader:
    """Keeps the parts in step with their files."""

    def __init__(
        self,
        config: Config,
        *,
        store: Store,
        mappings: LiveMappings,
        access: Access,
        deliveries: Sequence[tuple[Delivery, CocClient]],
        metrics: Metrics,
        log_level: str,
        clock: Clock,
    ) -> None:
        self.restart_needed = False
        self.serving_since = clock.now()  # the mappings in force
        self._clock = clock
        self._config_findings: tuple[Finding, ...] = ()  # of adapter.yml, which a poll reads again while there are any
        self._access_findings: tuple[Finding, ...] = ()
        self._config, self._mappings, self._access, self._deliveries = config, mappings, access, deliveries
        self._metrics, self._log_level = metrics, log_level
        self._store, self._opened_by = store, config.store_url.get()
        self._turn = asyncio.Lock()
        self._count()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Everything the last poll or reload refused, and what is known against the mapping rules in force."""
        return tuple(sorted((*self._config_findings, *self._access_findings, *self._mappings.findings)))

    async def poll(self) -> None:
        """Take over what changed. A refusal is logged once, until something changes."""
        async with self._turn:
            before = self.findings
            if self._config_findings:
                await self._read_config()
            if await self._take_over() or self.findings != before:
                self._report()

    async def reload(self) -> str:
        """The same on request, adapter.yml included. The outcome and warnings; ConfigError with every finding."""
        async with self._turn:
            await self._read_config()
            await self._take_over()
            self._report()
            if self._refused:
                raise ConfigError(self.findings)
            done = f"mapping revision {self._mappings.revision}"
            done += "; adapter.yml has changed, restart to apply it" if self.restart_needed else ""
            return "\n".join([done, *map(str, self.findings)])

    async def _read_config(self) -> None:
        now = self._config.source
        try:
            new = await asyncio.to_thread(load_config, now.path)
        except ConfigError as exc:
            self._config_findings = exc.findings
            return
        self._config_findings = ()
        logs.set_level(new.log.level or self._log_level)
        same_store = await self._log_in_by(new)
        self.restart_needed = not same_store or {**new.source.compared, "log": None} != {**now.compared, "log": None}

    async def _log_in_by(self, new: Config) -> bool:
        """Whether its URL is that of the store that is open, but for a user and password of PostgreSQL.

        A login that is refused is a warning until it is accepted: connections are opened by the one that worked last.
        """
        url = new.store_url
        if not isinstance(self._store, SharedStore):
            return url.get() == self._opened_by
        logs.register_secret(url)
        same = self._store.log_in_by(url.get())
        if same and (why := await self._store.login_refused(url.get())):
            file = str(url.path or new.source.path)
            message = f"PostgreSQL refuses the login of the store's URL, the one before stays in use: {why}"
            self._config_findings = (Finding(file, 1, 1, message, severity="warning"),)
        return same

    async def _take_over(self) -> bool:
        """Everything is tried, so that one broken file does not hold up a rotated key."""
        changed = False
        self._access_findings = ()
        for delivery, client in self._deliveries:
            if client.refresh():
                changed = True
                event(logger, logging.INFO, "secrets or certificates changed", integration=delivery.name)
                delivery.credentials_changed()
        try:
            changed |= await asyncio.to_thread(self._access.refresh)
        except ConfigError as exc:
            self._access_findings = exc.findings
        if await self._mappings.reload():
            self.serving_since = self._clock.now()
            return True
        return changed

    @property
    def _refused(self) -> bool:
        return any(finding.severity == "error" for finding in self.findings)

    def _count(self) -> None:
        self._metrics.reloaded(not self._refused, self._mappings.revision)

    def _report(self) -> None:
        self._count()
        if not self._refused:
            event(logger, logging.INFO, "reloaded", mapping_revision=self._mappings.revision)
            if self.restart_needed:
                path = self._config.source.path
                event(logger, logging.WARNING, "adapter.yml has changed; restart to apply it", file=path)
        for finding in self.findings:
            place = f"{Path(finding.file).name}:{finding.line}:{finding.col}"
            level, what = logging.ERROR, "reload refused, the old one goes on"
            if finding.severity == "warning":
                level, what = (
                    logging.WARNING,
                    "store warning" if finding in self._config_findings else "mapping warning",
                )
            event(logger, level, what, file=place, finding=finding.text)
