"""What alerts would become by the mappings in force."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapter.admin import orphans
from adapter.admin.openapi import INTEGRATION, Call, Operation, Problem
from adapter.admin.schemas import RenderedModel
from adapter.alertmanager import parse_webhook
from adapter.clock import Clock
from adapter.errors import PayloadError, RenderError
from adapter.mapping.render.live import LiveMappings
from adapter.mapping.render.request import Contract
from adapter.mapping.tools.preview import Preview, as_dict

MOST_PREVIEWED: Final = 1000  # alerts; their answer is put together in the event loop


@dataclass(frozen=True, slots=True, kw_only=True)
class Mappings:
    clock: Clock
    contracts: Mapping[str, Contract]
    per_episode: bool
    default_integration: str | None
    mappings: LiveMappings

    def operations(self) -> Sequence[Operation]:
        return (
            Operation("POST", "/api/v1/mappings/render", "what a webhook body would become by the mappings in force",
                      self._render, list[RenderedModel], (INTEGRATION,), takes=bytes, errors=(404,)),
        )  # fmt: skip

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
