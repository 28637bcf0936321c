"""The admin API, `/api/v1/...`: answers the operator commands and curl, and makes the few changes they ask for."""

from __future__ import annotations

import asyncio
import platform
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aiohttp import web

from adapter import __version__
from adapter.admin.explain import explain
from adapter.admin.openapi import Call, Operation, Problem, Query, document, serve
from adapter.admin.schemas import (
    AlarmModel,
    ApprovedModel,
    DiscardedModel,
    IdsModel,
    IntegrationModel,
    ReconcileModel,
    RejectModel,
    RenderedModel,
    ReplayedModel,
    ReplayModel,
    ReportModel,
    StatusModel,
    TrailModel,
)
from adapter.alarm import Kind, Pause, Status
from adapter.alertmanager import parse_webhook
from adapter.clock import SECOND, Clock, Micros
from adapter.errors import Finding, PayloadError, RenderError
from adapter.mapping.render.live import LiveMappings
from adapter.mapping.render.request import Contract
from adapter.mapping.tools.preview import as_dict, preview_request
from adapter.reconcile.contract import NotHeld
from adapter.reconcile.reconciling import Reconciling
from adapter.store.contract import Store
from adapter.store.views import AlarmQuery, AlarmRow, Counts, RejectRow, ReportRow
from adapter.units import seconds

LONGEST_MATCHER: Final = 4096  # characters
MOST_PREVIEWED: Final = 1000  # alerts; their answer is put together in the event loop
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_INTEGRATION: Final = Query("integration", "only this integration")
_UNKNOWN: Final = "no such integration; adapter.yml names those there are"
_NONE: Final = Counts(pending=0, open_alarms=0, oldest=None)


