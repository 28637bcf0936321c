"""The admin API, `/api/v1/...`: what the operator commands and a person with curl ask and the little they change."""

from __future__ import annotations

import platform
import re
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from adapter import __version__
from adapter.admin import routes as openapi
from adapter.admin.explain import explain
from adapter.admin.routes import Call, Operation, Page, Query, problem
from adapter.admin.schemas import (
    AlarmModel,
    DiscardedModel,
    FallbackModel,
    FindingModel,
    IdsModel,
    IntegrationModel,
    MappingModel,
    PauseModel,
    RejectModel,
    RenderedModel,
    ReplayedModel,
    ReplayModel,
    ReportModel,
    StatusModel,
    TrailModel,
    stamp,
)
from adapter.alarm import Pause, Status
from adapter.alertmanager import parse_webhook
from adapter.errors import PayloadError
from adapter.mapping.tools.preview import job_of
from adapter.store.views import AlarmQuery, Counts

if TYPE_CHECKING:
    from adapter.service import Service

_MATCHER: Final = re.compile(r'\s*([^=!~"]+?)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|(.*?))\s*', re.DOTALL)
_PAGING: Final = (
    Query(name="after", text="id of the last row of the page before; the header X-Next-After tells it", kind="integer"),
    Query(name="limit", text="rows per page, 1 to 1000", kind="integer"),
)
_INTEGRATION: Final = Query(name="integration", text="only this integration")
_NONE: Final = Counts(pending=0, open_alarms=0, oldest=None)


