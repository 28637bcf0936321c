"""Which webhooks a process is committing: what they repeat is neither written nor in SeenLater yet (promise 14)."""

from __future__ import annotations

from dataclasses import replace

from adapter.store.contract import Intake


class UnderWay:
    """Used in the event loop alone. `begin` before a commit, `end` after it."""

    def __init__(self) -> None:
        self._intakes: dict[int, Intake] = {}

    def begin(self, intake: Intake) -> Intake:
        """The intake to commit: where it expects something, without the alerts that webhooks under way speak of."""
        if intake.expected is not None:
            spoken_of = {
                alert.fingerprint
                for other in self._intakes.values()
                if other.integration == intake.integration
                for alert in other.webhook.alerts
            }
            alerts = tuple(alert for alert in intake.webhook.alerts if alert.fingerprint not in spoken_of)
            intake = replace(intake, webhook=replace(intake.webhook, alerts=alerts))
        self._intakes[id(intake)] = intake
        return intake

    def end(self, intake: Intake) -> None:
        del self._intakes[id(intake)]
