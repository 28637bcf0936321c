"""The adapter accepts what the chart renders for it: adapter.yml, secret files, mappings, arguments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from adapter.app import DRAIN_SECONDS
from adapter.cli.main import main, parser
from adapter.coc.endpoint import AkSk, Token
from adapter.config import Config, Source, load_config, size
from adapter.mapping.render.live import MEMORY
from tests.chart.mounted import Mounted
from tests.chart.rendering import Rendered, ci_values, render, render_all

_CONFIG = "/etc/coc-adapter/adapter.yml"


def _check(mounted: Mounted) -> int:
    return main(["check", f"--config.file={mounted.host(_CONFIG)}"])


def test_check_finds_nothing_in_the_rendered_adapter_yml(
    rendered: Rendered, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = _check(Mounted(rendered, tmp_path))
    assert code == 0, capsys.readouterr()


@pytest.mark.parametrize(
    ("values", "finding"),
    [
        ({"integrations": {"default": {"config": {"base_url": "http://coc.example.com"}}}}, "base_url is not https"),
        ({"mappings": {"a.yaml": "rules: [{name: x, alarm: {alarmNmae: y}}]"}}, "alarmName"),
        ({"mappings": {"a.yaml": "rules: [{name: x, alarm: {alarmName: '{{ nonsense }}'}}]"}}, "nonsense"),
    ],
    ids=["http without saying so", "unknown field", "unknown name in a template"],
)
def test_check_finds_a_wrong_configuration_that_values_render(
    values: Any, finding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _check(Mounted(render(values), tmp_path)) == 1
    assert finding in capsys.readouterr().out


def test_the_adapter_accepts_the_arguments(rendered: Rendered) -> None:
    options = parser().parse_args(rendered.container["args"])
    assert str(options.config_file) == _CONFIG
    assert options.listen_address == f":{rendered.container['ports'][0]['containerPort']}"
    assert options.admin_address.endswith(":9877")
    assert options.log_level


def test_the_service_requires_credentials_unless_they_are_disabled(renders: dict[str, Rendered]) -> None:
    for name, rendered in renders.items():
        options = parser().parse_args(rendered.container["args"])
        config = yaml.safe_load(
            rendered.one("ConfigMap", "adapter" if name != "existing" else "coc")["data"]["adapter.yml"]
        )
        assert options.allow_unauthenticated is (name == "open")
        assert ("bearer_token_file" in config["webhook"]) is (name != "open")
    options = parser().parse_args(renders["tls"].container["args"])
    assert str(options.web_config_file) == "/etc/coc-adapter-web/web-config.yml"


def _files(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        for key, value in config.items():
            if key.endswith("_file"):
                yield value
            else:
                yield from _files(value)


def test_every_secret_file_named_is_mounted_and_every_one_mounted_is_named(rendered: Rendered, tmp_path: Path) -> None:
    mounted = Mounted(rendered, tmp_path)
    config = yaml.safe_load(mounted.host(_CONFIG).read_text())
    named = {Path(path) for path in _files(config)}
    secrets = mounted.host("/etc/coc-adapter/secrets")
    assert {path for path in named if secrets in path.parents} == {
        path for path in secrets.rglob("*") if path.is_file()
    }
    assert all(path.is_file() for path in named)


def test_each_secret_reaches_the_setting_it_belongs_to(renders: dict[str, Rendered], tmp_path: Path) -> None:
    trial = load_config(Mounted(renders["trial"], tmp_path / "trial").host(_CONFIG))
    endpoint = trial.integrations["default"].endpoint
    assert isinstance(endpoint.auth, AkSk)
    assert endpoint.integration_key.get() == "trial-integration-key"
    assert (endpoint.auth.access_key.get(), endpoint.auth.secret_key.get()) == ("trial-access-key", "trial-secret-key")
    bearer = trial.webhook.secret("bearer_token")
    assert bearer is not None
    assert bearer.get() == "trial-webhook-token"
    existing = load_config(Mounted(renders["existing"], tmp_path / "existing").host(_CONFIG))
    endpoint = existing.integrations["shop"].endpoint
    assert isinstance(endpoint.auth, Token)
    assert endpoint.integration_key.get() == "the-key"
    assert endpoint.auth.token.get() == "the-iam-token"
    bearer = existing.webhook.secret("bearer_token")
    assert bearer is not None
    assert bearer.get() == "the-bearer"
    database = load_config(Mounted(renders["postgresql"], tmp_path / "postgresql").host(_CONFIG))
    assert database.store_url.get() == "postgresql://coc:secret@database/coc"


def test_a_mapping_file_arrives_unchanged(renders: dict[str, Rendered], tmp_path: Path) -> None:
    """Jinja2 and Helm both use `{{ }}`: Helm must not evaluate that of mappings."""
    mounted = Mounted(renders["mappings"], tmp_path)
    folder = mounted.host("/etc/coc-adapter-mappings")
    assert {path.name: path.read_text() for path in folder.iterdir()} == ci_values("mappings")["mappings"]
    assert load_config(mounted.host(_CONFIG)).mappings == folder


def test_without_mappings_the_built_in_ones_are_used(renders: dict[str, Rendered], tmp_path: Path) -> None:
    mounted = Mounted(renders["minimal"], tmp_path)
    assert "mappings" not in yaml.safe_load(mounted.host(_CONFIG).read_text())
    volumes = [volume["name"] for volume in renders["minimal"].pod["volumes"]]
    assert volumes == ["config", "tmp"]


def test_the_numbers_of_the_values_arrive_as_numbers(renders: dict[str, Rendered], tmp_path: Path) -> None:
    """Helm prints 25000000 as 2.5e+07 by default."""
    config = load_config(Mounted(renders["mappings"], tmp_path).host(_CONFIG))
    assert config.limits.backlog == 25_000_000
    assert config.integrations["default"].rate_limit == 0.5
    assert config.integrations["default"].endpoint.max_in_flight == 64


def test_the_grace_period_fits_the_drain(renders: dict[str, Rendered]) -> None:
    """Webhooks, the admin listener, requests to COC and settlements end one after the other, each in DRAIN_SECONDS."""
    for rendered in renders.values():
        assert rendered.pod["terminationGracePeriodSeconds"] > 4 * DRAIN_SECONDS


def test_the_memory_limit_includes_the_worker_process_at_its_own_limit(renders: dict[str, Rendered]) -> None:
    """The worker process is stopped at its own limit, which must be reached before the pod's."""
    limit: str = renders["minimal"].container["resources"]["limits"]["memory"]
    assert size(f"{limit}B") >= MEMORY + 110 * 1024 * 1024


def test_the_values_have_the_adapters_defaults() -> None:
    """Operators read values.yaml as documentation: its defaults must be the adapter's."""
    (bare,) = render_all([ci_values("minimal")])
    config = yaml.safe_load(bare.one("ConfigMap")["data"]["adapter.yml"])
    sections = ("relay", "limits", "retention")
    written, bare_minimum = (
        Config.model_validate(data | _needed(), context=Source(Path(), {}, {}))
        for data in ({key: config[key] for key in sections}, {})
    )
    assert [getattr(written, key) for key in sections] == [getattr(bare_minimum, key) for key in sections]
    assert size(config["webhook"]["max_body"]) == bare_minimum.webhook.max_body


def _needed() -> dict[str, Any]:
    return {"integrations": {"default": {"site": "cn", "integration_key": "x"}}}
