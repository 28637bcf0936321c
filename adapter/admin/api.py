"""The admin API, `/api/v1/...`: answers the operator commands and curl, and makes the few changes they ask for."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from aiohttp import web

from adapter import __version__
from adapter.admin import orphans
from adapter.admin.explain import explain
from adapter.admin.openapi import PAGING, Call, Operation, Problem, Query, document, serve
from adapter.admin.schemas import (
    AlarmModel,
    ApplicationModel,
    ApprovedModel,
    DiscardedModel,
    IdsModel,
    IntegrationModel,
    MoveModel,
    ReconcileModel,
    RejectModel,
    RemovedModel,
    RenderedModel,
    ReplayedModel,
    ReplayModel,
    ReportModel,
    StatusModel,
    TrailModel,
)
from adapter.alarm import Kind, Pause, Status
from adapter.alertmanager import parse_webhook
from adapter.application import Directory
from adapter.clock import SECOND, Clock, Micros
from adapter.errors import Finding, PayloadError, RenderError
from adapter.mapping.render.live import LiveMappings
from adapter.mapping.render.request import Contract
from adapter.mapping.tools.preview import Preview, as_dict
from adapter.matchers import MatcherError, parse_matchers
from adapter.reconcile.contract import NotHeld
from adapter.reconcile.reconciling import Reconciling
from adapter.store.contract import Store
from adapter.store.moving import orphans as left_over
from adapter.store.views import AlarmQuery, AlarmRow, Counts, RejectRow, ReportRow
from adapter.units import seconds

MOST_PREVIEWED: Final = 1000  # alerts; their answer is put together in the event loop
_INTEGRATION: Final = Query("integration", "only this integration")
_NONE: Final = Counts(pending=0, open_alarms=0, oldest=None)


class Integration(Protocol):
    """What the API reads and changes of a delivery."""

    @property
    def pause(self) -> Pause | None: ...
    @property
    def breaker_state(self) -> str: ...
    async def set_pause(self, pause: Pause | None) -> None: ...


class Applications(Protocol):
    """What the API reads of an integration's directory of applications."""

    @property
    def directory(self) -> Directory | None: ...
    @property
    def fetched(self) -> Micros: ...
    @property
    def problem(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminApi:
    """Answers from the parts of a running adapter."""

    store: Store
    clock: Clock
    started: Micros
    integrations: Mapping[str, Integration]
    applications: Mapping[str, Applications]  # of the integrations that ask COC for it
    contracts: Mapping[str, Contract]
    per_episode: bool  # relay.alarm_id
    default_integration: str | None
    mappings: LiveMappings
    mappings_folder: str
    config: Mapping[str, Any]  # with secrets masked
    findings: Callable[[], Sequence[Finding]]  # of the last reload
    restart_needed: Callable[[], bool]
    not_ready: Callable[[], Awaitable[str | None]]  # None or the reason
    replayed: Callable[[str, Sequence[Kind]], None]  # counts what a replay enqueued for an integration, and wakes it
    removed: orphans.Count
    reconciling: Reconciling
    removing: asyncio.Lock = field(default_factory=asyncio.Lock)  # a second removal would take what the first one moved

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
            Query("matcher", "as Alertmanager's, such as severity=~critical|warning; all given must hold",
                  {"type": "array", "items": {"type": "string"}}),
            Query("unseen", "only open alarms that no webhook has named for so long, such as 24h"),
        )  # fmt: skip
        applications = (
            _INTEGRATION,
            Query("text", "part of id, name, code or way, case does not matter"),
            Query("after", "how many rows the pages before had", {"type": "integer"}),
            PAGING[1],
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
            Operation("GET", "/api/v1/applications", "COC's applications, components and groups, by way",
                      self._applications, list[ApplicationModel], applications),
            Operation("POST", "/api/v1/integrations/{name}/discard",
                      "end what an integration left that is no longer in adapter.yml",
                      self._discard_integration, RemovedModel, errors=(404, 409)),
            Operation("POST", "/api/v1/integrations/{name}/move",
                      "give it to another integration: alarms and reports, in their order",
                      self._move_integration, RemovedModel, takes=MoveModel, errors=(404, 409)),
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
        left = left_over(counts, self.integrations)
        return [self._integration(name, counts.get(name, _NONE)) for name in (*self.integrations, *sorted(left))]

    def _integration(self, name: str, counts: Counts) -> dict[str, Any]:
        delivery, directory = self.integrations.get(name), self.applications.get(name)
        pause = delivery.pause if delivery else None
        return {
            "id": name,
            "integration": name,
            "state": ("paused" if pause else "running") if delivery else "orphan",
            "breaker": delivery.breaker_state if delivery else None,
            "pause": pause,
            "pending": counts.pending,
            "open_alarms": counts.open_alarms,
            "dead_letters": counts.dead,
            "oldest_pending_at": counts.oldest,
            "applications": directory and {
                "known": len(directory.directory or ()), "fetched_at": directory.fetched, "problem": directory.problem
            },
        }  # fmt: skip

    async def _applications(self, call: Call) -> list[dict[str, Any]]:
        after, limit = call.paging()
        wanted, text = call.one("integration"), call.one("text") or ""
        rows = [
            (name, node, way)
            for name, one in sorted(self.applications.items())
            if wanted in (None, name) and one.directory
            for node, way in await asyncio.to_thread(one.directory.matching, text)
        ]
        return [{**node._asdict(), "integration": name, "way": way} for name, node, way in rows[after : after + limit]]

    async def _alarms(self, call: Call) -> list[AlarmRow]:
        status = call.one("status")
        if status is not None and status not in tuple(Status):
            raise Problem(400, "status is firing or resolved")
        after, limit = call.paging()
        try:
            matchers = parse_matchers(call.request.query.getall("matcher", []))
        except MatcherError as exc:
            raise Problem(400, str(exc)) from exc
        return await self.store.alarms(
            AlarmQuery(
                integration=call.one("integration"),
                status=Status(status) if status else None,
                text=call.one("text") or "",
                matchers=matchers,
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
            breaker=delivery.breaker_state if delivery else None,
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
            raise Problem(404, orphans.UNKNOWN)
        await self.integrations[name].set_pause(pause)
        if pause is None:
            self.reconciling.resumed(name)
        return self._integration(name, (await self.store.counts()).get(name, _NONE))

    async def _discard_integration(self, call: Call) -> dict[str, Any]:
        name = call.request.match_info["name"]
        async with self.removing:
            return await orphans.discard(self.store, name, self.integrations, self.clock.now(), self.removed)

    async def _move_integration(self, call: Call) -> dict[str, Any]:
        name, now = call.request.match_info["name"], self.clock.now()
        async with self.removing:
            return await orphans.move(self.store, name, call.body.to, self.integrations, now, self.removed)

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
            raise Problem(404, orphans.UNKNOWN)
        try:
            webhook = await asyncio.to_thread(parse_webhook, call.body)
        except PayloadError as exc:
            raise Problem(400, str(exc)) from exc
        if len(webhook.alerts) > MOST_PREVIEWED:
            raise Problem(413, f"a preview takes at most {MOST_PREVIEWED} alerts, the body has {len(webhook.alerts)}")
        preview = Preview(
            received=self.clock.now(), integration=name, contract=self.contracts[name], per_episode=self.per_episode
        )
        jobs = [preview.request(alert, webhook.group) for alert in webhook.alerts]
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
