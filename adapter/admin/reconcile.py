"""What Alertmanager and the adapter disagree on, and letting through what is held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from adapter.admin.openapi import Call, Operation, Problem
from adapter.admin.schemas import ApprovedModel, ReconcileModel
from adapter.reconcile.contract import NotHeld
from adapter.reconcile.reconciling import Reconciling


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreements:
    reconciling: Reconciling

    def operations(self) -> Sequence[Operation]:
        return (
            Operation("GET", "/api/v1/reconcile", "what Alertmanager and the adapter disagree on",
                      self._reconcile, ReconcileModel),
            Operation("POST", "/api/v1/reconcile/{name}/approve", "let through what is held of this Alertmanager",
                      self._approve, ApprovedModel, errors=(404, 409)),
        )  # fmt: skip

    async def _reconcile(self, call: Call) -> dict[str, Any]:
        return {"alertmanagers": self.reconciling.views()}

    async def _approve(self, call: Call) -> dict[str, Any]:
        name = call.path["name"]
        loop = self.reconciling.loops.get(name)
        if loop is None:
            raise Problem(404, "no such Alertmanager; `reconcile` in adapter.yml names those there are")
        try:
            return {"name": name, "approved": loop.approve()}
        except NotHeld as exc:
            raise Problem(409, str(exc)) from exc
