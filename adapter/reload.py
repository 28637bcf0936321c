"""What may change while the service runs: mapping files, secrets, certificates, web config, the log level.

`poll` looks every few seconds, so that a ConfigMap change needs nobody; `reload` is SIGHUP and `POST /-/reload`. What
is broken is refused as a whole with its findings, and what was in force stays.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from adapter import logs
from adapter.clock import SECOND, Clock
from adapter.coc.client import CocClient
from adapter.config.load import Config, load_config
from adapter.delivery.pipeline import Delivery
from adapter.errors import ConfigError, Finding, MappingError
from adapter.logs import event
from adapter.mapping.render.live import LiveMappings
from adapter.metrics import Metrics
from adapter.server.access import Access

logger = logging.getLogger(__name__)


class Reloader:
    """Keeps the parts in step with their files. `findings` says what the last look refused; empty when all is well."""

    def __init__(
        self,
        config: Config,
        *,
        mappings: LiveMappings,
        accesses: Sequence[Access],
        deliveries: Sequence[tuple[Delivery, CocClient]],
        metrics: Metrics,
        clock: Clock,
        log_level: str,
        findings: Sequence[Finding] = (),
    ) -> None:
        self.findings: tuple[Finding, ...] = tuple(findings)
        self.restart_needed = False
        self._config, self._mappings, self._accesses, self._deliveries = config, mappings, accesses, deliveries
        self._metrics, self._clock, self._log_level = metrics, clock, log_level
        self._tell()

    async def poll(self) -> None:
        """Take over what changed; what is refused is said once, until it changes again."""
        before = self.findings
        try:
            changed = await self._take_over()
        except (ConfigError, MappingError) as exc:
            self.findings = exc.findings
            if self.findings != before:
                self._tell()
                self._complain()
        else:
            self.findings = ()
            if changed or before:
                self._tell()
                event(logger, logging.INFO, "reloaded", mapping_revision=self._mappings.revision)

    async def reload(self) -> str:
        """The same on request, adapter.yml included; ConfigError or MappingError with every finding."""
        findings: list[Finding] = []
        try:
            new = load_config(self._config.path)
            self.restart_needed = new.shown != self._config.shown
            logs.set_level(new.log_level or self._log_level)
        except ConfigError as exc:
            findings += exc.findings
        try:
            await self._take_over()
        except (ConfigError, MappingError) as exc:
            findings += exc.findings
        self.findings = tuple(findings)
        self._tell()
        if findings:
            self._complain()
            raise ConfigError(findings)
        event(logger, logging.INFO, "reloaded", mapping_revision=self._mappings.revision)
        if self.restart_needed:
            event(logger, logging.WARNING, "adapter.yml has changed; restart to apply it", file=self._config.path)
            return f"mapping revision {self._mappings.revision}; adapter.yml has changed, restart to apply it"
        return f"mapping revision {self._mappings.revision}"

    async def _take_over(self) -> bool:
        """Everything is tried, so that one broken file does not hold up a rotated key."""
        findings: list[Finding] = []
        changed = False
        for delivery, client in self._deliveries:
            if client.refresh():
                changed = True
                event(logger, logging.INFO, "secrets or certificates changed", integration=delivery.name)
                delivery.credentials_changed()
        for access in self._accesses:
            try:
                changed |= access.refresh()
            except ConfigError as exc:
                findings += exc.findings
        try:
            changed |= await self._mappings.reload()
            findings += self._mappings.findings
        except MappingError as exc:
            findings += exc.findings
        if findings:
            raise ConfigError(findings)
        return changed

    def _tell(self) -> None:
        self._metrics.reloaded(not self.findings, self._mappings.revision, self._clock.now() / SECOND)

    def _complain(self) -> None:
        for finding in self.findings:
            event(
                logger, logging.ERROR, "reload refused, the old one goes on",
                file=f"{Path(finding.file).name}:{finding.line}:{finding.col}", finding=finding.message,
            )  # fmt: skip
