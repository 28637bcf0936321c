"""The Helm engine in a process of its own: `python -m tests.helm.engine CHART`, JSON in, JSON out.

A process of its own keeps Go's runtime, threads and signal handlers out of pytest's.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from helm_python import HelmError, chart


def answer(loaded: chart.Chart, path: str, request: dict[str, Any]) -> dict[str, Any]:
    """`{"files": {template: text}}` or `{"messages": [...]}` for a lint, or `{"error": text}`."""
    values = request["values"]
    try:
        if request.get("lint"):
            return dict(chart.lint(path, values, strict=True, kube_version=request["kube_version"]))
        return {"files": loaded.render(values, name=request["name"], namespace=request["namespace"])}
    except HelmError as exc:
        return {"error": str(exc)}


def main() -> None:
    path = sys.argv[1]
    with chart.Chart.load(path) as loaded:
        json.dump([answer(loaded, path, request) for request in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