class AdminApi:
    """Answers from the parts of a running service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._started = service.clock.now()

    def routes(self) -> list[web.RouteDef]:
        operations = self.operations()
        description = openapi.document(operations)

        async def get_openapi(request: web.Request) -> web.Response:
            return web.json_response(description)

        return [*openapi.routes(operations), web.get("/api/v1/openapi.json", get_openapi)]

    def operations(self) -> list[Operation]:
        alarms = (
            _INTEGRATION,
            Query(name="status", text="only alarms in this state", choices=tuple(Status)),
            Query(name="text", text="part of the fingerprint or of any label value, case does not matter"),
            Query(name="matcher", text='label="value"; all given must hold', repeated=True),
        )
        one = "/api/v1/alarms/{integration}/{fingerprint}"
        pause, resume = (f"/api/v1/integrations/{{name}}/{verb}" for verb in ("pause", "resume"))
        return [
            _get("/api/v1/status", "build, configuration, mappings, store, integrations", self._status, StatusModel),
            _get("/api/v1/alarms", "alarms, by id", self._alarms, list[AlarmModel], *alarms, *_PAGING),
            _get(one, "one alarm: what came, what was sent, what COC said, or why not", self._trail, TrailModel),
            _get("/api/v1/dead-letters", "reports COC refused for good", self._dead_letters, list[ReportModel],
                 _INTEGRATION, *_PAGING),
            _post("/api/v1/dead-letters/replay", "owe them again", self._replay, list[ReplayedModel], ReplayModel),
            _post("/api/v1/dead-letters/discard", "take them off", self._discard, list[DiscardedModel], IdsModel),
            _get("/api/v1/integrations", "integrations with state and backlog", self._integrations,
                 list[IntegrationModel]),
            _post(pause, "report nothing until resumed", self._pause, IntegrationModel, errors=(404,)),
            _post(resume, "lifts an automatic pause too", self._resume, IntegrationModel, errors=(404,)),
            _get("/api/v1/rejects", "what could not be used", self._rejects, list[RejectModel], *_PAGING),
            Operation(
                method="POST", path="/api/v1/mappings/render", run=self._render, answer=list[RenderedModel],
                summary="what a webhook body would become by the mappings in force", takes_webhook=True,
                query=(_INTEGRATION,), errors=(400, 404),
            ),
        ]  # fmt: skip

    async def _status(self, call: Call) -> StatusModel:
        service = self._service
        reason = await service.unready()
        return StatusModel(
            version=__version__,
            python=platform.python_version(),
            started_at=stamp(self._started) or "",
            ready=reason is None,
            not_ready_because=reason,
            restart_needed=service.reloader.restart_needed,
            config=dict(service.config.shown),
            mapping=MappingModel(
                revision=service.mappings.revision,
                directory=str(service.config.mappings),
                findings=[FindingModel.of(finding) for finding in service.reloader.findings],
            ),
            store=service.store.describe(),
            integrations=await self._integrations(call),
        )

    async def _integrations(self, call: Call) -> list[IntegrationModel]:
        counts = await self._service.store.counts()
        return [self._integration(name, counts.get(name, _NONE)) for name in self._service.deliveries]

    def _integration(self, name: str, counts: Counts) -> IntegrationModel:
        gate = self._service.deliveries[name].gate
        return IntegrationModel(
            id=name,
            integration=name,
            state="paused" if gate.pause else "running",
            breaker=gate.breaker.state,
            pause=PauseModel.of(gate.pause) if gate.pause else None,
            pending=counts.pending,
            open_alarms=counts.open_alarms,
            dead_letters=counts.dead,
            oldest_pending_at=stamp(counts.oldest or 0),
        )

    async def _alarms(self, call: Call) -> Page:
        status = call.one("status")
        if status is not None and status not in tuple(Status):
            raise problem(400, "status is firing or resolved")
        limit = call.whole("limit", 100, 1, 1000)
        rows = await self._service.store.alarms(
            AlarmQuery(
                integration=call.one("integration"),
                status=Status(status) if status else None,
                text=call.one("text") or "",
                labels=dict(_matcher(text) for text in call.request.query.getall("matcher", [])),
                after=call.whole("after", 0, 0, 2**62),
                limit=limit,
            )
        )
        return Page([AlarmModel.of(row) for row in rows], rows[-1].id if len(rows) == limit else None)

    async def _trail(self, call: Call) -> TrailModel:
        integration, fingerprint = (call.request.match_info[name] for name in ("integration", "fingerprint"))
        store = self._service.store
        found = await store.alarms(AlarmQuery(integration=integration, fingerprint=fingerprint, limit=1))
        reports = await store.trail(integration, fingerprint)
        delivery = self._service.deliveries.get(integration)
        alarm = found[0] if found else None
        return TrailModel(
            explanation=explain(
                alarm,
                reports,
                pause=delivery.gate.pause if delivery else None,
                breaker=delivery.gate.breaker.state if delivery else "closed",
                now=self._service.clock.now(),
            ),
            alarm=AlarmModel.of(alarm) if alarm else None,
            reports=[ReportModel.of(row) for row in reports],
        )

    async def _dead_letters(self, call: Call) -> Page:
        limit = call.whole("limit", 100, 1, 1000)
        after = call.whole("after", 0, 0, 2**62)
        rows = await self._service.store.dead_letters(call.one("integration"), after, limit)
        return Page([ReportModel.of(row) for row in rows], rows[-1].report.seq if len(rows) == limit else None)

    async def _replay(self, call: Call) -> list[ReplayedModel]:
        return [
            ReplayedModel(id=seq, kinds=[kind.value for kind in kinds])
            for seq, kinds in (await self._service.replay(call.body.ids, as_sent=call.body.as_sent)).items()
        ]

    async def _discard(self, call: Call) -> list[DiscardedModel]:
        return [DiscardedModel(id=seq) for seq in await self._service.store.discard(call.body.ids)]

    async def _pause(self, call: Call) -> IntegrationModel:
        service = self._service
        pause = Pause(reason="operator", since=service.clock.now(), by="admin API")
        return await self._set_pause(call, pause)

    async def _resume(self, call: Call) -> IntegrationModel:
        return await self._set_pause(call, None)

    async def _set_pause(self, call: Call, pause: Pause | None) -> IntegrationModel:
        name = call.request.match_info["name"]
        delivery = self._service.deliveries.get(name)
        if delivery is None:
            raise problem(404, "no such integration; adapter.yml names those there are")
        await delivery.set_pause(pause)
        return self._integration(name, (await self._service.store.counts()).get(name, _NONE))

    async def _rejects(self, call: Call) -> Page:
        limit = call.whole("limit", 100, 1, 1000)
        rows = await self._service.store.rejects(call.whole("after", 0, 0, 2**62), limit)
        return Page([RejectModel.of(row) for row in rows], rows[-1].id if len(rows) == limit else None)

    async def _render(self, call: Call) -> list[RenderedModel]:
        integration = self._service.config.integration(call.one("integration"))
        if integration is None:
            raise problem(404, "no such integration; adapter.yml names those there are")
        try:
            webhook = parse_webhook(await openapi.content(call.request))
        except PayloadError as exc:
            raise problem(400, str(exc)) from exc
        jobs = [
            job_of(alert, webhook.group, integration.name)._replace(contract=integration.contract)
            for alert in webhook.alerts
        ]
        made = await self._service.mappings.render(jobs)
        return [
            RenderedModel(
                fingerprint=alert.fingerprint,
                rule=item.rule,
                mapping=item.mapping,
                dropped=item.dropped,
                fallbacks=[FallbackModel(field=fallback.field, reason=fallback.reason) for fallback in item.fallbacks],
                clipped=list(item.clipped),
                body=item.body,
            )
            for alert, item in zip(webhook.alerts, made, strict=True)
        ]


def _get(path: str, summary: str, run: Any, answer: Any, *query: Query) -> Operation:
    errors = (404,) if "{" in path else ()
    return Operation(method="GET", path=path, summary=summary, run=run, answer=answer, query=query, errors=errors)


def _post(path: str, summary: str, run: Any, answer: Any, takes: Any = None, errors: tuple[int, ...] = ()) -> Operation:
    return Operation(method="POST", path=path, summary=summary, run=run, answer=answer, takes=takes, errors=errors)


def _matcher(text: str) -> tuple[str, str]:
    match = _MATCHER.fullmatch(text)
    if match is None:
        raise problem(400, 'a matcher is written label="value"')
    quoted = match[2]
    return match[1], re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else match[3]
