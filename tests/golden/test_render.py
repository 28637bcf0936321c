"""The output of `render` for the sample webhooks with the built-in mappings, and for unusable input."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.golden.normal import REVISION, SOURCES, place, rule
from tests.golden.recording import same
from tests.golden.terminal import run
from tests.stage import REPOSITORY, alert, sample, webhook

SAMPLES = (
    "single-firing", "group3-mixed", "kube-shop-two-rules", "kube-watchdog", "unicode", "long-annotations",
    "no-alertname", "bare-no-annotations",
)  # fmt: skip
SMALL = """\
rules:
  - name: all
    alarm: {applicationId: shop, resourceName: "{{ labels.instance | host }}"}
"""


# The time of an alert that has none.
RECEIVED = rule(r'^( +"?time"?:? +)[0-9]{13}\b', r"\1NOW")


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
    same(f"render_unusable_alerts_{output}.txt", outputs.text(REVISION, RECEIVED))


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


ODD = alert("Диск полон!", startsAt="", fingerprint="f1")
CONFIGURED = """\
mappings: maps
relay: {alarm_id: episode}
integrations:
  default: {site: cn, integration_key_file: /no/such/file}
  plain: {site: cn, integration_key: k, alarm_name: as-is, require_application_id: false}
"""
BARE = 'rules: [{name: all, alarm: {alarmName: "{{ labels.alertname }}"}}]\n'


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    """A folder with an adapter.yml, the mappings it names, and a payload."""
    (tmp_path / "adapter.yml").write_text(CONFIGURED)
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "a.yaml").write_text(BARE)
    (tmp_path / "odd.json").write_bytes(webhook(ODD))
    return tmp_path


def rendered(folder: Path, *flags: str) -> dict[str, Any]:
    ran = run("render", "--output=json", *flags, "odd.json", folder=folder)
    assert ran.code == 0, ran.errors
    (result,) = json.loads(ran.out)
    assert abs(result["body"]["time"] / 1000 - time.time()) < 600
    body: dict[str, Any] = result["body"]
    return body


def test_render_goes_by_the_adapter_yml_of_the_folder_whose_secrets_it_does_not_read(configured: Path) -> None:
    default, plain = rendered(configured), rendered(configured, "--integration=plain")
    assert (plain["alarmName"], "applicationId" in plain) == ("Диск полон!", False)
    assert default["alarmName"] != "Диск полон!"
    assert default["applicationId"] == "unmapped"
    assert default["alarmId"] != "f1", "an id for each episode"


def test_render_goes_by_the_config_file_that_is_named(configured: Path) -> None:
    (configured / "adapter.yml").rename(configured / "other.yml")
    assert rendered(configured)["nameSpace"] == "shop", "the shipped mappings"
    plain = rendered(configured, "--config.file=other.yml", "--integration=plain")
    assert (plain["alarmName"], "applicationId" in plain) == ("Диск полон!", False)
    shipped = rendered(
        configured, "--config.file=other.yml", "--integration=plain", f"--mappings={REPOSITORY}/mappings"
    )
    assert shipped["additional"]["mapping"] != "a.yaml"


def test_render_says_which_integrations_there_are(configured: Path) -> None:
    ran = run("render", "--integration=shop", "odd.json", folder=configured)
    assert (ran.out, ran.code) == ("", 1)
    assert ran.errors == "coc-adapter: --integration must be one of adapter.yml: default, plain\n"
    ran = run("render", "--config.file=missing.yml", "odd.json", folder=configured)
    assert (ran.out, ran.code) == ("missing.yml:0:0: cannot be read: No such file or directory\n", 1)


def test_every_sample_named_here_exists() -> None:
    assert all((REPOSITORY / path(name)).exists() for name in SAMPLES)
