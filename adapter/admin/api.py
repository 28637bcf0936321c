"""The admin API, `/api/v1/...`: answers the operator commands and curl, and makes the few changes they ask for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from adapter.admin import orphans
from adapter.admin.alarms import Alarms
from adapter.admin.applications import Applications, KnownApplications
from adapter.admin.drafts import Drafts
from adapter.admin.history import Charts
from adapter.admin.integrations import Integrations, Met, Reporting
from adapter.admin.letters import Letters, Replayed
from adapter.admin.mappings import Mappings
from adapter.admin.openapi import Operation, document, serve
from adapter.admin.recent import RecentAlerts
from adapter.admin.reconcile import Disagreements
from adapter.admin.status import State
from adapter.clock import Clock, Micros
from adapter.errors import Finding
from adapter.history import History
from adapter.mapping.draft.process import DraftProcess
from adapter.mapping.render.live import LiveMappings
from adapter.mapping.render.request import Contract
from adapter.reconcile.reconciling import Reconciling
from adapter.store.contract import Store


def routes(operations: Sequence[Operation]) -> list[web.RouteDef]:
    """What the listener serves: each operation, and the document that describes them all."""
    description = document(operations)

    async def get_openapi(request: web.Request) -> web.Response:
        return web.json_response(description)

    return [*serve(operations), web.get("/api/v1/openapi.json", get_openapi)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminApi:
    """Joins the subjects over the parts of a running adapter."""

    store: Store
    clock: Clock
    started: Micros
    integrations: Mapping[str, Reporting]
    applications: Mapping[str, Applications]  # of the integrations that ask COC for it
    contracts: Mapping[str, Contract]
    per_episode: bool  # relay.alarm_id
    default_integration: str | None
    mappings: LiveMappings
    drafts: DraftProcess
    mappings_folder: str
    config: Mapping[str, Any]  # with secrets masked
    findings: Callable[[], Sequence[Finding]]  # of the last reload
    restart_needed: Callable[[], bool]
    serving_since: Callable[[], Micros]  # of the mappings in force
    not_ready: Callable[[], Awaitable[str | None]]  # None or the reason
    replayed: Replayed
    removed: orphans.Count
    reconciling: Reconciling
    webhooks: Callable[[str], Met | None]
    history: History

    def operations(self) -> list[Operation]:
        """Those of every subject; pages run them too, so that a page and the API cannot disagree."""
        integrations = Integrations(
            store=self.store, clock=self.clock, integrations=self.integrations, applications=self.applications,
            removed=self.removed, reconciling=self.reconciling, webhooks=self.webhooks,
        )  # fmt: skip
        state = State(
            store=self.store, started=self.started, integrations=integrations, mappings=self.mappings,
            mappings_folder=self.mappings_folder, config=self.config, findings=self.findings,
            restart_needed=self.restart_needed, serving_since=self.serving_since, not_ready=self.not_ready,
        )  # fmt: skip
        alarms = Alarms(
            store=self.store, clock=self.clock, integrations=self.integrations, reconciling=self.reconciling,
            rules=lambda: self.mappings.rules,
        )  # fmt: skip
        drafts = Drafts(
            store=self.store, clock=self.clock, contracts=self.contracts, per_episode=self.per_episode,
            default_integration=self.default_integration, mappings=self.mappings, process=self.drafts,
        )  # fmt: skip
        letters = Letters(
            store=self.store, replayed=self.replayed, contracts=self.contracts, render=self.drafts.render,
        )  # fmt: skip
        return [
            *state.operations(),
            *alarms.operations(),
            *letters.operations(),
            *integrations.operations(),
            *KnownApplications(applications=self.applications).operations(),
            *Disagreements(reconciling=self.reconciling).operations(),
            *Mappings(mappings=self.mappings, folder=self.mappings_folder).operations(),
            *drafts.operations(),
            *Charts(history=self.history, clock=self.clock).operations(),
            *RecentAlerts(store=self.store).operations(),
        ]
