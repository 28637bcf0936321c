"""The Helm engine in a process of its own: `python -m tests.chart.engine CHART`, JSON in, JSON out.

A process of its own keeps Go's runtime, threads and signal handlers out of pytest's.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from helm_python import HelmError, chart, config


def answer(loaded: chart.Chart, path: str, request: dict[str, Any]) -> dict[str, Any]:
    """`{"files": {template: text}}`, `{"messages": [...]}` for a lint, `{"contents": [...]}`, or `{"error": text}`.

    With a `kubeconfig` it is what an installation into that cluster would write, all in one file `manifest`.
    """
    if request.get("contents"):
        return {"contents": [part["name"] for part in (*loaded.files, *loaded.templates)]}
    values = request["values"]
    try:
        if request.get("lint"):
            return dict(chart.lint(path, values, strict=True, kube_version=request["kube_version"]))
        if "kubeconfig" in request:
            return {"files": {f"{loaded.name}/manifest": dry_run(loaded, request)}}
        return {"files": loaded.render(values, name=request["name"], namespace=request["namespace"])}
    except HelmError as exc:
        return {"error": str(exc)}


def dry_run(loaded: chart.Chart, request: dict[str, Any]) -> str:
    """The manifest of a server-side dry run: `lookup` reads the cluster, nothing is changed in it."""
    namespace = request["namespace"]
    kubeconfig = request["kubeconfig"]
    with config.Config(kubeconfig_content=kubeconfig, namespace=namespace, storage_driver="memory") as cluster:
        options = {"namespace": namespace, "dry_run": "server", "timeout": 30}
        return str(cluster.install(loaded, request["name"], request["values"], **options)["manifest"])


def main() -> None:
    path = sys.argv[1]
    with chart.Chart.load(path) as loaded:
        json.dump([answer(loaded, path, request) for request in json.load(sys.stdin)], sys.stdout)


if __name__ == "__main__":
    main()
