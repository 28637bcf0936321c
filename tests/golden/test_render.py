"""The output of `render` for the sample webhooks with the built-in mappings, and for unusable input."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden.normal import REVISION, SOURCES, place
from tests.golden.recording import same
from tests.golden.terminal import run
from tests.stage import REPOSITORY, sample

SAMPLES = (
    "single-firing", "group3-mixed", "kube-shop-two-rules", "kube-watchdog", "unicode", "long-annotations",
    "no-alertname", "bare-no-annotations",
)  # fmt: skip
SMALL = """\
rules:
  - name: all
    alarm: {applicationId: shop, resourceName: "{{ labels.instance | host }}"}
"""


def path(name: str) -> str:
    """The path of a sample, relative to the folder of the sources."""
    return f"adapter/samples/{name}.json"


@pytest.mark.parametrize("output", ["table", "json"])
def test_the_samples_are_rendered_as_recorded(output: str) -> None:
    outputs = [run("render", f"--output={output}", path(name)).text(REVISION) for name in SAMPLES]
    same(f"render_samples_{output}.txt", "\n".join(outputs))


@pytest.mark.parametrize("output", ["table", "json"])
def test_unusable_alerts_are_printed_as_recorded(output: str) -> None:
    body = b'{"version": "4", "alerts": [{"status": "firing", "labels": {"alertname": "A"}}, {"status": 1}, "x"]}'
    outputs = run("render", f"--output={output}", "-", standard_input=body)
    same(f"render_unusable_alerts_{output}.txt", outputs.text(REVISION))


def test_the_revision_of_a_mapping_depends_on_its_bytes_alone(tmp_path: Path) -> None:
    """The only recorded text in which the revision is not replaced."""
    (tmp_path / "mappings").mkdir()
    (tmp_path / "mappings" / "a.yaml").write_text(SMALL)
    words = ("render", "--mappings=mappings", "--integration=shop", "-")
    same("render_own_mapping.txt", run(*words, folder=tmp_path, standard_input=sample("single-resolved")).text())


def test_input_that_cannot_be_rendered_is_reported_as_recorded(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "a.yaml").write_text(SMALL.replace("host", "hosts"))
    outputs = [
        run("render", "-", standard_input=b"{"),
        run("render", "-", standard_input=b'{"alerts": 1}'),
        run("render", "missing.json"),
        run("render", "--mappings=missing", path("single-firing")),
        run("render", f"--mappings={broken}", path("single-firing")),
    ]
    same("render_refusals.txt", "\n".join(ran.text(place(tmp_path, "FOLDER"), SOURCES) for ran in outputs))


def test_every_sample_named_here_exists() -> None:
    assert all((REPOSITORY / path(name)).exists() for name in SAMPLES)
