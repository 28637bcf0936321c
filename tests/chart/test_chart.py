"""The chart's metadata, lint, README and recorded renders.

`UPDATE_GOLDEN=1 pytest tests/chart` rewrites the recorded files; `git diff` is the review.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.chart import values_table
from tests.chart.rendering import CHART, CI, GOLDEN, ROOT, Rendered, Resource, ask, ci_values

_CHART: Resource = yaml.safe_load((CHART / "Chart.yaml").read_text())
_VALUES = (CHART / "values.yaml").read_text()
_UPDATE = os.environ.get("UPDATE_GOLDEN") == "1"
# Every render generates another token; inline ones have other lengths.
_RANDOM = re.compile(r"^(  token: )[A-Za-z0-9+/]{57,58}={0,3}$", re.MULTILINE)


def _same(path: Path, text: str) -> None:
    if _UPDATE:
        path.write_text(text)
    assert path.exists(), f"{path.name} is new: UPDATE_GOLDEN=1 pytest tests/chart writes it"
    assert text == path.read_text(), f"{path.name} differs: UPDATE_GOLDEN=1 pytest tests/chart rewrites it for review"


def test_chart_and_app_carry_the_packages_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert _CHART["version"] == _CHART["appVersion"] == project["version"]
    assert _CHART["name"] == project["name"]
    assert _CHART["description"] == project["description"]
    assert _CHART["annotations"]["artifacthub.io/license"] == project["license"]


def test_artifact_hub_understands_its_annotations() -> None:
    annotations = {key.removeprefix("artifacthub.io/"): text for key, text in _CHART["annotations"].items()}
    assert annotations["category"] in {"monitoring-logging", "integration-delivery"}
    for link in yaml.safe_load(annotations["links"]):
        assert set(link) == {"name", "url"}
    for change in yaml.safe_load(annotations["changes"]):
        assert change["kind"] in {"added", "changed", "deprecated", "removed", "fixed", "security"}
        assert change["description"]
    assert {annotations[name] for name in ("prerelease", "containsSecurityUpdates", "operator")} <= {"true", "false"}


@pytest.mark.parametrize("version", ["v1.25.0", "v1.37.0"])
def test_lint_finds_nothing_in_strict_mode(version: str) -> None:
    answers = ask([{"lint": True, "values": ci_values(name), "kube_version": version} for name in CI])
    for name, answer in zip(CI, answers, strict=True):
        assert not answer["errors"], (name, answer)
        severe = [message for message in answer["messages"] if message["severity"] >= 2]
        assert not severe, (name, severe)


@pytest.mark.parametrize("name", CI)
def test_the_render_is_the_reviewed_one(name: str, renders: dict[str, Rendered]) -> None:
    parts = [_reviewed(path, text.strip()) for path, text in sorted(renders[name].files.items()) if text.strip()]
    _same(GOLDEN / f"{name}.txt", "\n".join(parts))


def _reviewed(path: str, text: str) -> str:
    # Rules and dashboard are reviewed where they are written; test_rules.py compares them.
    for template, body in {"prometheusrule": "\nspec:\n", "dashboard": "\ndata:\n"}.items():
        if path == f"templates/{template}.yaml":
            text = text.split(body)[0] + f"{body}  (see files/)"
    text = _RANDOM.sub(r"\1RANDOM", text)
    return f"# {path}\n{text}\n"


def test_no_golden_render_is_left_over() -> None:
    assert sorted(path.stem for path in GOLDEN.iterdir()) == CI


def test_the_readme_has_the_comments_of_the_values_as_its_table() -> None:
    readme = (CHART / "README.md").read_text()
    _same(CHART / "README.md", values_table.replaced(readme, _VALUES))


def test_every_value_has_a_comment() -> None:
    documented = {row.path for row in values_table.rows(_VALUES)}
    for path in values_table.leaves(yaml.safe_load(_VALUES)):
        assert any(path[:end] in documented for end in range(1, len(path) + 1)), ".".join(path)


def test_each_values_set_has_a_comment() -> None:
    for name in CI:
        assert (CHART / "ci" / f"{name}-values.yaml").read_text().startswith("# "), name


def test_the_package_of_the_chart_has_its_files_and_none_of_the_tests() -> None:
    (answer,) = ask([{"contents": True}])
    own = {name for name in answer["contents"] if not name.startswith("templates/")}
    assert own == {"README.md", ".helmignore", "files/alerts.yaml", "files/dashboard.json", "files/webhook_test.py"}
