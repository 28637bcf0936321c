"""PURE: what to render for an alert, as delivery asks for it."""

from __future__ import annotations

from typing import NamedTuple

from adapter.alarm import Report
from adapter.alertmanager import Alert, Group, micros, pack, unpack
from adapter.clock import Micros
from adapter.lifecycle import coc_alarm_id
from adapter.mapping.render.request import Contract, RenderRequest


def request_of(report: Report, contract: Contract) -> RenderRequest:
    """Its time is the alert's own, or when it was received where the alert has none."""
    alert, _ = unpack(report.raw)
    resolved = alert["status"] == "resolved"
    time = micros(alert["endsAt"] if resolved else alert["startsAt"]) or report.received
    return RenderRequest(
        raw=report.raw,
        integration=report.integration,
        alarm_id=report.coc_alarm_id,
        time_ms=time // 1000,
        status="ok" if resolved else "alarm",
        contract=contract,
    )


class Preview(NamedTuple):
    """For which integration, under which of its settings, and when the alerts are taken to be received."""

    received: Micros
    integration: str = "default"
    contract: Contract = Contract()
    per_episode: bool = False  # relay.alarm_id

    def request(self, alert: Alert, group: Group) -> RenderRequest:
        """For an alert that has no history."""
        resolved = alert.status == "resolved"
        return RenderRequest(
            raw=pack(alert, group.as_json()),
            integration=self.integration,
            alarm_id=coc_alarm_id(alert, per_episode=self.per_episode),
            time_ms=((alert.ends if resolved else alert.starts) or self.received) // 1000,
            status="ok" if resolved else "alarm",
            contract=self.contract,
        )
