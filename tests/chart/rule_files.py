"""The paths of rules, dashboard and pages, and the metric names that texts mention."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "helm/coc-adapter/files/alerts.yaml"
DASHBOARD = ROOT / "helm/coc-adapter/files/dashboard.json"
RUNBOOKS = ROOT / "docs/runbooks"
METRICS_PAGE = ROOT / "docs/metrics.md"
PROOF_OF_LIFE = ROOT / "docs/proof-of-life.md"

_NAME = re.compile(r"\bcoc_adapter_[a-z0-9_]+\b")
_HISTOGRAM = ("_bucket", "_sum", "_count")


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return content


def dashboard_expressions() -> list[str]:
    """Every expression of every panel, with Grafana's variables filled in."""
    return [
        target["expr"].replace("$__rate_interval", "5m").replace("$job", ".*").replace("$integration", ".*")
        for panel in dashboard()["panels"]
        for target in panel.get("targets", [])
    ]


def mentioned(text: str) -> set[str]:
    """The adapter's sample names in a text."""
    return set(_NAME.findall(text))


def sample_names(registry: CollectorRegistry) -> set[str]:
    """The names of a registry's samples in queries."""
    return {name for family in registry.collect() for name in names_of(family.name, family.type)}


def names_of(family: str, kind: str) -> set[str]:
    """The sample names of a metric family."""
    if kind == "histogram":
        return {family + suffix for suffix in _HISTOGRAM} | {family}
    return {f"{family}_total" if kind == "counter" else family}


def promtool(program: str, *arguments: str | Path, text: str | None = None) -> None:
    """Run promtool or amtool; its output is the assertion's message."""
    done = subprocess.run([program, *map(str, arguments)], input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"promtool {' '.join(map(str, arguments))}\n{done.stdout}{done.stderr}"


def yaml_blocks(page: Path) -> dict[str, list[str]]:
    """The YAML code blocks of a page by the file name in their first line."""
    blocks: dict[str, list[str]] = {}
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), flags=re.DOTALL):
        blocks.setdefault(block.splitlines()[0].removeprefix("# "), []).append(block)
    return blocks
