"""adapter.yml: what is wrong is said at its place, all of it at once; what is right is resolved."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter.clock import SECOND
from adapter.config import Config, load_config, seconds, size
from adapter.errors import ConfigError
from adapter.mapping import shipped

BAD = sorted((Path(__file__).resolve().parent / "data" / "bad_configs").glob("*.yml"))
SMALL = "integrations: {default: {site: cn, integration_key: the-key-itself}}\n"


def load(folder: Path, text: str) -> Config:
    path = folder / "adapter.yml"
    path.write_text(text)
    return load_config(path)


@pytest.mark.parametrize("path", BAD, ids=[path.stem for path in BAD])
def test_each_mistake_is_found_at_its_place(path: Path) -> None:
    wanted = path.read_text().splitlines()[0].removeprefix("# ")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert [str(finding).removeprefix(f"{path}:") for finding in caught.value.findings] == [wanted]


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "integrations: {a: {site: xx, integration_key: k, timeout: soon}}\nlimits: {backlog: no}\n")
    assert [finding.line for finding in caught.value.findings] == [1, 1, 2]


def test_only_integrations_is_required_and_the_rest_has_the_documented_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, SMALL)
    integration = config.integrations["default"]
    assert config.store_url.get() == f"sqlite:{tmp_path / 'data/adapter.db'}"
    assert config.mappings == shipped()
    assert config.relay.policy() == (3_600_000_000, False)
    assert (config.limits.backlog, config.webhook.max_body) == (1_000_000, 16 * 1024 * 1024)
    assert (integration.endpoint.timeout, integration.endpoint.max_in_flight, integration.rate_limit) == (10.0, 32, 0.0)
    assert integration.contract == (True, True)
    assert integration.endpoint.base_url == "https://coc.myhuaweicloud.com"


def test_relative_paths_count_from_the_folder_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file\n")
    (tmp_path / "dsn").write_text("postgresql://u:p@db/adapter\n")
    (tmp_path / "maps").mkdir()
    text = "store_file: dsn\nmappings: maps\nintegrations: {a: {site: eu, integration_key_file: key}}\n"
    config = load(tmp_path, text)
    assert config.mappings == tmp_path / "maps"
    assert config.integrations["a"].endpoint.integration_key.get() == "from-a-file"
    assert config.store_url.get() == "postgresql://u:p@db/adapter"


@pytest.mark.parametrize("auth", ["none", "{type: none}"])
def test_no_authentication_can_be_written_both_ways(tmp_path: Path, auth: str) -> None:
    load(tmp_path, f"integrations: {{a: {{site: cn, integration_key: k, auth: {auth}}}}}\n")


def test_no_secret_is_in_what_is_shown_or_printed(tmp_path: Path) -> None:
    text = """
store: postgresql://user:canary-store@db/adapter
integrations:
  a: {site: cn, integration_key: canary-key, proxy_url: "http://u:canary-proxy@proxy:3128",
      auth: {access_key: canary-ak, secret_key: canary-sk, security_token: canary-st, project_id: p}}
  b: {site: cn, integration_key: canary-key, auth: {type: token, token: canary-token}}
webhook: {bearer_token: canary-bearer}
"""
    config = load(tmp_path, text)
    assert "canary" not in repr(config.source.shown)
    assert "canary" not in repr(config.integrations)
    assert "canary" not in repr((config.store_url, config.webhook.secret("bearer_token"), config.source.secrets))
    assert "canary" not in repr(config)


def test_a_webhook_without_a_name_goes_to_default_or_to_the_only_integration(tmp_path: Path) -> None:
    two = load(tmp_path, "integrations: {default: {site: cn, integration_key: k}, b: {site: cn, integration_key: k}}\n")
    named = {name: two.integration(name) for name in (None, "default", "b", "c")}
    assert named == {None: "default", "default": "default", "b": "b", "c": None}
    assert load(tmp_path, "integrations: {b: {site: cn, integration_key: k}}\n").integration(None) == "b"
    neither = "integrations: {b: {site: cn, integration_key: k}, c: {site: cn, integration_key: k}}\n"
    assert load(tmp_path, neither).integration(None) is None


@pytest.mark.parametrize(
    ("text", "value"), [("10s", 10), ("1h30m", 5400), ("500ms", 0.5), ("7d", 604800), ("1y", 31536000), ("0", 0)]
)
def test_durations_are_read_as_prometheus_writes_them(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "10", "s", "1 h", "-5s", "1.5h", "10sec"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)


@pytest.mark.parametrize(
    "text",
    [
        "retention: {dead: 101y}\n" + SMALL,
        "limits: {backlog: %s}\n" % ("9" * 4000) + SMALL,
        'store: "sqlite:a\\0b"\n' + SMALL,
        "integrations: {a: {site: cn, integration_key: k, rate_limit: %s.0}}\n" % ("9" * 4000),
    ],
)
def test_values_that_no_part_could_take_are_findings(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load(tmp_path, text)


@pytest.mark.parametrize(("text", "value"), [("16MiB", 16 << 20), ("1GB", 1 << 30), ("512KiB", 512 << 10), ("7", 7)])
def test_sizes_are_read_as_prometheus_writes_them(text: str, value: int) -> None:
    assert size(text) == value


@pytest.mark.parametrize(("store", "secret"), [("memory", 0), ("sqlite:a.db", 0), ("postgresql://u:pw@db/coc", 1)])
def test_only_a_store_that_may_carry_a_password_is_kept_out_of_the_logs(
    tmp_path: Path, store: str, secret: int
) -> None:
    config = load(tmp_path, f"store: {store}\n{SMALL}")
    assert [known.get() for known in config.source.secrets].count(store) == secret


RECONCILE = (
    SMALL
    + "relay: {refresh_interval: 2h}\nreconcile: {mode: %s, alertmanagers: [{name: main, members: ['http://am/p/']%s}]}\n"
)


def test_reconciling_is_off_without_its_section_and_where_yaml_reads_a_boolean(tmp_path: Path) -> None:
    assert load(tmp_path, SMALL).clusters == []
    assert load(tmp_path, RECONCILE % ("off", "")).clusters == []


def test_reconciling_observes_once_configured_with_the_documented_defaults(tmp_path: Path) -> None:
    (cluster,) = load(tmp_path, RECONCILE % ("observe", "")).clusters
    rules, minute = cluster.rules, 60 * SECOND
    assert (cluster.members, cluster.integrations, cluster.interval) == (("http://am/p",), ("default",), 60.0)
    assert (rules.absent_polls, rules.grace, rules.settle, rules.max_close) == (5, 10 * minute, 15 * minute, 20)
    assert (rules.adopt_after, rules.refresh_interval, rules.mode) == (20 * minute, 0, "observe")
    assert cluster.origins == {"http://am/p"}


def test_a_mode_that_sends_refreshes_too(tmp_path: Path) -> None:
    (cluster,) = load(tmp_path, RECONCILE % ("close", ", external_urls: ['https://AM.example:443/']")).clusters
    assert cluster.rules.refresh_interval == 7200 * SECOND
    assert cluster.origins == {"https://am.example", "http://am/p"}


def test_passwords_and_headers_of_alertmanagers_are_masked(tmp_path: Path) -> None:
    more = ", basic_auth: {username: u, password: canary}, headers: {X-Scope-OrgID: canary}"
    config = load(tmp_path, RECONCILE % ("observe", more))
    assert "canary" not in str(config.source.shown)
    assert [secret.get() for secret in config.source.secrets if secret.get() == "canary"]
