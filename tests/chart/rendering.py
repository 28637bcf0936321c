"""Renders the chart with values by the Helm engine."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tests.needs import unavailable

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "coc-adapter"
GOLDEN = Path(__file__).parent / "golden"
CI = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
Resource = dict[str, Any]


class _Strict(yaml.SafeLoader):
    """YAML as Kubernetes reads it, but a duplicate key is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"keys that stand twice: {twice}", node.start_mark)
        return super().construct_mapping(node, deep=deep)


# `=` alone is text to Kubernetes; PyYAML has an obsolete type for it.
_Strict.add_constructor("tag:yaml.org,2002:value", lambda _, node: node.value)


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """One render: template path (below the chart) to text, or Helm's error."""

    files: dict[str, str]
    error: str = ""

    @property
    def notes(self) -> str:
        return self.files["templates/NOTES.txt"]

    @cached_property
    def resources(self) -> list[Resource]:
        return list(self._resources())

    def of(self, kind: str) -> list[Resource]:
        return [resource for resource in self.resources if resource["kind"] == kind]

    def one(self, kind: str, name: str = "") -> Resource:
        """The only resource of that kind whose name ends so."""
        matching = [resource for resource in self.of(kind) if resource["metadata"]["name"].endswith(name)]
        assert len(matching) == 1, f"{len(matching)} resources of kind {kind} named ...{name}"
        return matching[0]

    @property
    def workload(self) -> Resource:
        (workload,) = [*self.of("StatefulSet"), *self.of("Deployment")]
        return workload

    @property
    def pod(self) -> Resource:
        spec: Resource = self.workload["spec"]["template"]["spec"]
        return spec

    @property
    def container(self) -> Resource:
        container: Resource = next(item for item in self.pod["containers"] if item["name"] == "coc-adapter")
        return container

    def _resources(self) -> Iterator[Resource]:
        for name, text in sorted(self.files.items()):
            if not name.endswith("NOTES.txt"):
                yield from (part for part in yaml.load_all(text, _Strict) if part)


def ci_values(name: str) -> Resource:
    values: Resource = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text())
    return values


def ask(requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Answers of the engine, in the order of the requests."""
    if importlib.util.find_spec("helm_python") is None:
        unavailable("the Helm engine (helm-python-sdk) has no wheel for this machine")
    process = subprocess.run(
        [sys.executable, "-m", "tests.chart.engine", str(CHART)],
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    assert process.returncode == 0, process.stderr
    answers: list[dict[str, Any]] = json.loads(process.stdout)
    return answers


def render_all(many: Sequence[Resource], *, name: str = "coc", namespace: str = "monitoring") -> list[Rendered]:
    """One Rendered per set of values."""
    answers = ask([{"values": values, "name": name, "namespace": namespace} for values in many])
    return [
        Rendered(
            files={path.split("/", 1)[1]: text for path, text in answer.get("files", {}).items()},
            error=answer.get("error", ""),
        )
        for answer in answers
    ]


def render(values: Resource, *, name: str = "coc", namespace: str = "monitoring") -> Rendered:
    """Render values on top of the minimal ones; a Helm error fails the test."""
    (rendered,) = render_all([merged(ci_values("minimal"), values)], name=name, namespace=namespace)
    assert not rendered.error, rendered.error
    return rendered


def merged(base: Resource, over: Resource) -> Resource:
    """Merge values as Helm merges two files of them."""
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result
