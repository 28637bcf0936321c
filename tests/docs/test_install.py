"""Each snippet of docs/kubernetes.md and docs/install.md is accepted by the program it is written for."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from adapter import __version__
from adapter.app import DRAIN_SECONDS
from adapter.cli.main import main, parser
from adapter.config import load_config
from tests.chart.rendering import render
from tests.needs import needs, unavailable

ROOT = Path(__file__).parents[2]
_TEXT = "".join((ROOT / "docs" / name).read_text() for name in ("kubernetes.md", "install.md"))
_BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", _TEXT, re.MULTILINE | re.DOTALL)


def _snippets(name: str) -> list[str]:
    return [text for _, text in _BLOCKS if text.startswith(f"# {name}\n")]


def _commands() -> list[list[str]]:
    lines = [text.replace("\\\n", " ").splitlines() for language, text in _BLOCKS if language == "sh"]
    return [shlex.split(line) for block in lines for line in block if line]


def _after(words: list[str], program: str) -> list[str]:
    """The arguments after the last mention of a program; in `docker run` that is the image's name."""
    positions = [index for index, word in enumerate(words) if Path(word).name == program]
    return words[positions[-1] + 1 :]


def test_every_adapter_yml_passes_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secrets").mkdir()
    for name in ("integration-key", "access-key", "secret-key", "webhook-token"):
        (tmp_path / "secrets" / name).write_text(f"the-{name}\n")
    snippets = _snippets("adapter.yml")
    assert snippets
    for text in snippets:
        path = tmp_path / "adapter.yml"
        path.write_text(text)
        assert main(["check", f"--config.file={path}"]) == 0, capsys.readouterr()
        config = load_config(path)
        token = config.webhook.secret("bearer_token")
        assert token is not None, "the address is not loopback, so it would not start without a token"


def test_alertmanager_accepts_every_alertmanager_yml(tmp_path: Path) -> None:
    amtool = needs("amtool")
    snippets = _snippets("alertmanager.yml")
    assert len(snippets) == 3
    for text in snippets:
        path = tmp_path / "alertmanager.yml"
        path.write_text(text)
        done = subprocess.run([amtool, "check-config", str(path)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_receiver_has_a_path_of_the_adapter_and_sends_resolved_alerts() -> None:
    for text in _snippets("alertmanager.yml"):
        for receiver in yaml.safe_load(text)["receivers"]:
            for webhook in receiver["webhook_configs"]:
                assert webhook["url"].endswith(":9876/webhook")
                assert webhook["send_resolved"] is True
                assert webhook["http_config"]["authorization"]["credentials_file"]


def test_the_receiver_names_the_service_and_the_secret_of_the_chart() -> None:
    rendered = render(yaml.safe_load(_snippets("coc-values.yaml")[0]), name="coc", namespace="coc")
    (webhook,) = yaml.safe_load(_snippets("alertmanager.yml")[0])["receivers"][0]["webhook_configs"]
    service, secret = rendered.one("Service")["metadata"], rendered.one("Secret")["metadata"]
    assert webhook["url"] == f"http://{service['name']}.{service['namespace']}.svc:9876/webhook"
    token = webhook["http_config"]["authorization"]["credentials_file"]
    assert token == f"/etc/alertmanager/secrets/{secret['name']}/token"


def test_the_image_has_the_version_of_the_package() -> None:
    tags = re.findall(r"/coc-adapter:([\d.]+\d)", _TEXT)
    assert len(tags) == 3
    assert set(tags) == {__version__}


@pytest.mark.parametrize("text", _snippets("coc-values.yaml"), ids=["one replica", "several"])
def test_the_chart_renders_every_values_snippet(text: str) -> None:
    values: dict[str, Any] = yaml.safe_load(text)
    rendered = render(values)
    assert rendered.workload["kind"] == ("Deployment" if "store" in values else "StatefulSet")


def test_the_pod_that_copies_mounts_the_charts_claim_and_opens_its_store() -> None:
    pod = yaml.safe_load(_snippets("copy.yaml")[0])
    kubernetes_validate.validate(pod, "1.37", strict=True)
    options = parser().parse_args(pod["spec"]["containers"][0]["args"])
    sqlite, shared = (
        render(yaml.safe_load(text), name="coc", namespace="coc") for text in _snippets("coc-values.yaml")
    )
    adapter_yml = yaml.safe_load(sqlite.one("ConfigMap")["data"]["adapter.yml"])
    assert options.source == adapter_yml["store"]
    workload = sqlite.workload["metadata"]["name"]
    claim = sqlite.workload["spec"]["volumeClaimTemplates"][0]["metadata"]["name"]
    assert pod["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": f"{claim}-{workload}-0"}
    secret = pod["spec"]["containers"][0]["env"][0]["valueFrom"]["secretKeyRef"]
    sources = [source["secret"] for source in shared.pod["volumes"][0]["projected"]["sources"] if "secret" in source]
    assert [(source["name"], source["items"][0]["key"]) for source in sources if source["name"] == secret["name"]] == [
        (secret["name"], secret["key"])
    ]


@pytest.mark.parametrize("name", ["docs/kubernetes.md", "docs/install.md", "helm/coc-adapter/README.md"])
def test_the_pages_it_names_exist(name: str) -> None:
    named = set(re.findall(r"\bdocs/[a-z/-]+\.md\b", (ROOT / name).read_text()))
    assert not [page for page in named if not (ROOT / page).exists()]


def test_the_command_line_accepts_every_command_of_the_adapter() -> None:
    ours = [
        words
        for words in _commands()
        if words[0] == "coc-adapter" or words[:2] in (["docker", "run"], ["docker", "exec"])
    ]
    assert len(ours) >= 4
    for words in ours:
        parser().parse_args(_after(words, "coc-adapter"))
    unit = _unit()["Service"]
    for setting in ("ExecStartPre", "ExecStart"):
        parser().parse_args(_after(shlex.split(unit[setting]), "coc-adapter"))


def test_the_files_that_commands_name_are_in_the_repository() -> None:
    named = {word for words in _commands() for word in words if word.startswith(("helm/", "requirements/"))}
    assert named
    assert all((ROOT / name).exists() for name in named)


def _unit() -> configparser.ConfigParser:
    (text,) = _snippets("coc-adapter.service")
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(text)
    return unit


def test_the_unit_restricts_the_service() -> None:
    unit = _unit()["Service"]
    assert unit["User"] == "coc-adapter"
    assert unit["CapabilityBoundingSet"] == ""
    assert unit["ProtectSystem"] == "strict"
    assert unit["StateDirectory"] == "coc-adapter"
    assert float(unit["TimeoutStopSec"]) > 4 * DRAIN_SECONDS


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyse = shutil.which("systemd-analyze")
    if analyse is None:
        unavailable("systemd-analyze is not installed; on Debian: apt-get install systemd")
    path = tmp_path / "coc-adapter.service"
    # The adapter is not installed on this machine.
    path.write_text(_snippets("coc-adapter.service")[0].replace("/opt/coc-adapter/bin/coc-adapter", "/bin/true"))
    done = subprocess.run([analyse, "verify", "--man=no", str(path)], capture_output=True, text=True, timeout=60)
    problems = [line for line in done.stderr.splitlines() if "coc-adapter.service" in line]
    assert not problems
    security = [analyse, "security", "--offline=true", "--threshold=25", str(path)]
    done = subprocess.run(security, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-600:] + done.stderr
