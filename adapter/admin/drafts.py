"""What alerts would become: by the mappings in force, and by a draft that a person typed over them.

Both run in the draft process. Nothing is written, logged or counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import to_json

from adapter.admin import orphans
from adapter.admin.openapi import INTEGRATION, LARGEST_BODY, Call, Operation, Problem
from adapter.admin.recent import MOST_ALERTS, Wanted, read_reports, recent_reports
from adapter.admin.schemas import ComparedModel, RenderedModel, TriedDraftModel, TryModel
from adapter.alertmanager import Webhook, parse_webhook
from adapter.clock import Clock
from adapter.errors import PayloadError, RenderError
from adapter.mapping.draft.comparing import Draft, nothing
from adapter.mapping.draft.frames import DraftFinding
from adapter.mapping.draft.process import DraftProcess
from adapter.mapping.draft.turns import Superseded
from adapter.mapping.render.live import LiveMappings
from adapter.mapping.render.request import Contract, RenderRequest
from adapter.mapping.tools.request import Preview, request_of
from adapter.mapping.tools.result import as_dict
from adapter.store.views import OperatorStore, ReportRow

LARGEST_DRAFT: Final = 512 * 1024  # bytes of mapping files and tests

_MOST_REASONS: Final = 10  # why alerts of a body are unusable


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafts:
    store: OperatorStore
    clock: Clock
    contracts: Mapping[str, Contract]
    per_episode: bool
    default_integration: str | None
    mappings: LiveMappings
    process: DraftProcess

    def operations(self) -> Sequence[Operation]:
        return (
            Operation("POST", "/api/v1/mappings/render", "what a webhook body would become by the mappings in force",
                      self._render, list[RenderedModel], (INTEGRATION,), takes=bytes, errors=(404,)),
            Operation("POST", "/api/v1/mappings/try", "what a draft of the mapping files would make of alerts",
                      self._try, TriedDraftModel, takes=TryModel, largest=LARGEST_BODY, errors=(404,)),
        )  # fmt: skip

    async def _render(self, call: Call) -> list[dict[str, Any]]:
        name = self._integration(call.one("integration") or self.default_integration)
        webhook = await _webhook(call.body)
        if len(webhook.alerts) > MOST_ALERTS:
            raise Problem(413, f"a preview takes at most {MOST_ALERTS} alerts, the body has {len(webhook.alerts)}")
        try:
            results = await self.process.render(self._requests(webhook, name))
        except RenderError as exc:
            raise Problem(503, str(exc)) from exc
        return [as_dict(alert.fingerprint, result) for alert, result in zip(webhook.alerts, results, strict=True)]

    async def _try(self, call: Call) -> TriedDraftModel:
        asked: TryModel = call.body
        started = self.clock.monotonic()
        size = sum(
            len(name) + len((text or "").encode()) for name, text in (*asked.files.items(), *asked.tests.items())
        )
        if size > LARGEST_DRAFT:
            raise Problem(413, f"a draft has at most {LARGEST_DRAFT >> 10} KiB of mapping files and tests")
        ids, requests, unusable = await self._alerts(asked)
        draft = Draft(asked.files, asked.tests, asked.applications)
        superseded = False
        try:
            compared = await self.process.compare(draft, requests, client=asked.client, seq=asked.seq)
        except Superseded:
            compared, superseded = nothing(self.mappings.revision), True
        except RenderError as exc:
            raise Problem(503, str(exc)) from exc
        results = await asyncio.to_thread(_results, ids, requests, compared.rows)
        milliseconds = round((self.clock.monotonic() - started) * 1000)
        same: dict[str, Any] = {
            "base": asked.base,
            "seq": asked.seq,
            "superseded": superseded,
            "milliseconds": milliseconds,
        }
        same |= {"results": results, "findings": [*compared.findings, *unusable]}
        return TriedDraftModel.model_validate({**compared._asdict(), **same}, from_attributes=True)

    def _integration(self, name: str | None) -> str:
        if name is None or name not in self.contracts:
            raise Problem(404, orphans.UNKNOWN)
        return name

    async def _alerts(
        self, asked: TryModel
    ) -> tuple[Sequence[int | None], list[RenderRequest], Sequence[DraftFinding]]:
        """The id of the report that carries each alert, None for those of a body; what to render; what is unusable."""
        recent, ids, body = asked.alerts.recent, asked.alerts.ids, asked.alerts.body
        if sum(one is not None for one in (recent, ids, body)) > 1:
            raise Problem(400, "alerts: name one of recent, ids and body")
        if body is not None:
            name = self._integration(asked.integration or self.default_integration)
            text = body.encode() if isinstance(body, str) else await asyncio.to_thread(to_json, body)
            webhook = await _webhook(text)
            _check_count(len(webhook.alerts))
            requests = await asyncio.to_thread(self._requests, webhook, name)
            return [None] * len(webhook.alerts), requests, _unusable(webhook)
        only = self._integration(asked.integration) if asked.integration else None
        _check_count(len(ids) if ids is not None else recent or 0)
        if ids is not None:
            rows = await read_reports(self.store, ids)
        else:
            rows = await recent_reports(self.store, Wanted(limit=recent or 0, integration=only))
        return [row.report.seq for row in rows], await asyncio.to_thread(self._of_reports, rows), ()

    def _of_reports(self, rows: Sequence[ReportRow]) -> list[RenderRequest]:
        contracts = {name: self.contracts.get(name, Contract()) for name in {row.report.integration for row in rows}}
        return [request_of(row.report, contracts[row.report.integration]) for row in rows]

    def _requests(self, webhook: Webhook, name: str) -> list[RenderRequest]:
        preview = Preview(
            received=self.clock.now(), integration=name, contract=self.contracts[name], per_episode=self.per_episode
        )
        return [preview.request(alert, webhook.group) for alert in webhook.alerts]


def _check_count(alerts: int) -> None:
    if alerts > MOST_ALERTS:
        raise Problem(400, f"a draft is tried on at most {MOST_ALERTS} alerts, not {alerts}")


def _results(
    ids: Sequence[int | None], requests: Sequence[RenderRequest], rows: Sequence[Mapping[str, Any]]
) -> list[ComparedModel]:
    """In a thread, because a thousand of them would hold the event loop. No rows where nothing was tried."""
    return [
        ComparedModel.model_validate({"id": id_, "integration": request.integration, **row})
        for id_, request, row in zip(ids, requests, rows, strict=False)
    ]


def _unusable(webhook: Webhook) -> list[DraftFinding]:
    reasons = dict.fromkeys(reject.reason for reject in webhook.rejects[:_MOST_REASONS])
    return [
        DraftFinding("", 0, 0, "warning", f"an alert of the body cannot be used: {reason}", "", test=False)
        for reason in reasons
    ]


async def _webhook(body: bytes) -> Webhook:
    try:
        return await asyncio.to_thread(parse_webhook, body)
    except PayloadError as exc:
        raise Problem(400, str(exc)) from exc
