"""The adapter runs as its container would run it; its probes and `helm test` succeed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.chart.mounted import Mounted
from tests.chart.rendering import ROOT, Rendered, render
from tests.needs import needs


@dataclass(frozen=True)
class Release:
    """A running adapter and the render that it was started from."""

    rendered: Rendered
    url: str

    def test_pod(self, token_file: Path) -> subprocess.CompletedProcess[str]:
        """The program of `helm test`, with the addresses of this machine."""
        (container,) = self.rendered.one("Pod", "-test")["spec"]["containers"]
        assert container["command"] == ["python3", "-c"]
        environment = {variable["name"]: variable["value"] for variable in container["env"]}
        environment |= {"ADAPTER_URL": self.url, "TOKEN_FILE": str(token_file)}
        command = [sys.executable, "-c", *container["args"]]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"not ready after 60 s, exit code {process.poll()}")


@pytest.fixture(scope="module")
def release(renders: dict[str, Rendered], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    rendered = renders["trial"]
    mounted = Mounted(rendered, tmp_path_factory.mktemp("pod"))
    port = _free_port()
    own = {"--web.listen-address": f"127.0.0.1:{port}", "--web.admin-address": f"127.0.0.1:{_free_port()}"}
    arguments = [
        f"{flag}={own[flag]}" if (flag := argument.split("=")[0]) in own else mounted.relocate(argument)
        for argument in rendered.container["args"]
    ]
    environment = {"PATH": os.environ["PATH"], "HOME": str(mounted.root)}
    process = subprocess.Popen([sys.executable, "-m", "adapter", *arguments], cwd=ROOT, env=environment)
    try:
        _until_ready(f"http://127.0.0.1:{port}", process)
        yield Release(rendered, f"http://127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(rendered.pod["terminationGracePeriodSeconds"])
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def test_the_test_pod_passes_with_the_token(release: Release, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("trial-webhook-token\n")
    done = release.test_pod(tmp_path / "token")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ready: 200", done.stdout, re.MULTILINE)
    assert re.search(r"^webhook: 200", done.stdout, re.MULTILINE)


def test_the_test_pod_fails_without_the_token_and_prints_why(release: Release, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("another-token\n")
    done = release.test_pod(tmp_path / "token")
    assert done.returncode == 1
    assert "webhook: 401" in done.stderr


def test_the_probes_and_the_scrape_need_no_credentials(release: Release) -> None:
    container = release.rendered.container
    paths = [container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")]
    for path in (*paths, "/metrics"):
        with urllib.request.urlopen(f"{release.url}{path}", timeout=30) as answer:
            assert answer.status == 200


def test_every_receiver_has_a_path_of_the_adapter(release: Release) -> None:
    """The webhook answers 401 to a post without a token; an unknown path would be 404."""
    notes = _receivers(release.rendered)["receivers"]
    for receiver in notes:
        (webhook,) = receiver["webhook_configs"]
        path = "/webhook" + webhook["url"].split("/webhook")[1]
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{release.url}{path}", b"{}", timeout=30)


def _receivers(rendered: Rendered) -> dict[str, list[dict[str, list[dict[str, str]]]]]:
    block = re.search(r"^ +receivers:\n(?: +.*\n)+", rendered.notes, re.MULTILINE)
    assert block
    snippet: dict[str, list[dict[str, list[dict[str, str]]]]] = yaml.safe_load(textwrap.dedent(block[0]))
    return snippet


def test_alertmanager_accepts_the_receivers_of_the_notes(rendered: Rendered, tmp_path: Path) -> None:
    amtool = needs("amtool")
    if rendered.of("AlertmanagerConfig"):
        assert "receivers:" not in rendered.notes
        return
    receivers = _receivers(rendered)
    config = {"route": {"receiver": receivers["receivers"][0]["name"]}} | receivers
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(config))
    command = [amtool, "check-config", str(tmp_path / "alertmanager.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_alertmanager_config_has_the_receivers_of_the_notes(renders: dict[str, Rendered]) -> None:
    spec = renders["operator"].one("AlertmanagerConfig")["spec"]
    assert spec["route"]["receiver"] == "coc-default"
    assert [receiver["name"] for receiver in spec["receivers"]] == ["coc-default", "coc-night-shift"]
    for receiver in spec["receivers"]:
        (webhook,) = receiver["webhookConfigs"]
        name = receiver["name"].removeprefix("coc-")
        assert webhook["url"] == f"http://coc-coc-adapter.monitoring.svc:9876/webhook/{name}"
        assert webhook["sendResolved"] is True
        secret = renders["operator"].one("Secret", "-webhook")
        credentials = webhook["httpConfig"]["authorization"]["credentials"]
        assert credentials["name"] == secret["metadata"]["name"]
        assert credentials["key"] in secret["data"]
        assert secret["metadata"]["namespace"] == renders["operator"].one("AlertmanagerConfig")["metadata"]["namespace"]
    assert renders["existing"].one("AlertmanagerConfig")["spec"]["route"]["receiver"] == "coc-shop"
    assert (
        renders["tls"]
        .one("AlertmanagerConfig")["spec"]["receivers"][0]["webhookConfigs"][0]["url"]
        .startswith("https:")
    )


def test_the_notes_warn_of_settings_for_trials(renders: dict[str, Rendered]) -> None:
    warnings = {
        name: re.findall(r"^WARNING: (\S+)", rendered.notes, re.MULTILINE) for name, rendered in renders.items()
    }
    assert warnings["minimal"] == []
    assert warnings["open"] == ["webhook.auth.enabled", "Ingress/coc-coc-adapter"]
    assert warnings["autoscaled"] == ["store.postgresql.dsn"]
    assert warnings["trial"] == ["integrations.default.inline", "webhook.auth.token", "persistence.enabled"]


@pytest.mark.parametrize("web", [{}, {"configSecret": "coc-web"}])
@pytest.mark.parametrize("asked", [True, False])
def test_the_notes_warn_of_a_way_from_outside_that_asks_for_no_token(web: dict[str, str], asked: bool) -> None:
    out = {
        "ingress": {"enabled": True, "hosts": ["a.example"]},
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "g"}]},
    }
    rendered = render({**out, "web": web, "webhook": {"auth": {"enabled": asked}}})
    warned = re.findall(r"^WARNING: (Ingress|HTTPRoute)/coc-coc-adapter ", rendered.notes, re.MULTILINE)
    assert warned == ([] if asked else ["HTTPRoute", "Ingress"])
