"""What each integration did lately, for charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from adapter.admin.openapi import Call, Operation, Problem, Query
from adapter.admin.schemas import Model, Time
from adapter.clock import Clock
from adapter.history import LONG_STEP_SECONDS, STEP_SECONDS, History, Series

_STEPS = (STEP_SECONDS, LONG_STEP_SECONDS)


class HistoryModel(Model):
    since: Time = Field(description="when the first step began")
    step_seconds: int
    series: dict[str, dict[str, list[float | None]]] = Field(
        description="values by integration and name (received, delivered, fell_back, refused, failed, waiting, p95), "
        "the oldest first; docs/api.md says what they are"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Charts:
    history: History
    clock: Clock

    def operations(self) -> Sequence[Operation]:
        step = Query("step", "seconds: 10 (the last hour) or 300 (the last day)", {"type": "integer", "enum": _STEPS})
        return (
            Operation("GET", "/api/v1/history", "what each integration did since the start of this process, a day back",
                      self._history, HistoryModel, (step,)),
        )  # fmt: skip

    async def _history(self, call: Call) -> Series:
        step = call.whole("step", STEP_SECONDS, 0, LONG_STEP_SECONDS)
        if step not in _STEPS:
            raise Problem(400, "step is 10 or 300")
        return self.history.series(step, self.clock.now())
