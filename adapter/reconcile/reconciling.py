"""All clusters together: what metrics, the admin API and `explain` ask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from adapter.alarm import Status
from adapter.reconcile.cluster import Cluster, spelled
from adapter.reconcile.contract import Parts
from adapter.reconcile.judge import State
from adapter.reconcile.loop import Loop
from adapter.reconcile.view import View
from adapter.store.views import AlarmRow


class Reconciling:
    """The loops, by name of their cluster. Without clusters it knows nothing and does nothing."""

    def __init__(
        self, clusters: Sequence[Cluster], states: Callable[[Mapping[str, Mapping[State, int]]], None], **parts: Any
    ) -> None:
        """`states` gets the states of all alarms, by integration, when they may have changed."""
        self._states = states
        shared = Parts(**parts, states_changed=self._sum_up)
        self.loops = {
            cluster.name: Loop(
                cluster,
                shared,
                elsewhere=frozenset(chain.from_iterable(one.origins for one in clusters if one is not cluster)),
            )
            for cluster in clusters
        }

    def _sum_up(self) -> None:
        total: dict[str, Counter[State]] = {}
        for loop in self.loops.values():
            for name, counted in loop.states.items():
                summed = total.setdefault(name, Counter())
                foreign = max(summed[State.FOREIGN], counted[State.FOREIGN])  # each cluster counts the same ones
                summed.update(counted)
                summed[State.FOREIGN] = foreign
        self._states(total)

    def resumed(self, integration: str) -> None:
        """An operator lifted a pause."""
        for loop in self.loops.values():
            loop.resumed(integration)

    def views(self) -> list[View]:
        return [loop.view for loop in self.loops.values()]

    def sentences(self, row: AlarmRow) -> list[str]:
        """About one alarm, for `explain`."""
        if row.alarm.status is not Status.FIRING or not self.loops:
            return []
        loops = [loop for loop in self.loops.values() if row.integration in loop.cluster.integrations]
        if loops and not any(spelled(row.alarm.origin) in loop.cluster.origins for loop in loops):
            origin = row.alarm.origin or "an unknown Alertmanager"
            return [f"{origin} sent it, which no `external_urls` of reconcile names: it is never closed by that."]
        return [sentence for loop in loops for sentence in loop.sentences(row)]