class Integration(Protocol):
    """What the API reads and changes of a delivery."""

    @property
    def pause(self) -> Pause | None: ...
    @property
    def breaker_state(self) -> str: ...
    async def set_pause(self, pause: Pause | None) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminApi:
    """Answers from the parts of a running adapter."""

    store: Store
    clock: Clock
    started: Micros
    integrations: Mapping[str, Integration]
    contracts: Mapping[str, Contract]
    default_integration: str | None
    mappings: LiveMappings
    mappings_folder: str
    config: Mapping[str, Any]  # with secrets masked
    findings: Callable[[], Sequence[Finding]]  # of the last reload
    restart_needed: Callable[[], bool]
    not_ready: Callable[[], Awaitable[str | None]]  # None or the reason
    replayed: Callable[[str, Sequence[Kind]], None]  # counts what a replay enqueued for an integration, and wakes it
    reconciling: Reconciling

    def routes(self) -> list[web.RouteDef]:
        operations = self.operations()
        description = document(operations)

        async def get_openapi(request: web.Request) -> web.Response:
            return web.json_response(description)

        return [*serve(operations), web.get("/api/v1/openapi.json", get_openapi)]

    def operations(self) -> list[Operation]:
        alarms = (
            _INTEGRATION,
            Query("status", "only alarms in this state", {"type": "string", "enum": list(Status)}),
            Query("text", "part of the fingerprint or of any label value, case does not matter"),
            Query("matcher", 'label="value"; all given must hold', {"type": "array", "items": {"type": "string"}}),
            Query("unseen", "only open alarms of which no webhook has spoken for so long, such as 24h"),
        )
        return [
            Operation("GET", "/api/v1/status", "build, configuration, mappings, store, integrations",
                      self._status, StatusModel),
            Operation("GET", "/api/v1/alarms", "alarms, by id",
                      self._alarms, list[AlarmModel], alarms, paged=True),
            Operation("GET", "/api/v1/alarms/{integration}/{fingerprint}",
                      "one alarm: what came, what was sent, what COC said, or why not",
                      self._trail, TrailModel, errors=(404,)),
            Operation("GET", "/api/v1/dead-letters", "reports COC refused for good",
                      self._dead_letters, list[ReportModel], (_INTEGRATION,), paged=True),
            Operation("POST", "/api/v1/dead-letters/replay", "owe them again",
                      self._replay, list[ReplayedModel], takes=ReplayModel),
            Operation("POST", "/api/v1/dead-letters/discard", "take them off",
                      self._discard, list[DiscardedModel], takes=IdsModel),
            Operation("GET", "/api/v1/integrations", "integrations with state and backlog",
                      self._integrations, list[IntegrationModel]),
            Operation("POST", "/api/v1/integrations/{name}/pause", "report nothing until resumed",
                      self._pause, IntegrationModel, errors=(404,)),
            Operation("POST", "/api/v1/integrations/{name}/resume", "lifts an automatic pause too",
                      self._resume, IntegrationModel, errors=(404,)),
            Operation("GET", "/api/v1/rejects", "what could not be used",
                      self._rejects, list[RejectModel], paged=True),
            Operation("GET", "/api/v1/reconcile", "what Alertmanager and the adapter disagree on",
                      self._reconcile, ReconcileModel),
            Operation("POST", "/api/v1/reconcile/{name}/approve", "let through what is held of this Alertmanager",
                      self._approve, ApprovedModel, errors=(404, 409)),
            Operation("POST", "/api/v1/mappings/render", "what a webhook body would become by the mappings in force",
                      self._render, list[RenderedModel], (_INTEGRATION,), takes=bytes, errors=(404,)),
        ]  # fmt: skip

    async def _status(self, call: Call) -> dict[str, Any]:
        reason = await self.not_ready()
        mapping = {"revision": self.mappings.revision, "directory": self.mappings_folder, "findings": self.findings()}
        return {
            "version": __version__,
            "python": platform.python_version(),
            "started_at": self.started,
            "ready": reason is None,
            "not_ready_because": reason,
            "restart_needed": self.restart_needed(),
            "config": self.config,
            "mapping": mapping,
            "store": self.store.describe(),
            "integrations": await self._integrations(call),
        }

    async def _integrations(self, call: Call) -> list[dict[str, Any]]:
        counts = await self.store.counts()
        return [self._integration(name, counts.get(name, _NONE)) for name in self.integrations]

    def _integration(self, name: str, counts: Counts) -> dict[str, Any]:
        delivery = self.integrations[name]
        return {
            "id": name,
            "integration": name,
            "state": "paused" if delivery.pause else "running",
            "breaker": delivery.breaker_state,
            "pause": delivery.pause,
            "pending": counts.pending,
            "open_alarms": counts.open_alarms,
            "dead_letters": counts.dead,
            "oldest_pending_at": counts.oldest,
        }

    async def _alarms(self, call: Call) -> list[AlarmRow]:
        status = call.one("status")
        if status is not None and status not in tuple(Status):
            raise Problem(400, "status is firing or resolved")
        after, limit = call.paging()
        return await self.store.alarms(
            AlarmQuery(
                integration=call.one("integration"),
                status=Status(status) if status else None,
                text=call.one("text") or "",
                labels=dict(matcher(text) for text in call.request.query.getall("matcher", [])),
                unseen_since=self._unseen_since(call.one("unseen")),
                after=after,
                limit=limit,
            )
        )

    def _unseen_since(self, text: str | None) -> Micros | None:
        try:
            return self.clock.now() - round(seconds(text) * SECOND) if text else None
        except ValueError as exc:
            raise Problem(400, f"unseen: {exc}") from exc

    async def _trail(self, call: Call) -> dict[str, Any]:
        integration, fingerprint = (call.request.match_info[name] for name in ("integration", "fingerprint"))
        rows = await self.store.alarms(AlarmQuery(integration=integration, fingerprint=fingerprint, limit=1))
        reports = await self.store.trail(integration, fingerprint)
        delivery = self.integrations.get(integration)
        alarm = rows[0] if rows else None
        sentences = explain(
            alarm,
            reports,
            pause=delivery.pause if delivery else None,
            breaker=delivery.breaker_state if delivery else "closed",
            now=self.clock.now(),
            standing=self.reconciling.sentences(alarm) if alarm else (),
        )
        return {"explanation": sentences, "alarm": alarm, "reports": reports}

    async def _dead_letters(self, call: Call) -> list[ReportRow]:
        return await self.store.dead_letters(call.one("integration"), *call.paging())

    async def _replay(self, call: Call) -> list[dict[str, Any]]:
        replayed = await replay(self.store, call.body.ids, as_sent=call.body.as_sent, count=self.replayed)
        return [{"id": seq, "kinds": kinds} for seq, kinds in replayed.items()]

    async def _discard(self, call: Call) -> list[dict[str, Any]]:
        return [{"id": seq} for seq in await self.store.discard(call.body.ids)]

    async def _pause(self, call: Call) -> dict[str, Any]:
        return await self._set_pause(call, Pause(reason="operator", since=self.clock.now(), by="admin API"))

    async def _resume(self, call: Call) -> dict[str, Any]:
        return await self._set_pause(call, None)

    async def _set_pause(self, call: Call, pause: Pause | None) -> dict[str, Any]:
        name = call.request.match_info["name"]
        if name not in self.integrations:
            raise Problem(404, _UNKNOWN)
        await self.integrations[name].set_pause(pause)
        if pause is None:
            self.reconciling.resumed(name)
        return self._integration(name, (await self.store.counts()).get(name, _NONE))

    async def _rejects(self, call: Call) -> list[RejectRow]:
        return await self.store.rejects(*call.paging())

    async def _reconcile(self, call: Call) -> dict[str, Any]:
        return {"alertmanagers": self.reconciling.views()}

    async def _approve(self, call: Call) -> dict[str, Any]:
        name = call.request.match_info["name"]
        loop = self.reconciling.loops.get(name)
        if loop is None:
            raise Problem(404, "no such Alertmanager; `reconcile` in adapter.yml names those there are")
        try:
            return {"name": name, "approved": loop.approve()}
        except NotHeld as exc:
            raise Problem(409, str(exc)) from exc

    async def _render(self, call: Call) -> list[dict[str, Any]]:
        name = call.one("integration") or self.default_integration
        if name is None or name not in self.contracts:
            raise Problem(404, _UNKNOWN)
        try:
            webhook = await asyncio.to_thread(parse_webhook, call.body)
        except PayloadError as exc:
            raise Problem(400, str(exc)) from exc
        if len(webhook.alerts) > MOST_PREVIEWED:
            raise Problem(413, f"a preview takes at most {MOST_PREVIEWED} alerts, the body has {len(webhook.alerts)}")
        jobs = [preview_request(alert, webhook.group, name, self.contracts[name]) for alert in webhook.alerts]
        try:
            results = await self.mappings.preview(jobs)
        except RenderError as exc:
            raise Problem(503, str(exc)) from exc
        return [as_dict(alert, result) for alert, result in zip(webhook.alerts, results, strict=True)]


async def replay(
    store: Store, seqs: Sequence[int], *, as_sent: bool, count: Callable[[str, Sequence[Kind]], None]
) -> dict[int, tuple[Kind, ...]]:
    """Owe dead letters again; the kinds enqueued, by seq. Seqs that are no dead letters are left out.

    `count` is called with the integration and the kinds right after the commit: nothing may come between the two,
    neither another settlement, whose figures are newer, nor a failure.
    """
    integrations = {}
    for seq in seqs:
        for row in await store.dead_letters(None, seq - 1, 1):
            integrations[row.report.seq] = row.report.integration
    replayed = await store.replay(seqs, as_sent=as_sent)
    for seq, kinds in replayed.items():
        count(integrations[seq], kinds)
    return replayed


def matcher(text: str) -> tuple[str, str]:
    """A label's name and value, written `label="value"`; the quotes may be left out where nothing needs them."""
    if len(text) > LONGEST_MATCHER:
        raise Problem(400, f"a matcher has at most {LONGEST_MATCHER} characters")
    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip()
    if not (equals and name) or not set(name).isdisjoint('!~"'):
        raise Problem(400, 'a matcher is written label="value"')
    quoted = _QUOTED.fullmatch(value)
    return name, re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else value
